"""Reports to Azure that the machine below a VM is broken, and finds the last of its answers.

Guest Health Reporting (preview): https://learn.microsoft.com/azure/azure-impact-reporting/guest-health-overview. The subscription must be enrolled, and
the caller needs the role Impact Reporter.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hpcaccept.errors import UsageError, nearest
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
