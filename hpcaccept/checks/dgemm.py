"""Times float64 matrix products on all cores of a socket, and verifies them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from hpcaccept.measure.host import cpu_packages
from hpcaccept.measure.kernels import gemm
from hpcaccept.measure.slices import block_figure
from hpcaccept.measure.timing import spread
from hpcaccept.model.check import Check, CheckContext
from hpcaccept.model.finding_code import FindingCode
from hpcaccept.model.metric import Metric, at_most
from hpcaccept.model.parameter import HOUR_S, MOST_BLOCKS, MOST_ROWS, param

if TYPE_CHECKING:
    from collections.abc import Callable

    from hpcaccept.measure.kernels.gemm import Operands

_SEED = 20261122
_FORM = gemm.FORMATS["fp64"]


@dataclass(frozen=True)
class Dgemm(Check):
    """The rate of float64 matrix products of each socket with all its cores at work, and whether every element is right.

    Variants: ``socket0``, ``socket1`` …; one rank of each node measures for the node.

    How: a thread is pinned to each core that the job may use (one hardware thread of each core; no more threads than
    the CPU quota allows), on all sockets at once. Each makes single-threaded n × n products, as HPL's inner loop does:

    1. a product of small whole numbers, every partial sum of it exact, compared element by element with one that was
       verified with integer arithmetic;
    2. a product of random numbers, compared with its operands by signed sums within a derived bound, and kept;
    3. after a warm-up all cores together, ``blocks`` times for ``block_s``: that product again and again, each result
       compared bit for bit with the kept one. Comparing is not timed.

    A core's figure is 2·n³ over its median product, a socket's the sum over its cores. ``slowest_core_share`` says
    how far the slowest core of the socket is behind: the fact ``cores`` names it.

    What it does not mean: it is no peak, nor HPL: matrices of one core that fit its caches, through torch's BLAS (MKL
    takes other paths on other vendors' parts, so compare like with like). Where ranks of virtual nodes measure in turn or
    share a kernel each node has only its share of the cores. Without topology in sysfs everything is ``socket0``.

    Parameters:
        size: n of the n × n matrices.
        blocks: timed blocks, all of them kept.
        block_s: seconds per block.
        warm_s: seconds before the first block.
    """

    name: ClassVar = "dgemm"
    revision: ClassVar = 1
    about: ClassVar = "Float64 matrix products on all cores of each socket, every result verified."
    needs: ClassVar = ("torch",)
    on_device: ClassVar = False
    metrics: ClassVar = (
        Metric(
            "rate_flops", "FLOP/s", "higher", "Rate of float64 products of all cores of a socket together.", title="FP64 matrix multiply on the CPU ({})",
            formula="sum over the cores of 2·n³ / median seconds per product, one figure per block", scope="node",
            source="https://www.netlib.org/benchmark/hpl/", peer_floor=0.10,
        ),
        Metric(
            "wrong_elements", "elements", "lower", "Elements of all products that were wrong, at least.", title="FP64 matrix multiply on the CPU, wrong results ({})", scope="node",
            formula="wrong in the exact product + wrong float64 sums + bits that changed in later products",
            source="hpcaccept/measure/kernels/gemm.py", statistic="worst",
            limit=at_most(0, "elements", "a correct processor makes no wrong product"), code=FindingCode.RESULT_WRONG,
        ),
        Metric(
            "slowest_core_share", "share", "exact", "Rate of the slowest core as a share of the socket's median core.", title="slowest core in matrix multiply ({})",
            formula="lowest / median over the cores, each by its median block", scope="node",
        ),
        Metric(
            "spread", "share", "exact", "How far the blocks lie apart; above 5 % the rate is suspect.", title="FP64 matrix multiply on the CPU, spread ({})", scope="node",
            formula="(max - min) / median of the blocks",
        ),
    )  # fmt: skip

    size: int = param(768, at_least=1, at_most=MOST_ROWS)
    blocks: int = param(5, at_least=1, at_most=MOST_BLOCKS)
    block_s: float = param(0.1, at_least=0, at_most=HOUR_S, unit="s")
    warm_s: float = param(0.2, at_least=0, at_most=HOUR_S, unit="s")

    def measure(self, ctx: CheckContext) -> None:
        """All sockets at once; see the class."""
        if ctx.local_rank != 0:
            return
        crew = cpu_packages.of_node(ctx)
        ctx.beat(f"{len(crew)} cores")
        exact, operands, wrong_first = prepared(self.size)
        done = cpu_packages.together(crew, lambda _, wait: self._work(exact, operands, wait))
        flops = gemm.flops(self.size)
        found = cpu_packages.by_socket(crew, [[flops / s for s in seconds] for seconds, _ in done])
        for variant, figures in found.items():
            for repeat, rate in enumerate(figures.rates):
                ctx.emit("rate_flops", rate, variant, repeat)
            ctx.emit("spread", spread(figures.rates), variant)
            wrong = [w for core, (_, w) in zip(crew, done, strict=True) if core.variant == variant]
            ctx.emit("wrong_elements", wrong_first + sum(wrong), variant)
            if any(wrong):
                places = (core.cpu for core, (_, w) in zip(crew, done, strict=True) if w and core.variant == variant)
                ctx.fact(f"wrong_cores[{variant}]", f"wrong results on processors {', '.join(map(str, places))}")
        ctx.fact("shape", str(operands.shape))
        cpu_packages.emit(ctx, crew, found)

    def _work(self, exact: Operands, operands: Operands, wait: Callable[[], object]) -> tuple[list[float], int]:
        """Of one core: seconds per product, a median for each block; and how many elements were wrong."""
        import torch

        mine = gemm.Operands(operands.left, operands.right, torch.empty_like(operands.out))
        wrong = wrong_against(exact, mine.out)
        call = gemm.product_call(_FORM, mine)
        gemm.spoil(mine.out)
        call()
        wrong += gemm.wrong_sums(_FORM, mine)
        first = mine.out.clone()

        def verify() -> None:
            nonlocal wrong
            wrong += int(gemm.differing(mine.out, first))
            gemm.spoil(mine.out)  # a product that is never written must not find the right one there

        gemm.spoil(mine.out)
        wait()
        cpu_packages.window(call, self.warm_s, verify)
        figures = []
        for _ in range(self.blocks):
            wait()
            figures.append(block_figure(lambda block_s: cpu_packages.window(call, block_s, verify), self.block_s))
        return figures, wrong


def prepared(size: int) -> tuple[Operands, Operands, int]:
    """An exact product with its result, random operands, and how many elements of that result are wrong."""
    exact = gemm.integer_operands(_FORM, size, "cpu", _SEED)
    gemm.spoil(exact.out)
    gemm.product_call(_FORM, exact)()
    return exact, gemm.random_operands(_FORM, size, "cpu", _SEED + 1), gemm.wrong_exact(_FORM, exact)


def wrong_against(exact: Operands, room: object) -> int:
    """Elements of this core's exact product that differ from the given one: whole numbers have no order of summing."""
    mine = gemm.Operands(exact.left, exact.right, room)
    gemm.spoil(mine.out)
    gemm.product_call(_FORM, mine)()
    return int((mine.out != exact.out).sum())
