"""setup-nvme.sh on a node whose NVMe disks are loop devices, with Debian's own mdadm and xfsprogs; and cloud-init.yaml by cloud-init itself.

XFS is real wherever the kernel has it. An array needs the kernel's md: where it has none, a stand-in for mdadm takes exactly the command
line that the script must give, and the test with the real one says that it was not run.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.azure_node import LOCAL, MIB, REMOTE, ROOT, azure_node, why_not

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.azure_node import AzureNode

pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(why_not()), reason=why_not() or "-")]

PLACE = "/mnt/resource_nvme"
#: Takes what mdadm takes for a new array, and lets one disk stand for all: this tests the script, not mdadm.
MDADM = r"""
expected="--create /dev/md/resource_nvme --level=0 --raid-devices=$(($# - 7)) --metadata=1.2 --name=resource_nvme --homehost=any"
[[ "$*" == "$expected "* ]] || { echo "mdadm: unexpected: $*" >&2; exit 2; }
shift 7
[[ $# -ge 2 ]] || { echo "mdadm: $# is an unusual number of drives" >&2; exit 2; }
for disk in "$@"; do [[ -b $disk ]] || { echo "mdadm: $disk is no block device" >&2; exit 1; }; done
ln -s "$1" /dev/md/resource_nvme
"""
SYSTEMCTL = 'echo "$*" >>"$PLACE_OF_NODE/systemctl"\n[[ $* != "is-active --quiet docker" || -e "$PLACE_OF_NODE/docker-runs" ]]\n'


def has_xfs() -> bool:
    return "\txfs\n" in Path("/proc/filesystems").read_text()


@pytest.fixture(scope="session")
def tools(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.getbasetemp().parent / "hpcaccept-azure-packages"
    done = subprocess.run(
        ["bash", str(ROOT / "tests/system/azure/packages.sh"), str(folder)], capture_output=True, text=True, check=False
    )
    if done.returncode == 77:
        pytest.skip(done.stdout.strip())
    assert done.returncode == 0, done.stderr
    return folder / "root"


@pytest.fixture
def node(tmp_path: Path, tools: Path) -> Iterator[AzureNode]:
    if not has_xfs():
        pytest.skip("this kernel has no XFS")
    with azure_node(tmp_path, tools) as made:
        made.stand_in("docker", "exit 0\n")
        made.stand_in("systemctl", SYSTEMCTL)
        yield made


def setup(node: AzureNode) -> subprocess.CompletedProcess[str]:
    return node.run("/opt/setup-nvme.sh", PLACE_OF_NODE=str(node.place))


def on(node: AzureNode, script: str) -> str:
    done = node.run("bash", "-c", script)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def start_again(node: AzureNode) -> None:
    """What is mounted is gone; what stands on disks and in /etc stays."""
    on(node, f"umount {PLACE}")


# --- one disk, all real -----------------------------------------------------------------------------------------------


def test_a_blank_local_disk_becomes_a_file_system(node: AzureNode) -> None:
    node.disk()
    done = setup(node)
    assert done.returncode == 0, done.stderr
    assert "XFS over 1 of 1 local NVMe disks" in done.stdout
    assert on(node, f"findmnt --noheadings --output FSTYPE,SOURCE {PLACE} || grep {PLACE} /proc/mounts").startswith(
        ("xfs", "/dev/")
    )
    assert on(node, f"stat --format=%a {PLACE} {PLACE}/docker {PLACE}/huggingface").split() == ["1777", "710", "1777"]
    assert json.loads(on(node, "cat /etc/docker/daemon.json"))["data-root"] == f"{PLACE}/docker"
    assert f"HF_HOME={PLACE}/huggingface" in on(node, "cat /etc/environment").splitlines()


def test_a_second_run_changes_nothing_and_a_second_start_keeps_the_data(node: AzureNode) -> None:
    node.disk()
    setup(node)
    on(node, f"echo model > {PLACE}/huggingface/file")
    assert setup(node).returncode == 0
    start_again(node)
    done = setup(node)
    assert done.returncode == 0, done.stderr
    assert "XFS over" not in done.stdout
    assert on(node, f"cat {PLACE}/huggingface/file") == "model"


def test_a_machine_that_has_moved_has_blank_disks_again(node: AzureNode) -> None:
    file = node.disk()
    setup(node)
    start_again(node)
    with file.open("r+b") as stream:
        stream.truncate(0)
        stream.truncate(320 * MIB)
    assert "XFS over 1 of 1" in setup(node).stdout


# --- what is never taken ----------------------------------------------------------------------------------------------


def image(folder: Path, *command: str) -> bytes:
    """The first and last bytes of a disk that a real tool has written."""
    file = folder / "made"
    with file.open("wb") as stream:
        stream.truncate(64 * MIB)
    subprocess.run([*command, str(file)], check=True, capture_output=True)
    content = file.read_bytes()
    return content.rstrip(b"\0")


def held(file: Path) -> list[tuple[int, bytes]]:
    """What a file holds: where, and the blocks that are not zeros. What was never written is zeros too."""
    found = []
    with file.open("rb") as stream:
        handle, end, at = stream.fileno(), file.stat().st_size, 0
        while at < end:
            try:
                at = os.lseek(handle, at, os.SEEK_DATA)
            except OSError:
                break
            until = os.lseek(handle, at, os.SEEK_HOLE)
            content = os.pread(handle, until - at, at)
            blocks = ((at + begin, content[begin : begin + 4096]) for begin in range(0, len(content), 4096))
            found += [(where, block) for where, block in blocks if any(block)]
            at = until
    return found


def untouched(node: AzureNode, file: Path, *, says: str, status: int = 1) -> None:
    before = held(file)
    done = setup(node)
    assert done.returncode == status, done.stdout + done.stderr
    assert says in done.stdout + done.stderr
    assert held(file) == before
    assert node.run("mountpoint", "--quiet", PLACE).returncode != 0


@pytest.mark.parametrize(
    ("command", "says"),
    [
        (("mkfs.ext4", "-q", "-F"), "TYPE=ext4"),
        (("mkswap",), "TYPE=swap"),
    ],
)
def test_a_disk_with_something_on_it_is_left_alone(
    node: AzureNode, tmp_path: Path, command: tuple[str, ...], says: str
) -> None:
    untouched(node, node.disk(content=image(tmp_path, *command)), says=says)


def test_a_disk_with_a_table_of_partitions_is_left_alone(node: AzureNode) -> None:
    file = node.disk()
    on(node, "echo 'label: gpt' | sfdisk --quiet --no-reread --no-tell-kernel /dev/nvme0n1")
    untouched(node, file, says="PTTYPE=gpt")


@pytest.mark.parametrize("size", [320 * MIB, 320 * MIB + 512 * 1024, 320 * MIB + 4096])
@pytest.mark.parametrize("at", [0, 4096, MIB - 512, -4096, -512, 512 - MIB])
def test_data_of_an_unknown_kind_is_left_alone(node: AzureNode, at: int, size: int) -> None:
    """To the very end: the sizes of disks are no multiples of a MiB."""
    untouched(node, node.disk(size=size, content=b"\x5a" * 512, at=at), says="holds data of an unknown kind")


#: What writes on a disk → what the script says of it. All are the real programs.
LVM = (
    'lvm pvcreate --quiet --yes --config \'devices{use_devicesfile=0 types=["loop",16]} activation{udev_sync=0 udev_rules=0} '
    "backup{backup=0 archive=0}' /dev/nvme0n1"
)
WRITERS = {
    "ext3": ("mkfs.ext3 -q -F /dev/nvme0n1", "TYPE=ext3"),
    "ext4 without a header of its own": ("mkfs.ext4 -q -F -b 4096 /dev/nvme0n1; dd if=/dev/zero of=/dev/nvme0n1 bs=1k count=1 conv=notrunc status=none", "TYPE=ext4"),
    "xfs": ("mkfs.xfs -q /dev/nvme0n1", "TYPE=xfs"),
    "btrfs": ("mkfs.btrfs -q /dev/nvme0n1", "TYPE=btrfs"),
    "vfat": ("mkfs.vfat /dev/nvme0n1", "TYPE=vfat"),
    "minix": ("mkfs.minix /dev/nvme0n1", "TYPE=minix"),
    "squashfs": ("mksquashfs /etc/hostname /dev/nvme0n1 -noappend -quiet", "TYPE=squashfs"),
    "swap": ("mkswap /dev/nvme0n1", "TYPE=swap"),
    "LVM": (LVM, "TYPE=LVM2_member"),
    "LUKS 1": ("echo word | cryptsetup luksFormat --batch-mode --type luks1 --pbkdf-force-iterations 1000 /dev/nvme0n1 -", "TYPE=crypto_LUKS"),
    "LUKS 2": ("echo word | cryptsetup luksFormat --batch-mode --type luks2 --pbkdf pbkdf2 --pbkdf-force-iterations 1000 /dev/nvme0n1 -", "TYPE=crypto_LUKS"),
    "GPT, empty": ("echo 'label: gpt' | sfdisk --quiet --no-reread --no-tell-kernel /dev/nvme0n1", "PTTYPE=gpt"),
    "GPT, one partition": ("printf 'label: gpt\\n,100M\\n' | sfdisk --quiet --no-reread --no-tell-kernel /dev/nvme0n1", "PTTYPE=gpt"),
    "GPT whose first half is gone": ("echo 'label: gpt' | sfdisk --quiet --no-reread --no-tell-kernel /dev/nvme0n1; dd if=/dev/zero of=/dev/nvme0n1 bs=1M count=1 conv=notrunc status=none", "left alone"),
    "MBR": ("printf 'label: dos\\n,100M\\n' | sfdisk --quiet --no-reread --no-tell-kernel /dev/nvme0n1", "PTTYPE=dos"),
    "Sun": ("echo 'label: sun' | sfdisk --quiet --no-reread --no-tell-kernel /dev/nvme0n1", "left alone"),
    "file systems of two kinds": ("mkfs.vfat /dev/nvme0n1; mkfs.btrfs -q -f /dev/nvme0n1; mkswap /dev/nvme0n1", "left alone"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRITERS)
def test_what_a_real_program_has_written_is_left_alone(node: AzureNode, name: str) -> None:
    script, says = WRITERS[name]
    file = node.disk()
    on(node, f"set -e; {script}")
    # What stays in the cache of the loop device is no change by the script.
    on(node, "sync")
    untouched(node, file, says=says)


def superblock(major: int, minor: int, at_sector: int) -> bytes:
    """The beginning of what mdadm writes (linux/raid/md_p.h): the kernel here has no md that could write it."""
    magic = (0xA92B4EFC).to_bytes(4, "little")
    if not major:
        words = [0, minor, 0, 64, 0x11111111, 1700000000, 0, 100, 2, 2]
        return magic + b"".join(word.to_bytes(4, "little") for word in words) + b"\1" * 84
    head = magic + (1).to_bytes(4, "little") + bytes(8) + b"\1" * 16 + b"node:data".ljust(32, b"\0")
    return head.ljust(144, b"\0") + at_sector.to_bytes(8, "little") + b"\1" * 88


@pytest.mark.parametrize(
    ("version", "at"),
    [((0, 90), 320 * MIB - 65536), ((1, 0), 320 * MIB - 8192), ((1, 1), 0), ((1, 2), 4096)],
    ids=["0.90", "1.0", "1.1", "1.2"],
)
def test_a_member_of_an_array_of_any_version_is_left_alone(node: AzureNode, version: tuple[int, int], at: int) -> None:
    says = "TYPE=linux_raid_member"
    untouched(node, node.disk(content=superblock(*version, at // 512), at=at), says=says)


@pytest.mark.parametrize(
    ("content", "at"),
    [
        (b"Intel Raid ISM Cfg Sig. 1.3.00", -1024),
        (b"\xde\x11\xde\x11" + b"\1" * 60, -512),
        ((0x00BAB10C).to_bytes(8, "little"), 128 * 1024),
        (b"bluestore block device\n", 0),
        (b"\xc6\x85\x73\xf6\x4e\x1a\x45\xca\x82\x65\xf5\x7f\x48\xba\x6d\x81", 4096 + 24),
    ],
    ids=["Intel RAID", "DDF RAID", "ZFS", "Ceph", "bcache"],
)
def test_signatures_of_other_owners_are_left_alone(node: AzureNode, content: bytes, at: int) -> None:
    untouched(node, node.disk(content=content, at=at), says="left alone")


def test_a_disk_that_is_part_of_something_is_left_alone(node: AzureNode) -> None:
    """A blank disk with something above it, as lsblk sees it: there is no device mapper here that could take one."""
    file = node.disk()
    node.stand_in("lsblk", "printf 'nvme0n1 \\nvg-scratch \\n'")
    untouched(node, file, says="it has partitions or is part of something")
    node.stand_in("lsblk", "echo 'lsblk: failed' >&2; exit 1")
    untouched(node, file, says="lsblk cannot read it")


@pytest.mark.parametrize("tool", ["lsblk", "blkid", "blockdev", "dd", "cmp", "head"])
def test_a_look_that_fails_takes_nothing(node: AzureNode, tool: str) -> None:
    file = node.disk()
    node.stand_in(tool, "exit 1\n")
    untouched(node, file, says="left alone")


def test_a_disk_that_is_swapped_to_is_left_alone(node: AzureNode) -> None:
    file = node.disk()
    on(node, "mkswap /dev/nvme0n1")
    if node.run("swapon", "/dev/nvme0n1").returncode:
        pytest.skip("this machine does not let a loop device be swapped to")
    try:
        untouched(node, file, says="left alone")
        assert "nvme0n1" in on(node, "cat /proc/swaps") or "loop" in on(node, "cat /proc/swaps")
    finally:
        on(node, "swapoff /dev/nvme0n1")


def test_a_disk_that_is_mounted_by_a_part_of_it_only_is_left_alone(node: AzureNode) -> None:
    """A bind mount outlives the mount that it was made of."""
    file = node.disk()
    on(
        node,
        "set -e; mkfs.ext4 -q -F /dev/nvme0n1; mkdir /mnt/whole /mnt/part; mount /dev/nvme0n1 /mnt/whole; mkdir /mnt/whole/data; "
        "echo kept >/mnt/whole/data/file; mount --bind /mnt/whole/data /mnt/part; umount /mnt/whole; sync",
    )
    done = setup(node)
    assert done.returncode == 1
    assert "nvme0n1 is left alone" in done.stdout
    assert on(node, "cat /mnt/part/file") == "kept"
    on(node, "umount /mnt/part")
    assert file.exists()


def test_a_place_that_somebody_has_mounted_stays_what_it_is(node: AzureNode) -> None:
    """Bound from a folder of somebody's: no disk is looked at, and none is taken."""
    file = node.disk()
    on(node, f"mkdir -p /mnt/big {PLACE}; echo kept >/mnt/big/file; mount --bind /mnt/big {PLACE}")
    assert setup(node).returncode == 0
    assert on(node, f"cat {PLACE}/file") == "kept"
    assert held(file) == []


def test_a_file_system_of_another_kind_with_our_label_is_not_made_anew(node: AzureNode) -> None:
    file = node.disk()
    on(node, "mkfs.ext4 -q -F -L resourcenvme /dev/nvme0n1; sync")
    untouched(node, file, says="cannot be mounted")


def test_beside_every_kind_of_owner_only_the_blank_disk_is_taken(node: AzureNode) -> None:
    files = []
    for number, name in enumerate(("ext3", "LVM", "MBR", "swap", "LUKS 2")):
        files.append(node.disk())
        on(node, f"set -e; {WRITERS[name][0].replace('nvme0n1', f'nvme{number}n1')}; sync")
    node.disk()
    before = [held(file) for file in files]
    done = setup(node)
    assert done.returncode == 0, done.stderr
    assert "/dev/nvme5n1: XFS over 1 of 6 local NVMe disks" in done.stdout
    assert [held(file) for file in files] == before


def test_an_xfs_of_somebody_else_is_left_alone(node: AzureNode) -> None:
    file = node.disk()
    on(node, "mkfs.xfs -q -L scratch /dev/nvme0n1")
    untouched(node, file, says="TYPE=xfs")


def test_a_member_of_an_array_is_left_alone(node: AzureNode) -> None:
    # A superblock of version 1.2 as mdadm writes it begins 4 KiB into the disk with this number.
    file = node.disk(content=(0xA92B4EFC).to_bytes(4, "little") + (1).to_bytes(4, "little") + b"\1" * 248, at=4096)
    untouched(node, file, says="left alone")


def test_a_mounted_disk_is_left_alone(node: AzureNode) -> None:
    file = node.disk()
    on(node, "mkfs.xfs -q /dev/nvme0n1; mkdir /mnt/other; mount /dev/nvme0n1 /mnt/other")
    done = setup(node)
    assert done.returncode == 1
    assert "nvme0n1 is left alone" in done.stdout
    assert on(node, "mountpoint /mnt/other")
    on(node, "umount /mnt/other")
    assert file.exists()


def test_a_remote_disk_is_no_candidate(node: AzureNode) -> None:
    untouched(node, node.disk(model=REMOTE), says="no local NVMe disk", status=0)


def test_only_the_blank_ones_of_several_are_taken(node: AzureNode, tmp_path: Path) -> None:
    kept = node.disk(content=image(tmp_path, "mkfs.ext4", "-q", "-F"))
    node.disk()
    remote = node.disk(model=REMOTE)
    before = held(kept), held(remote)
    done = setup(node)
    assert done.returncode == 0, done.stderr
    assert "nvme0n1 is left alone: blkid finds something" in done.stdout
    assert "/dev/nvme1n1: XFS over 1 of 2 local NVMe disks" in done.stdout
    assert (held(kept), held(remote)) == before


# --- several disks ----------------------------------------------------------------------------------------------------


def test_several_blank_disks_become_one_array(node: AzureNode) -> None:
    node.stand_in("mdadm", MDADM)
    for _ in range(3):
        node.disk(model=LOCAL)
    done = setup(node)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "/dev/md/resource_nvme: XFS over 3 of 3 local NVMe disks" in done.stdout
    assert node.run("mountpoint", "--quiet", PLACE).returncode == 0


@pytest.mark.skipif(Path("/proc/mdstat").exists(), reason="this kernel has md: the next test is the real one")
def test_where_no_array_can_be_made_nothing_is_touched(node: AzureNode) -> None:
    files = [node.disk() for _ in range(2)]
    done = setup(node)
    assert done.returncode == 1
    assert "no file system could be made of /dev/nvme0n1 /dev/nvme1n1" in done.stderr
    assert not any(any(content) for file in files for _, content in held(file))


@pytest.mark.skipif(not Path("/proc/mdstat").exists(), reason="this kernel has no md (CONFIG_MD): no array can be made")
def test_a_real_array_is_made_and_found_again(node: AzureNode) -> None:
    for _ in range(2):
        node.disk()
    assert "XFS over 2 of 2" in setup(node).stdout
    on(node, f"echo model > {PLACE}/huggingface/file")
    start_again(node)
    on(node, "mdadm --stop /dev/md/resource_nvme")
    assert setup(node).returncode == 0
    assert on(node, f"cat {PLACE}/huggingface/file") == "model"
    start_again(node)
    on(node, "mdadm --stop /dev/md/resource_nvme")


# --- Docker and Hugging Face ------------------------------------------------------------------------------------------


def test_other_settings_of_docker_stay_and_it_is_restarted_once(node: AzureNode) -> None:
    settings = {"default-runtime": "nvidia", "runtimes": {"nvidia": {"path": "nvidia-container-runtime"}}}
    on(
        node,
        f"mkdir -p /etc/docker; echo '{json.dumps(settings)}' > /etc/docker/daemon.json; touch {node.place}/docker-runs",
    )
    node.disk()
    setup(node)
    setup(node)
    assert json.loads(on(node, "cat /etc/docker/daemon.json")) == {**settings, "data-root": f"{PLACE}/docker"}
    assert (node.place / "systemctl").read_text().splitlines().count("restart docker") == 1


def test_settings_that_are_no_json_are_left_alone(node: AzureNode) -> None:
    on(node, "mkdir -p /etc/docker; echo '{\"data-root\": ' > /etc/docker/daemon.json")
    node.disk()
    done = setup(node)
    assert done.returncode == 0
    assert "daemon.json is no JSON" in done.stderr
    assert on(node, "cat /etc/docker/daemon.json") == '{"data-root":'


def test_without_the_disks_docker_goes_back_to_its_own_place(node: AzureNode) -> None:
    on(
        node,
        f'mkdir -p /etc/docker; echo \'{{"data-root": "{PLACE}/docker", "debug": true}}\' > /etc/docker/daemon.json',
    )
    on(node, f"printf 'PATH=/usr/bin\\nHF_HOME={PLACE}/huggingface\\n' > /etc/environment")
    assert setup(node).returncode == 0
    assert json.loads(on(node, "cat /etc/docker/daemon.json")) == {"debug": True}
    assert on(node, "cat /etc/environment") == "PATH=/usr/bin"


def test_a_place_of_dockers_that_somebody_else_chose_stays(node: AzureNode) -> None:
    on(node, 'mkdir -p /etc/docker; echo \'{"data-root": "/data/docker"}\' > /etc/docker/daemon.json')
    assert setup(node).returncode == 0
    assert json.loads(on(node, "cat /etc/docker/daemon.json")) == {"data-root": "/data/docker"}


# --- cloud-init.yaml --------------------------------------------------------------------------------------------------


def schema(tools: Path, file: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["/usr/bin/python3", "-m", "cloudinit.cmd.main", "schema", "--config-file", str(file)],
        env={**os.environ, "PYTHONPATH": str(tools / "usr/lib/python3/dist-packages")},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_cloud_init_itself_accepts_the_file(tools: Path, tmp_path: Path) -> None:
    done = schema(tools, ROOT / "azure" / "cloud-init.yaml")
    assert done.returncode == 0, done.stderr
    assert "Valid" in done.stdout
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text("#cloud-config\nruncmd: 3\n")
    assert schema(tools, wrong).returncode == 1
