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
import sys
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


def sum_over_ranks() -> None:
    """One bit of the sums that this rank gets, from the third call on."""
    import torch.distributed

    def spoil(_: Any, buffer: Any, *__: Any) -> None:
        flip(buffer, bit=20)

    torch.distributed.all_reduce = _every(1, torch.distributed.all_reduce, spoil, first=3)


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


def main() -> None:
    """Break what HPCACCEPT_FAULT says on the ranks it names, then be the rank program."""
    from hpcaccept.rank.journal_name import rank_from_environment

    rank = rank_from_environment(os.environ) or 0
    for fault in json.loads(os.environ["HPCACCEPT_FAULT"]):
        if rank in fault.get("ranks", [rank]):
            parameters = {key: value for key, value in fault.items() if key not in ("kind", "ranks")}
            if fault["kind"] == "network":
                parameters["rank"] = rank
            globals()[fault["kind"]](**parameters)
    sys.argv = sys.argv[2:]  # what stands after "-m hpcaccept.rank" is the rank's
    runpy.run_module("hpcaccept.rank", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
