from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcaccept.measure.host import host

if TYPE_CHECKING:
    from collections.abc import Iterator

# --- texts as kernels write them --------------------------------------------------------------------------------------

V2_CGROUP = "0::/system.slice/slurmstepd.scope/job_42/step_0/user/task_0\n"
V2_MOUNTS = (
    "24 1 259:2 / / rw,relatime shared:1 - ext4 /dev/nvme0n1p2 rw,errors=remount-ro\n"
    "35 25 0:30 / /sys/fs/cgroup rw,nosuid,nodev,noexec,relatime shared:9 - cgroup2 cgroup2 rw,nsdelegate\n"
)
V1_CGROUP = "12:memory:/slurm/uid_1000/job_42\n5:cpu,cpuacct:/slurm/uid_1000/job_42\n1:name=systemd:/init.scope\n0::/\n"
V1_MOUNTS = (
    "33 24 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,nosuid - cgroup cgroup rw,cpu,cpuacct\n"
    "34 24 0:30 / /sys/fs/cgroup/memory rw,nosuid - cgroup cgroup rw,memory\n"
)
CONTAINER_CGROUP = "5:cpu,cpuacct:/docker/4fa6\n"
CONTAINER_MOUNTS = "701 698 0:29 /docker/4fa6 /sys/fs/cgroup/cpu,cpuacct ro,nosuid - cgroup cgroup rw,cpu,cpuacct\n"


@pytest.mark.parametrize(
    ("text", "cores"),
    [("150000 100000\n", 1.5), ("max 100000\n", None), ("200000\n", 2.0), ("", None)],
)
def test_a_v2_quota_is_quota_over_period(text: str, cores: float | None) -> None:
    assert host.parse_cpu_max(text) == cores


@pytest.mark.parametrize(
    ("quota", "period", "cores"),
    [("50000\n", "100000\n", 0.5), ("-1\n", "100000\n", None), ("", "", None), ("50000", "", None)],
)
def test_a_v1_quota_is_quota_over_period(quota: str, period: str, cores: float | None) -> None:
    assert host.parse_cfs_quota(quota, period) == cores


@pytest.mark.parametrize(
    ("text", "size"),
    [("1073741824\n", 1 << 30), ("max\n", None), ("9223372036854771712\n", None), ("", None)],
)
def test_no_memory_limit_is_none_however_it_is_written(text: str, size: int | None) -> None:
    assert host.parse_memory_limit(text) == size


def test_an_unknown_limit_is_an_error_and_not_no_limit() -> None:
    with pytest.raises(ValueError, match="lots"):
        host.parse_memory_limit("lots")


def test_mem_total_is_in_kib() -> None:
    assert host.parse_mem_total("MemTotal:       24684084 kB\nMemFree: 1 kB\n") == 24684084 * 1024
    assert host.parse_mem_total("MemFree: 1 kB\n") is None


@pytest.mark.parametrize(
    ("text", "cpus"),
    [("0-3,8\n", {0, 1, 2, 3, 8}), ("5", {5}), ("\n", set()), ("0-1,64-65", {0, 1, 64, 65})],
)
def test_kernel_lists_are_read(text: str, cpus: set[int]) -> None:
    assert host.parse_cpu_list(text) == cpus


@given(st.frozensets(st.integers(0, 1023)))
def test_every_set_of_processors_survives_the_kernel_list_format(cpus: frozenset[int]) -> None:
    assert host.parse_cpu_list(",".join(map(str, sorted(cpus)))) == cpus


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("processor\t: 0\nmodel name\t: Intel(R) Xeon(R)  Platinum 8480C\n", "Intel(R) Xeon(R) Platinum 8480C"),
        ("processor : 0\nCPU implementer\t: 0x41\nCPU part\t: 0xd4f\n", "Arm Neoverse-V2"),
        ("processor : 0\nCPU implementer\t: 0xc0\nCPU part\t: 0xac3\n", "Arm implementer 0xc0 part 0xac3"),
        ("processor : 0\ncpu\t\t: POWER9, altivec supported\n", "POWER9, altivec supported"),
        ("", ""),
    ],
)
def test_each_architecture_names_its_processor_in_its_own_way(text: str, name: str) -> None:
    assert host.parse_cpu_model(text) == name


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ('NAME="Ubuntu"\nPRETTY_NAME="Ubuntu 22.04.5 LTS"\n', "Ubuntu 22.04.5 LTS"),
        ("NAME=Alpine\nVERSION_ID=3.20\n# PRETTY_NAME=no\n", "Alpine 3.20"),
        ("", ""),
    ],
)
def test_the_image_says_its_name(text: str, name: str) -> None:
    assert host.parse_os_release(text) == name


# --- which cgroups count ----------------------------------------------------------------------------------------------


def test_limits_are_looked_for_in_all_parents_of_a_v2_job() -> None:
    path = host.parse_cgroup(V2_CGROUP)[""]
    folders = host.cgroup_folders("", path, host.parse_cgroup_mounts(V2_MOUNTS))
    assert folders[0] == "/sys/fs/cgroup/system.slice/slurmstepd.scope/job_42/step_0/user/task_0"
    assert "/sys/fs/cgroup/system.slice/slurmstepd.scope/job_42" in folders
    assert folders[-1] == "/sys/fs/cgroup"
    assert len(folders) == 7


def test_each_v1_controller_has_its_own_folders() -> None:
    mounts = host.parse_cgroup_mounts(V1_MOUNTS)
    path = host.parse_cgroup(V1_CGROUP)["cpu"]
    assert host.cgroup_folders("cpu", path, mounts)[0] == "/sys/fs/cgroup/cpu,cpuacct/slurm/uid_1000/job_42"
    assert host.cgroup_folders("memory", path, mounts)[-1] == "/sys/fs/cgroup/memory"
    assert host.cgroup_folders("", "/", mounts) == ()


def test_a_container_finds_its_own_cgroup_at_the_mount_point() -> None:
    path = host.parse_cgroup(CONTAINER_CGROUP)["cpu"]
    assert host.cgroup_folders("cpu", path, host.parse_cgroup_mounts(CONTAINER_MOUNTS)) == (
        "/sys/fs/cgroup/cpu,cpuacct",
    )


@pytest.mark.parametrize("path", ["/../job_7", "/docker/4fa60000", "/elsewhere"])
def test_a_cgroup_out_of_sight_leaves_the_mount_point(path: str) -> None:
    assert host.cgroup_folders("cpu", path, host.parse_cgroup_mounts(CONTAINER_MOUNTS)) == (
        "/sys/fs/cgroup/cpu,cpuacct",
    )


# --- a whole machine out of files -------------------------------------------------------------------------------------


def machine(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def test_the_tightest_quota_on_the_way_up_counts(tmp_path: Path) -> None:
    job = "sys/fs/cgroup/system.slice/slurmstepd.scope/job_42"
    root = machine(
        tmp_path,
        {
            "proc/self/cgroup": V2_CGROUP,
            "proc/self/mountinfo": V2_MOUNTS,
            f"{job}/cpu.max": "50000 100000\n",
            f"{job}/step_0/cpu.max": "max 100000\n",
            f"{job}/step_0/user/task_0/cpu.max": "400000 100000\n",
            f"{job}/memory.max": "1073741824\n",
            "proc/meminfo": "MemTotal:       24684084 kB\n",
        },
    )
    assert host.cpu_quota(root) == 0.5
    assert host.usable_cores(root) == 0.5
    assert host.memory_bytes(root) == 1 << 30


def test_v1_limits_count_as_v2_ones_do(tmp_path: Path) -> None:
    root = machine(
        tmp_path,
        {
            "proc/self/cgroup": V1_CGROUP,
            "proc/self/mountinfo": V1_MOUNTS,
            "sys/fs/cgroup/cpu,cpuacct/slurm/uid_1000/job_42/cpu.cfs_quota_us": "25000\n",
            "sys/fs/cgroup/cpu,cpuacct/slurm/uid_1000/job_42/cpu.cfs_period_us": "100000\n",
            "sys/fs/cgroup/memory/slurm/uid_1000/memory.limit_in_bytes": "2147483648\n",
            "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
            "proc/meminfo": "MemTotal:       24684084 kB\n",
        },
    )
    assert host.usable_cores(root) == 0.25
    assert host.memory_bytes(root) == 2 << 30


def test_without_limits_the_machine_is_what_there_is(tmp_path: Path) -> None:
    root = machine(tmp_path, {"proc/meminfo": "MemTotal:       24684084 kB\n"})
    assert host.usable_cores(root) == len(host.affinity())
    assert host.memory_bytes(root) == 24684084 * 1024


def test_a_machine_without_proc_still_answers(tmp_path: Path) -> None:
    assert host.boot_id(tmp_path) == host.hostname()
    assert host.memory_bytes(tmp_path) > 0
    assert host.sockets(tmp_path) == 1
    assert host.numa_nodes(tmp_path) == {}
    assert host.cpu_model(tmp_path)
    assert host.os_release(tmp_path)


def test_two_threads_of_one_core_are_one_core(tmp_path: Path) -> None:
    siblings = {0: "0,2", 1: "1,3", 2: "0,2", 3: "1,3"}
    files = {
        f"sys/devices/system/cpu/cpu{n}/topology/thread_siblings_list": f"{text}\n" for n, text in siblings.items()
    }
    root = machine(tmp_path, files)
    assert len(host.physical_cores({0, 1, 2, 3}, root)) == 2
    assert host.physical_cores({0}, root) == host.physical_cores({2}, root)
    assert len(host.physical_cores({0, 7}, root)) == 2


def test_sockets_are_counted_and_memory_only_numa_nodes_are_not(tmp_path: Path) -> None:
    topology = {f"sys/devices/system/cpu/cpu{n}/topology/physical_package_id": f"{n % 2}\n" for n in range(4)}
    numa = {f"sys/devices/system/node/node{n}/cpulist": text for n, text in enumerate(["0,2\n", "1,3\n", "\n"])}
    root = machine(tmp_path, topology | numa)
    assert host.sockets(root) == 2
    assert host.numa_nodes(root) == {0: {0, 2}, 1: {1, 3}}


# --- file systems -----------------------------------------------------------------------------------------------------

MOUNTS = (
    "22 1 259:2 / / rw - ext4 /dev/nvme0n1p2 rw\n"
    "23 22 0:50 / /fsx rw - lustre 10.0.0.5@o2ib:/fs rw\n"
    "24 22 0:51 / /tmp/my\\040disk rw shared:9 - xfs /dev/nvme1n1 rw\n"
    "25 22 0:52 / /fsx/scratch rw - nfs4 server:/export rw\n"
    "26 22 0:53 / /fsx/scratch rw - tmpfs tmpfs rw\n"
)


@pytest.mark.parametrize(
    ("path", "kind", "source"),
    [
        ("/home/me", "ext4", "/dev/nvme0n1p2"),
        ("/fsx", "lustre", "10.0.0.5@o2ib:/fs"),
        ("/fsx2", "ext4", "/dev/nvme0n1p2"),
        ("/fsx/run/7", "lustre", "10.0.0.5@o2ib:/fs"),
        ("/tmp/my disk/x", "xfs", "/dev/nvme1n1"),
        ("/fsx/scratch/y", "tmpfs", "tmpfs"),
    ],
)
def test_a_path_lies_on_the_deepest_and_latest_mount(tmp_path: Path, path: str, kind: str, source: str) -> None:
    root = machine(tmp_path, {"proc/self/mountinfo": MOUNTS})
    found = host.mount_of(Path(path), root)
    assert found
    assert (found.kind, found.source) == (kind, source)


def test_where_no_mounts_are_known_there_is_none(tmp_path: Path) -> None:
    assert host.mount_of(Path("/"), tmp_path) is None


# --- settings that should be alike ------------------------------------------------------------------------------------


def test_firmware_is_told_without_serial_numbers(tmp_path: Path) -> None:
    dmi = {
        "sys_vendor": "NVIDIA",
        "product_name": "DGXH100",
        "product_serial": "1660224000123",
        "bios_version": "1.05.03",
    }
    files = {f"sys/class/dmi/id/{name}": f"{text}\n" for name, text in {**dmi, "bios_date": "02/14/2024"}.items()}
    assert host.firmware(machine(tmp_path, files)) == {"product": "NVIDIA DGXH100", "bios": "1.05.03 02/14/2024"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("microcode\t: 0x2b000603\n" * 4, "0x2b000603"),
        ("microcode\t: 0x2b000603\nmicrocode\t: 0x2b000590\n", "0x2b000590, 0x2b000603"),
        ("processor : 0\n", ""),
    ],
)
def test_unlike_microcode_on_one_host_is_seen(tmp_path: Path, text: str, said: str) -> None:
    assert host.microcode(machine(tmp_path, {"proc/cpuinfo": text})) == said


def test_one_processor_with_another_governor_is_seen(tmp_path: Path) -> None:
    files = {f"sys/devices/system/cpu/cpu{n}/cpufreq/scaling_governor": "performance\n" for n in range(3)}
    assert host.cpu_governor(machine(tmp_path, files)) == "performance"
    odd = {"sys/devices/system/cpu/cpu3/cpufreq/scaling_governor": "powersave\n"}
    assert host.cpu_governor(machine(tmp_path, odd)) == "performance on 3 processors, powersave on 1 processors"


def test_huge_pages_of_both_kinds_are_told(tmp_path: Path) -> None:
    files = {
        "sys/kernel/mm/transparent_hugepage/enabled": "always [madvise] never\n",
        "proc/meminfo": "HugePages_Total:     512\nHugepagesize:       2048 kB\n",
    }
    assert host.huge_pages(machine(tmp_path, files)) == "transparent: madvise; reserved: 512 of 2048 kB"


def test_the_numa_layout_is_one_line(tmp_path: Path) -> None:
    numa = {
        f"sys/devices/system/node/node{n}/cpulist": text for n, text in enumerate(["0-47,96-143\n", "48-95\n", "\n"])
    }
    assert host.numa_layout(machine(tmp_path, numa)) == "2 nodes: 0-47,96-143 | 48-95"


def test_the_build_of_an_image_is_told(tmp_path: Path) -> None:
    files = {
        "etc/os-release": 'NAME="Ubuntu"\nIMAGE_ID=hpc\nIMAGE_VERSION="24.10"\n',
        "etc/dgx-release": 'DGX_NAME="DGX Server"\nDGX_SWBUILD_VERSION="6.2.0"\n',
    }
    assert host.os_image(machine(tmp_path, files)) == "hpc 24.10 6.2.0"


def test_a_machine_that_says_nothing_has_no_settings(tmp_path: Path) -> None:
    said = (
        host.microcode,
        host.cpu_governor,
        host.smt,
        host.huge_pages,
        host.numa_layout,
        host.os_image,
        host.shared_memory,
    )
    assert [ask(tmp_path) for ask in said] == [""] * len(said)
    assert host.firmware(tmp_path) == {}
    assert host.module_version("mlx5_core", tmp_path) == ""


def test_the_limit_of_locked_memory_is_that_of_this_process() -> None:
    code = (
        "import resource; resource.setrlimit(resource.RLIMIT_MEMLOCK, (65536, 65536));"
        "from hpcaccept.measure.host import host; print(host.locked_memory())"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout == "65536 bytes\n"


# --- this machine -----------------------------------------------------------------------------------------------------


def test_this_machine_answers_every_question() -> None:
    assert len(host.boot_id()) >= 1
    assert 0 < host.usable_cores() <= len(host.affinity())
    assert host.memory_bytes() > 1 << 20
    assert host.kernel().startswith(os.uname().sysname)
    assert host.cpu_model()


def test_a_smaller_affinity_leaves_fewer_cores() -> None:
    one = min(host.affinity())
    code = f"import os; os.sched_setaffinity(0, [{one}]); from hpcaccept.measure.host import host; print(host.usable_cores())"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert float(done.stdout) <= 1.0


@pytest.fixture
def half_a_core() -> Iterator[Path]:
    """A real cgroup v1 whose parent may use half a core."""
    outer = Path(f"/sys/fs/cgroup/cpu/hpcaccept-test-{os.getpid()}")
    try:
        (outer / "inner").mkdir(parents=True)
    except OSError as fault:
        pytest.skip(f"no cgroup v1 to write to: {fault}")
    (outer / "cpu.cfs_quota_us").write_text("50000")
    yield outer / "inner"
    (outer / "inner").rmdir()
    outer.rmdir()


def test_a_real_quota_on_the_parent_cgroup_is_seen(half_a_core: Path) -> None:
    code = (
        "import os, pathlib, sys; pathlib.Path(sys.argv[1], 'cgroup.procs').write_text(str(os.getpid()));"
        "from hpcaccept.measure.host import host; print(host.usable_cores())"
    )
    done = subprocess.run([sys.executable, "-c", code, str(half_a_core)], check=True, capture_output=True, text=True)
    assert float(done.stdout) == 0.5


@pytest.mark.parametrize(("cores", "quota", "binds"), [(2, 0.5, True), (2, 2.0, False), (1, None, False)])
def test_a_quota_binds_where_it_gives_less_than_the_processors_there_are(
    monkeypatch: pytest.MonkeyPatch, cores: int, quota: float | None, binds: bool
) -> None:
    monkeypatch.setattr(host, "affinity", lambda: frozenset(range(cores)))
    monkeypatch.setattr(host, "cpu_quota", lambda root: quota)
    assert host.quota_binds() is binds
