"""Compares what the driver reports of each GPU before, during and after the load of a suite."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from hpcaccept.checks.shared.gpu_report import Report
from hpcaccept.checks.shared.gpu_watch import Watch
from hpcaccept.errors import NotUnderstood, ToolError
from hpcaccept.measure.gpu import driver
from hpcaccept.model.check import Check, CheckContext, Unavailable
from hpcaccept.model.finding_code import FindingCode
from hpcaccept.model.metric import Metric, at_least, at_most
from hpcaccept.model.parameter import HOUR_S, param
from hpcaccept.model.record import DISTURBED

if TYPE_CHECKING:
    from hpcaccept.measure.gpu.driver import Vendor

_DRIVER_API = "https://docs.nvidia.com/deploy/nvml-api/"
_MEMORY_ERRORS = "https://docs.nvidia.com/deploy/a100-gpu-mem-error-mgmt/"
_DCGM = "NVIDIA/DCGM, dcgm_gpu_hardware_limits.h (2025)"
_OURS = "ours, provisional: no fleet has published this number"
_XIDS = "https://docs.nvidia.com/deploy/xid-errors/analyzing-xid-catalog.html, classes in measure/xid.toml"


@dataclass(frozen=True)
class Health(Check):
    """Counters, links, clocks, heat and errors of each GPU, judged on the difference between before and after the load.

    How: when the step starts, and nothing has touched the GPU yet, its counters are read and two threads begin: one asks
    for clock, clock event reasons, temperature and PCIe link every ``period_s``, one waits for Xids. This check stands
    last in its suite; it then reads everything again and judges what has changed and what was seen under load. It asks
    the driver only: no torch, no CUDA, and nothing that changes a setting.

    * A GPU that fell off the bus, before or during the run, is ``lost`` = 1, and the variant names index, PCI bus id,
      UUID and serial number as they were known.
    * What this driver or model does not know is NOT_RUN for that metric alone. An answer that is an error of the GPU
      (reset required, corrupted InfoROM, unknown error) counts in ``query_errors``.
    * Shares of clock event reasons count samples in which the GPU was busy; every bit of the mask counts for itself, and
      a bit without a name is kept as ``0x…``. The PCIe link is judged by the worst that lasted for two samples of a busy
      GPU: an idle one trains its link down. Where GPU and CPU are joined chip to chip (GH200, GB200) PCIe is not judged.
    * Uncorrectable errors that the driver counted before the run fail as well, and so does a recovery that it asked for:
      what they have hit stays in use until the GPU is reset. Error counters are read under load too, so that one that is
      reset meanwhile, and a burst that the mean of the run would hide, count.
    * Xids that come during the run: those of the class ``fault`` in ``measure/xid.toml`` are never allowed; the others are
      recorded. One that is in no class is an ERROR: what is not understood is neither a pass nor the GPU's fault. The
      driver tells each Xid once: those of before the run are found by the check ``kernel_log``.
    * NVLinks that are down: compared with the GPU of the same model that has most of them in this run, because what a
      board connects cannot be asked. A run of a single GPU expects all its links, once one is up.
    * Where a crash has cost the run a step, counters are compared with the first look of the first step (kept in the run
      folder); what was sampled, and the Xids, are those of the last step.
    * Totals of a lifetime (ECC, remaps) are facts, not judged: they say that the part has aged, not that it is unfit.

    A process of somebody else on the GPU, or memory that is held without one, makes the record an ERROR, not a FAIL: it
    is not the hardware's fault, draining or returning the node would not be the remedy, and everything measured beside it
    (this check's clocks as well) speaks of both. Nor may it pass: the node is not fit for work until it is cleaned up.
    Whoever was there before any rank had opened the GPU, and is still there at the end, is somebody else; process numbers
    may be those of another namespace, so they are told and nothing is done to them. Where the memory of the GPU is a NUMA
    node of the kernel (GH200, GB200), what the kernel keeps in it is nobody's: it is told, and not judged.

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
    needs_gpu: ClassVar = True
    usual_s: ClassVar = 20
    metrics: ClassVar = (
        Metric(
            "lost", "GPUs", "exact",
            "GPU that fell off the bus: it answers no question. Drain the node; see 'dmesg | grep -i xid' (79), then "
            "power-cycle it; a second time: reseat or replace the part.", title="GPU off the bus",
            formula="1 when the driver says that the GPU is lost", source=_DRIVER_API, statistic="worst",
            limit=at_most(0, "GPUs", "a lost GPU computes nothing"), code=FindingCode.GPU_LOST,
        ),
        Metric(
            "query_errors", "errors", "lower",
            "Questions that the driver answered with an error of the GPU. Read the fact of that name, then 'nvidia-smi -q'.", title="driver queries that failed",
            formula="answers other than success, lost, or 'not supported' and its like", source=_DRIVER_API, statistic="worst",
            limit=at_most(0, "errors", "a healthy GPU answers or does not know the question"), required=False,
            code=FindingCode.GPU_NO_ANSWER,
        ),
        Metric(
            "ecc_uncorrected", "errors", "lower",
            "Uncorrectable memory errors during the run. Reset the GPU, and run again; see also row_remaps.", title="uncorrectable memory errors during the run",
            formula="after − before of the volatile counter (after, where the counter was reset), or what was seen under load if that is more",
            source=_MEMORY_ERRORS,
            statistic="worst", limit=at_most(0, "errors", "each one has destroyed data"), required=False,
            code=FindingCode.ECC_UNCORRECTED,
        ),
        Metric(
            "ecc_uncorrected_before", "errors", "lower",
            "Uncorrectable memory errors that the GPU had before the run, since its driver was loaded. Reset the GPU.", title="uncorrectable memory errors before the run",
            formula="the volatile counter when the run began", source=_MEMORY_ERRORS, statistic="worst",
            limit=at_most(0, "errors", "until the reset the memory that they have hit is in use"), required=False,
            code=FindingCode.ECC_UNCORRECTED,
        ),
        Metric(
            "ecc_corrected_rate", "1/s", "lower",
            "Corrected memory errors per second during the run. Many announce an uncorrectable one.", title="corrected memory errors",
            formula="(after − before) / seconds, or the worst second under load if that is more", source="https://github.com/NVIDIA/NVSentinel/issues/1748 (0/s idle, 17,657/s under load)",
            statistic="worst", limit=at_most(100, "1/s", f"{_OURS}; far below the fault in the source, far above a healthy part"), required=False,
            code=FindingCode.ECC_CORRECTED,
        ),
        Metric(
            "sram_threshold", "flags", "lower", "The driver says that the cache memory of the part is worn: replace the GPU.", title="worn cache memory",
            formula="bThresholdExceeded", source=_MEMORY_ERRORS, statistic="worst",
            limit=at_most(0, "flags", "NVIDIA's own condition of return"), required=False, code=FindingCode.MEMORY_WORN,
        ),
        Metric(
            "row_remaps", "rows", "lower", "Memory rows that were replaced by spare ones during the run.", title="memory rows remapped during the run",
            formula="after − before", source=_MEMORY_ERRORS, statistic="worst",
            limit=at_most(0, "rows", "memory that fails under acceptance is not accepted"), required=False, code=FindingCode.MEMORY_ROW,
        ),
        Metric(
            "remap_pending", "flags", "lower", "A row waits to be replaced: reset the GPU and run again.", title="memory row remapping pending",
            formula="flag after the run", source=_MEMORY_ERRORS, statistic="worst",
            limit=at_most(0, "flags", "until the reset the bad row is in use"), required=False, code=FindingCode.MEMORY_ROW,
        ),
        Metric(
            "remap_failure", "flags", "lower", "A row could not be replaced: replace the GPU.", title="memory row remapping failed",
            formula="flag after the run", source=_MEMORY_ERRORS, statistic="worst",
            limit=at_most(0, "flags", "NVIDIA's own condition of return"), required=False, code=FindingCode.MEMORY_WORN,
        ),
        Metric(
            "pages_retired", "pages", "lower", "Memory pages that were retired during the run (GPUs before Ampere).", title="memory pages retired during the run",
            formula="after − before", source="https://docs.nvidia.com/deploy/dynamic-page-retirement/", statistic="worst",
            limit=at_most(0, "pages", "memory that fails under acceptance is not accepted"), required=False, code=FindingCode.MEMORY_ROW,
        ),
        Metric(
            "retirement_pending", "flags", "lower", "A page waits to be retired: reload the driver and run again.", title="memory page retirement pending",
            formula="flag after the run", source="https://docs.nvidia.com/deploy/dynamic-page-retirement/",
            statistic="worst", limit=at_most(0, "flags", "until then the bad page is in use"), required=False,
            code=FindingCode.MEMORY_ROW,
        ),
        Metric(
            "recovery_needed", "flags", "lower", "The driver itself wants the GPU or the node recovered; the fact says how.", title="recovery requested by the driver",
            formula="the driver's recovery action is not none", source=_DRIVER_API, statistic="worst",
            limit=at_most(0, "flags", "the driver's own verdict"), required=False, code=FindingCode.GPU_RECOVERY,
        ),
        Metric(
            "pcie_replay_rate", "1/s", "lower", "PCIe packets per second that were sent again: reseat the card, check the riser.", title="PCIe replays",
            formula="(after − before) / seconds, at least a minute", source=_DCGM, statistic="worst",
            limit=at_most(8 / 60, "1/s", f"{_DCGM}: 8 a minute"), required=False, code=FindingCode.PCIE_ERRORS,
        ),
        Metric(
            "pcie_generations_lost", "generations", "lower",
            "How far the PCIe link stayed below the generation that GPU and slot can do together, under load.", title="PCIe generations lost under load",
            formula="maximum − lowest of two busy samples in a row", source=_DRIVER_API, statistic="worst",
            limit=at_most(0, "generations", "any shortfall is a fault of slot, riser or card"), required=False,
            code=FindingCode.PCIE_NARROW,
        ),
        Metric(
            "pcie_lanes_lost", "lanes", "lower", "PCIe lanes that GPU and slot could use together and do not, under load.", title="PCIe lanes lost under load",
            formula="maximum − narrowest of two busy samples in a row", source=_DRIVER_API, statistic="worst",
            limit=at_most(0, "lanes", "any shortfall is a fault of slot, riser or card"), required=False, code=FindingCode.PCIE_NARROW,
        ),
        Metric("pcie_generation", "generations", "exact", "PCIe generation, the lowest of the busy GPU.", title="PCIe generation under load", required=False, headline=False),
        Metric("pcie_lanes", "lanes", "exact", "PCIe lanes, the fewest of the busy GPU.", title="PCIe lanes under load", required=False, headline=False),
        Metric(
            "nvlink_errors", "errors", "lower",
            "NVLink errors during the run that were not repaired in passing: replays, recoveries, lost packets.", title="NVLink errors",
            formula="after − before, for each link that has any", source=_DCGM, statistic="worst",
            limit=at_most(0, "errors", f"{_DCGM}: one is a failure"), required=False, code=FindingCode.NVLINK_ERRORS,
        ),
        Metric(
            "nvlink_crc_rate", "1/s", "lower", "Checksum errors per second on one NVLink; each costs a repetition.", title="NVLink checksum errors",
            formula="(after − before) / seconds, the worst link", source=_DCGM, statistic="worst",
            limit=at_most(100, "1/s", f"{_DCGM}: they matter from 100 a second"), required=False, code=FindingCode.NVLINK_ERRORS,
        ),
        Metric(
            "nvlinks_missing", "links", "lower", "NVLinks that are down although the same model has them up elsewhere.", title="NVLinks down",
            formula="most active links of this model in the run − active links", source=_DRIVER_API, statistic="worst",
            limit=at_most(0, "links", "the GPUs of one model have the same links"), required=False, code=FindingCode.NVLINK_DOWN,
        ),
        Metric("nvlinks_active", "links", "exact", "NVLinks that are up.", title="NVLinks up", required=False, headline=False),
        Metric(
            "fabric_faults", "faults", "lower",
            "What the NVLink fabric complains of: see the fact, then the log of the fabric manager.", title="NVLink fabric faults",
            formula="registration not completed, or with an error, or a complaint in its health mask or summary", source=_DRIVER_API,
            statistic="worst", limit=at_most(0, "faults", "without it GPUs do not reach each other"), required=False,
            code=FindingCode.NVLINK_DOWN,
        ),
        Metric(
            "throttled_share", "share", "lower",
            "Share of the busy time in which the hardware itself cut the clock: heat, power supply or a board fault.", title="time throttled by the hardware",
            formula="busy samples with the reason / busy samples, for each reason",
            source="https://docs.nvidia.com/deploy/nvml-api/group__nvmlClocksEventReasons.html", statistic="worst",
            limit=at_most(0.01, "share", f"{_OURS}; a cooled and powered GPU never gives these reasons"), required=False,
            code=FindingCode.THROTTLED,
        ),
        Metric(
            "sw_thermal_share", "share", "lower", "Share of the busy time in which the driver lowered the clock for heat.", title="time slowed for heat by the driver",
            formula="busy samples with sw_thermal_slowdown / busy samples", statistic="worst",
            source="https://docs.nvidia.com/deploy/nvml-api/group__nvmlClocksEventReasons.html",
            limit=at_most(0.2, "share", f"{_OURS}; a warning of the cooling, a fault where it becomes the rule"), required=False,
            code=FindingCode.THROTTLED,
        ),
        Metric(
            "reason_share", "share", "exact", "Share of the busy time of every clock event reason that was seen.", title="time under clock limit {}",
            formula="busy samples with the bit / busy samples", required=False, headline=False,
        ),
        Metric(
            "violation_s", "s", "exact", "Time during the run that a policy kept the clock down, as the driver counts it.", title="time limited by policy {}",
            formula="(after − before) of the driver's time per policy", source=_DRIVER_API, required=False, headline=False,
        ),
        Metric(
            "temperature_margin", "K", "higher", "How far the hottest moment stayed below the slowdown threshold.", title="GPU temperature margin",
            formula="threshold − highest temperature, or the least distance that the driver tells", source=_DRIVER_API, statistic="worst",
            limit=at_least(0, "K", "at the threshold the hardware cuts the clock"), required=False, code=FindingCode.THROTTLED,
        ),
        Metric("temperature_max", "°C", "exact", "Highest temperature of the GPU.", title="highest GPU temperature", required=False),
        Metric(
            "memory_temperature_margin", "K", "higher", "How far the memory's hottest moment stayed below its threshold.", title="GPU memory temperature margin",
            formula="threshold − highest temperature of the memory", source=_DRIVER_API, statistic="worst",
            limit=at_least(0, "K", "at the threshold the memory's clock is cut"), required=False, code=FindingCode.THROTTLED,
        ),
        Metric("memory_temperature_max", "°C", "exact", "Highest temperature of the GPU's memory.", title="highest GPU memory temperature", required=False, headline=False),
        Metric("clock_hz", "Hz", "exact", "Mean clock of the busy GPU.", title="GPU clock under load", required=False),
        Metric("power_w", "W", "exact", "Mean power during the run, idle times included.", title="GPU power", required=False),
        Metric("energy_j", "J", "exact", "Energy that the GPU took during the run.", title="GPU energy", required=False, headline=False),
        Metric(
            "power_limit_share", "share", "exact", "Power limit in force, as a share of the part's default.", title="GPU power limit against its default",
            required=False, headline=False,
        ),
        Metric(
            "xid_faults", "Xids", "lower", "Errors during the run after which the GPU must be reset or repaired.", title="Xid faults ({})",
            formula="count of the driver's error events of the class fault", source=_XIDS, statistic="worst",
            limit=at_most(0, "Xids", "classes with source and date in measure/xid.toml"), required=False, code=FindingCode.XID,
        ),
        Metric("xid_others", "Xids", "exact", "Xids of other classes during the run.", title="other Xids ({})", required=False, headline=False),
        Metric("other_processes", "processes", "exact", "Processes of others on the GPU, all the time.", title="processes of others on the GPU", required=False),
        Metric("memory_held_share", "share", "exact", "Share of its memory in use before anything of ours ran.", title="GPU memory in use before the run", required=False),
        Metric("ecc_enabled", "flags", "exact", "1 when ECC is on.", title="ECC on", required=False, headline=False),
        Metric("mig_enabled", "flags", "exact", "1 when the GPU is divided.", title="MIG on", required=False, headline=False),
        Metric("persistence_enabled", "flags", "exact", "1 when persistence mode is on.", title="persistence mode on", required=False, headline=False),
        Metric(
            "watch_share", "share", "exact", "Share of one core that watching has taken.", title="cost of watching the GPU",
            formula="CPU seconds of the sampling thread / seconds", required=False, headline=False,
        ),
    )  # fmt: skip

    period_s: float = param(0.25, at_least=0.01, at_most=HOUR_S, unit="s")
    held_share: float = param(0.02, at_least=0, at_most=1, unit="share")

    def begin(self, ctx: CheckContext) -> Watch | None:
        """Read the counters of this rank's GPU before anything loads it, and begin to watch it."""
        if not ctx.gpus_asked:
            return None
        return Watch.begin(ctx, driver.installed(), self.period_s)

    def measure(self, ctx: CheckContext) -> dict[str, Any] | None:
        """Judge what has changed; see the class. Gives ``compare`` the model and its NVLinks."""
        if not ctx.gpus_asked:
            raise Unavailable("no GPU was asked for")
        ctx.beat("asking the GPU driver")
        watch: Watch = ctx.begun
        after = watch.end()
        _tell(ctx, watch)
        report = Report(ctx, watch, after)
        if report.silent:
            raise Unavailable(
                "the driver answers no question about this GPU", f"Type '{watch.vendor.query}' on the node."
            )
        report.loss()
        unknown, others = report.events(), []
        if not report.lost:
            report.counters()
            report.pcie()
            report.links()
            report.fabric()
            report.modes()
            others = report.others(self.held_share)
        report.load()
        if others:
            ctx.fact(DISTURBED, f"somebody else is on the GPU: {'; '.join(others)}")
        if unknown or others:
            raise _not_judged(watch.vendor, unknown, others)
        return report.kept()

    def compare(self, ctx: CheckContext, kept: dict[str, Any] | None) -> None:
        """NVLinks that the same model has elsewhere in this run."""
        everyone = ctx.allgather(kept)
        if kept is None or kept["total"] == 0:
            return
        alike = [other for other in everyone if other and other["model"] == kept["model"]]
        most = max(other["most"] for other in alike)
        if len(alike) == 1 and kept["most"]:
            most = kept["total"]
        if not most:
            ctx.unsupported(
                "nvlinks_missing", f"no GPU of this model in the run has any of its {kept['total']} links up"
            )
            return
        ctx.emit("nvlinks_missing", most - kept["active"], kept["down"] if most > kept["active"] else "")


def _not_judged(vendor: Vendor, unknown: list[str], others: list[str]) -> ToolError:
    """What makes the record an ERROR; what was measured stays in it."""
    if not others:
        catalogue = _XIDS.partition(",")[0]
        return NotUnderstood("; ".join(unknown), f"Look it up ({catalogue}), and report it to hpcaccept.")
    who = f"another process uses the GPU, which is not the hardware's fault: {'; '.join(others)}"
    return ToolError(
        "; ".join([who, *unknown]),
        f"On the node: {vendor.holders}; end what a former job has left, then run again.",
    )


def _tell(ctx: CheckContext, watch: Watch) -> None:
    gpu = watch.gpu
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
            ctx.fact(name, text)
