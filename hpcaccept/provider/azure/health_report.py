"""Reports to Azure that the machine below a VM is broken, and finds the last of its answers.

Guest Health Reporting (preview): https://learn.microsoft.com/azure/azure-impact-reporting/guest-health-overview. The subscription must be enrolled, and
the caller needs the role Impact Reporter.
"""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hpcaccept.errors import UsageError, nearest
from hpcaccept.model.finding_code import FindingCode
from hpcaccept.provider.azure.requests import Request

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from hpcaccept.provider.azure.nodes import Node

IMPACT_API = "2023-02-01-preview"
INSIGHTS_API = "2025-01-01-preview"
_UNHEALTHY = [
    "HpcMissingGpu",
    "MissingIB",
    "IBPerformance",
    "IBPortDown",
    "IBPortFlapping",
    "HpcGpuDcgmDiagFailure",
    "HpcRowRemapFailure",
    "HpcInforomCorruption",
    "HpcGenericFailure",
    "ManualInvestigation",
    "XID95UncontainedECCError",
    "XID94ContainedECCError",
    "XID79FallenOffBus",
    "XID48DoubleBitECC",
    "UnhealthyGPUNvidiasmi",
    "NvLink",
    "HpcDcgmiThermalReport",
    "ECCPageRetirementTableFull",
    "DBEOverLimit",
    "GpuXIDError",
    "AmdGpuResetFailed",
    "EROTFailure",
    "GPUMemoryBWFailure",
    "CPUPerformance",
]
#: Short name → impact category of Azure.
CATEGORIES = {
    "Reset": "Resource.Hpc.Reset",
    "Reboot": "Resource.Hpc.Reboot",
    **{name: f"Resource.Hpc.Unhealthy.{name}" for name in _UNHEALTHY},
}
#: Code of a finding → what Azure calls it, where the two mean the same; see ``category_of``.
_BY_CODE = {
    FindingCode.GPU_MISSING: "HpcMissingGpu",
    FindingCode.GPU_LOST: "XID79FallenOffBus",
    FindingCode.GPU_NO_ANSWER: "UnhealthyGPUNvidiasmi",
    FindingCode.MEMORY_WORN: "HpcRowRemapFailure",
    FindingCode.NVLINK_DOWN: "NvLink",
    FindingCode.NVLINK_ERRORS: "NvLink",
    FindingCode.PORT_DOWN: "IBPortDown",
    FindingCode.RAIL_SLOW: "IBPerformance",
}
#: Check whose rate is too low → the same; by whichever question.
_BY_CHECK = {
    "memory_bandwidth": "GPUMemoryBWFailure",
    "ib_write_bw": "IBPerformance",
    "stream": "CPUPerformance",
    "dgemm": "CPUPerformance",
}
_BY_XID = {
    48: "XID48DoubleBitECC",
    79: "XID79FallenOffBus",
    94: "XID94ContainedECCError",
    95: "XID95UncontainedECCError",
}
_OF_RATES = frozenset(
    {FindingCode.PEERS_SLOW, FindingCode.FLOOR_BELOW, FindingCode.BASELINE_BELOW, FindingCode.PAST_SLOW}
)
#: What has no word of its own.
GENERIC = "HpcGenericFailure"
_XID = re.compile(r"(?<!S)Xid (\d{1,6})\b")
#: What may be told of the part: option → key of Azure.
DETAILS = {
    "manufacturer": "Manufacturer",
    "serial": "SerialNumber",
    "model": "ModelNumber",
    "location": "Location",
    "log-url": "LogUrl",
    "uncorrectable": "UCE",
}
_MEANING = {
    "AcknowledgedUnhealthy": "Azure has the report and looks at the machine; this is not its last answer",
    "NodeRemovedFromService": "the machine has been taken out of service for repair",
    "TooManyRequests": "Azure took no report: too many in a short time; report it again later",
}


@dataclass(frozen=True)
class Insight:
    """One answer of Azure to a report.

    Attributes:
        code: Azure's word.
        final: True when no other will come.
        time: when it was given, as Azure writes it.
    """

    code: str
    final: bool
    time: str

    def __str__(self) -> str:
        meaning = _MEANING.get(self.code)
        return f"{self.code}: {meaning}" if meaning else f"{self.code or 'an answer without a code'}"

    @property
    def repaired(self) -> bool:
        """True where Azure has taken the machine out of service; an answer that nobody knows is not that."""
        return self.code == "NodeRemovedFromService"


def category_of(code: FindingCode | None, check: str, variant: str) -> str:
    """Short name of the impact category of a FAIL; ``GENERIC`` where Azure has no word that means the same.

    Args:
        code: of the finding.
        check: that found it, without its label.
        variant: of its metric; an Xid is told by its number.
    """
    if xid := _XID.search(variant):
        return _BY_XID.get(int(xid[1]), "GpuXIDError")
    if check == "dcgm_diag" and code is FindingCode.TOOL_FAULT:
        return "HpcGpuDcgmDiagFailure"
    if code in _BY_CODE:
        return _BY_CODE[code]
    return _BY_CHECK.get(check, GENERIC) if code in _OF_RATES else GENERIC


def body_of(
    node: Node,
    category: str,
    description: str,
    begun: dt.datetime,
    now: dt.datetime,
    details: Mapping[str, str],
) -> dict[str, Any]:
    """The body of a report.

    Args:
        node: whose machine it is.
        category: short name in ``CATEGORIES``.
        description: what was seen, one sentence.
        begun: since when.
        now: when it is reported.
        details: of the part, by the keys of ``DETAILS``.

    Raises:
        UsageError: no such category, or the physical host is not known: it must be read before the VM is moved or rebooted.
    """
    if category not in CATEGORIES:
        raise UsageError(f"--category: found {category!r}. {nearest(category, CATEGORIES)}")
    if not node.physical_host:
        raise UsageError(
            f"The physical host of {node.name} is not known, and Azure needs it.",
            "hpcaccept azure hosts CONFIG reads it. It must be read before the VM is rebooted or moved.",
        )
    about = {DETAILS[key]: value for key, value in details.items() if value}
    return {
        "properties": {
            "startDateTime": _written(begun),
            "reportedTimeUtc": _written(now),
            "impactCategory": CATEGORIES[category],
            "impactDescription": description,
            "impactedResourceId": node.vm,
            "additionalProperties": {"PhysicalHostName": node.physical_host, "VmUniqueId": node.vm_id, **about},
        }
    }


def short_names(categories: Iterable[str]) -> tuple[str, ...]:
    """Short names of impact categories, in their order; one that Azure does not list is left out."""
    short = {whole: name for name, whole in CATEGORIES.items()}
    return tuple(dict.fromkeys(short[each] for each in categories if each in short))


def send(subscription: str, identity: str, body: Mapping[str, Any]) -> Request:
    """Send a report; sent again under the same identity it is the same report."""
    return Request("PUT", _path(subscription, identity), {"api-version": IMPACT_API}, body)


def insights(subscription: str, identity: str) -> Request:
    """What Azure has answered so far; a list."""
    return Request("GET", f"{_path(subscription, identity)}/insights", {"api-version": INSIGHTS_API})


def insights_of(found: Iterable[Mapping[str, Any]]) -> tuple[Insight, ...]:
    """Azure's answers, the oldest first. What it does not call the last one is not the last one."""
    answers = []
    for each in found:
        properties = _table(each.get("properties"))
        details = _table(properties.get("additionalDetails"))
        final = details.get("terminalInsight") is True
        answers.append(Insight(str(details.get("statusCode", "")), final, str(properties.get("eventTime", ""))))
    return tuple(sorted(answers, key=lambda each: each.time))


def _table(found: object) -> Mapping[str, Any]:
    return found if isinstance(found, dict) else {}


def _path(subscription: str, identity: str) -> str:
    return f"/subscriptions/{subscription}/providers/Microsoft.Impact/workloadImpacts/{identity}"


def _written(time: dt.datetime) -> str:
    return time.astimezone(dt.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
