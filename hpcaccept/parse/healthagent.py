"""What Azure's healthagent found: JSON of ``health -s``, ``-e`` or ``-p`` in, one ``AgentCheck`` per check out.

Read in Azure/cyclecloud-healthagent, version 2.0.2 (commit b8c76db, 2026-08-11), and recorded with its own writer
(tests/data/healthagent): an object of modules (``gpu``, ``systemd``, ``kmsg``, ``network``, ``proc``), each an object of
checks with ``status`` (``NA``, ``OK``, ``Warning``, ``Error``), ``last_update`` and fields of its own.

Traps:
    * A module that cannot start is left out: on a node whose GPUs or host engine are gone there is no ``gpu`` at all, and
      ``health -b`` counts no error.
    * A module without reports is an empty object. ``kmsg`` and ``systemd`` report only once something has happened.
    * A background check that lost its host engine keeps its last status: the age of ``last_update`` tells.
    * A diagnostic that could not be run is a ``Warning``, and so is a memory test without CUDA's Python package.
    * ``GpuCountCheck`` compares three counts with each other: seven GPUs in all three are ``OK``.

The node's own short verdict (azure/node/opt/node-verdict.py) decides by the same rules; a test holds the two together.
"""

from __future__ import annotations

import datetime as dt
import json
import re
from dataclasses import dataclass
from typing import Any, Literal

from hpcaccept.errors import NotUnderstood
from hpcaccept.parse.plain_text import plain

#: What follows from a check: the node is well, it is unfit, nothing was tested, a service of the host is wrong, look at it.
AgentMeaning = Literal["passed", "failed", "untested", "setup", "warned"]

_STATUSES = ("NA", "OK", "Warning", "Error")
_MODULES = frozenset({"gpu", "systemd", "kmsg", "network", "proc"})
#: Background checks that report every 60 s (healthagent 2.0.2, Scheduler.periodic).
_PERIODIC = frozenset({"GpuCountCheck", "GpuHealthCheck", "NetworkInterfaceCheck", "ProcessStateCheck"})
#: What a GPU node must report.
_OF_GPUS = ("GpuCountCheck", "GpuHealthCheck")
_NOT_TESTED = re.compile(r"not (run|performed)", re.I)
#: ``2026-11-29T13:59:20 UTC``, as make_json_safe writes it.
_TIME = "%Y-%m-%dT%H:%M:%S UTC"
#: Reports come every 60 s; ten that were missed are no delay.
OLDEST_S = 600.0


@dataclass(frozen=True)
class AgentCheck:
    """What one check says.

    Attributes:
        module: ``gpu``.
        name: ``GpuHealthCheck``.
        status: healthagent's word.
        updated: when it was reported last, with its time zone.
        said: its words in one line.
        category: the impact category of Azure's guest health reporting (``Resource.Hpc.Unhealthy.…``), or empty.
    """

    module: str
    name: str
    status: str
    updated: dt.datetime
    said: str = ""
    category: str = ""

    @property
    def meaning(self) -> AgentMeaning:
        """What follows from it, whatever its age."""
        if self.status == "OK":
            return "passed"
        if self.status == "Error":
            return "setup" if self.module == "systemd" else "failed"
        return "untested" if self.status == "NA" or _NOT_TESTED.search(self.said) else "warned"

    def is_stale(self, now: dt.datetime) -> bool:
        """True when a background check that reports every minute has not done so."""
        return self.name in _PERIODIC and abs((now - self.updated).total_seconds()) > OLDEST_S


@dataclass(frozen=True)
class AgentReport:
    """One answer of healthagent.

    Attributes:
        modules: that are running, in their order.
        checks: all that have reported.
    """

    modules: tuple[str, ...]
    checks: tuple[AgentCheck, ...]

    def unreported(self) -> tuple[str, ...]:
        """Checks of GPUs that a GPU node must have and that have not reported."""
        there = {check.name for check in self.checks if check.module == "gpu"}
        return tuple(name for name in _OF_GPUS if name not in there)


def parse_healthagent(text: str) -> AgentReport:
    """What ``health -s``, ``-e`` or ``-p`` printed.

    Raises:
        NotUnderstood: it is no such JSON, or a module, status or time in it is unknown.
    """
    try:
        document = json.loads(plain(text, "healthagent's JSON"))
    except (ValueError, RecursionError) as fault:
        raise NotUnderstood(
            f"healthagent printed no JSON: {fault}", "Is it running? systemctl status healthagent"
        ) from None
    if not isinstance(document, dict) or not document:
        raise NotUnderstood("healthagent's JSON has no modules in it", "Expected the output of: health -s")
    if strange := sorted(set(document) - _MODULES):
        raise NotUnderstood(f"healthagent's JSON has the module {strange[0]!r}, expected {', '.join(sorted(_MODULES))}")
    checks = [
        _check(module, name, entry)
        for module, reports in document.items()
        for name, entry in _object(reports, module).items()
    ]
    return AgentReport(tuple(document), tuple(checks))


def _object(value: Any, name: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise NotUnderstood(f"{name} in healthagent's JSON is {value!r}, expected an object")
    return value


def _check(module: str, name: str, entry: Any) -> AgentCheck:
    report = _object(entry, name)
    status = report.get("status")
    if status not in _STATUSES:
        raise NotUnderstood(f"{name} in healthagent's JSON has the status {status!r}, expected {', '.join(_STATUSES)}")
    return AgentCheck(
        module, name, status, _time(name, report.get("last_update")), _said(report), str(report.get("ghr_category", ""))
    )


def _time(name: str, value: Any) -> dt.datetime:
    try:
        return dt.datetime.strptime(value, _TIME).replace(tzinfo=dt.timezone.utc)
    except (TypeError, ValueError):
        raise NotUnderstood(
            f"{name} in healthagent's JSON has last_update {value!r}, expected 2026-11-29T13:59:20 UTC"
        ) from None


def _said(report: dict[str, Any]) -> str:
    """Errors and warnings of its devices, services and interfaces; without any, its description."""
    found = []
    for device, fields in report.items():
        if isinstance(fields, dict):
            found += [f"{device}: {word}" for key in ("errors", "warnings") for word in _words(fields.get(key))]
            found += [f"{device}: {word}" for word in _words(fields.get("error"))]
    first = report.get("description") or report.get("message") or ""
    return " ".join("; ".join([str(first), *found] if first else found).split())


def _words(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    entries = value if isinstance(value, list) else []
    return [str(entry.get("msg", entry)) if isinstance(entry, dict) else str(entry) for entry in entries]
