"""The machine that this process runs on, and how much of it may be used.

Readers take ``root`` (a folder that stands for ``/``) where they read more than one file; parsers take text. Bytes and
counts, no prefixes. Every reader answers on a machine without ``/proc`` (a laptop with macOS) as well.

Traps:
    * A container sees the whole host in ``/proc/cpuinfo`` and ``/proc/meminfo``; what it may *use* is in its cgroup.
    * A job sees its own cgroup, but a limit may sit on any of its parents: Slurm puts it on the job, Kubernetes
      on the pod.
    * A processor here is a hardware thread: with SMT on, two of them share one core.

Sources:
    * proc(5): https://man7.org/linux/man-pages/man5/proc.5.html, cgroups(7): …/man7/cgroups.7.html
    * cgroup v1: https://docs.kernel.org/scheduler/sched-bwc.html (``cpu.cfs_*``),
      https://docs.kernel.org/admin-guide/cgroup-v1/memory.html
    * cgroup v2: https://docs.kernel.org/admin-guide/cgroup-v2.html (``cpu.max``, ``memory.max``)
    * os-release(5): https://www.freedesktop.org/software/systemd/man/latest/os-release.html
"""

from __future__ import annotations

import os
import re
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_ROOT = Path("/")

#: "CPU part" of Arm Ltd. (implementer 0x41) → name; arm64 has no "model name". Servers only.
#: https://github.com/torvalds/linux/blob/master/arch/arm64/include/asm/cputype.h (2026-10)
_ARM_PARTS = {
    "0xd0c": "Arm Neoverse-N1",
    "0xd40": "Arm Neoverse-V1",
    "0xd49": "Arm Neoverse-N2",
    "0xd4f": "Arm Neoverse-V2",
    "0xd84": "Arm Neoverse-V3",
    "0xd8e": "Arm Neoverse-N3",
}


# --- who --------------------------------------------------------------------------------------------------------------


def hostname() -> str:
    """The name this host gives itself; inside a container this may be the container's."""
    return os.uname().nodename


def boot_id(root: Path = _ROOT) -> str:
    """Names the running kernel: the same in all containers of a host, another one after a reboot.

    Where there is none (not Linux) it is the host name.
    """
    return kernel_text(root / "proc/sys/kernel/random/boot_id").strip() or hostname()


def process_age_s() -> float:
    """Seconds since this process was started, the start-up of Python included; 0 where the kernel does not say.

    Source: https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html (``starttime``)
    """
    words = kernel_text(Path("/proc/self/stat")).rpartition(")")[2].split()
    try:
        return max(0.0, time.clock_gettime(time.CLOCK_BOOTTIME) - int(words[19]) / os.sysconf("SC_CLK_TCK"))
    except (AttributeError, IndexError, ValueError):
        return 0.0


def kernel() -> str:
    """``Linux 5.15.0-1064-azure x86_64``."""
    name = os.uname()
    return f"{name.sysname} {name.release} {name.machine}"


def os_release(root: Path = _ROOT) -> str:
    """``Ubuntu 22.04.5 LTS``: of the image that this process runs in, not of the host around it."""
    text = kernel_text(root / "etc/os-release") or kernel_text(root / "usr/lib/os-release")
    return parse_os_release(text) or os.uname().sysname


def parse_os_release(text: str) -> str:
    """The pretty name in os-release, or name and version, or nothing."""
    pairs = (line.split("=", 1) for line in text.splitlines() if "=" in line and not line.startswith("#"))
    found = {key.strip(): value.strip().strip("\"'") for key, value in pairs}
    return found.get("PRETTY_NAME", "") or f"{found.get('NAME', '')} {found.get('VERSION_ID', '')}".strip()


# --- processors -------------------------------------------------------------------------------------------------------


def affinity() -> frozenset[int]:
    """Processors this process may be scheduled on: what the cpuset and ``--cpu-bind`` left it."""
    if hasattr(os, "sched_getaffinity"):
        return frozenset(os.sched_getaffinity(0))
    return frozenset(range(os.cpu_count() or 1))


def usable_cores(root: Path = _ROOT) -> float:
    """Processors' worth of time this process may use: its affinity, or the CPU quota where that is less.

    A quota may be a fraction (1.5). It is a limit, not a promise: other processes may be using the same processors.
    """
    quota = cpu_quota(root)
    mine = float(len(affinity()))
    return mine if quota is None else min(mine, quota)


def quota_binds(root: Path = _ROOT) -> bool:
    """True where a CPU quota gives less time than the processors that may be used: this process runs in slices, and stands still between them."""
    quota = cpu_quota(root)
    return quota is not None and quota < len(affinity())


def cpu_quota(root: Path = _ROOT) -> float | None:
    """The smallest CPU quota on the way from the process's own cgroup up, in processors; None without one."""
    v1 = (
        parse_cfs_quota(kernel_text(f / "cpu.cfs_quota_us"), kernel_text(f / "cpu.cfs_period_us"))
        for f in _folders("cpu", root)
    )
    v2 = (parse_cpu_max(kernel_text(f / "cpu.max")) for f in _folders("", root))
    return min((quota for quota in (*v1, *v2) if quota is not None), default=None)


def cpu_stats(root: Path = _ROOT) -> tuple[str, ...]:
    """The text of ``cpu.stat`` of the process's own cgroup, then of each that is above it and can be seen."""
    return tuple(text for f in (*_folders("cpu", root), *_folders("", root)) if (text := kernel_text(f / "cpu.stat")))


def parse_cfs_quota(quota: str, period: str) -> float | None:
    """Processors in ``cpu.cfs_quota_us`` and ``cpu.cfs_period_us``; None for ``-1`` or an absent file."""
    if not quota.strip() or not period.strip() or int(quota) <= 0:
        return None
    return int(quota) / int(period)


def parse_cpu_max(text: str) -> float | None:
    """Processors in ``cpu.max`` (``150000 100000`` → 1.5); None for ``max`` or an absent file."""
    quota, _, period = text.strip().partition(" ")
    if quota in ("", "max"):
        return None
    return int(quota) / int(period or 100_000)


def cpu_model(root: Path = _ROOT) -> str:
    """Model name of the processor, or the architecture where the kernel does not say."""
    return parse_cpu_model(kernel_text(root / "proc/cpuinfo")) or os.uname().machine


def parse_cpu_model(text: str) -> str:
    """The model in ``/proc/cpuinfo``: ``model name`` (x86), ``cpu`` (POWER), or implementer and part (arm64)."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        key, colon, value = line.partition(":")
        if colon:
            found.setdefault(key.strip(), " ".join(value.split()))
    if name := found.get("model name") or found.get("cpu"):
        return name
    implementer, part = found.get("CPU implementer"), found.get("CPU part")
    if not implementer or not part:
        return ""
    known = _ARM_PARTS.get(part) if implementer == "0x41" else None
    return known or f"Arm implementer {implementer} part {part}"


def is_virtual_machine(root: Path = _ROOT) -> bool:
    """True where a hypervisor says that it is there (x86: the flag of CPUID; arm64 tells nothing in this file)."""
    return re.search(r"^flags\s*:.*\bhypervisor\b", kernel_text(root / "proc/cpuinfo"), re.MULTILINE) is not None


def physical_cores(allowed: Iterable[int], root: Path = _ROOT) -> frozenset[str]:
    """Names of the cores to which hardware threads belong: two threads of one core give one name.

    Where the kernel knows no topology, each hardware thread is a core.
    """
    return frozenset(_word(root / _CPUS / f"cpu{cpu}/topology/thread_siblings_list") or str(cpu) for cpu in allowed)


def sockets(root: Path = _ROOT) -> int:
    """Processor packages of the host, whatever this process may use of them; 1 where the kernel does not say."""
    files = (root / "sys/devices/system/cpu").glob("cpu[0-9]*/topology/physical_package_id")
    return len({kernel_text(file).strip() for file in files}) or 1


def numa_nodes(root: Path = _ROOT) -> dict[int, frozenset[int]]:
    """NUMA node → its processors, for the nodes that have any.

    Memory-only nodes are left out: on Grace Hopper the memory of each GPU appears as some. Empty where the kernel knows
    no NUMA.
    """
    files = (root / "sys/devices/system/node").glob("node[0-9]*/cpulist")
    nodes = {int(file.parent.name[len("node") :]): parse_cpu_list(kernel_text(file)) for file in files}
    return {node: nodes[node] for node in sorted(nodes) if nodes[node]}


def parse_cpu_list(text: str) -> frozenset[int]:
    """The kernel's list format: ``0-3,8`` is {0, 1, 2, 3, 8}; an empty text is the empty set."""
    found: set[int] = set()
    for part in filter(None, text.strip().split(",")):
        first, _, last = part.partition("-")
        found.update(range(int(first), int(last or first) + 1))
    return frozenset(found)


# --- memory -----------------------------------------------------------------------------------------------------------


def memory_bytes(root: Path = _ROOT) -> int:
    """Memory this process may use: the host's ``MemTotal``, or the cgroup's limit where that is less.

    ``MemTotal`` is what the kernel manages: a little less than what is installed, and less again when a module is gone.
    """
    total = parse_mem_total(kernel_text(root / "proc/meminfo")) or os.sysconf("SC_PHYS_PAGES") * os.sysconf(
        "SC_PAGE_SIZE"
    )
    limit = memory_limit_bytes(root)
    return total if limit is None else min(total, limit)


def memory_limit_bytes(root: Path = _ROOT) -> int | None:
    """The smallest memory limit on the way from the process's own cgroup up; None without one."""
    v1 = (parse_memory_limit(kernel_text(f / "memory.limit_in_bytes")) for f in _folders("memory", root))
    v2 = (parse_memory_limit(kernel_text(f / "memory.max")) for f in _folders("", root))
    return min((limit for limit in (*v1, *v2) if limit is not None), default=None)


def parse_memory_limit(text: str) -> int | None:
    """Bytes in ``memory.max`` (v2) or ``memory.limit_in_bytes`` (v1); None for no limit or an absent file.

    No limit is ``max`` in v2, and the largest page-aligned number below 2**63 in v1.
    """
    if text.strip() in ("", "max"):
        return None
    limit = int(text)
    return limit if limit < 2**62 else None


def parse_mem_total(text: str) -> int | None:
    """Bytes of ``MemTotal`` in ``/proc/meminfo``, whose "kB" are KiB; None when the line is missing."""
    match = re.search(r"^MemTotal:\s+(\d+) kB$", text, re.MULTILINE)
    return int(match[1]) * 1024 if match else None


# --- cgroups ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class CgroupMount:
    """One mounted cgroup hierarchy.

    Attributes:
        top: the cgroup that is visible at the mount point: ``/``, or in some containers their own.
        point: where it is mounted.
        controllers: v1 controllers of the hierarchy; ``""`` stands for the v2 hierarchy, as in ``/proc/self/cgroup``.
    """

    top: str
    point: str
    controllers: frozenset[str]


def parse_cgroup(text: str) -> dict[str, str]:
    """Controller → path of the process's cgroup, from ``/proc/self/cgroup``; ``""`` is the v2 hierarchy."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        _number, controllers, path = line.split(":", 2)
        found.update(dict.fromkeys(controllers.split(","), path))
    return found


def parse_cgroup_mounts(text: str) -> tuple[CgroupMount, ...]:
    """The cgroup hierarchies in ``/proc/self/mountinfo``."""
    mounts = []
    for line in text.splitlines():
        # id parent major:minor top point options [tags …] - kind source options-of-the-file-system
        mount, _, filesystem = line.partition(" - ")
        kind, _source, options = filesystem.split(" ", 2)
        if kind in ("cgroup", "cgroup2"):
            top, point = mount.split(" ")[3:5]
            controllers = options.split(",") if kind == "cgroup" else [""]
            mounts.append(CgroupMount(top, point, frozenset(controllers)))
    return tuple(mounts)


def cgroup_folders(controller: str, path: str, mounts: Iterable[CgroupMount]) -> tuple[str, ...]:
    """Folders to look for a limit in: the process's own cgroup, then every parent that can be seen.

    Of a cgroup outside of what is mounted (``/../job_7``, seen from within a cgroup namespace) only the mount point is
    left.

    Args:
        controller: ``cpu``, ``memory``, or ``""`` for v2.
        path: of the process's cgroup in that hierarchy.
        mounts: what is mounted.
    """
    found: list[str] = []
    for mount in mounts:
        if controller in mount.controllers:
            below = _below(path, mount.top)
            found += ["/".join([mount.point, *below[:depth]]) for depth in range(len(below), -1, -1)]
    return tuple(found)


def _below(path: str, top: str) -> list[str]:
    """The names that lead from ``top`` down to ``path``; none when it lies elsewhere."""
    names, start = [name for name in path.split("/") if name], [name for name in top.split("/") if name]
    return names[len(start) :] if names[: len(start)] == start and ".." not in names else []


def _folders(controller: str, root: Path) -> tuple[Path, ...]:
    path = parse_cgroup(kernel_text(root / "proc/self/cgroup")).get(controller)
    if path is None:
        return ()
    mounts = parse_cgroup_mounts(kernel_text(root / "proc/self/mountinfo"))
    return tuple(root / folder.lstrip("/") for folder in cgroup_folders(controller, path, mounts))


def kernel_text(path: Path) -> str:
    """The text of a kernel file, or nothing where this kernel (or this container) has no such file."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def cgroup(root: Path = _ROOT) -> str:
    """The control groups of this process as the kernel lists them: alike for processes that share their limits."""
    return kernel_text(root / "proc/self/cgroup")


# --- file systems -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Mount:
    """One mounted file system.

    Attributes:
        point: where.
        kind: ``ext4``, ``lustre``, ``nfs4``, ``tmpfs`` …
        source: device or server (``/dev/nvme0n1p1``, ``10.0.0.5@o2ib:/fs``).
    """

    point: str
    kind: str
    source: str


def parse_mounts(text: str) -> tuple[Mount, ...]:
    """The file systems in ``/proc/self/mountinfo``, in the order in which they were mounted."""
    mounts = []
    for line in text.splitlines():
        mount, dash, filesystem = line.partition(" - ")
        if dash:
            kind, source, *_options = filesystem.split(" ")
            mounts.append(Mount(_unescaped(mount.split(" ")[4]), kind, _unescaped(source)))
    return tuple(mounts)


def mount_of(path: Path, root: Path = _ROOT) -> Mount | None:
    """The file system that a path lies on; None where the kernel does not say."""
    real = path.resolve()
    above = [m for m in parse_mounts(kernel_text(root / "proc/self/mountinfo")) if real.is_relative_to(m.point)]
    # Of two mounts on one point the later one hides the earlier one.
    return max(reversed(above), key=lambda mount: len(mount.point), default=None)


def _unescaped(text: str) -> str:
    """Blanks are written as the octal ``040`` after a backslash in mountinfo, as proc(5) says."""
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), text)


# --- settings that should be alike ------------------------------------------------------------------------------------

#: Fact → file under /sys/class/dmi/id that any user may read (serial numbers are for root, and unique).
_FIRMWARE = {
    "product": ("sys_vendor", "product_name", "product_version"),
    "board": ("board_vendor", "board_name", "board_version"),
    "bios": ("bios_vendor", "bios_version", "bios_date"),
}
_CPUS = "sys/devices/system/cpu"
_BINARY_PREFIXES = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


def firmware(root: Path = _ROOT) -> dict[str, str]:
    """Product, board and BIOS of the host in the words of its DMI tables; absent where there are none.

    Source: https://www.kernel.org/doc/Documentation/ABI/testing/sysfs-class-dmi
    """
    texts = {fact: " ".join(_word(root / "sys/class/dmi/id" / f) for f in files) for fact, files in _FIRMWARE.items()}
    return {fact: " ".join(text.split()) for fact, text in texts.items() if text.strip()}


def microcode(root: Path = _ROOT) -> str:
    """Version of the processors' microcode (``0x2b000603``), of each version where they differ; nothing off x86."""
    found = re.findall(r"^microcode\s*:\s*(\S+)", kernel_text(root / "proc/cpuinfo"), re.MULTILINE)
    return ", ".join(sorted(set(found)))


def cpu_governor(root: Path = _ROOT) -> str:
    """Governor of the processors' clocks, with a count where they differ; nothing where the host (or a VM) has none."""
    files = (root / _CPUS).glob("cpu[0-9]*/cpufreq/scaling_governor")
    counts = Counter(word for word in map(_word, files) if word)
    if len(counts) == 1:
        return next(iter(counts))
    return ", ".join(f"{governor} on {count} processors" for governor, count in sorted(counts.items()))


def smt(root: Path = _ROOT) -> str:
    """``on``, ``off``, ``forceoff``, ``notsupported``: hardware threads; nothing where the kernel does not say.

    Source: https://www.kernel.org/doc/Documentation/ABI/testing/sysfs-devices-system-cpu
    """
    return _word(root / _CPUS / "smt/control")


def huge_pages(root: Path = _ROOT) -> str:
    """``transparent: madvise; reserved: 0 of 2048 kB``; nothing where the kernel knows neither.

    Source: https://docs.kernel.org/admin-guide/mm/transhuge.html, https://docs.kernel.org/admin-guide/mm/hugetlbpage.html
    """
    meminfo = kernel_text(root / "proc/meminfo")
    chosen = re.search(r"\[(\w+)\]", kernel_text(root / "sys/kernel/mm/transparent_hugepage/enabled"))
    count = re.search(r"^HugePages_Total:\s+(\d+)$", meminfo, re.MULTILINE)
    size = re.search(r"^Hugepagesize:\s+(\d+ kB)$", meminfo, re.MULTILINE)
    parts = [f"transparent: {chosen[1]}"] if chosen else []
    parts += [f"reserved: {count[1]} of {size[1]}"] if count and size else []
    return "; ".join(parts)


def numa_layout(root: Path = _ROOT) -> str:
    """``2 nodes: 0-47 | 48-95``: which processors each NUMA node has; nothing where the kernel knows no NUMA."""
    files = {node: _word(root / "sys/devices/system/node" / f"node{node}" / "cpulist") for node in numa_nodes(root)}
    count = len(files)
    return f"{count} node{'s' if count > 1 else ''}: {' | '.join(files.values())}" if files else ""


def locked_memory() -> str:
    """How much memory this process may lock: RDMA registers memory, and a small limit makes it fail or fall back."""
    try:
        import resource
    except ImportError:  # not Unix
        return ""
    soft, _hard = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    return "unlimited" if soft == resource.RLIM_INFINITY else f"{soft} bytes"


def shared_memory(root: Path = _ROOT) -> str:
    """Size of ``/dev/shm``, to two digits: half of the memory by default, which differs by some pages on like hosts."""
    try:
        found = os.statvfs(root / "dev/shm")
    except OSError:
        return ""
    return f"{found.f_blocks * found.f_frsize / (1 << 30):.2g} GiB" if found.f_blocks else ""


def os_image(root: Path = _ROOT) -> str:
    """Which build of an image the system is, where it says so: os-release's IMAGE_ID …, or ``/etc/dgx-release``."""
    text = kernel_text(root / "etc/os-release") + kernel_text(root / "etc/dgx-release")
    named = r"^(?:IMAGE_ID|IMAGE_VERSION|BUILD_ID|DGX_SWBUILD_VERSION|DGX_OTA_VERSION)=[\"']?([^\"'\n]+)"
    return " ".join(re.findall(named, text, re.MULTILINE))


def module_version(name: str, root: Path = _ROOT) -> str:
    """Version of a loaded kernel module that has one of its own (drivers from outside of the kernel)."""
    return _word(root / "sys/module" / name / "version")


def _word(path: Path) -> str:
    return kernel_text(path).strip()


def parse_cache_size(text: str) -> int:
    """``"107520K"`` → bytes."""
    number = text.strip()
    return int(number[:-1]) * _BINARY_PREFIXES[number[-1]] if number[-1:] in _BINARY_PREFIXES else int(number or 0)
