"""A collective of some ranks with its buffers, and every element of its result verified. Shared by checks; no check itself.

The numbers of ``measure.ranks.collective`` make each rank's share another one, so that a share that is missing, comes twice or lies in
another's place is wrong.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from hpcaccept.measure.device import is_fault
from hpcaccept.measure.kernels import pattern
from hpcaccept.measure.ranks import collective

if TYPE_CHECKING:
    from hpcaccept.measure.device import Device
    from hpcaccept.model.check import CheckContext

Tensor = Any

SOURCE = "https://github.com/NVIDIA/nccl-tests/blob/master/doc/PERFORMANCE.md"
#: algbw → busbw for n ranks, by nccl-tests' definition (``SOURCE``): the traffic of a link where a ring runs.
FACTORS: dict[str, Callable[[int], float]] = {
    "all_reduce": lambda n: 2 * (n - 1) / n,
    "all_gather": lambda n: (n - 1) / n,
    "reduce_scatter": lambda n: (n - 1) / n,
    "all_to_all": lambda n: (n - 1) / n,
    "broadcast": lambda _: 1.0,
}
#: How torch says that a backend has no such collective. https://docs.pytorch.org/docs/stable/distributed.html#backends
_REFUSALS = ("not support", "unsupported", "not implemented", "no backend type associated")


class Members(Protocol):
    """Ranks that exchange with each other."""

    @property
    def handle(self) -> Any:
        """Torch's group, None for all ranks."""

    @property
    def ranks(self) -> tuple[int, ...]:
        """All of them, in order."""

    @property
    def place(self) -> int:
        """Of this rank among them."""


def length_of(size_bytes: int, ranks: int) -> int:
    """Elements of the larger buffer: the same share for each rank, cut to 16 bytes as nccl-tests does."""
    share = max(1, size_bytes // collective.ITEM_BYTES // ranks)
    return ranks * (share - share % 4 if share > 4 else share)


@dataclass(frozen=True)
class Part:
    """What one rank must have sent to a part of the target.

    Attributes:
        start: first element.
        stop: behind the last.
        table: whose pattern.
        offset: where in the pattern it begins.
    """

    start: int
    stop: int
    table: Tensor
    offset: int


@dataclass(frozen=True)
class Exchange:
    """One collective with its buffers.

    Attributes:
        call: one call, bound and nothing else.
        refill: source as it must be sent, target cleared (NaN), where they are not one buffer.
        target: float32, what is received.
        parts: of the target, all of it.
    """

    call: Callable[[], object]
    refill: Callable[[], object]
    target: Tensor
    parts: tuple[Part, ...]


def exchange(operation: str, team: Members, device: str, length: int) -> Exchange:
    """A collective of a team, float32, ``length`` elements in the larger buffer; a multiple of the team's size.

    Args:
        operation: of ``FACTORS``.
        team: of this rank; all its members call it.
        device: what torch is given.
        length: of the larger buffer.
    """
    import torch
    import torch.distributed as dist

    share, me = length // len(team.ranks), team.place
    table, total = collective.numbers().to(device), collective.total(team.ranks).to(device)
    begins = [collective.offset(rank) for rank in team.ranks]
    spread_out = operation in ("reduce_scatter", "all_to_all")
    source = torch.empty(length if spread_out else share, dtype=torch.float32, device=device)
    target = torch.empty(share if operation == "reduce_scatter" else length, dtype=torch.float32, device=device)
    own = begins[0] if operation == "broadcast" else begins[me]
    in_place = operation == "all_reduce" or (operation == "broadcast" and me == 0)

    def refill() -> None:
        if in_place:
            pattern.fill(target, table, own)
            return
        pattern.fill(source, table, own)
        target.fill_(math.nan)

    calls: dict[str, Callable[[], object]] = {
        "all_reduce": functools.partial(dist.all_reduce, target, group=team.handle),
        "all_gather": functools.partial(_newer("all_gather"), target, source, group=team.handle),
        "reduce_scatter": functools.partial(_newer("reduce_scatter"), target, source, group=team.handle),
        "all_to_all": functools.partial(dist.all_to_all_single, target, source, group=team.handle),
        "broadcast": functools.partial(dist.broadcast, target, src=team.ranks[0], group=team.handle),
    }

    def from_all(skipped: int) -> tuple[Part, ...]:
        """A share of each, which begins so many elements later in what it has."""
        return tuple(Part(k * share, (k + 1) * share, table, at + skipped) for k, at in enumerate(begins))

    whole = {
        "all_reduce": (Part(0, length, total, 0),),
        "broadcast": (Part(0, length, table, begins[0]),),
        "reduce_scatter": (Part(0, share, total, me * share),),
        "all_gather": from_all(0),
        "all_to_all": from_all(me * share),
    }
    refill()
    return Exchange(calls[operation], refill, target, whole[operation])


def _newer(operation: str) -> Callable[..., object]:
    """The collective on single tensors; newer versions of torch have another name for it, and the older one warns."""
    import torch.distributed as dist

    older = {"all_gather": "all_gather_into_tensor", "reduce_scatter": "reduce_scatter_tensor"}[operation]
    found: Callable[..., object] = getattr(dist, f"{operation}_single", None) or getattr(dist, older)
    return found


def wrong_elements(work: Exchange) -> int:
    """Elements of the target that are not what the others must have sent."""
    return sum(pattern.wrong_elements(work.target[p.start : p.stop], p.table, p.offset) for p in work.parts)


def refusal(ctx: CheckContext, device: Device, work: Exchange) -> str:
    """Why the backend has no such collective, empty when it has; found by trying, on all ranks alike."""
    why = ""
    try:
        work.call()
        device.synchronize()
    except (RuntimeError, NotImplementedError, ValueError) as error:
        if not is_refusal(error):
            raise
        why = str(error).splitlines()[0][:200]
    return next((text for text in ctx.allgather(why) if text), "")


def is_refusal(error: Exception) -> bool:
    """True when an error says that there is no such collective, not that one has failed."""
    import torch.distributed as dist

    text = str(error).lower()
    return not isinstance(error, dist.DistError) and not is_fault(error) and any(word in text for word in _REFUSALS)


def sync(device: Device) -> Callable[[], object]:
    """A sum of one number over all ranks."""
    import torch

    return functools.partial(torch.distributed.all_reduce, torch.zeros(1, device=device.name))
