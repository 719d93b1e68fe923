"""The GPUs and network cards of a node are connected as those of its board, and as those of the other nodes."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from hpcaccept.errors import ToolError
from hpcaccept.measure.gpu.boards import board_of
from hpcaccept.measure.host import infiniband
from hpcaccept.measure.host.host import is_virtual_machine
from hpcaccept.model.check import Check, CheckContext, Unavailable
from hpcaccept.model.finding_code import FindingCode
from hpcaccept.model.metric import Metric, at_most
from hpcaccept.model.parameter import param
from hpcaccept.parse.nvidia_topo import DISTANCES, GpuTopology, distance, parse_topo
from hpcaccept.transport.tool import run_tool

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

_TIMEOUT_S = 60.0
#: Nodes that a majority takes.
_FEWEST_NODES = 3
_SOURCE = "hpcaccept/measure/gpu/boards.toml"
_TOOL = "https://docs.nvidia.com/deploy/nvidia-smi/ (topo -m)"


@dataclass(frozen=True)
class Topology(Check):
    """The matrix of ``nvidia-smi topo -m`` against the board of the GPU model, and against most nodes of the run.

    How: the first rank of each node reads the matrix once. Nothing is sent.

    - ``missing_links``: of each GPU, how many others it does not reach over as many NVLinks as the board has between every two (DGX and HGX
      A100, H100, H200, B200; ``links`` for others). Of another model most pairs say what is right, where most are NVLinks. A pair is counted
      for the end that most of the missing pairs have in common: where GPU2 has lost its links, GPU2 has seven and the others none.
    - ``far_cards``: 1 for a GPU that has no RDMA card of its own as near as ``card`` says: rails begin at the card below the same PCIe switch. In a
      virtual machine PCIe is what the hypervisor shows, and nothing is judged unless the suite gives ``card``. Nor is it on a node with fewer cards than GPUs.
    - ``other_ways``: of each GPU, how many of its ways to GPUs and cards, and its NUMA node, are not what more than half of the nodes show (three nodes or more):
      a card in another slot, a BIOS setting, names of cards that differ. Ways that ``missing_links`` tells are left out.
    - A card that sysfs puts on another NUMA node than the GPU that it is nearest to is the fact ``numa``.

    What it does not mean: links that are there may be slow or faulty; ``health`` counts their errors, ``peer_to_peer`` measures them. In
    a job that was given some GPUs of a node only those are in the matrix.

    Parameters:
        links: NVLinks between every two GPUs; 0: those of the board.
        card: the farthest way to a GPU's own card: ``PIX``, ``PXB``, ``PHB``, ``NODE``, ``SYS``; empty: that of the board.
        root: a folder that stands for ``/``.
    """

    name: ClassVar = "topology"
    revision: ClassVar = 1
    about: ClassVar = "GPUs and network cards connected as on their board, and as on the other nodes."
    needs_gpu: ClassVar = True
    on_device: ClassVar = False
    metrics: ClassVar = (
        Metric(
            "missing_links", "pairs", "lower",
            "Other GPUs that this one does not reach over all NVLinks of the board.", title="GPUs not reached over all NVLinks ({})",
            formula="pairs of the GPU whose word in the matrix is not NV#, # the links of the board", source=f"{_SOURCE}; {_TOOL}", scope="node",
            statistic="worst", required=False, limit=at_most(0, "pairs", "every two GPUs of the board have as many"),
            code=FindingCode.GPU_LINKS_MISSING,
        ),
        Metric(
            "far_cards", "GPUs", "lower",
            "A GPU without a network card of its own behind the same PCIe switches.", title="GPUs without a near network card ({})",
            formula="1 for a GPU that is left over when each takes a card at most as far as the profile says", source=f"{_SOURCE}; {_TOOL}",
            scope="node", statistic="worst", required=False, limit=at_most(0, "GPUs", "one card for each GPU"), code=FindingCode.CARD_FAR,
        ),
        Metric(
            "other_ways", "ways", "lower",
            "Ways from this GPU to others and to cards that are not those of most nodes.", title="ways unlike those of most nodes ({})",
            formula="entries of the GPU's row, and its NUMA node, that differ from those of more than half of the nodes", source=_TOOL, scope="node",
            statistic="worst", required=False, limit=at_most(0, "ways", "what most nodes of the run have"), code=FindingCode.TOPOLOGY_ODD,
        ),
    )  # fmt: skip

    links: int = param(0, at_least=0, at_most=72)
    card: str = param("", one_of=("", *DISTANCES))
    root: str = "/"

    def measure(self, ctx: CheckContext) -> Any:
        """What the board says; for ``compare`` the rows of the GPUs.

        Raises:
            Unavailable: fewer than two GPUs and no card, or no nvidia-smi.
            ToolError: it gave no matrix.
        """
        if ctx.local_rank:
            return None
        found = self._matrix(ctx)
        board = board_of(ctx.model)
        ctx.fact("board", board.name if board else f"no board of {ctx.model or 'an unknown GPU'} is known")
        torn = self._links(ctx, found, board.links if board else 0)
        self._cards(ctx, found, board.card if board else "")
        if told := _numa(found, Path(self.root)):
            ctx.fact("numa", told)
        return [rows(found), sorted(torn)]

    def compare(self, ctx: CheckContext, kept: Any) -> None:
        """What most nodes show is what a node should show."""
        everyone = [one for one in ctx.allgather(kept) if one is not None]
        if kept is None:
            return
        usual, count = Counter(tuple(sorted(mine.items())) for mine, _ in everyone).most_common(1)[0]
        if len(everyone) < _FEWEST_NODES or 2 * count <= len(everyone):
            ctx.unsupported(
                "other_ways",
                f"{count} of {len(everyone)} nodes show the same matrix: no majority of three nodes or more",
            )
            return
        mine, torn = kept
        for gpu, differences in unlike(mine, dict(usual), torn).items():
            ctx.emit("other_ways", len(differences), gpu)
            if differences:
                ctx.fact(f"differs[{gpu}]", f"{'; '.join(differences[:6])} ({count} of {len(everyone)} nodes)")

    def _matrix(self, ctx: CheckContext) -> GpuTopology:
        remedy = "It comes with the driver: give the container the driver's utilities (NVIDIA_DRIVER_CAPABILITIES=compute,utility)."
        done = run_tool(ctx, ["nvidia-smi", "topo", "-m"], timeout_s=_TIMEOUT_S, remedy=remedy)
        if done.returncode:
            said = " ".join((done.stderr or done.stdout).split())[:300]
            raise ToolError(f"nvidia-smi topo -m ended with {done.returncode}: {said}", "Type it on the node.")
        found = parse_topo(done.stdout)
        if not found.words:
            raise Unavailable("one GPU and no network card have no ways between them")
        return found

    def _links(self, ctx: CheckContext, found: GpuTopology, of_board: int) -> set[tuple[str, str]]:
        """Emit; the pairs that lack links, each from both ends."""
        pairs = {pair: word for pair, word in found.words.items() if pair[1] in found.gpus}
        links = self.links or of_board or _usual_links(pairs.values())
        if not links:
            ctx.unsupported(
                "missing_links", "no board of this model is known, and most pairs of GPUs are not connected by NVLinks"
            )
            return set()
        torn = {pair for pair, word in pairs.items() if distance(word) > -links}
        for gpu, count in blamed(torn, found.gpus).items():
            ctx.emit("missing_links", count, gpu)
            if count:
                said = ", ".join(f"{pairs[gpu, other]} to {other}" for other in found.gpus if (gpu, other) in torn)
                ctx.fact(f"found[{gpu}]", f"{said}; expected NV{links}")
        return torn

    def _cards(self, ctx: CheckContext, found: GpuTopology, of_board: str) -> None:
        """Emit, where it can be said."""
        farthest = self.card or of_board
        why = (
            f"{len(found.cards)} network cards are in the matrix, fewer than one for each of {len(found.gpus)} GPUs"
            if len(found.cards) < len(found.gpus)
            else "no board of this model is known, and the suite does not say how near a card must be" if not farthest
            else "in a virtual machine PCIe is what the hypervisor shows" if not self.card and is_virtual_machine(Path(self.root))
            else ""
        )  # fmt: skip
        if why:
            ctx.unsupported("far_cards", why)
            return
        near = {
            gpu: [card for card in found.cards if distance(found.words[gpu, card]) <= distance(farthest)]
            for gpu in found.gpus
        }
        own = own_cards(near)
        for gpu in found.gpus:
            ctx.emit("far_cards", int(gpu not in own), gpu)
            nearest = min(found.cards, key=lambda card: distance(found.words[gpu, card]))
            way = found.words[gpu, nearest]
            ctx.fact(
                f"card[{gpu}]",
                f"{own[gpu]} ({found.words[gpu, own[gpu]]})"
                if gpu in own
                else f"none of its own; nearest {nearest} ({way})",
            )


def _usual_links(words: Iterable[str]) -> int:
    """NVLinks of more than half of the pairs; 0 where most are connected otherwise."""
    counted = Counter(words)
    if not counted:
        return 0
    word, count = counted.most_common(1)[0]
    return -distance(word) if word.startswith("NV") and 2 * count > counted.total() else 0


def blamed(torn: Iterable[tuple[str, str]], gpus: Sequence[str]) -> dict[str, int]:
    """GPU → missing pairs that are counted for it: for the GPU that has most of them in common; where two have only each other, for both."""
    left = {frozenset(pair) for pair in torn}
    found = dict.fromkeys(gpus, 0)
    while left:
        worst = max(gpus, key=lambda gpu: sum(gpu in pair for pair in left))
        mine = {pair for pair in left if worst in pair}
        for gpu in next(iter(mine)) if len(mine) == 1 else (worst,):
            found[gpu] += len(mine)
        left -= mine
    return found


def own_cards(near: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """GPU → a card that no other GPU has, for as many GPUs as possible (augmenting paths: Kuhn's algorithm)."""
    holder: dict[str, str] = {}

    def place(gpu: str, tried: set[str]) -> bool:
        for card in near[gpu]:
            if card not in tried:
                tried.add(card)
                if card not in holder or place(holder[card], tried):
                    holder[card] = gpu
                    return True
        return False

    for gpu in near:
        place(gpu, set())
    return {gpu: card for card, gpu in holder.items()}


def rows(found: GpuTopology) -> dict[str, str]:
    """GPU → its row and its NUMA node, as a text that travels: ``GPU1:NV18 … mlx5_0:PXB … numa:0``."""
    return {
        gpu: " ".join([*(f"{other}:{found.words[gpu, other]}" for other in (*found.gpus, *found.cards) if other != gpu), f"numa:{found.numa.get(gpu, '?')}"])
        for gpu in found.gpus
    }  # fmt: skip


def unlike(mine: Mapping[str, str], usual: Mapping[str, str], torn: Iterable[Sequence[str]]) -> dict[str, list[str]]:
    """GPU → in what its row differs from the usual one, but for pairs that lack links and are told as that."""
    told = {tuple(pair) for pair in torn}
    found: dict[str, list[str]] = {}
    for gpu in sorted({*mine, *usual}, key=lambda name: (len(name), name)):
        ours, theirs = (dict(word.rsplit(":", 1) for word in row.get(gpu, "").split()) for row in (mine, usual))
        found[gpu] = [
            f"{other} {ours.get(other, 'absent')} instead of {theirs.get(other, 'absent')}"
            for other in {**theirs, **ours}
            if ours.get(other) != theirs.get(other) and (gpu, other) not in told
        ]
    return found


def _numa(found: GpuTopology, root: Path) -> str:
    """GPUs whose nearest card sysfs puts on another NUMA node; empty where there is none, or nothing is known."""
    said = []
    for gpu, node in found.numa.items():
        near = [card for card in found.cards if distance(found.words[gpu, card]) <= distance("PXB")]
        nodes = {card: infiniband.numa_node(card, root) for card in near}
        said += [
            f"{gpu} is on NUMA node {node}, its card {card} on {other}"
            for card, other in nodes.items()
            if other is not None and node.isdigit() and int(node) != other
        ]
    return "; ".join(said[:8])
