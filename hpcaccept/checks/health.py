"""What does the driver say of each GPU before, during and after the load of a suite?"""

from __future__ import annotations

import os
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from hpcaccept.errors import NotUnderstood, ToolError
from hpcaccept.measure import gpu_state, nvml, telemetry, xid
from hpcaccept.measure.gpu_state import State
from hpcaccept.model.check import Bench, Check, Unavailable
from hpcaccept.model.metric import Metric, at_least, at_most

if TYPE_CHECKING:
    from collections.abc import Mapping

_NVML = "https://docs.nvidia.com/deploy/nvml-api/"
_MEMORY_ERRORS = "https://docs.nvidia.com/deploy/a100-gpu-mem-error-mgmt/"
_DCGM = "NVIDIA/DCGM, dcgm_gpu_hardware_limits.h (2025)"
_OURS = "ours, provisional: no fleet has published this number"
_XIDS = "https://docs.nvidia.com/deploy/xid-errors/analyzing-xid-catalog.html, classes in measure/xid.toml"
#: Reasons that a healthy, cooled and powered GPU never gives: hardware slowdown, its thermal half, its power brake.
FAULT_REASONS = ("hw_slowdown", "hw_thermal_slowdown", "hw_power_brake")
#: Fewer samples of a busy GPU than this say nothing about a share or about PCIe under load.
_BUSY_SAMPLES = 4
#: Link counters of which a single one is a fault; the others are repaired and judged as a rate.
_REPAIRED = frozenset({"crc_flit", "crc_data"})


@dataclass(frozen=True)
class Health(Check):
    """Counters, links, clocks, heat and errors of each GPU, judged on the difference between before and after the load.

    How: when the step starts, and nothing has touched the GPU yet, its counters are read and two threads begin: one asks
    for clock, clock event reasons, temperature and PCIe link every ``period_s``, one waits for Xids. This check stands
    last in its suite; it then reads everything again and judges what has changed and what was seen under load. It asks
    the driver (NVML) only: no torch, no CUDA, and nothing that changes a setting.

    * A GPU that fell off the bus, before or during the run, is ``lost`` = 1, and the variant names index, PCI bus id,
      UUID and serial number as they were known.
    * What this driver or model does not know is NOT_RUN for that metric alone. An answer that is an error of the GPU
      (reset required, corrupted InfoROM, unknown error) counts in ``query_errors``.
    * Shares of clock event reasons count samples in which the GPU was busy; every bit of the mask counts for itself, and
      a bit without a name is kept as ``0x…``. The PCIe link is judged by the best that was seen, and only where the GPU was
      busy: an idle one trains its link down.
    * Xids that come during the run: those of the class ``fault`` in ``measure/xid.toml`` are never allowed; the others are
      recorded. One that is in no class is an ERROR: what is not understood is neither a pass nor the GPU's fault. The
      driver tells each Xid once: those of before the run are found by the check ``kernel_log``.
    * NVLinks that are down: compared with the GPU of the same model that has most of them in this run, because what a
      board connects cannot be asked. A run of a single GPU expects all its links, once one is up.
    * Totals of a lifetime (ECC, remaps) are facts, not judged: they say that the part has aged, not that it is unfit.

    A process of somebody else on the GPU, or memory that is held without one, makes the record an ERROR, not a FAIL: it
    is not the hardware's fault, draining or returning the node would not be the remedy, and everything measured beside it
    (this check's clocks as well) speaks of both. Nor may it pass: the node is not fit for work until it is cleaned up.
    Whoever was there before any rank had opened the GPU, and is still there at the end, is somebody else; process numbers
    may be those of another namespace, so they are told and nothing is done to them.

    What it does not mean: ECC does not see every flipped bit; one look each 0.25 s misses short throttling (the facts
    ``violations`` count it in full, where the driver does); and nobody has shown yet on a real NVSwitch fabric or on
    NVLink 5 that the counters come as documented.

    Not judged, but open to ``[limits]`` of a suite: ``ecc_enabled``, ``mig_enabled``, ``persistence_enabled``,
    ``power_limit_share``, ``temperature_max``, ``power_w``, ``reason_share[…]``, ``pcie_generation``, ``nvlinks_active``.

    Parameters:
        period_s: between two samples of clock, heat and reasons.
        held_share: of its memory that may be in use before anything of ours runs.
    """

    name: ClassVar = "health"
    revision: ClassVar = 1
    about: ClassVar = (
        "ECC, links, throttling, heat, Xids and foreign processes of each GPU, before, during and after load."
    )
    on_device: ClassVar = False
    metrics: ClassVar = (
        Metric(
            "lost", "GPUs", "exact",
            "GPU that fell off the bus: it answers no question. Drain the node; see 'dmesg | grep -i xid' (79), then "
            "power-cycle it; a second time: reseat or replace the part.",
            formula="1 when NVML says GPU_IS_LOST", source=_NVML, statistic="worst",
            limit=at_most(0, "GPUs", "a lost GPU computes nothing"),
        ),
        Metric(
            "query_errors", "errors", "lower",
            "Questions that the driver answered with an error of the GPU. Read the fact of that name, then 'nvidia-smi -q'.",
            formula="answers other than success, lost, or 'not supported' and its like", source=_NVML, statistic="worst",
            limit=at_most(0, "errors", "a healthy GPU answers or does not know the question"), required=False,
        ),
        Metric(
            "ecc_uncorrected", "errors", "lower",
            "Uncorrectable memory errors during the run. Reset the GPU, and run again; see also row_remaps.",
            formula="after − before of the volatile counter (after, where the counter was reset)", source=_MEMORY_ERRORS,
            statistic="worst", limit=at_most(0, "errors", "each one has destroyed data"), required=False,
        ),
        Metric(
            "ecc_corrected_rate", "1/s", "lower",
            "Corrected memory errors per second during the run. Many announce an uncorrectable one.",
            formula="(after − before) / seconds", source="https://github.com/NVIDIA/NVSentinel/issues/1748 (0/s idle, 17,657/s under load)",
            statistic="worst", limit=at_most(100, "1/s", f"{_OURS}; far below the fault in the source, far above a healthy part"), required=False,
        ),
        Metric(
            "sram_threshold", "flags", "lower", "The driver says that the cache memory of the part is worn: replace the GPU.",
            formula="bThresholdExceeded", source=_MEMORY_ERRORS, statistic="worst",
            limit=at_most(0, "flags", "NVIDIA's own condition of return"), required=False,
        ),
        Metric(
            "row_remaps", "rows", "lower", "Memory rows that were replaced by spare ones during the run.",
            formula="after − before", source=_MEMORY_ERRORS, statistic="worst",
            limit=at_most(0, "rows", "memory that fails under acceptance is not accepted"), required=False,
        ),
        Metric(
            "remap_pending", "flags", "lower", "A row waits to be replaced: reset the GPU and run again.",
            formula="flag after the run", source=_MEMORY_ERRORS, statistic="worst",
            limit=at_most(0, "flags", "until the reset the bad row is in use"), required=False,
        ),
        Metric(
            "remap_failure", "flags", "lower", "A row could not be replaced: replace the GPU.",
            formula="flag after the run", source=_MEMORY_ERRORS, statistic="worst",
            limit=at_most(0, "flags", "NVIDIA's own condition of return"), required=False,
        ),
        Metric(
            "pages_retired", "pages", "lower", "Memory pages that were retired during the run (GPUs before Ampere).",
            formula="after − before", source="https://docs.nvidia.com/deploy/dynamic-page-retirement/", statistic="worst",
            limit=at_most(0, "pages", "memory that fails under acceptance is not accepted"), required=False,
        ),
        Metric(
            "retirement_pending", "flags", "lower", "A page waits to be retired: reload the driver and run again.",
            formula="flag after the run", source="https://docs.nvidia.com/deploy/dynamic-page-retirement/",
            statistic="worst", limit=at_most(0, "flags", "until then the bad page is in use"), required=False,
        ),
        Metric(
            "recovery_needed", "flags", "lower", "The driver itself wants the GPU or the node recovered; the fact says how.",
            formula="NVML_FI_DEV_GET_GPU_RECOVERY_ACTION is not NONE", source=_NVML, statistic="worst",
            limit=at_most(0, "flags", "the driver's own verdict"), required=False,
        ),
        Metric(
            "pcie_replay_rate", "1/s", "lower", "PCIe packets per second that were sent again: reseat the card, check the riser.",
            formula="(after − before) / seconds, at least a minute", source=_DCGM, statistic="worst",
            limit=at_most(8 / 60, "1/s", f"{_DCGM}: 8 a minute"), required=False,
        ),
        Metric(
            "pcie_generations_lost", "generations", "lower",
            "How far the PCIe link stayed below the generation that GPU and slot can do together, under load.",
            formula="maximum − highest that was seen", source=_NVML, statistic="worst",
            limit=at_most(0, "generations", "any shortfall is a fault of slot, riser or card"), required=False,
        ),
        Metric(
            "pcie_lanes_lost", "lanes", "lower", "PCIe lanes that GPU and slot could use together and do not, under load.",
            formula="maximum − widest that was seen", source=_NVML, statistic="worst",
            limit=at_most(0, "lanes", "any shortfall is a fault of slot, riser or card"), required=False,
        ),
        Metric("pcie_generation", "generations", "exact", "PCIe generation, the highest seen.", required=False, headline=False),
        Metric("pcie_lanes", "lanes", "exact", "PCIe lanes, the most seen.", required=False, headline=False),
        Metric(
            "nvlink_errors", "errors", "lower",
            "NVLink errors during the run that were not repaired in passing: replays, recoveries, lost packets.",
            formula="after − before, for each link that has any", source=_DCGM, statistic="worst",
            limit=at_most(0, "errors", f"{_DCGM}: one is a failure"), required=False,
        ),
        Metric(
            "nvlink_crc_rate", "1/s", "lower", "Checksum errors per second on one NVLink; each costs a repetition.",
            formula="(after − before) / seconds, the worst link", source=_DCGM, statistic="worst",
            limit=at_most(100, "1/s", f"{_DCGM}: they matter from 100 a second"), required=False,
        ),
        Metric(
            "nvlinks_missing", "links", "lower", "NVLinks that are down although the same model has them up elsewhere.",
            formula="most active links of this model in the run − active links", source=_NVML, statistic="worst",
            limit=at_most(0, "links", "the GPUs of one model have alike links"), required=False,
        ),
        Metric("nvlinks_active", "links", "exact", "NVLinks that are up.", required=False, headline=False),
        Metric(
            "fabric_faults", "faults", "lower",
            "What the NVLink fabric complains of: see the fact, then the log of the fabric manager.",
            formula="registration not completed, or with an error, or a complaint in its health mask", source=_NVML,
            statistic="worst", limit=at_most(0, "faults", "without it GPUs do not reach each other"), required=False,
        ),
        Metric(
            "throttled_share", "share", "lower",
            "Share of the busy time in which the hardware itself cut the clock: heat, power supply or a board fault.",
            formula="busy samples with the reason / busy samples, for each reason",
            source="https://docs.nvidia.com/deploy/nvml-api/group__nvmlClocksEventReasons.html", statistic="worst",
            limit=at_most(0.01, "share", f"{_OURS}; a cooled and powered GPU never gives these reasons"), required=False,
        ),
        Metric(
            "sw_thermal_share", "share", "lower", "Share of the busy time in which the driver lowered the clock for heat.",
            formula="busy samples with sw_thermal_slowdown / busy samples", statistic="worst",
            source="https://docs.nvidia.com/deploy/nvml-api/group__nvmlClocksEventReasons.html",
            limit=at_most(0.2, "share", f"{_OURS}; a warning of the cooling, a fault where it becomes the rule"), required=False,
        ),
        Metric(
            "reason_share", "share", "exact", "Share of the busy time of every clock event reason that was seen.",
            formula="busy samples with the bit / busy samples", required=False, headline=False,
        ),
        Metric(
            "violation_s", "s", "exact", "Time during the run that a policy kept the clock down, as the driver counts it.",
            formula="(after − before) of nvmlDeviceGetViolationStatus", source=_NVML, required=False, headline=False,
        ),
        Metric(
            "temperature_margin", "K", "higher", "How far the hottest moment stayed below the slowdown threshold.",
            formula="threshold − highest temperature", source=_NVML, statistic="worst",
            limit=at_least(0, "K", "at the threshold the hardware cuts the clock"), required=False,
        ),
        Metric("temperature_max", "°C", "exact", "Highest temperature of the GPU.", required=False),
        Metric("clock_hz", "Hz", "exact", "Mean clock of the busy GPU.", required=False),
        Metric("power_w", "W", "exact", "Mean power during the run, idle times included.", required=False),
        Metric("energy_j", "J", "exact", "Energy that the GPU took during the run.", required=False, headline=False),
        Metric(
            "power_limit_share", "share", "exact", "Power limit in force, as a share of the part's default.",
            required=False, headline=False,
        ),
        Metric(
            "xid_faults", "Xids", "lower", "Errors during the run after which the GPU must be reset or repaired.",
            formula="count of NVML's events of the class fault", source=_XIDS, statistic="worst",
            limit=at_most(0, "Xids", "classes with source and date in measure/xid.toml"), required=False,
        ),
        Metric("xid_others", "Xids", "exact", "Xids of other classes during the run.", required=False, headline=False),
        Metric("other_processes", "processes", "exact", "Processes of others on the GPU, all the time.", required=False),
        Metric("memory_held_share", "share", "exact", "Share of its memory in use before anything of ours ran.", required=False),
        Metric("ecc_enabled", "flags", "exact", "1 when ECC is on.", required=False, headline=False),
        Metric("mig_enabled", "flags", "exact", "1 when the GPU is divided.", required=False, headline=False),
        Metric("persistence_enabled", "flags", "exact", "1 when persistence mode is on.", required=False, headline=False),
        Metric(
            "watch_share", "share", "exact", "Share of one core that watching has taken.",
            formula="CPU seconds of the sampling thread / seconds", required=False, headline=False,
        ),
    )  # fmt: skip

    period_s: float = 0.25
    held_share: float = 0.02

    def begin(self, bench: Bench) -> Watch | None:
        """Read the counters of this rank's GPU before anything loads it, and begin to watch it."""
        if not bench.gpus_asked:
            return None
        return Watch.of(bench.local_rank, bench.gpus_asked, os.environ.get("CUDA_VISIBLE_DEVICES"), self.period_s)

    def measure(self, bench: Bench) -> dict[str, Any] | None:
        """Judge what has changed; see the class. Gives ``compare`` the model and its NVLinks."""
        if not bench.gpus_asked:
            raise Unavailable("no GPU was asked for")
        bench.beat("asking the GPU driver")
        watch: Watch = bench.begun
        after = watch.end()
        _tell(bench, watch.gpu)
        report = _Report(bench, watch, after)
        if report.silent:
            raise Unavailable("the driver answers no question about this GPU", "Type 'nvidia-smi -q' on the node.")
        report.loss()
        trouble = report.xids()
        if not report.lost:
            report.counters()
            report.pcie()
            report.links()
            report.fabric()
            report.modes()
            trouble += report.others(self.held_share)
        report.load()
        if trouble:
            raise _trouble(trouble)
        return report.kept()

    def compare(self, bench: Bench, kept: dict[str, Any] | None) -> None:
        """NVLinks that the same model has elsewhere in this run."""
        everyone = bench.allgather(kept)
        if kept is None or kept["total"] == 0:
            return
        alike = [other for other in everyone if other and other["model"] == kept["model"]]
        most = max(other["most"] for other in alike)
        if len(alike) == 1 and kept["most"]:
            most = kept["total"]
        if not most:
            bench.unsupported(
                "nvlinks_missing", f"no GPU of this model in the run has any of its {kept['total']} links up"
            )
            return
        bench.emit("nvlinks_missing", most - kept["active"], kept["down"] if most > kept["active"] else "")


# --- what is open between begin and measure ---------------------------------------------------------------------------


@dataclass
class Watch:
    """One GPU from ``begin`` to ``measure``.

    Attributes:
        gpu: as it was known at the beginning.
        before: the first look.
        seen: what the sampling thread has seen.
        open_error: why the GPU could not be opened at all; empty when it could.
    """

    gpu: nvml.Gpu
    before: State = field(default_factory=State)
    seen: telemetry.Seen = field(default_factory=telemetry.Seen)
    open_error: str = ""
    listener: xid.Listener | None = None
    sampler: telemetry.Sampler | None = None
    begun_s: float = 0.0
    ended_s: float = 0.0
    opened: nvml.OpenGpu | None = None
    stack: ExitStack = field(default_factory=ExitStack)

    @classmethod
    def of(cls, place: int, asked: int, wanted: str | None, period_s: float) -> Watch:
        """Begin to watch the GPU that stands at ``place`` among those that the job may see.

        Raises:
            Unavailable: there is no driver to ask, or no GPU at that place.
        """
        stack = ExitStack()
        driver = stack.enter_context(nvml.open_nvml())
        seen = nvml.visible(driver.gpus(("uuid", "mig_uuids")), wanted)
        if place >= len(seen):
            stack.close()
            raise Unavailable(
                f"no GPU for this rank: the driver shows {len(seen)}, {asked} were asked for",
                "See gpu_count of the check 'identity'; on the node: nvidia-smi -L, lspci -d 10de:, dmesg | grep -i xid",
            )
        watch = cls(driver.gpu(seen[place].index), stack=stack, begun_s=time.monotonic())
        found = driver.open(watch.gpu)
        if isinstance(found, nvml.NoAnswer):
            watch.before = State(lost=found.lost)
            watch.open_error = "" if found.lost else found.why
            return watch
        watch.opened = found
        watch.before = gpu_state.look(found)
        if not watch.before.lost:
            watch.listener = xid.Listener(found)
            watch.sampler = telemetry.Sampler(found, watch.seen, period_s)
            watch.sampler.start()
        return watch

    @property
    def seconds(self) -> float:
        """Between the two looks."""
        return max(self.ended_s - self.begun_s, 1e-3)

    def end(self) -> State:
        """The last look; the threads have ended and NVML is closed."""
        with self.stack:
            if self.sampler:
                self.sampler.stop()
            if self.listener:
                self.listener.stop()
            self.ended_s = time.monotonic()
            return gpu_state.look(self.opened) if self.opened else State(lost=self.before.lost)


# --- judging ----------------------------------------------------------------------------------------------------------


@dataclass
class _Report:
    """Two looks at one GPU and what was seen in between, told to the bench."""

    bench: Bench
    watch: Watch
    after: State

    @property
    def lost(self) -> bool:
        """At the beginning, at the end, or when a thread last asked."""
        listener = self.watch.listener
        return self.watch.before.lost or self.after.lost or self.watch.seen.lost or bool(listener and listener.lost)

    @property
    def silent(self) -> bool:
        """True when there is not one answer, nor an error: nothing that could be judged, so nothing may pass."""
        looks = (self.watch.before, self.after)
        said = any(look.lost or look.numbers or look.links or look.errors for look in looks)
        return not (said or self.watch.open_error or self.watch.seen.masks)

    def loss(self) -> None:
        """Whether the GPU is still there, and what it answered with errors."""
        gpu = self.watch.gpu
        if self.lost:
            self.bench.emit("lost", 1, _name(gpu))
            when = "before the run" if self.watch.before.lost else "during the run"
            self.bench.fact("lost", f"{_name(gpu)} was lost {when}")
            self.bench.unsupported("counters", f"the GPU was lost {when}: it answers nothing")
            return
        self.bench.emit("lost", 0)
        errors = {**self.watch.before.errors, **self.after.errors}
        if self.watch.open_error:
            errors["open"] = self.watch.open_error
        for question, why in errors.items():
            self.bench.emit("query_errors", 1, question)
            self.bench.fact(f"query_errors[{question}]", why)
        if not errors:
            self.bench.emit("query_errors", 0)

    # counters

    def counters(self) -> None:
        """ECC, repairs of memory, replays of PCIe, time that policies took."""
        self._difference("ecc_uncorrected", "ecc.uncorrected")
        self._difference("ecc_uncorrected", "sram.uncorrected", "sram")
        self._difference("ecc_corrected_rate", "ecc.corrected", per_s=self.watch.seconds)
        self._flag("sram_threshold", "sram.threshold_exceeded")
        # A GPU either replaces rows (from Ampere on) or retires pages: the lack of one is told where the other lacks too.
        rows, pages = "remaps" not in self.after.missing, "retired" not in self.after.missing
        for cause in ("corrected", "uncorrected"):
            if rows or not pages:
                self._difference("row_remaps", f"remaps.{cause}", cause)
            if pages or not rows:
                self._difference("pages_retired", f"retired.{cause}", cause)
        if rows or not pages:
            self._flag("remap_pending", "remaps.pending")
            self._flag("remap_failure", "remaps.failure")
        if pages or not rows:
            self._flag("retirement_pending", "retired_pending.pending")
        self._flag("recovery_needed", "recovery.action")
        if action := int(self.after.numbers.get("recovery.action", 0)):
            known = action < len(gpu_state.RECOVERY_ACTIONS)
            self.bench.fact("recovery", gpu_state.RECOVERY_ACTIONS[action] if known else f"action {action}")
        # Two replays in a run of ten seconds are no 12 a minute: the limit is one of minutes.
        self._difference("pcie_replay_rate", "replays.count", per_s=max(60.0, self.watch.seconds))
        for key in sorted(self.after.numbers):
            question, _, policy = key.partition(".")
            if question == "violations":
                self._difference("violation_s", key, policy, per_s=1e9)
        totals = ("ecc_lifetime", "remaps", "remap_banks", "retired", "sram", "replays")
        parts = [f"{key} {value:.0f}" for key, value in self.after.numbers.items() if key.partition(".")[0] in totals]
        if parts:
            self.bench.fact("totals", ", ".join(parts))

    def _difference(self, metric: str, key: str, variant: str = "", per_s: float = 1.0) -> None:
        before, after = self.watch.before.numbers.get(key), self.after.numbers.get(key)
        if before is None or after is None:
            self._missing(metric, key, variant)
            return
        if after < before:
            self.bench.fact(
                f"reset[{key}]", f"the counter fell from {before:.0f} to {after:.0f}: it was reset in the run"
            )
            before = 0
        self.bench.emit(metric, (after - before) / per_s, variant)

    def _flag(self, metric: str, key: str) -> None:
        value = self.after.numbers.get(key)
        if value is None:
            self._missing(metric, key)
        else:
            self.bench.emit(metric, float(value != 0))

    def _missing(self, metric: str, key: str, variant: str = "") -> None:
        """Not there in one of the looks; an error of the GPU is told by ``query_errors`` as well."""
        question = key.partition(".")[0]
        looks = (self.watch.before, self.after)
        reasons = [text for look in looks for text in (look.missing.get(question), look.errors.get(question)) if text]
        why = reasons[0] if reasons else self.watch.open_error or "the driver did not say"
        self.bench.unsupported(f"{metric}[{variant}]" if variant else metric, f"{question}: {why}")

    # links

    def pcie(self) -> None:
        """The best link that was seen, against what GPU and slot can do together."""
        seen, busy = self.watch.seen, sum(self.watch.seen.busy_masks.values())
        for name, lost, best, key in (
            ("pcie_generation", "pcie_generations_lost", seen.pcie_gen, "pcie_gen_max.generation"),
            ("pcie_lanes", "pcie_lanes_lost", seen.pcie_width, "pcie_width_max.lanes"),
        ):
            most = self.after.numbers.get(key)
            if best is None or most is None:
                why = seen.missing.get("pcie_gen" if name == "pcie_generation" else "pcie_width") or seen.why_not
                self.bench.unsupported(lost, why or self.after.missing.get(key.partition(".")[0]) or "it was not seen")
                continue
            self.bench.emit(name, best)
            if best < most and busy < _BUSY_SAMPLES:
                why = f"{best} of {most:.0f} was seen, of a GPU that was never busy: an idle link is trained down"
                self.bench.unsupported(lost, why)
            else:
                self.bench.emit(lost, max(0.0, most - best))

    def links(self) -> None:
        """Errors of each NVLink, counted from the first look."""
        if not self.after.links:
            why = self.after.missing.get("nvlinks") or self.after.errors.get("nvlinks") or "it has none"
            for metric in ("nvlink_errors", "nvlink_crc_rate", "nvlinks_missing"):
                self.bench.unsupported(metric, f"NVLink: {why}")
            return
        earlier = {link.number: link.errors for link in self.watch.before.links}
        new = {
            (link.number, counter): max(0, count - earlier.get(link.number, {}).get(counter, 0))
            for link in self.after.links
            for counter, count in link.errors.items()
        }
        self.bench.emit("nvlinks_active", sum(link.active for link in self.after.links))
        hard = {key: count for key, count in new.items() if key[1] not in _REPAIRED}
        soft = {key: count for key, count in new.items() if key[1] in _REPAIRED}
        for (number, counter), count in hard.items():
            if count:
                self.bench.emit("nvlink_errors", count, f"link {number} {counter}")
        if hard and not any(hard.values()):
            self.bench.emit("nvlink_errors", 0)
        if not hard:
            self.bench.unsupported("nvlink_errors", "this model or driver counts none")
        if soft:
            worst = max(soft, key=lambda key: soft[key])
            name = f"link {worst[0]} {worst[1]}" if soft[worst] else ""
            self.bench.emit("nvlink_crc_rate", soft[worst] / self.watch.seconds, name)
        else:
            self.bench.unsupported("nvlink_crc_rate", "this model or driver counts none")

    def kept(self) -> dict[str, Any] | None:
        """What the comparison of NVLinks needs; a link that went down in the run was up before."""
        if self.lost or not self.after.links:
            return None
        active = {link.number for link in self.after.links if link.active}
        earlier = sum(link.active for link in self.watch.before.links)
        down = [str(link.number) for link in self.after.links if link.number not in active]
        return {
            "model": self.watch.gpu.name or "",
            "active": len(active),
            "most": max(len(active), earlier),
            "total": len(self.after.links),
            "down": f"link {', '.join(down)}",
        }

    def fabric(self) -> None:
        """Registration with the NVLink fabric; GPUs without one say so."""
        numbers = self.after.numbers
        if "fabric.state" not in numbers:
            self._missing("fabric_faults", "fabric.state")
            return
        state, status = int(numbers["fabric.state"]), int(numbers["fabric.status"])
        known = state < len(gpu_state.FABRIC_STATES)
        name = gpu_state.FABRIC_STATES[state] if known else f"state {state}"
        faults = [] if name == "completed" else [f"registration {name}"]
        faults += [f"status {status}"] if status else []
        faults += gpu_state.fabric_faults(int(numbers["fabric.health"]))
        self.bench.emit("fabric_faults", len(faults))
        self.bench.fact("fabric", ", ".join(faults) or name)

    # settings, neighbours

    def modes(self) -> None:
        """ECC, MIG, persistence and the power limit: recorded, and judged where a suite has a limit for them."""
        gpu, numbers = self.watch.gpu, self.after.numbers
        for metric, mode in (
            ("ecc_enabled", gpu.ecc_mode),
            ("mig_enabled", gpu.mig_mode),
            ("persistence_enabled", gpu.persistence),
        ):
            if mode is not None:
                self.bench.emit(metric, float(mode.startswith("enabled")))
                self.bench.fact(metric.replace("_enabled", "_mode"), mode)
        if "power_limit.watts" in numbers and numbers.get("power_default.watts"):
            self.bench.emit("power_limit_share", numbers["power_limit.watts"] / numbers["power_default.watts"])

    def others(self, held_share: float) -> list[str]:
        """Who else is on the GPU, and what it holds; a sentence for each that makes the measurement worthless."""
        before, after = self.watch.before, self.after
        trouble = []
        if "processes" in before.missing or "processes" in before.errors:
            self._missing("other_processes", "processes")
        else:
            # A process of the step before may still be ending when this one begins.
            stayed = [one for pid, one in before.processes.items() if pid in after.processes]
            self.bench.emit("other_processes", len(stayed))
            trouble += [
                f"process {one.pid}{f' ({one.name})' if one.name else ''} holds {_gib(one.memory_bytes)} of it"
                for one in stayed
            ]
        total, used = before.numbers.get("memory.total"), before.numbers.get("memory.used")
        if not total or used is None:
            self._missing("memory_held_share", "memory.used")
            return trouble
        self.bench.emit("memory_held_share", used / total)
        if used / total > held_share and not trouble:
            trouble.append(f"{_gib(used)} of its memory were in use before the run, by nobody that the driver shows")
        return trouble

    # errors, load

    def xids(self) -> list[str]:
        """Errors that the driver reported during the run; a sentence for each that is not understood."""
        listener = self.watch.listener
        found = [xid.meaning(code) for code in listener.codes] if listener else []
        faults = [one for one in found if one.kind == "fault"]
        deaf = "the GPU could not be opened" if listener is None else listener.deaf
        if deaf and not faults:
            self.bench.unsupported("xid_faults", deaf)
        else:
            self._emit_xids("xid_faults", faults)
        others = [one for one in found if one.kind != "fault"]
        if others:
            self._emit_xids("xid_others", others)
        return sorted({f"Xid {one.code} is not in {xid.TABLE.name}" for one in found if one.kind == "unknown"})

    def _emit_xids(self, metric: str, found: list[xid.Xid]) -> None:
        for one in sorted(set(found), key=lambda one: one.code):
            self.bench.emit(metric, found.count(one), str(one))
        if not found:
            self.bench.emit(metric, 0)

    def load(self) -> None:
        """Clock, reasons, heat and power while the suite ran."""
        seen = self.watch.seen
        self._reasons()
        for metric, value, question in (
            ("clock_hz", seen.clock_busy_hz, "clock"),
            ("power_w", seen.power_w, "power"),
            ("energy_j", seen.energy_j, "energy"),
            ("temperature_max", seen.temperature_max_c, "temperature"),
        ):
            if value is not None:
                self.bench.emit(metric, value)
            elif not self.lost:
                self.bench.unsupported(metric, seen.missing.get(question) or "the GPU was never seen busy")
        limit = self.after.numbers.get("slowdown.celsius") or self.watch.before.numbers.get("slowdown.celsius")
        if seen.temperature_max_c is not None and limit is not None:
            self.bench.emit("temperature_margin", limit - seen.temperature_max_c)
        elif not self.lost:
            self._missing("temperature_margin", "slowdown.celsius")
        if seen.samples:
            self.bench.emit("watch_share", seen.cost_s / self.watch.seconds)
            self.bench.fact("samples", f"{seen.samples}, of a busy GPU {sum(seen.busy_masks.values())}")

    def _reasons(self) -> None:
        seen = self.watch.seen
        busy = sum(seen.busy_masks.values())
        if busy < _BUSY_SAMPLES:
            why = (
                seen.missing.get("reasons")
                or f"the GPU was seen busy {busy} times, at least {_BUSY_SAMPLES} are needed"
            )
            if not self.lost:
                for metric in ("throttled_share", "sw_thermal_share"):
                    self.bench.unsupported(metric, why)
            return
        found = seen.busy_reasons
        for reason in FAULT_REASONS:
            self.bench.emit("throttled_share", found.get(reason, 0.0), reason)
        self.bench.emit("sw_thermal_share", found.get("sw_thermal_slowdown", 0.0))
        for reason, share in sorted(found.items()):
            self.bench.emit("reason_share", share, reason)


def _trouble(sentences: list[str]) -> ToolError:
    """What makes the record an ERROR; what was measured stays in it."""
    whole = "; ".join(sentences)
    if all(sentence.startswith("Xid") for sentence in sentences):
        return NotUnderstood(whole, f"Look it up ({_XIDS.partition(',')[0]}), and report it to hpcaccept.")
    return ToolError(
        f"somebody else is on the GPU, which is not the hardware's fault: {whole}",
        "On the node: nvidia-smi, fuser -v /dev/nvidia*; end what a former job has left, then run again.",
    )


def _name(gpu: nvml.Gpu) -> str:
    """Everything that is known of a GPU's identity."""
    known: Mapping[str, str | None] = {"at": gpu.pci_bus_id, "uuid": gpu.uuid, "serial": gpu.serial}
    return " ".join([f"GPU {gpu.index}", *(f"{word} {text}" for word, text in known.items() if text)])


def _tell(bench: Bench, gpu: nvml.Gpu) -> None:
    facts = {
        "gpu_index": str(gpu.index),
        "gpu_model": gpu.name,
        "gpu_uuid": gpu.uuid,
        "gpu_serial": gpu.serial,
        "gpu_pci_bus_id": gpu.pci_bus_id,
        "driver": gpu.driver,
    }
    for name, text in facts.items():
        if text:
            bench.fact(name, text)


def _gib(size_bytes: float | None) -> str:
    return "an unknown part" if size_bytes is None else f"{size_bytes / (1 << 30):.1f} GiB"
