"""``python -m hpcaccept.rank`` with one fault in it, or in a network of its own: the interpreter that faulty runs use.

Usage, as ``python`` of a run: a script with ``exec python broken_rank.py "$@"``; HPCACCEPT_FAULT says which fault, in JSON.
hpcaccept itself is not changed and has no hooks for this: what is replaced is the function of torch (or the operating
system) that lies.
"""

from __future__ import annotations

import ctypes
import json
import os
import runpy
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

_CLONE_NEWNET = 0x40000000


def flip(tensor: Any, element: int = 12345, bit: int = 3) -> None:
    """Change one bit of one element, wherever it lies in memory."""
    import torch

    integers = {8: torch.int64, 4: torch.int32, 2: torch.int16, 1: torch.int8}[tensor.element_size()]
    flat = tensor.detach().view(integers).view(-1) if tensor.is_contiguous() else tensor.detach().view(integers)
    if flat.dim() == 1:
        flat[element % len(flat)] ^= 1 << bit
    else:
        flat[element % flat.shape[0], 0] ^= 1 << bit


def _every(count: int, function: Callable[..., Any], spoil: Callable[..., None], first: int = 1) -> Callable[..., Any]:
    """The function, whose result is spoiled in every ``count``-th call from the ``first`` on."""
    calls = 0

    def faulty(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        result = function(*args, **kwargs)
        calls += 1
        if calls >= first and (calls - first) % count == 0:
            spoil(result, *args)
        return result

    return faulty


def product(every: int) -> None:
    """One bit of the result of each so-many-th matrix product."""
    import torch

    torch.mm = _every(every, torch.mm, lambda out, *_: flip(out), first=every)


def training_step() -> None:
    """The lowest bit of one weight, once, in the tenth step."""
    from hpcaccept.measure.kernels.training import Momentum

    def spoil(_: Any, optimiser: Any) -> None:
        flip(optimiser._parameters[0].data, bit=0)

    Momentum.step = _every(10**9, Momentum.step, spoil, first=10)  # type: ignore[method-assign]


def slow_layer(busy_s: float) -> None:
    """So much more computing in each layer of a model."""
    import torch.nn.functional

    def busy() -> None:
        until = time.perf_counter() + busy_s
        while time.perf_counter() < until:
            pass

    torch.nn.functional.linear = _before(torch.nn.functional.linear, busy)


def sum_over_ranks() -> None:
    """One bit of the sums that this rank gets, from the third call on."""
    import torch.distributed

    def spoil(_: Any, buffer: Any, *__: Any) -> None:
        flip(buffer, bit=20)

    torch.distributed.all_reduce = _every(1, torch.distributed.all_reduce, spoil, first=3)


def never_enters(call: int) -> None:
    """This rank does something else for ever in place of its so-manieth sum."""
    import torch.distributed

    calls = 0

    def wait() -> None:
        nonlocal calls
        calls += 1
        while calls >= call:
            time.sleep(1)

    torch.distributed.all_reduce = _before(torch.distributed.all_reduce, wait)


def stored_word() -> None:
    """One bit of what is stored, in every fill of memory with a pattern."""
    from hpcaccept.checks.memory_pattern import Memory

    Memory.write = _every(1, Memory.write, lambda _, memory, *__: flip(memory.blocks[0]))  # type: ignore[method-assign]


def network(rank: int, prefix: str) -> None:
    """After MPI has started, this rank lives in a network of its own, and on a kernel of its own as far as it can tell."""
    from hpcaccept.measure.host import host
    from hpcaccept.measure.ranks import mpi

    start = mpi.start
    host.boot_id = lambda *_: f"kernel-{rank}"

    def start_and_move() -> Any:
        comm = start()
        with open(f"/run/netns/{prefix}{rank}", "rb") as there:  # noqa: PTH123 (a descriptor is needed)
            if ctypes.CDLL(None, use_errno=True).setns(there.fileno(), _CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), f"setns to {there.name}")
        return comm

    mpi.start = start_and_move


def end(at: str, how: str, after_s: float = 0.0, group: str = "") -> None:
    """The rank ends, or stops.

    Args:
        at: when: ``start`` (before MPI is), the name of a check (as it begins to measure), ``last:CHECK`` (its record is written).
        how: ``kill``, ``stop``, ``exit``, ``memory`` (takes more than its control group has).
        after_s: so much later.
        group: name of that control group.
    """
    from hpcaccept import checks
    from hpcaccept.measure.ranks import mpi
    from hpcaccept.model.record import Record
    from hpcaccept.store.journal import Journal

    def soon() -> None:
        _END[how](after_s, group)

    if at == "start":
        mpi.start = _before(mpi.start, soon)
    elif at.startswith("last:"):
        write = Journal.write

        def written(journal: Any, word: Any, *, sync: bool = True) -> None:
            write(journal, word, sync=sync)
            if isinstance(word, Record) and word.check == at.removeprefix("last:"):
                soon()

        Journal.write = written  # type: ignore[method-assign, assignment]
    else:
        build = checks.build

        def built(name: str, *parameters: Any) -> Any:
            check = build(name, *parameters)
            if name == at:
                object.__setattr__(check, "measure", _before(check.measure, soon))
            return check

        checks.build = built  # type: ignore[assignment]


def _before(function: Callable[..., Any], first: Callable[[], None]) -> Callable[..., Any]:
    def both(*args: Any, **kwargs: Any) -> Any:
        first()
        return function(*args, **kwargs)

    return both


def _signalled(name: str) -> Callable[[float, str], None]:
    """From outside, whatever the interpreter is inside of by then."""

    def later(after_s: float, _: str) -> None:
        if after_s:
            words = ["sh", "-c", f'sleep "$1"; kill -{name} "$2"', "later", str(after_s), str(os.getpid())]
            subprocess.Popen(words, start_new_session=True)
        else:
            os.kill(os.getpid(), getattr(signal, f"SIG{name}"))

    return later


def _exit(after_s: float, _: str) -> None:
    threading.Timer(after_s, os._exit, (5,)).start()


def _memory(after_s: float, group: str) -> None:
    """Takes more than its group has, once it has been put there from outside: a host's /sys may show no control groups."""

    def take() -> None:
        while group not in Path("/proc/self/cgroup").read_text():
            time.sleep(0.01)
        taken = []
        while True:
            taken.append(bytearray(os.urandom(1 << 16) * 256))

    threading.Timer(after_s, take).start()


_END = {"kill": _signalled("KILL"), "stop": _signalled("STOP"), "exit": _exit, "memory": _memory}


def _node_of(rank: int) -> str:
    """The node of a rank: as its launcher says, else by its place in the step, which tells of virtual nodes."""
    told = os.environ.get("HPCACCEPT_NODE") or os.environ.get("SLURMD_NODENAME")
    if told:
        return told
    step = json.loads((Path(sys.argv[-2]) / "steps" / f"{sys.argv[-1]}.json").read_text())
    return str(step["nodes"][rank // step["ranks_per_node"]])


def main() -> None:
    """Break what HPCACCEPT_FAULT says on the ranks or nodes it names, then be the rank program."""
    from hpcaccept.rank.journal_name import rank_from_environment

    rank = rank_from_environment(os.environ) or 0
    node = _node_of(rank)
    for fault in json.loads(os.environ["HPCACCEPT_FAULT"]):
        mine = rank in fault.get("ranks", [rank]) and node in fault.get("nodes", [node])
        if mine and fault.get("step", sys.argv[-1]) == sys.argv[-1]:
            parameters = {key: value for key, value in fault.items() if key not in ("kind", "ranks", "nodes", "step")}
            if fault["kind"] == "network":
                # Groups of an isolation number their ranks anew; a node stays in its own network.
                parameters["rank"] = int(node.removeprefix("node"))
            globals()[fault["kind"]](**parameters)
    sys.argv = sys.argv[2:]  # what stands after "-m hpcaccept.rank" is the rank's
    runpy.run_module("hpcaccept.rank", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
