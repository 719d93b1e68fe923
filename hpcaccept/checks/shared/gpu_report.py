"""Turns two looks at a GPU, and what was seen in between, into numbers for the context of a check.

What cannot be had is told for each metric by itself; what makes the whole measurement worthless is a sentence in the list
that ``events`` and ``others`` give.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hpcaccept.checks.shared.gpu_watch import Watch
from hpcaccept.measure.gpu.driver import State
from hpcaccept.model.check import CheckContext

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hpcaccept.measure.gpu.driver import ErrorEvent, Gpu

#: Reasons that a healthy, cooled and powered GPU never gives: hardware slowdown, its thermal half, its power brake.
FAULT_REASONS = ("hw_slowdown", "hw_thermal_slowdown", "hw_power_brake")
#: Fewer samples of a busy GPU than this say nothing about a share or about PCIe under load.
_BUSY_SAMPLES = 4
#: Link counters that are repaired in passing and judged as a rate; of the others a single one is a fault.
_REPAIRED = frozenset({"crc_flit", "crc_data"})
#: Question of the driver port → its word in facts and variants, which older records hold as well.
_SAID = {
    "memory_errors": "ecc",
    "memory_errors_lifetime": "ecc_lifetime",
    "cache_errors": "sram",
    "row_remaps": "remaps",
    "spare_rows": "remap_banks",
    "retired_pages": "retired",
    "retired_pages_pending": "retired_pending",
    "pcie_replays": "replays",
    "clock_limit_ns": "violations",
    "memory_slowdown": "memory_threshold",
    "links": "nvlinks",
}
_TOTALS = ("memory_errors_lifetime", "row_remaps", "spare_rows", "retired_pages", "cache_errors", "pcie_replays")


@dataclass
class Report:
    """Two looks at one GPU and what was seen in between, given to the check's context."""

    ctx: CheckContext
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
        said = any(look.lost or look.numbers or _more(look) or look.errors for look in looks)
        return not (said or self.watch.open_error or self.watch.seen.clock_limits)

    def loss(self) -> None:
        """Whether the GPU is still there, and what it answered with errors."""
        gpu = self.watch.gpu
        if self.lost:
            self.ctx.emit("lost", 1, named(gpu))
            when = "before the run" if self.watch.before.lost else "during the run"
            self.ctx.fact("lost", f"{named(gpu)} was lost {when}")
            self.ctx.unsupported("counters", f"the GPU was lost {when}: it answers nothing")
            return
        self.ctx.emit("lost", 0)
        errors = {**self.watch.before.errors, **self.after.errors}
        if self.watch.open_error:
            errors["open"] = self.watch.open_error
        for question, why in errors.items():
            self.ctx.emit("query_errors", 1, _said(question))
            self.ctx.fact(f"query_errors[{_said(question)}]", why)
        if not errors:
            self.ctx.emit("query_errors", 0)

    # counters

    def counters(self) -> None:
        """ECC, repairs of memory, replays of PCIe, time that policies took."""
        self._held("memory_errors.uncorrected")
        self._held("cache_errors.uncorrected", "sram")
        seen = self.watch.seen
        self._difference(
            "ecc_uncorrected", "memory_errors.uncorrected", least=seen.risen.get("memory_errors_uncorrected", 0.0)
        )
        self._difference("ecc_uncorrected", "cache_errors.uncorrected", "sram")
        self._difference(
            "ecc_corrected_rate",
            "memory_errors.corrected",
            per_s=self.watch.seconds,
            least=seen.risen_per_s.get("memory_errors_corrected", 0.0),
        )
        self._flag("sram_threshold", "cache_errors.threshold_exceeded")
        # A GPU either replaces rows (from Ampere on) or retires pages: the lack of one is told where the other lacks too.
        rows, pages = "row_remaps" not in self.after.missing, "retired_pages" not in self.after.missing
        for cause in ("corrected", "uncorrected"):
            if rows or not pages:
                self._difference("row_remaps", f"row_remaps.{cause}", cause)
            if pages or not rows:
                self._difference("pages_retired", f"retired_pages.{cause}", cause)
        if rows or not pages:
            self._flag("remap_pending", "row_remaps.pending")
            self._flag("remap_failure", "row_remaps.failure")
        if pages or not rows:
            self._flag("retirement_pending", "retired_pages_pending.pending")
        self._recovery()
        # Two replays in a run of ten seconds are no 12 a minute: the limit is one of minutes.
        self._difference("pcie_replay_rate", "pcie_replays.count", per_s=max(60.0, self.watch.seconds))
        for key in sorted(self.after.numbers):
            question, _, policy = key.partition(".")
            if question == "clock_limit_ns":
                self._difference("violation_s", key, policy, per_s=1e9)
        numbers = self.after.numbers.items()
        parts = [f"{_said(key)} {value:.0f}" for key, value in numbers if key.partition(".")[0] in _TOTALS]
        if parts:
            self.ctx.fact("totals", ", ".join(parts))

    def _recovery(self) -> None:
        if self.after.recovery is None:
            self._missing("recovery_needed", "recovery")
            return
        wanted = self.after.recovery or self.watch.before.recovery or ""
        self.ctx.emit("recovery_needed", float(wanted != ""))
        if wanted:
            self.ctx.fact("recovery", wanted if self.after.recovery else f"{wanted}, before the run")

    def _held(self, key: str, variant: str = "") -> None:
        """Errors of before the run: until the GPU is reset, what they have hit is still in use."""
        count = self.watch.first.numbers.get(key)
        if count is None:
            self._missing("ecc_uncorrected_before", key, variant)
            return
        self.ctx.emit("ecc_uncorrected_before", count, variant)
        if count:
            self.ctx.fact(
                f"uncorrected_before[{_said(key)}]", f"{count:.0f} since the driver was loaded: reset the GPU"
            )

    def _difference(self, metric: str, key: str, variant: str = "", per_s: float = 1.0, least: float = 0.0) -> None:
        """How far a counter rose in the run, or ``least`` where more than that was seen meanwhile."""
        before, after = self.watch.first.numbers.get(key), self.after.numbers.get(key)
        if before is None or after is None:
            self._missing(metric, key, variant)
            return
        if after < before:
            self.ctx.fact(
                f"reset[{_said(key)}]", f"the counter fell from {before:.0f} to {after:.0f}: it was reset in the run"
            )
            before = 0
        self.ctx.emit(metric, max((after - before) / per_s, least), variant)

    def _flag(self, metric: str, key: str) -> None:
        value = self.after.numbers.get(key)
        if value is None:
            self._missing(metric, key)
        else:
            self.ctx.emit(metric, float(value != 0))

    def _missing(self, metric: str, key: str, variant: str = "") -> None:
        """Not there in one of the looks; an error of the GPU is told by ``query_errors`` as well."""
        question = key.partition(".")[0]
        looks = (self.watch.before, self.after)
        reasons = [text for look in looks for text in (look.missing.get(question), look.errors.get(question)) if text]
        why = reasons[0] if reasons else self.watch.open_error or "the driver did not say"
        self.ctx.unsupported(f"{metric}[{variant}]" if variant else metric, f"{_said(question)}: {why}")

    # links

    def pcie(self) -> None:
        """The worst link that the busy GPU had, against what GPU and slot can do together."""
        if self.watch.gpu.coherent:
            for lost in ("pcie_generations_lost", "pcie_lanes_lost"):
                self.ctx.unsupported(lost, "the GPU reaches its CPU over a coherent chip-to-chip link, not over PCIe")
            return
        seen, busy = self.watch.seen, sum(self.watch.seen.busy_limits.values())
        for name, lost, highest, worst, key in (
            ("pcie_generation", "pcie_generations_lost", seen.pcie_gen, seen.pcie_gen_busy, "pcie_gen_max.generation"),
            ("pcie_lanes", "pcie_lanes_lost", seen.pcie_width, seen.pcie_width_busy, "pcie_width_max.lanes"),
        ):
            most = self.after.numbers.get(key)
            best = highest if worst is None or busy < _BUSY_SAMPLES else worst
            if best is None or most is None:
                why = seen.missing.get("pcie_gen" if name == "pcie_generation" else "pcie_width") or seen.why_not
                self.ctx.unsupported(lost, why or self.after.missing.get(key.partition(".")[0]) or "it was not seen")
                continue
            self.ctx.emit(name, best)
            if best < most and busy < _BUSY_SAMPLES:
                why = f"{best} of {most:.0f} was seen, of a GPU that was never busy: an idle link is trained down"
                self.ctx.unsupported(lost, why)
            else:
                self.ctx.emit(lost, max(0.0, most - best))

    def links(self) -> None:
        """Errors of each NVLink, counted from the first look."""
        if not self.after.links:
            why = self.after.missing.get("links") or self.after.errors.get("links") or "it has none"
            for metric in ("nvlink_errors", "nvlink_crc_rate", "nvlinks_missing"):
                self.ctx.unsupported(metric, f"NVLink: {why}")
            return
        earlier = {link.number: link.errors for link in self.watch.first.links}
        new = {
            (link.number, counter): max(0, count - earlier.get(link.number, {}).get(counter, 0))
            for link in self.after.links
            for counter, count in link.errors.items()
        }
        active, versions = sum(link.active for link in self.after.links), {link.version for link in self.after.links}
        self.ctx.emit("nvlinks_active", active)
        version = ", ".join(sorted(str(version) for version in versions if version is not None))
        self.ctx.fact("nvlink", f"{active} of {len(self.after.links)} links up, version {version or 'not stated'}")
        hard = {key: count for key, count in new.items() if key[1] not in _REPAIRED}
        soft = {key: count for key, count in new.items() if key[1] in _REPAIRED}
        for (number, counter), count in hard.items():
            if count:
                self.ctx.emit("nvlink_errors", count, f"link {number} {counter}")
        if hard and not any(hard.values()):
            self.ctx.emit("nvlink_errors", 0)
        if not hard:
            self.ctx.unsupported("nvlink_errors", "this model or driver counts none")
        if soft:
            worst = max(soft, key=lambda key: soft[key])
            name = f"link {worst[0]} {worst[1]}" if soft[worst] else ""
            self.ctx.emit("nvlink_crc_rate", soft[worst] / self.watch.seconds, name)
        else:
            self.ctx.unsupported("nvlink_crc_rate", "this model or driver counts none")

    def kept(self) -> dict[str, Any] | None:
        """What the comparison of NVLinks needs; a link that went down in the run was up before."""
        if self.lost or not self.after.links:
            return None
        active = {link.number for link in self.after.links if link.active}
        earlier = sum(link.active for link in self.watch.first.links)
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
        faults = self.after.fabric
        if faults is None:
            self._missing("fabric_faults", "fabric")
            return
        self.ctx.emit("fabric_faults", len(faults))
        self.ctx.fact("fabric", ", ".join(faults) or "completed")

    # settings, neighbours

    def modes(self) -> None:
        """ECC, MIG, persistence and the power limit: recorded, and judged where a suite has a limit for them."""
        gpu, numbers = self.watch.gpu, self.after.numbers
        for metric, mode in (
            ("ecc_enabled", gpu.ecc_mode),
            ("mig_enabled", gpu.partition_mode),
            ("persistence_enabled", gpu.persistence),
        ):
            if mode is not None:
                self.ctx.emit(metric, float(mode.startswith("enabled")))
                self.ctx.fact(metric.replace("_enabled", "_mode"), mode)
        if "power_limit.watts" in numbers and numbers.get("power_default.watts"):
            self.ctx.emit("power_limit_share", numbers["power_limit.watts"] / numbers["power_default.watts"])
        if gpu.fabric:
            self.ctx.fact("fabric_domain", gpu.fabric)

    def others(self, held_share: float) -> list[str]:
        """Who else is on the GPU, and what it holds; a sentence for each that makes the measurement worthless."""
        before, after = self.watch.before, self.after
        trouble = []
        if "processes" in before.missing or "processes" in before.errors:
            self._missing("other_processes", "processes")
        else:
            # A process of the step before may still be ending when this one begins.
            stayed = [one for pid, one in before.processes.items() if pid in after.processes]
            self.ctx.emit("other_processes", len(stayed))
            trouble += [
                f"process {one.pid}{f' ({one.name})' if one.name else ''} holds {_gib(one.memory_bytes)} of it"
                for one in stayed
            ]
            if gone := [str(pid) for pid in before.processes if pid not in after.processes]:
                self.ctx.fact(
                    "ended_processes", f"on the GPU when the step began and not at its end: {', '.join(gone)}"
                )
        total, used = before.numbers.get("memory.total"), before.numbers.get("memory.used")
        if not total or used is None:
            self._missing("memory_held_share", "memory.used")
            return trouble
        self.ctx.emit("memory_held_share", used / total)
        node = self.watch.gpu.numa_node
        if node is not None and used / total > held_share and not before.processes:
            self.ctx.fact(
                "memory_held", f"{_gib(used)} were in use before the run: its memory is NUMA node {node} of the kernel"
            )
            return trouble
        if used / total > held_share and not before.processes:
            trouble.append(f"{_gib(used)} of its memory were in use before the run, by nobody that the driver shows")
        return trouble

    # errors, load

    def events(self) -> list[str]:
        """Errors that the driver reported during the run; a sentence for each that is not understood."""
        listener = self.watch.listener
        found = listener.heard if listener else []
        faults = [one for one in found if one.kind == "fault"]
        deaf = "the GPU could not be opened" if listener is None else listener.deaf
        if deaf and not faults:
            self.ctx.unsupported("xid_faults", deaf)
        else:
            self._emit_xids("xid_faults", faults)
        others = [one for one in found if one.kind != "fault"]
        if others:
            self._emit_xids("xid_others", others)
        return sorted({f"{one.family} {one.code} is {one.name}" for one in found if one.kind == "unknown"})

    def _emit_xids(self, metric: str, found: list[ErrorEvent]) -> None:
        for one in sorted(set(found), key=lambda one: one.code):
            self.ctx.emit(metric, found.count(one), str(one))
        if not found:
            self.ctx.emit(metric, 0)

    def load(self) -> None:
        """Clock, reasons, heat and power while the suite ran."""
        seen = self.watch.seen
        self._reasons()
        for metric, value, question in (
            ("clock_hz", seen.clock_busy_hz, "clock"),
            ("power_w", seen.power_w, "power"),
            ("energy_j", seen.energy_j, "energy"),
            ("temperature_max", seen.temperature_max_c, "temperature"),
            ("memory_temperature_max", seen.memory_temperature_max_c, "memory_temperature"),
        ):
            if value is not None:
                self.ctx.emit(metric, value)
            elif not self.lost:
                self.ctx.unsupported(metric, seen.missing.get(question) or "the GPU was never seen busy")
        self._margins()
        if seen.samples:
            self.ctx.emit("watch_share", seen.cost_s / (self.watch.ended_s - self.watch.begun_s))
            self.ctx.fact("samples", f"{seen.samples}, of a busy GPU {sum(seen.busy_limits.values())}")

    def _margins(self) -> None:
        """How far the heat stayed below the thresholds, by the threshold or, where it is not told, by the driver's distance to it."""
        seen = self.watch.seen
        limit, of_memory = (self._threshold(key) for key in ("slowdown.celsius", "memory_slowdown.celsius"))
        if seen.temperature_max_c is not None and limit is not None:
            self.ctx.emit("temperature_margin", limit - seen.temperature_max_c)
        elif limit is None and seen.temperature_margin_k is not None:
            self.ctx.emit("temperature_margin", seen.temperature_margin_k)
        elif not self.lost and limit is None:
            self._missing("temperature_margin", "slowdown.celsius")
        elif not self.lost:
            self.ctx.unsupported("temperature_margin", seen.missing.get("temperature") or "no temperature was seen")
        if seen.memory_temperature_max_c is not None and of_memory is not None:
            self.ctx.emit("memory_temperature_margin", of_memory - seen.memory_temperature_max_c)
        elif not self.lost and of_memory is None:
            self._missing("memory_temperature_margin", "memory_slowdown.celsius")
        elif not self.lost:
            why = seen.missing.get("memory_temperature") or "no temperature was seen"
            self.ctx.unsupported("memory_temperature_margin", why)
        shutdown = self.after.numbers.get("shutdown.celsius")
        if limit is not None and shutdown is not None:
            self.ctx.fact("thresholds", f"slowdown at {limit:.0f} °C, shutdown at {shutdown:.0f} °C")

    def _threshold(self, key: str) -> float | None:
        found = self.after.numbers.get(key)
        return self.watch.first.numbers.get(key) if found is None else found

    def _reasons(self) -> None:
        seen = self.watch.seen
        busy = sum(seen.busy_limits.values())
        if busy < _BUSY_SAMPLES:
            why = (
                seen.missing.get("reasons")
                or f"the GPU was seen busy {busy} times, at least {_BUSY_SAMPLES} are needed"
            )
            if not self.lost:
                for metric in ("throttled_share", "sw_thermal_share"):
                    self.ctx.unsupported(metric, why)
            return
        found = seen.busy_reasons
        for reason in FAULT_REASONS:
            self.ctx.emit("throttled_share", found.get(reason, 0.0), reason)
        self.ctx.emit("sw_thermal_share", found.get("sw_thermal_slowdown", 0.0))
        for reason, share in sorted(found.items()):
            self.ctx.emit("reason_share", share, reason)


def named(gpu: Gpu) -> str:
    """Everything that is known of a GPU's identity."""
    known: Mapping[str, str | None] = {"at": gpu.pci_bus_id, "uuid": gpu.uuid, "serial": gpu.serial}
    return " ".join([f"GPU {gpu.index}", *(f"{word} {text}" for word, text in known.items() if text)])


def _more(look: State) -> bool:
    """Whether there is an answer that is not a number."""
    return bool(look.links) or look.recovery is not None or look.fabric is not None


def _said(key: str) -> str:
    """``ecc.corrected`` for ``memory_errors.corrected``: the word of facts and variants."""
    question, dot, part = key.partition(".")
    return f"{_SAID.get(question, question)}{dot}{part}"


def _gib(size_bytes: float | None) -> str:
    return "an unknown part" if size_bytes is None else f"{size_bytes / (1 << 30):.1f} GiB"
