"""``python -m hpcaccept.rank.probe [REQUEST]`` describes this node as seen from where the ranks will be.

One process per node, inside the image. It says what it knows as soon as it knows it (``parse.probe_lines``), from what cannot hang
to what may: files of the kernel, the runs folder, the GPU driver, torch (in a process of its own), and last MPI, which may end this process.
Whoever asked may write lines to its standard input, the time by their clock, and is answered with the time by this one.
"""

from __future__ import annotations

import importlib.metadata
import json
import locale
import os
import resource
import sys
import tempfile
import threading
import time
from concurrent import futures
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from hpcaccept import __version__
from hpcaccept.errors import LaunchError
from hpcaccept.measure.gpu import driver
from hpcaccept.measure.host import host, infiniband
from hpcaccept.measure.ranks import mpi, pmix
from hpcaccept.model.doctor.probe import FROM_LOGIN, NodeFacts, ProbeRequest
from hpcaccept.parse.probe_lines import framed
from hpcaccept.rank.journal_name import rank_from_environment
from hpcaccept.serial import dumps, from_plain
from hpcaccept.transport.process import ask

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

T = TypeVar("T")
#: Ranks that the launcher says it started, in its own variables.
_WORLD_VARIABLES = ("SLURM_STEP_NUM_TASKS", "OMPI_COMM_WORLD_SIZE", "PMI_SIZE")


class _Voice:
    """Standard output, one whole line at a time."""

    def __init__(self, node: str) -> None:
        self._source = f"{node}:{os.getpid()}"
        self._said = 0

    def facts(self, facts: NodeFacts) -> None:
        """All that is known so far."""
        self._write("facts", self._said, dumps(facts))
        self._said += 1

    def answer(self, question: str) -> None:
        """The time here, for whoever said what time it is there."""
        self._write("pong", 0, f"{float(question)!r} {time.time()!r}")

    def _write(self, kind: str, number: int, text: str) -> None:
        for line in framed(self._source, kind, number, text):
            os.write(1, f"{line}\n".encode())


def main(argv: list[str]) -> int:
    """Say everything; always ends."""
    request = from_plain(json.loads(argv[0]), ProbeRequest) if argv else ProbeRequest()
    rank = rank_from_environment(os.environ) or 0
    node = os.environ.get("HPCACCEPT_NODE") or os.environ.get("SLURMD_NODENAME") or host.hostname()
    voice = _Voice(node)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # nothing is left, whatever crashes
    threading.Thread(target=_listen, args=(voice,), daemon=True).start()
    facts = _of_the_host(NodeFacts(node=node, rank=rank, version=__version__), os.environ)
    voice.facts(facts)
    if request.folder:
        facts = _of_the_folder(facts, request)
    if request.gpus:
        facts = _of_the_driver(facts, request)
    voice.facts(facts)
    if request.torch == "all" or (request.torch == "first" and rank == 0):
        facts = replace(facts, **_of_torch(request))
        voice.facts(facts)
    voice.facts(replace(_of_mpi(facts, request, voice), done=True))
    _finish_mpi()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # a question that hangs must not keep the answers


def _listen(voice: _Voice) -> None:
    """Answer every line; when who asked is gone, so is the reason to be here."""
    asked = False
    for line in sys.stdin or ():
        try:
            voice.answer(line)
            asked = True
        except ValueError:
            continue
    if asked:
        os._exit(0)


def _of_the_host(facts: NodeFacts, environ: Mapping[str, str]) -> NodeFacts:
    shm, shm_bytes, no_shm = Path("/dev/shm"), 0, ""
    try:
        found = os.statvfs(shm)
        shm_bytes = found.f_blocks * found.f_frsize
        no_shm = _writing(shm)
    except OSError as fault:
        no_shm = fault.strerror or str(fault)
    # gettempdir tries to write; where it can nowhere, that is said below.
    tmp, free = environ.get("TMPDIR", "/tmp"), 0
    try:
        tmp = tempfile.gettempdir()
        room = os.statvfs(tmp)
        free, no_tmp = room.f_bavail * room.f_frsize, _writing(Path(tmp))
    except OSError as fault:
        no_tmp = fault.strerror or str(fault)
    given = environ.get("SLURM_CPUS_ON_NODE", "")
    return replace(
        facts,
        python=".".join(map(str, sys.version_info[:3])),
        system=host.os_release(),
        boot_id=host.boot_id(),
        cores=host.usable_cores(),
        cores_here=os.cpu_count() or 0,
        cores_given=int(given) if given.isdecimal() else 0,
        memlock_bytes=_memlock(),
        infiniband=len(infiniband.adapters(counters=False)),
        shm_bytes=shm_bytes,
        no_shm=no_shm,
        tmp=tmp,
        tmp_free_bytes=free,
        no_tmp=no_tmp,
        no_locale=_encoding_fault(),
        mpi4py=_installed("mpi4py"),
        world_asked=next((int(environ[name]) for name in _WORLD_VARIABLES if environ.get(name, "").isdecimal()), 0),
        pmix_host=pmix.host_version(environ),
    )


def _writing(folder: Path) -> str:
    """Why a page cannot be written and read back there; empty when it can."""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"\1" * 4096)
            file.flush()
            file.seek(0)
            return "" if file.read() == b"\1" * 4096 else "what was written is not what is read"
    except OSError as fault:
        return fault.strerror or str(fault)


def _memlock() -> int | None:
    word = host.locked_memory().partition(" ")[0]
    return -1 if word == "unlimited" else int(word) if word.isdecimal() else None


def _encoding_fault() -> str:
    try:
        locale.setlocale(locale.LC_ALL, "")
    except locale.Error:
        wanted = os.environ.get("LC_ALL") or os.environ.get("LC_CTYPE") or os.environ.get("LANG", "")
        return f"the locale {wanted!r} is not installed there"
    encoding = sys.getfilesystemencoding()
    return "" if encoding.lower() in ("utf-8", "utf8") else f"names of files are {encoding}, not UTF-8"


def _installed(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _of_the_folder(facts: NodeFacts, request: ProbeRequest) -> NodeFacts:
    """Is what the login side wrote seen here, and can something be left for it?"""
    folder = Path(request.folder)

    def probe() -> tuple[str, str]:
        until = time.monotonic() + request.seen_within_s
        while (why := _reading(folder / FROM_LOGIN, request.token)) and time.monotonic() < until:
            time.sleep(0.2)
        # Without the file it is another folder: what is left there would stay there.
        return why, why or _leaving(folder / f"from-{facts.node}", request.token)

    answer, late = _within(request.timeout_s, probe)
    no_read, no_write = answer or (late, late)
    return replace(facts, no_read=no_read, no_write=no_write)


def _reading(file: Path, token: str) -> str:
    try:
        return "" if file.read_text("utf-8") == token else "the file there is another one"
    except OSError as fault:
        return fault.strerror or str(fault)


def _leaving(file: Path, token: str) -> str:
    try:
        with file.open("w", encoding="utf-8") as out:
            out.write(token)
            out.flush()
            os.fsync(out.fileno())
    except OSError as fault:
        return fault.strerror or str(fault)
    return ""


def _of_the_driver(facts: NodeFacts, request: ProbeRequest) -> NodeFacts:
    vendor = driver.installed()
    look = f"There: {vendor.look}"

    def probe() -> tuple[int, str, str]:
        wanted = vendor.wanted()
        try:
            with vendor.open() as opened:
                found = opened.list()
        except driver.DriverMissing as missing:
            return 0, missing.cause, missing.remedy or look
        seen = [gpu for gpu in vendor.visible(found, wanted) if gpu.state == "ok"]
        bad = [f"GPU {gpu.index}: {gpu.state}" for gpu in found if gpu.state != "ok"]
        hidden = [f"{vendor.visible_variable}={wanted}"] if wanted is not None else []
        return len(seen), "; ".join([f"the driver counts {len(found)}", *bad, *hidden]), look

    answer, late = _within(request.timeout_s, probe)
    count, why, remedy = answer or (0, late, look)
    if count and (started := _started(request)) is not None and started[0] < count:
        count, why, remedy = started[0], f"{started[1]}; {why}", look
    return replace(facts, gpus=count, no_gpus=why if count < request.gpus else "", gpus_remedy=remedy)


def _started(request: ProbeRequest) -> tuple[int, str] | None:
    """How many GPUs the runtime can start, and what is wrong with the others; None where nobody knows how to ask."""
    try:
        done = ask([sys.executable, "-m", "hpcaccept.rank.probe_gpus"], timeout_s=request.timeout_s)
        lines = (done.stdout if done.ok else done.stderr).strip().splitlines()
        if not done.ok:
            return 0, f"starting the GPUs: {_last(lines, done.returncode)}"
        said = json.loads(lines[-1])
        if not said["asked"]:
            return None
        count, why, refused = int(said["count"]), dict(said["why"]), str(said["fault"])
    except LaunchError as fault:
        return 0, f"starting the GPUs: {fault.message}"
    except (ValueError, IndexError, KeyError, TypeError) as fault:
        return 0, f"starting the GPUs said nothing that can be understood: {fault}"
    parts = [f"device {number} does not start: {text}" for number, text in sorted(why.items())]
    return count - len(why), "; ".join([f"the runtime counts {count}", *([refused] if refused else []), *parts])


def _of_torch(request: ProbeRequest) -> dict[str, Any]:
    try:
        done = ask([sys.executable, "-m", "hpcaccept.rank.probe_torch"], timeout_s=request.timeout_s)
        lines = (done.stdout if done.ok else done.stderr).strip().splitlines()
        return json.loads(lines[-1]) if done.ok else {"no_torch": _last(lines, done.returncode)}
    except LaunchError as fault:
        return {"no_torch": f"import torch: {fault.message}"}
    except (ValueError, IndexError) as fault:
        return {"no_torch": f"import torch said nothing that can be understood: {fault}"}


def _last(lines: list[str], code: int) -> str:
    return lines[-1][:300] if lines else f"import torch ended with status {code}"


def _of_mpi(facts: NodeFacts, request: ProbeRequest, voice: _Voice) -> NodeFacts:
    """Start MPI and let everyone say its name once. May not return: MPI libraries end processes they cannot start."""
    if not facts.mpi4py:
        return replace(facts, no_mpi="mpi4py is not installed there")
    begun = replace(facts, mpi_begun=True)
    voice.facts(begun)

    def late() -> None:
        why = f"MPI did not start, or its first message did not arrive, within {request.timeout_s:g} s"
        voice.facts(replace(begun, no_mpi=why, pmix_image=pmix.image_version(), done=True))
        os._exit(0)

    clock = threading.Timer(request.timeout_s, late)
    clock.daemon = True
    clock.start()
    try:
        comm = mpi.start()
        from mpi4py import MPI

        library = " ".join(MPI.Get_library_version().split(",")[0].split("\n")[0].strip("\0 ").split())
        met = len(set(mpi.allgather(comm, facts.node)))
    except (ImportError, RuntimeError) as fault:
        return replace(begun, no_mpi=str(fault)[:300], pmix_image=pmix.image_version())
    finally:
        clock.cancel()
    ours, theirs = facts.pmix_host, pmix.image_version()
    return replace(
        begun,
        mpi=library,
        world=comm.Get_size(),
        met=met,
        pmix_image=theirs,
        pmix_misfit=pmix.misfit(ours, theirs),
    )


def _finish_mpi() -> None:
    """So that the launcher sees a good end. After the last words, because it may hang for a rank that is gone; and Open MPI 4.1.4 was
    seen to crash in it: its thread ran code of a component that was unloaded already.
    """
    module = sys.modules.get("mpi4py.MPI")
    if module is not None and module.Is_initialized():
        clock = threading.Timer(10.0, os._exit, (0,))
        clock.daemon = True
        clock.start()
        module.Finalize()


def _within(seconds: float, probe: Callable[[], T]) -> tuple[T | None, str]:
    """What a look gives, or None and why not: a file system or a driver that hangs keeps its thread, and nothing else."""
    future = futures.ThreadPoolExecutor(1).submit(probe)
    try:
        return future.result(seconds), ""
    except futures.TimeoutError:
        return None, f"no answer within {seconds:g} s"
    except OSError as fault:
        return None, fault.strerror or str(fault)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
