"""What the GPUs of a healthy fleet measure: factors of site, rack, node, GPU and run, with the spreads that fleets show.

A value is the product of what its subject is like (site × rack × node × GPU: it stays) and of what happens in a run: each
block has its noise (Student's t of 5 degrees of freedom), and now and then a whole launch is disturbed. The spreads of A100 and
H100 nodes are read from published healthy fleets and single nodes (SC'22 "Not all GPUs are created equal", arXiv 2208.11035;
MLPerf training logs; SuperBench's and AzureHPC's published results); ``PRESETS`` scales them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from hpcaccept.model.table import MeasuredSubject, SampleTable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Floats = npt.NDArray[np.float64]
#: Standard deviation of Student's t with 5 degrees of freedom.
_T5 = (5 / 3) ** 0.5
#: Blocks of one launch; a value is their median.
BLOCKS = 3
#: What a disturbance takes from a launch, at least and at most.
DISTURBED = (0.03, 0.15)
NODES_PER_RACK = 16
#: How many times as noisy restless subjects are.
_RESTLESS = 5.0
#: First digits of rates that are rounded: 3.35 TB/s.
_MIDDLE = 3.35
MODEL = "NVIDIA H100 80GB HBM3"


@dataclass(frozen=True)
class Spread:
    """How much healthy subjects differ in one metric, as relative standard deviations.

    Attributes:
        key: of a real metric, so that its declared floor counts.
        scope: whose number it is.
        device: between the GPUs of a node (of a number of the node: 0).
        node: between nodes.
        rack: between racks.
        run: between measurements of one subject.
    """

    key: str
    scope: Literal["device", "node"]
    device: float
    node: float
    run: float
    rack: float = 0.0


#: Short name → spread.
SPREADS: dict[str, Spread] = {
    "bf16": Spread("matmul.rate_flops[bf16]", "device", 0.010, 0.005, 0.0015, 0.001),
    "fp32": Spread("matmul.rate_flops[fp32]", "device", 0.003, 0.001, 0.001),
    "hbm": Spread("memory_bandwidth.rate_bytes[triad]", "device", 0.004, 0.0, 0.0005),
    "h2d": Spread("transfers.rate_bytes[h2d]", "device", 0.003, 0.003, 0.002),
    "d2h": Spread("transfers.rate_bytes[d2h]", "device", 0.003, 0.003, 0.002),
    "training": Spread("resnet.images_per_s[resnet50 train]", "device", 0.007, 0.004, 0.0015, 0.001),
    "nvlink": Spread("nccl_tests.busbw_bytes[all_reduce]", "node", 0.0, 0.003, 0.002),
    "network": Spread("ib_write_bw.rate_bytes[send]", "node", 0.0, 0.004, 0.004),
    "nvme": Spread("storage.rate_bytes[read]", "node", 0.0, 0.03, 0.02),
}
#: Scale of all spreads.
PRESETS = {"H100": 1.0, "PCIe, air-cooled": 2.0, "liquid-cooled": 0.5}


@dataclass(frozen=True)
class Site:
    """What kind of fleet.

    Attributes:
        nodes: how many.
        gpus: per node.
        preset: of ``PRESETS``.
        disturbed: chance that one launch of one metric is slow on one subject, by 3 to 15 %.
        heavy: subjects differ by a t of 5 degrees of freedom instead of a normal distribution: a fleet that nobody sorted.
        firmware: share of nodes with another firmware, which is 1.5 % slower in everything and no fault.
        missing: chance that a subject has no value of a metric.
        crashed: chance that a node has no values at all.
        run_noise: what a run adds. ``blocks``: each block has noise of its own. ``normal``, ``t(5)``, ``t(3)``: so is a whole launch,
            which its three blocks do not show.
        memory: how much of a run's noise the next run has too (lag-one autocorrelation of an AR(1); its noise is normal).
        scale: of the run's noise, on top of the preset's.
        restless: share of the subjects of a metric that are five times as noisy from run to run.
        together: what all subjects of a metric gain or lose together in a run, a relative standard deviation.
        digits: values are read with so many; 0: with all.
    """

    nodes: int = 128
    gpus: int = 8
    preset: str = "H100"
    disturbed: float = 0.001
    heavy: bool = False
    firmware: float = 0.0
    missing: float = 0.001
    crashed: float = 0.001
    run_noise: Literal["blocks", "normal", "t(5)", "t(3)"] = "blocks"
    memory: float = 0.0
    scale: float = 1.0
    restless: float = 0.0
    together: float = 0.0
    digits: int = 0


@dataclass(eq=False)
class Fleet:
    """One fleet whose subjects stay what they are, from run to run.

    Attributes:
        site: what kind.
        rng: of this fleet; the same seed gives the same fleet and the same runs.
        like: short name → float64[u]: what each subject of the metric reaches, 1 is typical.
        gone: bool[nodes], nodes that crash.
        state: short name → float64[u]: what the noise of this run has of the runs before, where it has any.
        width: short name → float64[u]: how many times as noisy as is usual each subject is from run to run.
        level: short name → what all subjects reach in this run, 1 is usual.
    """

    site: Site
    rng: np.random.Generator
    like: dict[str, Floats] = field(init=False)
    gone: npt.NDArray[np.bool_] = field(init=False)
    state: dict[str, Floats] = field(init=False, default_factory=dict)
    width: dict[str, Floats] = field(init=False, default_factory=dict)
    level: dict[str, float] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        site, rng = self.site, self.rng
        scale = PRESETS[site.preset]
        other = rng.random(site.nodes) < site.firmware
        self.gone = rng.random(site.nodes) < site.crashed
        self.like = {}
        for name, spread in SPREADS.items():
            per_node = site.gpus if spread.scope == "device" else 1
            rack = np.repeat(self._between(-(-site.nodes // NODES_PER_RACK)), NODES_PER_RACK)[: site.nodes]
            node = 1 + scale * (spread.rack * rack + spread.node * self._between(site.nodes))
            node = node * np.where(other, 0.985, 1.0) * (1 + 0.01 * rng.standard_normal())
            device = 1 + scale * spread.device * self._between(site.nodes * per_node)
            self.like[name] = np.maximum(np.repeat(node, per_node) * device, 0.01)
            self.width[name] = np.full(len(device), site.scale)
            if site.restless:
                self.width[name] *= np.where(rng.random(len(device)) < site.restless, _RESTLESS, 1.0)

    def _between(self, count: int) -> Floats:
        """Deviations of healthy subjects, of standard deviation 1."""
        if self.site.heavy:
            return np.asarray(self.rng.standard_t(5, count) / _T5)
        return self.rng.standard_normal(count)

    def begin_run(self) -> dict[str, npt.NDArray[np.bool_]]:
        """The next run begins: short name → bool[u], which subjects have a value in it; crashed nodes have none."""
        kept = self.site.memory
        for name, like in self.like.items() if kept else ():
            new = self.rng.standard_normal(len(like))
            before = self.state.get(name)
            self.state[name] = new if before is None else kept * before + (1 - kept**2) ** 0.5 * new
        if self.site.together:
            self.level = {name: 1 + self.site.together * self.rng.standard_normal() for name in self.like}
        return self._present()

    def move(self, shift: float, unequal: float) -> None:
        """Something new (a driver) makes all subjects reach so much more, each a little more or less than that.

        Args:
            shift: relative, negative is a loss.
            unequal: standard deviation of what it is for each of them.
        """
        for name, like in self.like.items():
            self.like[name] = like * (1 + shift) * (1 + unequal * self.rng.standard_normal(len(like)))

    def launch(self, names: Sequence[str], faults: Mapping[str, Floats]) -> dict[str, Floats]:
        """One launch: short name → float64[u, BLOCKS], NaN where nothing came.

        Args:
            names: metrics that are measured.
            faults: short name → float64[u], what is left of each subject's rate now.
        """
        found = {}
        for name in names:
            like, spread = self.like[name], SPREADS[name]
            noise = self._noise(name, len(like))
            value = like[:, None] * (1 + PRESETS[self.site.preset] * spread.run * self.width[name][:, None] * noise)
            value *= self.level.get(name, 1.0)
            hit = self.rng.random(len(like)) < self.site.disturbed
            value[hit] *= 1 - self.rng.uniform(*DISTURBED, (int(hit.sum()), 1))
            if name in faults:
                value *= faults[name][:, None]
            if self.site.digits:
                # A number in the middle of a decade.
                steps = _MIDDLE * 10.0 ** (self.site.digits - 1)
                value = np.round(value * steps) / steps
            found[name] = np.maximum(value, 1e-3)
        return found

    def _noise(self, name: str, count: int) -> Floats:
        """float64[u, BLOCKS] of one launch, of standard deviation 1."""
        if self.site.memory:
            return np.repeat(self.state[name][:, None], BLOCKS, axis=1)
        kind = self.site.run_noise
        if kind == "blocks":
            return np.asarray(self.rng.standard_t(5, (count, BLOCKS)) / _T5)
        if kind == "normal":
            drawn = self.rng.standard_normal(count)
        else:
            # As wide as a normal one in the middle: a t of 3 scaled to its standard deviation is narrower than it is heavy.
            drawn = self.rng.standard_t(5 if kind == "t(5)" else 3, count)
        return np.repeat(drawn[:, None], BLOCKS, axis=1)

    def _present(self) -> dict[str, npt.NDArray[np.bool_]]:
        found = {}
        for name, like in self.like.items():
            here = ~np.repeat(self.gone, len(like) // self.site.nodes)
            found[name] = here & (self.rng.random(len(like)) >= self.site.missing)
        return found


@lru_cache(maxsize=8)
def subjects_of(nodes: int, gpus: int) -> tuple[MeasuredSubject, ...]:
    """The GPUs, node by node, then the nodes themselves."""
    names = [f"n{number:05d}" for number in range(nodes)]
    cards = [MeasuredSubject(node, f"cuda:{i}", f"GPU-{node}-{i}", MODEL) for node in names for i in range(gpus)]
    return (*cards, *(MeasuredSubject(node, "", "", MODEL) for node in names))


def table_of(
    site: Site, launches: Sequence[Mapping[str, Floats]], present: Mapping[str, npt.NDArray[np.bool_]]
) -> SampleTable:
    """What ``store.gather`` would have read of these launches."""
    names = list(SPREADS)
    parts: list[tuple[int, npt.NDArray[np.intp], int, Floats]] = []
    for number, launch in enumerate(launches):
        for name, value in launch.items():
            rows = np.flatnonzero(present[name] & ~np.isnan(value[:, 0]))
            first = 0 if SPREADS[name].scope == "device" else site.nodes * site.gpus
            parts.append((names.index(name), rows + first, number, value[rows]))
    sizes = [len(rows) * BLOCKS for _, rows, _, _ in parts]
    return SampleTable(
        keys=tuple(SPREADS[name].key for name in names),
        subjects=subjects_of(site.nodes, site.gpus),
        key=np.repeat(np.array([key for key, *_ in parts], np.int32), sizes),
        subject=np.concatenate([np.repeat(rows, BLOCKS) for _, rows, _, _ in parts]).astype(np.int32),
        launch=np.repeat(np.array([number for _, _, number, _ in parts], np.int32), sizes),
        repeat=np.concatenate([np.tile(np.arange(BLOCKS), len(rows)) for _, rows, _, _ in parts]).astype(np.int32),
        value=np.concatenate([value.ravel() for *_, value in parts]),
    )
