"""What stress-ng did, and whether it found a wrong result.

Two texts: the YAML file of ``--metrics --yaml FILE``, and the log. Only the few lines of YAML that stress-ng writes are
read: blocks of ``key: value`` under ``metrics:``, each beginning with ``- stressor:``.

Traps: the exit status of a failed verification is 2, like that of any stressor that could not do its work; which it was
stands in the log, on standard output or standard error by version (ColinIanKing/stress-ng#546). A stressor that was never
started can end with status 0 and counters of zero (canonical/checkbox#1173). Counters of operations that were corrupted
say nothing of the processor (ColinIanKing/stress-ng#125). Bogo operations are only comparable between equal versions and
methods. ``--verify`` is accepted by all methods and does something in some: none of ``--cpu-method matrixprod`` is verified.
``--timeout`` takes whole seconds: 0.5 is read as 0, which means for ever.

Exit status: https://manpages.debian.org/bookworm/stress-ng/stress-ng.1.en.html#EXIT_STATUS (0.15.06, read 2026-11-22)
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from hpcaccept.errors import NotUnderstood

#: Exit status → what it means, for those that do not speak of a result.
STATUS = {
    1: "it refused its options, or ran out of a resource",
    3: "a stressor could not get the resources it needs",
    4: "a stressor is not implemented on this machine",
    5: "a stressor was killed by a signal",
    6: "a stressor left by an unexpected exit, its times are not to be trusted",
    7: "its counts of operations are not to be trusted",
}
#: ``stress-ng: fail:  [123] cpu: …``. Not a wrong result: what is said of the run itself and of its counters.
_FAIL = re.compile(r"^stress-ng: fail: +\[\d+\] (?P<text>.+)$", re.MULTILINE)
_NO_RESULT = re.compile(r"terminated|unsuccessful run|bogo-ops counter|metrics-check")
_VERSION = re.compile(r"^ +stress-ng-version: *'?(?P<version>[\w.]+)'?$", re.MULTILINE)
_ITEM = re.compile(r"^ +(?:- )?(?P<key>[\w-]+): *(?P<value>.*)$")


@dataclass(frozen=True)
class Stressor:
    """What all instances of one stressor did together.

    Attributes:
        name: ``cpu``.
        bogo_ops: rounds made.
        wall_s: seconds by the clock, mean over the instances.
        cpu_s: seconds of CPU time, user and system, of all instances.
    """

    name: str
    bogo_ops: float
    wall_s: float
    cpu_s: float

    @property
    def rate(self) -> float:
        """Rounds per second of the clock, all instances together."""
        return self.bogo_ops / self.wall_s

    @property
    def busy_rate(self) -> float:
        """Rounds per second of CPU time: time that a neighbour took does not lower it, a lowered clock does."""
        return self.bogo_ops / self.cpu_s


@dataclass(frozen=True)
class Report:
    """One run.

    Attributes:
        version: of stress-ng.
        stressors: each with what it did.
    """

    version: str
    stressors: tuple[Stressor, ...]


def report(yaml: str) -> Report:
    """What a file of ``--yaml`` says.

    Raises:
        NotUnderstood: it is empty or torn, has another form, or says that nothing was done.
    """
    version = _VERSION.search(yaml)
    _, begun, rest = yaml.partition("\nmetrics:\n")
    if not begun or not version:
        raise NotUnderstood(
            f"the YAML of stress-ng has no version or no metrics: {yaml[:120]!r}", "Its output is in the run folder."
        )
    stressors: list[dict[str, str]] = []
    for line in rest.splitlines():
        found = _ITEM.match(line)
        if not found:
            if line.strip() in ("", "...") or line.startswith("#"):
                continue
            break  # the next section
        if found["key"] == "stressor":
            stressors.append({})
        if not stressors:
            raise NotUnderstood(f"stress-ng says {line.strip()!r} before it names a stressor", "")
        stressors[-1][found["key"]] = found["value"].strip("'\"")
    if not stressors:
        raise NotUnderstood("the YAML of stress-ng names no stressor", "Its output is in the run folder.")
    return Report(version["version"], tuple(_stressor(fields) for fields in stressors))


def failures(log: str) -> tuple[str, ...]:
    """The sentences of a log that say that a result was wrong, in their order."""
    return tuple(text for text in _FAIL.findall(log) if not _NO_RESULT.search(text))


def _stressor(fields: dict[str, str]) -> Stressor:
    try:
        found = Stressor(
            fields["stressor"],
            float(fields["bogo-ops"]),
            float(fields["wall-clock-time"]),
            float(fields["user-time"]) + float(fields["system-time"]),
        )
    except (KeyError, ValueError) as fault:
        raise NotUnderstood(f"the YAML of stress-ng has no such number: {fault}", "Its output is kept.") from fault
    if not (0 < found.bogo_ops < float("inf") and found.wall_s > 0 and found.cpu_s > 0):
        raise NotUnderstood(f"stress-ng says that {found.name} did nothing: {fields}", "Its output is kept.")
    return found
