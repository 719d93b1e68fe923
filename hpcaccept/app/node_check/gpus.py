"""Whether every GPU is there and its driver reports each healthy. As the checks ``identity`` and ``health`` judge, without load."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

from hpcaccept.app.node_check.look import Look
from hpcaccept.app.node_check.one_node import OneNode, broken, judged, not_run
from hpcaccept.checks.health import Health
from hpcaccept.checks.identity import Identity, account
from hpcaccept.checks.shared.gpu_report import Report, named
from hpcaccept.checks.shared.gpu_watch import Watch
from hpcaccept.measure.gpu import driver
from hpcaccept.measure.gpu.driver import Gpu, NoAnswer, State
from hpcaccept.model.finding_code import FindingCode
from hpcaccept.model.metric import Limit, at_most
from hpcaccept.serial import from_plain, to_plain

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hpcaccept.app.node_check.look import Asked
    from hpcaccept.measure.gpu.driver import GpuDriver, Vendor

PART = "gpus"
#: What one look can judge.
_AT_ONCE = frozenset(
    {
        "lost",
        "query_errors",
        "ecc_uncorrected_before",
        "sram_threshold",
        "remap_pending",
        "remap_failure",
        "retirement_pending",
        "recovery_needed",
        "fabric_faults",
    }
)
#: What the difference over a job can judge besides.
_OVER_A_JOB = _AT_ONCE | {
    "ecc_uncorrected",
    "ecc_corrected_rate",
    "row_remaps",
    "pages_retired",
    "pcie_replay_rate",
    "nvlink_errors",
    "nvlink_crc_rate",
}
#: A rate over less is that of a moment.
_SHORTEST_S = 60.0


def look(asked: Asked) -> Look:
    """All GPUs of the node, whatever the environment of a prolog hides of them."""
    found, wanted = Look(), asked.expected.gpus
    vendor = driver.installed()
    os.environ.pop(vendor.visible_variable, None)
    if not wanted and not vendor.available():
        return found
    if wanted is None:
        said = "GPUs are here, and nothing says how many there should be"
        found.items.append(
            not_run(PART, "gpu_count", said, "Name them in the file of what is expected: hpcaccept node-check expect")
        )
        return found
    try:
        with vendor.open() as opened:
            found.facts |= {name: text for name, text in opened.versions().items() if text}
            listed = opened.list()
            _count(asked, found, listed, account(listed, listed, None, vendor.visible_variable))
            _each(asked, found, vendor, opened, listed)
    except driver.DriverMissing as missing:
        _count(asked, found, (), f"{missing.cause}. {missing.remedy}")
    return found


def _count(asked: Asked, found: Look, listed: Sequence[Gpu], said: str) -> None:
    healthy, wanted = [gpu for gpu in listed if gpu.state == "ok"], asked.expected.gpus or 0
    limit = Limit(wanted, wanted, "GPUs", "request", "what this node is expected to have")
    found.items.append(judged(PART, "gpu_count", FindingCode.GPU_MISSING, len(healthy), limit, said))
    found.facts["gpus"] = said
    for gpu in listed:
        found.facts[f"gpu{gpu.index}"] = f"{gpu.name or 'unknown model'}, {named(gpu)}, vbios {gpu.vbios or 'unknown'}"
    identity = OneNode(Identity())
    if healthy:
        identity.emit("gpu_models", len({gpu.name for gpu in healthy}))
        found.items += identity.items(PART)
    if (model := asked.expected.gpu_model) and healthy:
        others = sorted({gpu.name or "unknown model" for gpu in healthy if gpu.name != model})
        why = f"{', '.join(others)} in the place of {model}"
        found.items.append(
            judged(
                PART,
                "gpu_other_models",
                FindingCode.GPU_MODELS_MIXED,
                len(others),
                at_most(0, "models", "as expected"),
                why,
            )
        )


def _each(asked: Asked, found: Look, vendor: Vendor, opened: GpuDriver, listed: Sequence[Gpu]) -> None:
    earlier: dict[str, Any] = asked.before or {}
    seats, kept = [], {}
    for gpu in listed:
        if gpu.state == "hidden":
            found.items.append(not_run(PART, f"gpu{gpu.index}", f"GPU {gpu.index} is hidden from this process"))
            continue
        name = gpu.uuid or f"gpu{gpu.index}"
        before = from_plain(earlier[name], State) if name in earlier else None
        try:
            seat, state = _reported(asked, vendor, opened, gpu, before)
        except Exception as fault:  # noqa: BLE001 (one GPU that cannot be judged does not silence the others)
            found.items.append(broken(PART, f"gpu{gpu.index}", fault))
            continue
        seats.append((gpu, seat, before is not None))
        kept[name] = to_plain(state)
        if before is not None:
            found.compare(_counters(gpu, before), _counters(gpu, state))
    everyone = tuple(seat.begun for _, seat, _ in seats)
    for gpu, seat, over_a_job in seats:
        _links(asked, seat, everyone)
        for item in seat.items(PART, only=(_OVER_A_JOB if over_a_job else _AT_ONCE) | {"nvlinks_missing"}):
            found.items.append(_of_gpu(gpu, item))
    found.kept = kept


def _reported(asked: Asked, vendor: Vendor, opened: GpuDriver, gpu: Gpu, before: State | None) -> tuple[OneNode, State]:
    """What the check ``health`` makes of two looks, the second of which is now; without a first one both are."""
    seat = OneNode(Health(), node=asked.node, local_rank=gpu.index, gpus_asked=1)
    handle = opened.open(gpu)
    if isinstance(handle, NoAnswer):
        state = State(lost=handle.lost)
        watch = Watch(vendor, gpu, state, state, open_error="" if handle.lost else handle.why)
    else:
        state = handle.counters()
        watch = Watch(vendor, gpu, before or state, before or state)
    watch.begun_s, watch.ended_s = time.monotonic() - asked.elapsed_s, time.monotonic()
    watch.seconds = max(asked.elapsed_s, _SHORTEST_S)
    report = Report(seat, watch, state)
    report.loss()
    if not report.lost:
        report.counters()
        report.links()
        report.fabric()
    seat.begun = report.kept()
    return seat, state


def _links(asked: Asked, seat: OneNode, everyone: tuple[Any, ...]) -> None:
    """Links that are down, by the expected number, else by the GPU of the same model that has most."""
    if seat.begun is None:
        if asked.expected.nvlinks and ("lost", "") in seat.values:
            seat.emit("nvlinks_missing", asked.expected.nvlinks, "none is there")
        return
    if asked.expected.nvlinks is not None:
        missing = max(0, asked.expected.nvlinks - seat.begun["active"])
        seat.emit("nvlinks_missing", missing, seat.begun["down"] if missing else "")
        return
    seat.everyone = everyone
    Health().compare(seat, seat.begun)


def _counters(gpu: Gpu, state: State) -> dict[str, float]:
    told = {
        f"GPU {gpu.index} {key}": value
        for key, value in state.numbers.items()
        if key.partition(".")[0] not in ("memory", "clock_limit_ns")
    }
    links = {
        f"GPU {gpu.index} link {link.number} {counter}": float(count)
        for link in state.links
        for counter, count in link.errors.items()
    }
    return told | links


def _of_gpu(gpu: Gpu, item: Any) -> Any:
    """Which GPU it is stands in the name, and in the reason of a finding."""
    from dataclasses import replace

    reason = f"{named(gpu)}: {item.reason}" if item.reason else ""
    return replace(item, what=f"gpu{gpu.index} {item.what}", reason=reason)
