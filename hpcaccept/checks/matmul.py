"""How fast are matrix products, and are they right?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from hpcaccept.measure import device as devices
from hpcaccept.measure import product
from hpcaccept.measure.timing import Pace, spread, time_blocks
from hpcaccept.model.check import Bench, Check, Unavailable
from hpcaccept.model.metric import Metric, at_most

if TYPE_CHECKING:
    from hpcaccept.measure.device import Device
    from hpcaccept.measure.product import Format, Operands

_SEED = 20261122
_SOURCE = "https://github.com/stas00/ml-engineering/blob/master/compute/accelerator/benchmarks/mamf-finder.py"


@dataclass(frozen=True)
class Matmul(Check):
    """The rate of matrix products in each number format, and whether every element of them is right.

    Variants: fp64, fp32 (IEEE: TF32 is switched off), tf32, fp16, bf16, fp8 (e4m3, bf16 out) and int8 (int32 out).
    What a device or its torch cannot do is found by trying and recorded as unsupported with the reason.

    How: for each format,

    1. one product of small whole numbers whose every partial sum is exact, compared with integer arithmetic;
    2. one product of normally distributed numbers, whose result is kept;
    3. that product again and again: until two batches in a row agree within 1 %, then ``blocks`` blocks of at least
       ``block_s``, timed by events on the GPU (their mean) or by the clock of the CPU (the median call);
    4. the last result against the kept one bit for bit, and against float64 within a derived bound (the fact
       ``sum_bound``; 0 for int8, whose sums are exact).

    The rate is 2·n³ FLOP per product. Random operands matter: zeros draw less power and run up to 15 % faster.

    What the rate does not mean: it is the rate of one shape (the fact ``shape``) through torch's BLAS on a device that
    does nothing else, not the peak of the part and not the speed of a training. CPU shapes are small so that old
    processors finish, and say more about "works" than about "how fast". ``wrong_elements`` is a lower bound when it is
    not 0, and 0 does not exclude a fault that shows in fewer than one of so many products; ``burn`` does more of them.

    Parameters:
        size: n of the n × n matrices; 0 takes the table: on a GPU 8192 (fp64 4096), on a CPU 1024 (fp64 768, narrow
            formats 256).
        dtypes: formats to measure; empty means all that this kind of device may have.
        blocks: timed blocks, all of them kept.
        block_s: seconds per block; 0 means 1.0 on a GPU and 0.04 on a CPU.
        warm_s: longest warm-up; 0 means 5 blocks on a GPU and 2 on a CPU.
    """

    name: ClassVar = "matmul"
    revision: ClassVar = 1
    about: ClassVar = "Rate of matrix products per number format, every element verified."
    needs: ClassVar = ("torch",)
    metrics: ClassVar = (
        Metric(
            "rate_flops", "FLOP/s", "higher", "Rate of n × n matrix products in one number format.",
            formula="2·n³ / seconds per product, one figure per block", source=_SOURCE, peer_floor=0.04,
        ),
        Metric(
            "wrong_elements", "elements", "lower", "Elements of verified products that were wrong, at least.",
            formula="wrong in the exact product + changed from first to last timed product + wrong float64 sums",
            source="hpcaccept/measure/product.py", statistic="worst",
            limit=at_most(0, "elements", "a correct device makes no wrong product"),
        ),
        Metric(
            "spread", "share", "exact", "How far the blocks lie apart; above 5 % the rate is suspect.",
            formula="(max - min) / median of the blocks",
        ),
    )  # fmt: skip

    size: int = 0
    dtypes: tuple[str, ...] = ()
    blocks: int = 5
    block_s: float = 0.0
    warm_s: float = 0.0

    def __post_init__(self) -> None:
        for name in self.dtypes:
            product.named(name, "dtypes", self.name)

    def measure(self, bench: Bench) -> None:
        """Each format in turn; see the class."""
        device = devices.open_device(bench.device)
        bench.fact("timer", "CUDA events" if device.kind == "cuda" else "time.perf_counter")
        done = [self._measure_format(bench, device, form) for form in self._formats(device)]
        if not any(done):
            raise Unavailable("None of the number formats asked for exists here.", "Choose others with 'dtypes'.")

    def _formats(self, device: Device) -> list[Format]:
        asked = self.dtypes or tuple(name for name, form in product.FORMATS.items() if device.kind in form.sizes)
        return [product.FORMATS[name] for name in asked]

    def _measure_format(self, bench: Bench, device: Device, form: Format) -> bool:
        """One format; False when it is unsupported."""
        bench.beat(form.name)
        size = self.size or form.sizes.get(device.kind, 0)
        try:
            rates, wrong = self._verified_rates(form, size, device)
        except Unavailable as absent:
            bench.unsupported(form.name, absent.cause)
            return False
        for repeat, rate in enumerate(rates):
            bench.emit("rate_flops", rate, form.name, repeat)
        bench.emit("wrong_elements", wrong, form.name)
        bench.emit("spread", spread(rates), form.name)
        bench.fact(f"shape[{form.name}]", f"{size}x{size}x{size}")
        bench.fact(f"sum_bound[{form.name}]", f"{product.sum_bound(form, size):.3g}")
        return True

    def _verified_rates(self, form: Format, size: int, device: Device) -> tuple[list[float], int]:
        """Rates of the blocks, and how many elements were wrong.

        Raises:
            Unavailable: this device has no such product.
        """
        refusal = product.refusal(form, device)
        if refusal:
            raise Unavailable(refusal)
        with device.fp32_as("tf32" if form.name == "tf32" else "ieee"):
            wrong = product.wrong_exact(form, _first_product(form, size, device))
            operands = product.random_operands(form, size, device.name, _SEED + 1)
            call = product.product_call(form, operands)
            call()
            first = operands.out.clone()
            seconds = time_blocks(device.time_calls, call, self._pace(device))
            wrong += int(product.differing(operands.out, first))
            wrong += product.wrong_sums(form, operands)
        return [product.flops(size) / s for s in seconds], wrong

    def _pace(self, device: Device) -> Pace:
        block_s = self.block_s or (1.0 if device.kind == "cuda" else 0.04)
        return Pace(self.blocks, block_s, self.warm_s or block_s * (5 if device.kind == "cuda" else 2))


def _first_product(form: Format, size: int, device: Device) -> Operands:
    """The exact product, which also tells whether this device and its torch have such a product at all.

    Raises:
        Unavailable: they have not. A device that breaks down here is another matter and raises what torch raised.
    """
    operands = product.integer_operands(form, size, device.name, _SEED)
    product.spoil(operands.out)
    try:
        product.product_call(form, operands)()
        device.synchronize()
    except (RuntimeError, NotImplementedError, AttributeError) as error:
        if devices.is_fault(error):
            raise
        raise Unavailable(str(error).partition("\n")[0]) from error
    return operands
