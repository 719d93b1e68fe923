"""How often memory and processors have reported an error since the node started: counters of EDAC and of the machine-check interrupts.

Both can be read by everybody, also where the kernel's log is closed. They count since boot: what counts for a run is the difference.

Traps:
    * A controller's own count holds its modules' counts, and errors that could be traced to none.
    * ``reset_counters`` sets EDAC's counts to zero: what is there afterwards came since.
    * MCP in ``/proc/interrupts`` counts polls, not errors; CMCI is THR, on Intel and on AMD.
    * No controller is no proof of health: firmware that keeps errors to itself, and virtual machines, have none.

Sources: https://docs.kernel.org/admin-guide/ras.html, arch/x86/kernel/irq.c (arch_show_interrupts).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_ROOT = Path("/")
#: Line of /proc/interrupts → what it counts, and whether it was corrected. Since Linux 2.6.34 (MCE, THR) and 4.3 (DFR).
_INTERRUPTS = {
    "MCE": ("machine check exceptions", False),
    "DFR": ("deferred memory errors", False),
    "THR": ("interrupts for corrected errors", True),
}


class Counter(NamedTuple):
    """What is counted.

    Attributes:
        what: in a few words.
        where: module or controller; empty where the counter is of the node.
        corrected: the hardware mended it.
    """

    what: str
    where: str
    corrected: bool


def counters(root: Path = _ROOT) -> dict[Counter, int]:
    """Every counter that can be read, since boot. Empty where there is none."""
    return {**dict(_edac(root)), **dict(_interrupts(root))}


def increases(before: Mapping[Counter, int], after: Mapping[Counter, int]) -> dict[Counter, int]:
    """What came between two looks. A counter that is smaller than before was set to zero meanwhile: what it shows came since."""
    return {
        counter: count - before[counter] if count >= before[counter] else count
        for counter, count in after.items()
        if counter in before
    }


def _edac(root: Path) -> Iterator[tuple[Counter, int]]:
    for controller in sorted((root / "sys/devices/system/edac/mc").glob("mc[0-9]*")):
        for kind, corrected in (("ue", False), ("ce", True)):
            total = _count(controller / f"{kind}_count")
            if total is None:
                continue
            what = "corrected error, by EDAC" if corrected else "uncorrected error, by EDAC"
            modules = dict(_modules(controller, kind))
            for where, count in modules.items():
                yield Counter(what, where, corrected), count
            yield Counter(what, controller.name, corrected), max(0, total - sum(modules.values()))


def _modules(controller: Path, kind: str) -> Iterator[tuple[str, int]]:
    for module in sorted((*controller.glob("dimm[0-9]*"), *controller.glob("rank[0-9]*"))):
        count = _count(module / f"dimm_{kind}_count")
        if count is not None:
            yield f"{controller.name} {module.name}{_label(module)}", count


def _label(module: Path) -> str:
    try:
        label = (module / "dimm_label").read_text("utf-8", errors="replace").strip()
    except OSError:
        return ""
    return f" {label}" if label else ""


def _interrupts(root: Path) -> Iterator[tuple[Counter, int]]:
    try:
        lines = (root / "proc/interrupts").read_text("utf-8", errors="replace").splitlines()
    except OSError:
        return
    for line in lines:
        name, _, rest = line.strip().partition(":")
        if name in _INTERRUPTS:
            what, corrected = _INTERRUPTS[name]
            yield Counter(what, "", corrected), sum(int(word) for word in rest.split() if word.isdigit())


def _count(file: Path) -> int | None:
    try:
        return int(file.read_text())
    except (OSError, ValueError):
        return None
