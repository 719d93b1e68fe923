"""enroot/: hooks run for real, on a host made for the test; mounts are mounted; names are those that Enroot knows."""

from __future__ import annotations

import os
import re
import resource
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ENROOT = Path(__file__).parents[3] / "enroot"
KNOWN = Path(__file__).parents[2] / "data" / "enroot"
HOOKS = sorted((ENROOT / "hooks.d").iterdir())
FSTABS = sorted((ENROOT / "mounts.d").iterdir())

# Hides what this machine has where hooks look, so that a test says what is there: SCRATCH holds the folders instead.
HOST = """
set -eu
mount --make-rprivate /
mkdir -p "$SCRATCH"/{dev,etc,opt,run,sysclass}
touch "$SCRATCH/dev/null" && mount --bind /dev/null "$SCRATCH/dev/null"
ln -sfn /proc/self/fd "$SCRATCH/dev/fd"
for folder in dev etc opt run; do mount --rbind "$SCRATCH/$folder" "/$folder"; done
mount --bind "$SCRATCH/sysclass" /sys/class
cd /
unset SCRATCH
exec "$@"
"""
UNSHARE = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--mount", "--user", "--map-root-user"]
SLURM_RANK = {"SLURM_JOB_ID": "7", "SLURM_STEP_ID": "0", "SLURM_PROCID": "3", "SLURM_NTASKS": "8"}
PYXIS_NEW = {"SLURM_JOB_ID": "7", "SLURM_STEP_ID": "0", "SLURM_NTASKS": "8", "PYXIS_VERSION": "0.24.0"}
PYXIS_OLD = {"SLURM_JOB_ID": "7", "SLURM_STEP_ID": "0", "SLURM_NTASKS": "8"}


def hook(name: str) -> Path:
    return next(x for x in HOOKS if x.name == name)


@pytest.fixture(scope="module", autouse=True)
def _namespaces() -> None:
    try:
        tried = subprocess.run([*UNSHARE, "true"], capture_output=True, text=True, timeout=10, check=False)
    except FileNotFoundError:
        pytest.skip("needs unshare (util-linux)")
    if tried.returncode:
        pytest.skip(f"needs a mount namespace: {tried.stderr.strip()}")


@dataclass(frozen=True)
class Container:
    """What Enroot prepares before its hooks: a root file system, an environment, an empty list of mounts."""

    folder: Path

    @property
    def rootfs(self) -> Path:
        return self.folder / "rootfs"

    @property
    def environ(self) -> list[str]:
        return (self.folder / "environment").read_text().splitlines()

    @property
    def mounts(self) -> list[str]:
        return (self.folder / "fstab").read_text().splitlines()

    def says(self, *lines: str) -> None:
        """The environment that the image brings."""
        (self.folder / "environment").write_text("".join(f"{x}\n" for x in lines))

    def on_host(self, path: str, text: str = "") -> None:
        """A file of the host: under /dev, /etc, /opt, /run or /sys/class."""
        place = self.folder / "host" / path.replace("/sys/class", "sysclass").replace("/var/run", "run").lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)

    def inside(self, path: str) -> Path:
        place = self.rootfs / path.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text("the image's own")
        return place

    def on_this_host(self, command: list[str], env: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*UNSHARE, "bash", "-c", HOST, "bash", *command],
            env={"PATH": os.environ["PATH"], "SCRATCH": str(self.folder / "host"), **env},
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )

    def run(self, name: str, env: Mapping[str, str] | None = None, pid: int | None = None) -> str:
        """Run a hook as Enroot does; its warnings."""
        ended = self.on_this_host(
            [str(hook(name))],
            {
                "ENROOT_PID": str(pid or os.getpid()),
                "ENROOT_ROOTFS": str(self.rootfs),
                "ENROOT_ENVIRON": str(self.folder / "environment"),
                "ENROOT_MOUNTS": str(self.folder / "fstab"),
                **(env or {}),
            },
        )
        assert ended.returncode == 0, ended.stderr
        assert ended.stdout == ""
        return ended.stderr


@pytest.fixture
def container(tmp_path: Path) -> Container:
    (tmp_path / "rootfs").mkdir()
    (tmp_path / "host").mkdir()
    (tmp_path / "environment").write_text("")
    (tmp_path / "fstab").write_text("")
    return Container(tmp_path)


def fields(line: str) -> tuple[str, str, str, list[str]]:
    source, target, kind, options = line.split()[:4]
    return source, target, kind, options.split(",")


# What holds for all hooks.


def test_hooks_have_one_purpose_each_and_run_between_enroots_own() -> None:
    numbers = [int(x.name[:2]) for x in HOOKS]
    assert len(set(numbers)) == len(numbers)
    # 50: Enroot's extra hooks, 98 and 99: those for GPUs and InfiniBand, which read what ours write.
    assert all(50 < number < 98 for number in numbers)


@pytest.mark.parametrize("path", HOOKS, ids=lambda x: x.name)
def test_enroot_would_run_the_hook(path: Path) -> None:
    # It passes over whatever is not executable or ends otherwise, in silence.
    assert path.suffix == ".sh"
    assert os.access(path, os.X_OK)


@pytest.mark.parametrize("path", HOOKS, ids=lambda x: x.name)
def test_a_hook_does_nothing_on_a_host_that_has_nothing(path: Path, container: Container) -> None:
    container.says("PATH=/usr/bin")
    assert container.run(path.name) == ""
    assert container.environ == ["PATH=/usr/bin"]
    assert container.mounts == []


@pytest.mark.parametrize("slurm", [SLURM_RANK, PYXIS_NEW], ids=["per rank", "Pyxis"])
def test_hooks_that_run_again_write_nothing_twice(slurm: dict[str, str], container: Container) -> None:
    server = container.folder / "spool" / "pmix.7.0"
    server.mkdir(parents=True)
    container.on_host("/dev/nvidiactl")
    container.on_host("/etc/nccl.conf", "NCCL_TOPO_FILE=/opt/microsoft/ndv5-topo.xml\n")
    container.on_host("/opt/microsoft/ndv5-topo.xml")
    container.on_host("/sys/class/infiniband/mlx5_0")
    job = {"PMIX_SERVER_TMPDIR": str(server), "PMIX_NAMESPACE": "slurm.pmix.7.0", "CUDA_VISIBLE_DEVICES": "0,1"}
    env = {**slurm, **job, "NCCL_DEBUG": "WARN", "OPAL_PREFIX": "/opt/hpcx/ompi"}
    for path in HOOKS:
        container.run(path.name, env)
    once = container.environ, container.mounts
    assert once[0]
    assert once[1]
    assert len(set(once[0])) == len(once[0])
    for path in HOOKS:
        container.run(path.name, env)
    assert (container.environ, container.mounts) == once


# 60-pmix.sh


@pytest.fixture
def server(container: Container) -> Path:
    folder = container.folder / "spool" / "pmix.7.0"
    folder.mkdir(parents=True)
    return folder


def test_a_rank_learns_its_place_and_finds_its_server(container: Container, server: Path) -> None:
    pmix = {"PMIX_RANK": "3", "PMIX_NAMESPACE": "slurm.pmix.7.0", "PMIX_SERVER_TMPDIR": str(server)}
    container.run("60-pmix.sh", {**SLURM_RANK, **pmix, "HOME": "/root"})
    assert set(container.environ) == {f"{name}={value}" for name, value in {**SLURM_RANK, **pmix}.items()}
    [line] = container.mounts
    source, target, kind, options = fields(line)
    assert (source, target, kind) == (str(server), str(server), "none")
    assert {"bind", "rw", "x-create=dir"} <= set(options)


def test_mpiexec_without_slurm_is_passed_on_too(container: Container, server: Path) -> None:
    container.run("60-pmix.sh", {"OMPI_COMM_WORLD_RANK": "1", "PMIX_RANK": "1", "PMIX_SERVER_TMPDIR": str(server)})
    assert {"OMPI_COMM_WORLD_RANK=1", "PMIX_RANK=1"} <= set(container.environ)
    assert len(container.mounts) == 1


@pytest.mark.parametrize("pyxis", [PYXIS_NEW, PYXIS_OLD], ids=["0.21 and newer", "older"])
def test_under_pyxis_no_rank_becomes_the_first_one(pyxis: dict[str, str], container: Container, server: Path) -> None:
    container.run("60-pmix.sh", {**pyxis, "PMIX_NAMESPACE": "slurm.pmix.7.0", "PMIX_SERVER_TMPDIR": str(server)})
    assert container.environ == []
    assert len(container.mounts) == 1


def test_beside_enroots_own_hook_nothing_is_written_twice(container: Container, server: Path) -> None:
    env = {**SLURM_RANK, "PMIX_SERVER_TMPDIR": str(server)}
    container.says(*(f"{name}={value}" for name, value in env.items()))
    # As 50-slurm-pmi.sh writes it.
    (container.folder / "fstab").write_text(f"{server} x-create=dir,bind,rw,nosuid,noexec,nodev,private,nofail\n")
    before = container.environ, container.mounts
    container.run("60-pmix.sh", env)
    assert (container.environ, container.mounts) == before


def test_a_server_folder_that_is_gone_is_no_reason_not_to_start(container: Container) -> None:
    container.run("60-pmix.sh", {**SLURM_RANK, "PMIX_SERVER_TMPDIR": "/nowhere/pmix.7.0"})
    assert container.mounts == []


def test_a_blank_in_the_server_folder_stays_one_field(container: Container) -> None:
    folder = container.folder / "spool of slurm"
    folder.mkdir()
    container.run("60-pmix.sh", {**SLURM_RANK, "PMIX_SERVER_TMPDIR": str(folder)})
    [line] = container.mounts
    assert fields(line)[0].replace("\\040", " ") == str(folder)


def test_a_value_of_two_lines_cannot_become_another_variable(container: Container) -> None:
    container.run("60-pmix.sh", {**SLURM_RANK, "SLURM_JOB_COMMENT": "one\nLD_PRELOAD=/evil.so"})
    assert not [x for x in container.environ if "LD_PRELOAD" in x]


# 62-memlock.sh


@pytest.fixture
def limited() -> Iterator[int]:
    """A process that may lock 64 KiB, and raise that to 128 KiB."""
    sleeper = subprocess.Popen(
        ["sleep", "60"], preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_MEMLOCK, (65536, 131072))
    )
    yield sleeper.pid
    sleeper.kill()
    sleeper.wait(timeout=10)


def test_memlock_is_raised_as_far_as_is_allowed(limited: int, container: Container) -> None:
    assert container.run("62-memlock.sh", pid=limited) == ""
    assert resource.prlimit(limited, resource.RLIMIT_MEMLOCK) == (131072, 131072)


def test_too_little_memlock_for_infiniband_is_said(limited: int, container: Container) -> None:
    container.on_host("/sys/class/infiniband/mlx5_0")
    assert "131072 bytes" in container.run("62-memlock.sh", pid=limited)


def test_a_process_that_cannot_be_asked_is_no_reason_not_to_start(container: Container) -> None:
    assert container.run("62-memlock.sh", pid=2**22 + 1) == ""


# 64-dev-shm.sh


@pytest.mark.parametrize("pyxis", [PYXIS_NEW, PYXIS_OLD], ids=["0.21 and newer", "older"])
def test_a_container_for_all_ranks_of_a_node_gets_its_own_shared_memory(
    pyxis: dict[str, str], container: Container
) -> None:
    container.run("64-dev-shm.sh", pyxis)
    [line] = container.mounts
    assert fields(line)[:3] == ("tmpfs", "/dev/shm", "tmpfs")
    place = container.folder / "place"
    place.mkdir()
    memory_kib = int(re.findall(r"MemTotal:\s+(\d+)", Path("/proc/meminfo").read_text())[0])
    shown = subprocess.run(
        [*UNSHARE, "bash", "-euc", MOUNT + 'stat -c %a "$1/dev/shm"; df -k --output=size "$1/dev/shm"', "bash", place],
        input=f"{line}\n",
        capture_output=True,
        text=True,
        timeout=20,
        check=True,
    ).stdout.split()
    assert shown[0] == "1777"
    assert int(shown[-1]) == pytest.approx(memory_kib / 2, rel=0.01)


@pytest.mark.parametrize(
    "env",
    [SLURM_RANK, {**PYXIS_NEW, "ENROOT_UNSHARE_IPC": "y"}],
    ids=["one container per rank", "IPC space of its own"],
)
def test_shared_memory_is_left_alone_where_ranks_meet_in_the_hosts(env: dict[str, str], container: Container) -> None:
    container.run("64-dev-shm.sh", env)
    assert container.mounts == []


# 66-job-settings.sh


def test_settings_for_gpus_and_fabric_reach_a_rank(container: Container) -> None:
    job = {"CUDA_VISIBLE_DEVICES": "2", "NCCL_IB_HCA": "=mlx5_0:1", "UCX_NET_DEVICES": "mlx5_0:1", "EDITOR": "vi"}
    container.says("NCCL_IB_HCA=the image's own")
    container.run("66-job-settings.sh", {**SLURM_RANK, **job})
    assert container.environ == ["NCCL_IB_HCA=the image's own", "CUDA_VISIBLE_DEVICES=2", "UCX_NET_DEVICES=mlx5_0:1"]


def test_under_pyxis_no_rank_gets_the_first_ones_gpu(container: Container) -> None:
    container.run("66-job-settings.sh", {**PYXIS_OLD, "CUDA_VISIBLE_DEVICES": "0"})
    assert container.environ == []


# 68-nccl-topology.sh

DAEMON = "/var/run/nvidia-topologyd/virtualTopology.xml"
NDV5 = "/opt/microsoft/ndv5-topo.xml"


@pytest.mark.parametrize(
    ("there", "conf", "job", "found"),
    [
        ([DAEMON], None, None, DAEMON),
        ([NDV5], None, None, NDV5),
        ([NDV5, "/opt/microsoft/ndv4-topo.xml"], None, None, None),
        ([NDV5, "/opt/microsoft/ndv4-topo.xml"], NDV5, None, NDV5),
        ([DAEMON, NDV5], NDV5, None, NDV5),
        ([DAEMON, NDV5], DAEMON, NDV5, NDV5),
        ([DAEMON], "/opt/gone.xml", None, DAEMON),
        ([DAEMON], None, "/opt/gone.xml", DAEMON),
    ],
    ids=[
        "daemon",
        "Azure",
        "several sizes",
        "conf knows",
        "conf before daemon",
        "job before conf",
        "conf lies",
        "job lies",
    ],
)
def test_nccl_is_told_the_topology_of_this_host(
    there: list[str], conf: str | None, job: str | None, found: str | None, container: Container
) -> None:
    for path in there:
        container.on_host(path, "<system/>")
    if conf:
        container.on_host("/etc/nccl.conf", f"NCCL_IGNORE_CPU_AFFINITY=1\nNCCL_TOPO_FILE = {conf}\n")
    container.run("68-nccl-topology.sh", {"NCCL_TOPO_FILE": job} if job else {})
    assert container.environ == ([f"NCCL_TOPO_FILE={found}"] if found else [])
    assert [fields(x)[:2] for x in container.mounts] == ([(found, found)] if found else [])
    assert all({"bind", "ro", "x-create=file"} <= set(fields(x)[3]) for x in container.mounts)


def test_an_images_own_topology_stays(container: Container) -> None:
    container.on_host(NDV5)
    container.inside("/workspace/topology.xml")
    container.says("NCCL_TOPO_FILE=/workspace/topology.xml")
    container.run("68-nccl-topology.sh")
    assert container.environ == ["NCCL_TOPO_FILE=/workspace/topology.xml"]
    assert container.mounts == []


def test_a_user_who_names_a_file_of_the_host_gets_it_mounted(container: Container) -> None:
    container.on_host(NDV5)
    container.says(f"NCCL_TOPO_FILE={NDV5}")
    container.run("68-nccl-topology.sh")
    assert container.environ == [f"NCCL_TOPO_FILE={NDV5}"]
    assert [fields(x)[0] for x in container.mounts] == [NDV5]


# 70-host-mpi.sh


def test_the_hosts_mpi_does_not_reach_into_the_image(container: Container) -> None:
    container.run("70-host-mpi.sh", {"OPAL_PREFIX": "/opt/hpcx/ompi", "HPCX_DIR": "/opt/hpcx"})
    assert container.environ == ["OPAL_PREFIX="]


def test_a_hosts_path_that_was_passed_on_is_taken_back(container: Container) -> None:
    # As 50-slurm-pmi.sh and 60-pmix.sh pass on everything that begins with PMIX_.
    container.says("PMIX_INSTALL_PREFIX=/opt/hpcx/pmix")
    container.run("70-host-mpi.sh", {"PMIX_INSTALL_PREFIX": "/opt/hpcx/pmix"})
    assert container.environ[-1] == "PMIX_INSTALL_PREFIX="


def test_an_images_own_hpcx_stays(container: Container) -> None:
    container.inside("/opt/hpcx/ompi/bin/mpirun")
    container.says("OPAL_PREFIX=/opt/hpcx/ompi")
    container.run("70-host-mpi.sh", {"OPAL_PREFIX": "/opt/hpcx-2.18/ompi"})
    assert container.environ == ["OPAL_PREFIX=/opt/hpcx/ompi"]


def test_a_link_inside_the_image_is_believed(container: Container) -> None:
    (container.rootfs / "opt").mkdir()
    (container.rootfs / "opt" / "hpcx").symlink_to("/opt/hpcx-2.18")
    container.says("OPAL_PREFIX=/opt/hpcx/ompi")
    container.run("70-host-mpi.sh")
    assert container.environ == ["OPAL_PREFIX=/opt/hpcx/ompi"]


# 72-rank-apart.sh


@pytest.mark.parametrize(
    ("job", "image", "added"),
    [
        (SLURM_RANK, [], ["none"]),
        ({"PMIX_RANK": "0"}, [], ["none"]),
        (SLURM_RANK, ["OMPI_MCA_btl_vader_single_copy_mechanism=emulated"], []),
        ({**SLURM_RANK, "OMPI_MCA_btl_vader_single_copy_mechanism": "emulated"}, [], []),
        (PYXIS_NEW, [], []),
        (PYXIS_OLD, [], []),
    ],
    ids=["srun", "mpiexec", "image says", "job says", "Pyxis", "older Pyxis"],
)
def test_ranks_in_containers_of_their_own_do_not_try_to_read_each_others_memory(
    job: dict[str, str], image: list[str], added: list[str], container: Container
) -> None:
    container.says(*image)
    container.run("72-rank-apart.sh", job)
    assert container.environ == image + [f"OMPI_MCA_btl_vader_single_copy_mechanism={x}" for x in added]


# 80-nvidia.sh

ALL = "NVIDIA_VISIBLE_DEVICES=all"
COMPUTE = "NVIDIA_DRIVER_CAPABILITIES=compute,utility"
VOID = "NVIDIA_VISIBLE_DEVICES=void"


@pytest.mark.parametrize(
    ("driver", "image", "job", "added"),
    [
        (True, [], {}, [ALL, COMPUTE]),
        (True, [ALL, COMPUTE], {}, []),
        (True, [ALL], {}, [COMPUTE]),
        (True, [VOID], {}, [COMPUTE]),
        (True, [], {"NVIDIA_VISIBLE_DEVICES": "none"}, [COMPUTE]),
        (False, [], {}, []),
        (False, [ALL, COMPUTE], {}, [VOID]),
        (False, [VOID], {}, []),
    ],
    ids=[
        "plain image",
        "CUDA image",
        "half said",
        "none wanted",
        "job says",
        "no GPU",
        "CUDA image, no GPU",
        "neither",
    ],
)
def test_all_gpus_that_the_node_has_are_brought_in(
    driver: bool, image: list[str], job: dict[str, str], added: list[str], container: Container
) -> None:
    if driver:
        container.on_host("/dev/nvidiactl")
    container.says(*image)
    container.run("80-nvidia.sh", job)
    assert container.environ == image + added


# mounts.d

# enroot-mount in few words: x-create=auto makes what the source is, nofail lets a source be absent. Lines from stdin, root in $1.
MOUNT = """
while read -r source target kind options _; do
  [[ -n $source && $source != '#'* ]] || continue
  plain=$(tr , '\\n' <<<"$options" | grep -vxE 'x-create=.*|nofail|silent|r?(bind|slave|private)' | paste -sd,)
  if [[ ,$options, =~ ,r?bind, ]]; then
    [[ -e $source ]] || continue
    mkdir -p "$1${target%/*}"
    if [[ -d $source ]]; then mkdir -p "$1$target"; else touch "$1$target"; fi
    mount --rbind "$source" "$1$target"
    mount -o "remount,bind,$plain" "$1$target"
  else
    mkdir -p "$1$target"
    mount -t "$kind" -o "$plain" "$source" "$1$target"
  fi
done
"""


def mount_lines(path: Path) -> list[str]:
    return [x for x in path.read_text().splitlines() if x and not x.startswith("#")]


def options_known() -> set[str]:
    return set((KNOWN / "mount_options.txt").read_text().split())


@pytest.mark.parametrize("path", FSTABS, ids=lambda x: x.name)
def test_mounts_keep_the_rules(path: Path) -> None:
    lines = mount_lines(path)
    assert lines
    for line in lines:
        source, target, kind, options = fields(line)
        assert source.startswith("/")
        assert target == source
        assert kind == "none"
        assert set(options) <= options_known()
        # A node may lack it: then the container starts without it, nothing is made in it, and nobody is told each time.
        assert {"nofail", "silent", "x-create=auto", "nosuid", "noexec"} <= set(options)
        assert len({"bind", "rbind"} & set(options)) == 1
        # Only devices are written to, and only they may be devices.
        assert ("nodev" in options) == ("ro" in options) == (not source.startswith("/dev/"))
        # After the hooks: 10-devices.sh would hide what is mounted into /dev before it.
        assert line.split()[4:] == ["0", "0"]


@pytest.mark.parametrize("there", [True, False])
def test_mounts_bring_in_what_the_node_has_and_leave_nothing_where_it_has_none(
    there: bool, container: Container
) -> None:
    if there:
        container.on_host("/dev/infiniband/uverbs0", "device")
        container.on_host("/etc/nccl.conf", "NCCL_DEBUG=WARN\n")
    lines = "\n".join(line for path in FSTABS for line in mount_lines(path))
    look = 'cd "$1"; find . -type f -exec sh -c \'echo "$1: $(cat "$1")"\' _ {} \\; ; touch etc/nccl.conf 2>&1 || true'
    ended = container.on_this_host(
        ["bash", "-euc", f'exec <<<"$LINES_OF_MOUNTS"\n{MOUNT}{look}', "bash", str(container.rootfs)],
        {"LINES_OF_MOUNTS": lines},
    )
    assert ended.returncode == 0, ended.stderr
    if there:
        assert "./dev/infiniband/uverbs0: device" in ended.stdout
        assert "./etc/nccl.conf: NCCL_DEBUG=WARN" in ended.stdout
        assert "Read-only file system" in ended.stdout
    else:
        assert not list(container.rootfs.rglob("*"))


# environ.d


@pytest.mark.parametrize("path", sorted((ENROOT / "environ.d").iterdir()), ids=lambda x: x.name)
def test_variables_are_written_as_enroot_reads_them(path: Path) -> None:
    assert path.suffix == ".env"
    lines = [x for x in path.read_text().splitlines() if not x.startswith("#")]
    assert lines
    for line in lines:
        # Enroot drops other lines in silence, and makes an empty value of a ${NAME} that the host lacks.
        assert re.fullmatch(r"[A-Z_]+=[A-Za-z0-9_.-]+", line), line


# enroot.conf.d


def settings() -> dict[str, str]:
    """As Enroot reads them: a name, blanks, a value that the shell expands."""
    lines = [x for path in sorted((ENROOT / "enroot.conf.d").iterdir()) for x in path.read_text().splitlines()]
    pairs = [re.split(r"[ \t=]+", x, maxsplit=1) for x in lines if x and not x.startswith("#")]
    assert len({name for name, _ in pairs}) == len(pairs), "said twice"
    return dict(pairs)


def test_enroot_knows_every_setting() -> None:
    known = {x.split()[0] for x in (KNOWN / "variables.txt").read_text().splitlines()}
    assert set(settings()) <= known


def test_every_setting_says_why() -> None:
    for path in (ENROOT / "enroot.conf.d").iterdir():
        assert path.suffix == ".conf"
        for block in re.split(r"\n\n+", path.read_text().strip()):
            assert block.startswith("# "), block


def test_switches_are_words_that_enroot_understands() -> None:
    for name, value in settings().items():
        if re.search(r"_(WRITABLE|HOME|ROOT|SUPERUSER|DEV|SHELL|HTTP)$", name):
            assert value in {"yes", "no"}, name


def test_two_users_and_two_purposes_never_meet_in_one_folder() -> None:
    seen = set()
    for user in ("1000", "1001"):
        for name, value in settings().items():
            if not name.endswith("_PATH"):
                continue
            script = f'id() {{ echo {user}; }}; eval echo "$1"'
            path = subprocess.run(
                ["bash", "-c", script, "bash", value], capture_output=True, text=True, check=True, timeout=10
            ).stdout.strip()
            assert re.fullmatch(rf"/(run|var/lib)/enroot/([a-z]+/)?user-{user}", path), path
            seen.add(path)
    assert len(seen) == 8


def test_mksquashfs_takes_the_options(tmp_path: Path) -> None:
    if not shutil.which("mksquashfs"):
        pytest.skip("needs mksquashfs (squashfs-tools)")
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "file").write_text("x" * 100_000)
    options = settings()["ENROOT_SQUASH_OPTIONS"].split()
    subprocess.run(
        ["mksquashfs", tmp_path / "tree", tmp_path / "image", *options], capture_output=True, check=True, timeout=30
    )
    assert (tmp_path / "image").read_bytes()[:4] == b"hsqs"


# slurm/prolog.sh


def test_the_prolog_makes_the_folders_that_the_settings_name(container: Container) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root: folders of another user")
    state = container.folder / "state"
    state.mkdir()
    script = 'mount -t tmpfs tmpfs /run; mount --bind "$1" /var/lib; "$2" "$3"; stat -c "%n %a %u" /run/enroot/* /var/lib/enroot/*/*; stat -c "%a %u" /run/enroot /var/lib/enroot/data'
    conf = ENROOT / "enroot.conf.d" / "50-hpcaccept-paths.conf"
    shown = subprocess.run(
        ["unshare", "--mount", "bash", "-euc", script, "bash", state, ENROOT / "slurm" / "prolog.sh", conf],
        env={"PATH": os.environ["PATH"], "SLURM_JOB_UID": "65534"},
        capture_output=True,
        text=True,
        timeout=20,
        check=True,
    ).stdout.splitlines()
    paths = [x.replace("$(id -u)", "65534") for name, x in settings().items() if name.endswith("_PATH")]
    assert sorted(shown[:-2]) == sorted(f"{path} 700 65534" for path in paths)
    assert shown[-2:] == ["755 0", "755 0"]


def test_a_prolog_that_cannot_does_not_drain_the_node(tmp_path: Path) -> None:
    conf = tmp_path / "paths.conf"
    conf.write_text("ENROOT_DATA_PATH /proc/nowhere/user-$(id -u)\n")
    ended = subprocess.run(
        [ENROOT / "slurm" / "prolog.sh", conf],
        env={"PATH": os.environ["PATH"], "SLURM_JOB_UID": str(os.getuid())},
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert ended.returncode == 0
    assert f"/proc/nowhere/user-{os.getuid()} could not be made" in ended.stderr
