"""Times how fast local and shared storage read and write, and verifies what was written."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from hpcaccept.errors import HpcacceptError, ToolError
from hpcaccept.measure.host import host
from hpcaccept.model.check import Check, CheckContext, Unavailable
from hpcaccept.model.finding_code import FindingCode
from hpcaccept.model.metric import Metric, at_most
from hpcaccept.model.parameter import HOUR_S, MOST_BLOCKS, MOST_BYTES, WEEK_S, param
from hpcaccept.parse.fio import DEVICE_ERRORS, Job, parse_fio
from hpcaccept.transport.tool import run_tool
from hpcaccept.units import show, show_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

#: Name of the folders that this check makes, and of the file in them that says whose they are.
PREFIX, MARKER = "hpcaccept-storage-", "made-by-hpcaccept"
#: A folder of an earlier run that is older than this cannot belong to a run that is still going on.
STALE_S = 86400.0
#: File systems that keep their files in memory: they take O_DIRECT and have no device behind them.
IN_MEMORY = frozenset({"tmpfs", "ramfs"})
_SEQUENTIAL_BYTES, _RANDOM_BYTES = 1 << 20, 4096
_SEQUENTIAL_DEPTH, _RANDOM_DEPTH = 16, 32
#: Operation → fio's word for it, bytes of one access, accesses under way.
OPERATIONS = {
    "write": ("write", _SEQUENTIAL_BYTES, _SEQUENTIAL_DEPTH),
    "read": ("read", _SEQUENTIAL_BYTES, _SEQUENTIAL_DEPTH),
    "random_write": ("randwrite", _RANDOM_BYTES, _RANDOM_DEPTH),
    "random_read": ("randread", _RANDOM_BYTES, _RANDOM_DEPTH),
}
_DOCS = "https://fio.readthedocs.io/en/latest/fio_doc.html"
_REMEDY = "Debian, Ubuntu: apt-get install fio. Red Hat: dnf install fio."


@dataclass(frozen=True)
class Storage(Check):
    """Rate and latency of storage by fio, on a local and on a shared path, and whether what was written comes back.

    How: for each place one ``fio`` (JSON) runs one job after another: a file is written whose every block carries a
    checksum; then, on a second file, sequential writes and reads of 1 MiB (16 under way) and random ones of 4 KiB (32
    under way), ``blocks`` times ``block_s`` seconds each; at last the first file is read back and every checksum is
    compared. ``O_DIRECT`` keeps the page cache out, the engine is libaio. Variants are ``local/read`` and so on. All nodes
    measure at the same time, so the numbers of a shared file system are each node's share of it: they fall with the number of nodes.

    Where the file system takes no ``O_DIRECT``, or keeps its files in memory (tmpfs), the same is measured through the
    page cache and kept as ``buffered_rate_bytes``, which is never compared with anything: it is a number about memory.

    What it does to the place: all files lie in one new folder (``hpcaccept-storage-…``, mode 0700, made by mkdtemp), which
    is removed whatever happens to fio. No existing file is opened. Nothing is written unless 10 % of the file system (and
    ``reserve_bytes``) stay free beyond what is needed, on the shared path by all nodes together: other jobs live there too. A rank that is killed outright leaves its
    folder behind; the next run removes such a folder when it carries our marker, belongs to the same user and is older
    than a day, and else names it in the fact ``leftovers``.

    What it does not mean: seconds on a small file say little about a drive whose cache is full, or which is worn; the read-back
    covers the bytes it names. A failed device (EIO) is ``device_errors``; a full disk or a quota is an ERROR of ours.

    Parameters:
        local_path: a folder on this node; empty: the first of $SLURM_TMPDIR, $TMPDIR and /tmp.
        shared_path: a folder on the shared file system; empty: the run folder. Left out where it is the same file system.
        size_bytes: of each of the two files.
        blocks: repeats of each operation.
        block_s: seconds of each.
        reserve_bytes: that must stay free beyond the 10 %.
        timeout_s: after which fio is ended; 0 means a minute more than the blocks take.
    """

    name: ClassVar = "storage"
    revision: ClassVar = 1
    about: ClassVar = "Local and shared storage by fio: rate, latency, and whether what was written comes back."
    on_device: ClassVar = False
    metrics: ClassVar = (
        Metric(
            "rate_bytes", "B/s", "higher", "Bytes per second, past the page cache.", title="storage bandwidth ({})",
            formula="bytes moved / seconds, each block", source=_DOCS, scope="node", statistic="median",
            peer_floor=0.20, required=False, kind="storage",
        ),
        Metric(
            "iops", "operations/s", "higher", "Random accesses of 4 KiB per second, 32 under way.", title="storage random accesses ({})",
            formula="operations / seconds, each block", source=_DOCS, scope="node", statistic="median",
            peer_floor=0.20, required=False, kind="storage",
        ),
        Metric(
            "latency_p99_s", "s", "exact",
            "99 % of accesses were complete within this time. Not judged unless the suite has a limit: the tail of seconds is noise.", title="storage latency, 99th percentile ({})",
            formula="99th percentile of the completion latency of a block", source=_DOCS, scope="node",
            statistic="median", required=False, headline=False,
        ),
        Metric(
            "buffered_rate_bytes", "B/s", "exact", "Bytes per second through the page cache: a number about memory.", title="buffered storage bandwidth ({})",
            formula="bytes moved / seconds, each block", scope="node", required=False, headline=False,
        ),
        Metric(
            "wrong_blocks", "blocks", "lower",
            "Blocks that did not come back as they were written. Type 'dmesg | grep -iE \"nvme|I/O error\"' and look "
            "at 'smartctl -a' or 'nvme smart-log' of the device in the facts.", title="storage, wrong blocks ({})",
            formula="blocks of 1 MiB whose crc32c is wrong when they are read back",
            source=f"{_DOCS}#cmdoption-arg-verify", scope="node", statistic="worst", required=False,
            limit=at_most(0, "blocks", "storage gives back what it was given"), code=FindingCode.STORAGE_WRONG,
        ),
        Metric(
            "device_errors", "errors", "lower",
            "Jobs that the kernel ended with an error of the device (EIO). Type 'dmesg | grep -iE \"nvme|I/O error\"'.", title="storage device errors ({})",
            formula="jobs of fio whose errno is EIO, ENODATA or EREMOTEIO", scope="node", statistic="worst",
            required=False, limit=at_most(0, "errors", "a healthy device has none"), code=FindingCode.STORAGE_WRONG,
        ),
        Metric(
            "verified_bytes", "B", "exact", "Bytes that were written, read back and compared.", title="storage verified ({})",
            formula="bytes read by the last job", scope="node", required=False, headline=False, noise="counted",
        ),
    )  # fmt: skip

    local_path: str = ""
    shared_path: str = ""
    size_bytes: int = param(
        256 << 20, at_least=_SEQUENTIAL_BYTES, at_most=MOST_BYTES, multiple_of=_SEQUENTIAL_BYTES, unit="B"
    )
    blocks: int = param(3, at_least=1, at_most=MOST_BLOCKS)
    block_s: float = param(1.0, at_least=0.001, at_most=HOUR_S, unit="s")
    reserve_bytes: int = param(1 << 30, at_least=0, at_most=MOST_BYTES, unit="B")
    timeout_s: float = param(0.0, at_least=0, at_most=WEEK_S, unit="s")

    def measure(self, ctx: CheckContext) -> None:
        """Both places one after another; a place that fails leaves the other its numbers."""
        if ctx.local_rank != 0:
            return
        faults: list[Exception] = []
        places = self.places(ctx)
        for name, path in places.items():
            try:
                self._place(ctx, name, path)
            except (Unavailable, HpcacceptError) as fault:
                faults.append(fault)
                ctx.unsupported(name, str(fault) if isinstance(fault, Unavailable) else fault.message)
        # A fault of ours must not hide behind a place that could be measured; an unfit place may.
        for ours in (f for f in faults if isinstance(f, HpcacceptError)):
            raise ours
        if faults and len(faults) == len(places):
            raise faults[0]

    def places(self, ctx: CheckContext) -> dict[str, Path]:
        """``local`` and ``shared`` → folder; only ``local`` where both are one file system."""
        own = self.local_path or os.environ.get("SLURM_TMPDIR") or os.environ.get("TMPDIR") or "/tmp"
        local, shared = Path(own), Path(self.shared_path) if self.shared_path else ctx.folder
        try:
            one = local.stat().st_dev == shared.stat().st_dev
        except OSError:
            one = False
        if one:
            ctx.unsupported(
                "shared", f"{shared} lies on the same file system as {local}: it is measured once, as local"
            )
            return {"local": local}
        return {"local": local, "shared": shared}

    def _place(self, ctx: CheckContext, name: str, path: Path) -> None:
        if not path.is_dir():
            raise Unavailable(
                f"{name}: {path} is not a folder here", f"Set {name}_path of the check storage in the suite."
            )
        self._say_what_it_is(ctx, name, path)
        _tidy(ctx, name, path)
        # On a shared file system every node writes its two files at the same time.
        writers = max(1, ctx.size // len(ctx.node_ranks)) if name == "shared" else 1
        _refuse_a_full_one(name, path, 2 * self.size_bytes * writers, self.reserve_bytes)
        with own_folder(ctx, path) as folder:
            direct = _takes_direct(folder)
            ctx.beat(f"{name}: fio")
            timeout_s = self.timeout_s or 60.0 + 2 * self.blocks * self.block_s * len(OPERATIONS)
            command = self.command(folder, direct)
            done = run_tool(ctx, command, timeout_s=timeout_s, remedy=_REMEDY, keep_as=f"fio.{name}")
        if not done.stdout.strip():
            raise ToolError(f"fio ended with {done.returncode} and said {done.stderr.strip()[:300]!r} ({name}, {path})")
        if not direct:
            ctx.unsupported(f"{name}/direct", "the file system takes no O_DIRECT: what was measured is not compared")
        jobs = parse_fio(done.stdout)
        if done.returncode and not any(job.error for job in jobs):
            raise ToolError(
                f"fio ended with {done.returncode} though no job failed ({name}): {done.stderr.strip()[:300]!r}"
            )
        self._emit(ctx, name, jobs, direct)

    def command(self, folder: Path, direct: bool) -> list[str]:
        """One fio with all jobs, each after the one before; in one process, so that whatever ends fio ends all of it."""
        words = [
            "fio", "--thread", "--output-format=json", f"--directory={folder}", "--ioengine=libaio", f"--direct={int(direct)}",
            f"--size={self.size_bytes}", "--verify_state_save=0", "--randrepeat=0", "--norandommap",
            "--name=put", "--filename=verified", "--rw=write", "--bs=1m", f"--iodepth={_SEQUENTIAL_DEPTH}",
            "--verify=crc32c", "--do_verify=0", "--end_fsync=1",
        ]  # fmt: skip
        for operation, (rw, size, depth) in OPERATIONS.items():
            for block in range(self.blocks):
                words += [f"--name={operation}.{block}", "--stonewall", "--filename=load", f"--rw={rw}", f"--bs={size}"]
                words += [f"--iodepth={depth}", "--time_based", f"--runtime={round(self.block_s * 1000)}ms"]
        return [
            *words, "--name=get", "--stonewall", "--filename=verified", "--rw=read", "--bs=1m",
            f"--iodepth={_SEQUENTIAL_DEPTH}", "--verify=crc32c", "--verify_fatal=0", "--verify_dump=0",
            "--continue_on_error=verify",
        ]  # fmt: skip

    def _emit(self, ctx: CheckContext, name: str, jobs: Sequence[Job], direct: bool) -> None:
        failed = [job for job in jobs if job.error in DEVICE_ERRORS]
        ctx.emit("device_errors", len(failed), name)
        found = {job.name: job for job in jobs}
        expected = {"put", "get", *(f"{o}.{b}" for o in OPERATIONS for b in range(self.blocks))}
        other = [job for job in jobs if job.error and not job.wrong_blocks and job not in failed]
        if other or (set(found) != expected and not failed):
            missing = sorted(expected - set(found))
            what = ", ".join(f"{job.name}: {os.strerror(job.error)}" for job in other) or f"no job {', '.join(missing)}"
            raise ToolError(f"fio could not do all its work ({name}): {what}", "A full disk, a quota, or another fio?")
        got = found.get("get")
        if got is not None and got not in failed:
            if got.read.total_bytes != self.size_bytes:
                raise ToolError(f"fio read back {got.read.total_bytes} B of {self.size_bytes} ({name})")
            ctx.emit("wrong_blocks", got.wrong_blocks, name)
            ctx.emit("verified_bytes", got.read.total_bytes, name)
        for operation in OPERATIONS:
            for block in range(self.blocks):
                job = found.get(f"{operation}.{block}")
                if job is not None and job not in failed and not failed:
                    self._emit_block(ctx, f"{name}/{operation}", job, block, direct)

    def _emit_block(self, ctx: CheckContext, variant: str, job: Job, block: int, direct: bool) -> None:
        side = job.read if variant.endswith("read") else job.write
        if side.latency_p99_s is None:
            raise ToolError(f"fio made not one access in {self.block_s:g} s ({variant})")
        if not direct:
            ctx.emit("buffered_rate_bytes", side.rate_bytes, variant, block)
            return
        if "random" in variant:
            ctx.emit("iops", side.iops, variant, block)
        else:
            ctx.emit("rate_bytes", side.rate_bytes, variant, block)
        ctx.emit("latency_p99_s", side.latency_p99_s, variant, block)

    def _say_what_it_is(self, ctx: CheckContext, name: str, path: Path) -> None:
        mount = host.mount_of(path)
        ctx.fact(f"path[{name}]", str(path))
        if mount is not None:
            ctx.fact(f"file_system[{name}]", f"{mount.kind} of {mount.source} on {mount.point}")


def _refuse_a_full_one(name: str, path: Path, needed_bytes: int, reserve_bytes: int) -> None:
    """Raises Unavailable when not enough would stay free for everybody else."""
    found = os.statvfs(path)
    free, total = found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize
    keep = max(total // 10, reserve_bytes)
    if free - needed_bytes < keep:
        raise Unavailable(
            f"{name}: {show(free, 'B')} of {show(total, 'B')} are free on {path}; {show_bytes(needed_bytes)} would be "
            f"written, and {show(keep, 'B')} (10 %, or reserve_bytes) stay free for others",
            "Free some space, or set another path or a smaller size_bytes in the suite.",
        )


def _takes_direct(folder: Path) -> bool:
    """True where files can be opened past the page cache, and there is something behind it."""
    mount = host.mount_of(folder)
    if (mount and mount.kind in IN_MEMORY) or not hasattr(os, "O_DIRECT"):
        return False
    probe = folder / "probe"
    try:
        os.close(os.open(probe, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_DIRECT, 0o600))
    except OSError:
        return False
    finally:
        probe.unlink(missing_ok=True)
    return True


@contextlib.contextmanager
def own_folder(ctx: CheckContext, path: Path) -> Iterator[Path]:
    """A new folder with our marker, removed at the end of the block however that ends.

    Raises:
        Unavailable: nothing can be written there.
    """
    try:
        folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=path))
    except OSError as fault:
        raise Unavailable(
            f"no folder can be made in {path}: {fault.strerror}", "Set another path in the suite."
        ) from None
    try:
        (folder / MARKER).write_text(f"{os.uname().nodename} {os.getpid()}\n")
        yield folder
    finally:
        # The marker goes last: what cannot be removed now is still known as ours later.
        for file in sorted(folder.iterdir(), key=lambda file: file.name == MARKER):
            with contextlib.suppress(OSError):
                file.unlink()
        try:
            folder.rmdir()
        except OSError as fault:
            ctx.fact("left behind", f"{folder}: {fault.strerror}")


def _tidy(ctx: CheckContext, name: str, path: Path) -> None:
    """Remove what a killed rank left behind a day ago or earlier; name what may still be in use."""
    now = time.time()
    kept = []
    for folder in sorted(path.glob(f"{PREFIX}*")):
        try:
            if not _is_ours(folder):
                continue
            if now - (folder / MARKER).stat().st_mtime > STALE_S:
                shutil.rmtree(folder)
                ctx.fact(f"removed[{name}]", f"{folder}, left by an earlier run")
            else:
                kept.append(folder.name)
        except OSError:
            kept.append(folder.name)
    if kept:
        ctx.fact(
            f"leftovers[{name}]", f"{', '.join(kept)}: younger than a day, perhaps of a run that goes on; left alone"
        )


def _is_ours(folder: Path) -> bool:
    """A real folder of this user, closed to others, with our marker in it."""
    found = folder.lstat()
    mine = found.st_uid == os.geteuid() and stat.S_ISDIR(found.st_mode) and stat.S_IMODE(found.st_mode) == 0o700
    return mine and (folder / MARKER).is_file()
