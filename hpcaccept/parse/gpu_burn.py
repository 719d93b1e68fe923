"""What gpu-burn measured, and what its words "OK" and "FAULTY" leave out: text in, one ``Burnt`` per GPU out.

Its progress is one line that is rewritten with carriage returns: share of the time, products and rate of each GPU,
errors, temperatures. Read in ``gpu_burn-drv.cpp`` of wilicc/gpu-burn, commit 3ead140 (2026-05-31); wordings of 2018 to
2025 from its issues.

Traps:
    * It exits with 0 although GPUs are FAULTY (#12), and prints OK for GPUs whose test never began (#14, #7).
    * The rate that is shown is that of the last report: a GPU that stops keeps its last figure; only its products stand
      still.
    * Errors are set back after every summary, and overflow into negative numbers (#12).
    * When a test cannot begin, its products are -1 and its errors are whatever stood in memory (#52, #69): FAULTY then
      says nothing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from statistics import median
from typing import Literal

from hpcaccept.errors import NotUnderstood

_PROGRESS = re.compile(
    r"(?P<share>\d+(?:\.\d+)?)%\s+proc'd:\s*(?P<done>.*?)\s+errors:\s*(?P<errors>.*?)\s+temps:\s*(?P<temps>[^\r\n]*)"
)
_DONE = re.compile(r"(-?\d+)\s+\((-?\d+|inf|-?nan) Gflop/s\)")
_ERRORS = re.compile(r"(-?\d+)\s*(\((?:WARNING|DIED)!\))?")
_TEMPERATURE = re.compile(r"(\d+) C|--")
_TESTED = re.compile(r"^Tested (\d+) GPUs?:", re.M)
_VERDICT = re.compile(r"^\s*GPU (\d+): (OK|FAULTY)\s*$", re.M)
_TROUBLE = re.compile(
    r"^.*(?:Couldn't init|Failure during compute|No clients are alive|No CUDA devices|terminate called|what\(\):).*$",
    re.M,
)
#: Windows of the run, each of which gives one rate; the first is the warm-up.
_WINDOWS = 10


@dataclass(frozen=True)
class Burnt:
    """One GPU.

    Attributes:
        index: CUDA's number.
        said: gpu-burn's word.
        products: compared at the end; 0 when it never computed.
        errors: largest count of wrong elements of any report of a living test, 0 for none.
        rates_flops: FLOP/s, the median of each tenth of the run after the first.
        stopped: it computed, and then died or stood still for the second half of the run.
        temperature: °C at the end, None where it is not known.
    """

    index: int
    said: Literal["OK", "FAULTY", ""]
    products: int
    errors: int
    rates_flops: tuple[float, ...]
    stopped: bool
    temperature: int | None

    @property
    def computed(self) -> bool:
        """True when at least one product was made and compared at a rate above 0."""
        return any(rate > 0 for rate in self.rates_flops)


@dataclass(frozen=True)
class Burn:
    """One run.

    Attributes:
        gpus: by index.
        share: of the time that had passed at the last report, 0..1.
        concluded: True when it printed its verdicts.
        troubles: what it said that is no measurement.
    """

    gpus: tuple[Burnt, ...]
    share: float
    concluded: bool
    troubles: tuple[str, ...]


@dataclass(frozen=True)
class _Report:
    share: float
    products: list[int]
    rates: list[float]
    errors: list[int]
    temperatures: list[int | None]


def parse_gpu_burn(stdout: str, stderr: str = "") -> Burn:
    """Both streams of ``gpu_burn``.

    Raises:
        NotUnderstood: there is neither progress, nor a verdict, nor a trouble that is known.
    """
    reports = [_report(match) for match in _PROGRESS.finditer(stdout)]
    verdicts = {int(index): word for index, word in _VERDICT.findall(stdout)}
    troubles = tuple(dict.fromkeys(" ".join(line.split()) for line in _TROUBLE.findall(f"{stderr}\n{stdout}")))
    tested = _TESTED.search(stdout)
    if not reports and not verdicts and not troubles:
        raise NotUnderstood("gpu_burn printed neither progress nor verdicts", "Its output is in the run folder.")
    if tested and int(tested[1]) != len(verdicts):
        raise NotUnderstood(f"gpu_burn says it tested {tested[1]} GPUs and prints {len(verdicts)} verdicts")
    count = max([len(reports[-1].products) if reports else 0, *(index + 1 for index in verdicts)])
    gpus = tuple(_of_gpu(index, verdicts.get(index, ""), reports) for index in range(count))
    return Burn(gpus, reports[-1].share if reports else 0.0, tested is not None, troubles)


def _report(match: re.Match[str]) -> _Report:
    done = _DONE.findall(match["done"])
    errors = _ERRORS.findall(match["errors"])
    if not done or len(errors) != len(done):
        raise NotUnderstood(
            f"gpu_burn's progress speaks of {len(done)} rates and {len(errors)} error counts: {match[0][:200]!r}"
        )
    temperatures = [int(t) if t else None for t in _TEMPERATURE.findall(match["temps"])]
    return _Report(
        share=float(match["share"]) / 100,
        products=[int(products) for products, _ in done],
        rates=[float(rate) * 1e9 if rate.lstrip("-").isdigit() else 0.0 for _, rate in done],
        errors=[int(count) for count, _ in errors],
        temperatures=temperatures + [None] * (len(done) - len(temperatures)),
    )


def _of_gpu(index: int, said: str, reports: list[_Report]) -> Burnt:
    mine = [r for r in reports if index < len(r.products)]
    alive = [r for r in mine if r.products[index] >= 0]
    products = max((r.products[index] for r in alive), default=0)
    died = len(alive) < len(mine)
    early = {r.products[index] for r in alive if r.share <= 0.5} - {0}
    # Slow GPUs report twice in a run: only who has reported twice in its first half must be heard in the second.
    stood_still = bool(mine) and mine[-1].share >= 0.95 and len(early) >= 2 and max(early) == products
    return Burnt(
        index=index,
        said=said,  # type: ignore[arg-type]
        products=products,
        errors=max((abs(r.errors[index]) for r in alive), default=0),
        rates_flops=_rates(index, alive),
        stopped=products > 0 and (died or stood_still),
        temperature=mine[-1].temperatures[index] if mine else None,
    )


def _rates(index: int, alive: list[_Report]) -> tuple[float, ...]:
    """Of reports with a new count of products only: the others repeat an old figure."""
    windows: dict[int, list[float]] = {}
    before = 0
    for report in alive:
        if report.products[index] > before:
            before = report.products[index]
            windows.setdefault(min(int(report.share * _WINDOWS), _WINDOWS - 1), []).append(report.rates[index])
    steady = [median(rates) for window, rates in sorted(windows.items()) if window > 0]
    return tuple(steady or [median(rates) for rates in windows.values()])
