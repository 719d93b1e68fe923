"""Azure Resource Manager on this machine: stateful, and as strict as the real one.

It wants a token, knows API versions, refuses what the official schemas refuse, expands a deployment into VMs, network cards and addresses in
its own time (a client that dies changes nothing), answers long operations with 202 and addresses to ask again, and fails on demand. What it
does not know is an error that the test sees (``unexpected``), not a pass.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import ipaddress
import itertools
import json
import re
import ssl
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote, urlsplit

from support import arm_schemas
from support.arm_expressions import Refused, resolve

if TYPE_CHECKING:
    from pathlib import Path

SUBSCRIPTION = "11111111-2222-3333-4444-555555555555"
TENANT = "99999999-2222-3333-4444-555555555555"
TOKEN = "a-token-of-the-test"
_SUBSCRIPTION = {
    "id": f"/subscriptions/{SUBSCRIPTION}",
    "subscriptionId": SUBSCRIPTION,
    "tenantId": TENANT,
    "displayName": "tests",
    "state": "Enabled",
}
_VERSIONS = {
    "subscription": ("2022-12-01",),
    "group": ("2021-04-01", "2022-09-01", "2024-11-01", "2025-04-01"),
    "deployment": ("2024-11-01", "2025-04-01", "2026-06-01"),
    "skus": ("2021-07-01",),
    "microsoft.compute": ("2026-03-01", "2026-04-01"),
    "microsoft.network": ("2025-07-01",),
    "microsoft.insights": ("2022-10-01",),
    "scale set cards": ("2018-10-01",),
    "impact": ("2023-02-01-preview",),
    "insights": ("2025-01-01-preview",),
}
_AUTOSCALE = {"name", "enabled", "targetResourceUri", "targetResourceLocation", "profiles"}
_UNIFORM = re.compile(r"(.*/virtualmachinescalesets/[^/]+)/(virtualmachines|networkinterfaces)(?:/(\d+))?(/\w+)?", re.I)


class Fault(Exception):
    """An answer with an error."""

    def __init__(self, status: int, code: str, message: str, **more: Any) -> None:
        super().__init__(message)
        self.status = status
        self.error = {"code": code, "message": message, **more}


@dataclass
class Rule:
    """An answer instead of the usual one.

    Attributes:
        method: of HTTP.
        path: pattern, searched without regard to case.
        status: of the answer.
        error: code and message.
        times: how often.
        headers: of the answer.
    """

    method: str
    path: str
    status: int
    error: tuple[str, str]
    times: int = 1
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Operation:
    """One that goes on after its answer."""

    ends: float
    result: Callable[[], Any]
    state: str = "Running"
    error: dict[str, Any] | None = None


class ArmServer:
    """The state of one subscription.

    Attributes:
        groups: name in lower case → resource group.
        resources: id in lower case → resource.
        deployments: id in lower case → deployment.
        requests: method and path of every request, in order.
        versions: of the API, of each of them.
        lose: pattern of a request whose next answer is lost on the way.
        harms: pattern of a request → what becomes of its answer on the way: status and body in; status, body and announced length out.
        unexpected: requests that a real server would not have understood, and exceptions of this one.
        rules: answers instead of the usual ones.
        quotas: name → (in use, limit).
        skus: sizes of the region.
        images: ``publisher:offer:sku`` → versions.
        items: of the retail prices.
        enrolled: whether the subscription may report machines.
        impacts: reports of machines, by identity.
        insights: answers to reports at the first look, the second …; code and whether it is the last one.
        allocatable: VMs for which there is capacity.
        given_size: size that VMs get instead of the one asked for.
        pace_s: between two resources of a deployment, and for the end of an operation.
        delete_s: that a deletion takes.
        on_request: called with number, method and path before each answer.
        run_script: gives what a script prints on a VM.
        addresses: of VMs, by index; they are made up otherwise.
        ports: port of the public address → VM, by index; made up otherwise.
    """

    def __init__(self) -> None:
        self.groups: dict[str, dict[str, Any]] = {}
        self.resources: dict[str, dict[str, Any]] = {}
        self.deployments: dict[str, dict[str, Any]] = {}
        self.operations: dict[str, Operation] = {}
        self.requests: list[str] = []
        self.versions: list[str] = []
        self.lose = ""
        self.harms: dict[str, Callable[[int, bytes], tuple[int, bytes, int]]] = {}
        self.unexpected: list[str] = []
        self.rules: list[Rule] = []
        self.quotas = {
            "cores": (0, 10_000),
            "standardNDISRH200V5Family": (0, 1920),
            "standardDSv5Family": (4, 100),
            "standardNDISRGB300V6Family": (0, 2304),
            "lowPriorityCores": (0, 192),
        }
        self.skus = [
            sku("Standard_ND96isr_H200_v5", "standardNDISRH200V5Family", 96),
            sku("Standard_D2s_v5", "standardDSv5Family", 2),
            sku("Standard_ND128isr_GB300_v6", "standardNDISRGB300V6Family", 128),
        ]
        self.images = {
            "microsoft-dsvm:ubuntu-hpc:2204": ["22.04.2026072901"],
            "Canonical:ubuntu-24_04-lts:server": ["24.04.202611010"],
        }
        self.items = [price("Standard_ND96isr_H200_v5", 84.8), price("Standard_D2s_v5", 0.096)]
        self.allocatable = 10_000
        self.enrolled = True
        self.impacts: dict[str, Any] = {}
        self.insights: list[list[tuple[str, bool]]] = []
        self.given_size = ""
        self.pace_s = 0.01
        self.delete_s = 0.02
        self.on_request: Callable[[int, str, str], None] = lambda *_: None
        self.run_script: Callable[[str, list[str]], str] = lambda *_: ""
        self.addresses: dict[int, str] = {}
        self.ports: dict[int, int] = {}
        self.public_address = "127.0.0.1"
        self.url = ""
        self._count = itertools.count()
        self._lock = threading.RLock()
        self._workers: list[threading.Thread] = []

    # What a test looks at.

    def of_type(self, kind: str) -> list[dict[str, Any]]:
        """Resources of a type."""
        with self._lock:
            return [each for each in self.resources.values() if each["type"].lower() == kind.lower()]

    def billed(self) -> list[str]:
        """Ids of everything that there is."""
        with self._lock:
            return sorted(self.resources)

    def settle(self) -> None:
        """Wait until nothing goes on."""
        for worker in list(self._workers):
            worker.join(30)
            assert not worker.is_alive()

    def evict(self, scale_set: str, index: int) -> None:
        """Azure takes a VM of a scale set back."""
        with self._lock:
            for each in self.resources.values():
                if each["type"].lower().endswith("virtualmachinescalesets") and each["name"] == scale_set:
                    del each["_vms"][index]

    def pass_to(self, time: dt.datetime) -> None:
        """Azure Monitor looks at its settings at a time: a fixed-date profile that holds is applied, else the first one."""
        with self._lock:
            for setting in self.of_type("Microsoft.Insights/autoscaleSettings"):
                found = self.resources[setting["properties"]["targetResourceUri"].lower()]
                profiles = setting["properties"]["profiles"]
                fixed = [each for each in profiles if "fixedDate" in each and _holds(each["fixedDate"], time)]
                capacity = int((fixed or profiles)[0]["capacity"]["maximum"])
                for index in sorted(found["_vms"])[capacity:]:
                    del found["_vms"][index]
                found["sku"]["capacity"] = len(found["_vms"])

    # HTTP.

    def answer(self, method: str, url: str, headers: Any, body: bytes) -> tuple[int, Any, dict[str, str]]:
        """One request: status, plain values of the body, headers."""
        parts = urlsplit(url)
        path, query = unquote(parts.path), {key: each[0] for key, each in parse_qs(parts.query).items()}
        number = next(self._count)
        self.requests.append(f"{method} {path}")
        self.versions.append(query.get("api-version", ""))
        self.on_request(number, method, path)
        for rule in self.rules:
            if rule.times > 0 and rule.method == method and re.search(rule.path, path, re.IGNORECASE):
                rule.times -= 1
                return rule.status, {"error": {"code": rule.error[0], "message": rule.error[1]}}, rule.headers
        try:
            if path == "/api/retail/prices":
                return 200, {"Items": self.items, "NextPageLink": None}, {}
            if (login := self._login(path.lower())) is not None:
                return 200, login, {}
            if headers.get("Authorization") != f"Bearer {TOKEN}":
                raise Fault(401, "AuthenticationFailed", "no valid token")
            # az puts the template into its body as it stands in the file, under a key without quotes.
            body = re.sub(rb"([,{]\s*)template:", rb'\1"template":', body, count=1)
            plain = json.loads(body) if body else None
            return self._route(method, path.rstrip("/"), query, plain)
        except Fault as fault:
            return fault.status, {"error": fault.error}, {}

    def _login(self, path: str) -> dict[str, Any] | None:
        """What a client that logs in itself asks for first; None for anything else."""
        tenant = f"{self.url}/{TENANT}"
        if path == "/metadata/endpoints":
            return {
                "name": "loop",
                "resourceManager": self.url,
                "suffixes": {},
                "authentication": {
                    "loginEndpoint": self.url,
                    "audiences": [self.url],
                    "tenant": "common",
                    "identityProvider": "AAD",
                },
            }
        if path.endswith("/.well-known/openid-configuration"):
            return {
                "issuer": f"{tenant}/v2.0",
                "token_endpoint": f"{tenant}/oauth2/v2.0/token",
                "authorization_endpoint": f"{tenant}/oauth2/v2.0/authorize",
                "device_authorization_endpoint": f"{tenant}/oauth2/v2.0/devicecode",
            }
        if path.endswith("/oauth2/v2.0/token"):
            return {"token_type": "Bearer", "expires_in": 86400, "access_token": TOKEN}
        return None

    def _route(self, method: str, path: str, query: dict[str, str], body: Any) -> tuple[int, Any, dict[str, str]]:
        lower = path.lower()
        if found := re.fullmatch(r"/operations/([0-9a-f-]+)(/result)?", lower):
            return self._operation(found[1], bool(found[2]))
        if lower == "/subscriptions":
            return 200, {"value": [_SUBSCRIPTION]}, {}
        if not lower.startswith(f"/subscriptions/{SUBSCRIPTION}"):
            raise Fault(404, "SubscriptionNotFound", f"no subscription in {path}")
        rest = lower.removeprefix(f"/subscriptions/{SUBSCRIPTION}")
        if rest == "":
            self._version(query, "subscription")
            return 200, _SUBSCRIPTION, {}
        if rest == "/resourcegroups" and method == "GET":
            self._version(query, "group")
            return 200, {"value": [self._shown(each) for each in self._by_tag(self.groups, query)]}, {}
        if rest == "/resources" and method == "GET":
            self._version(query, "group")
            return 200, {"value": [self._shown(each) for each in self._by_tag(self.resources, query)]}, {}
        if rest.startswith("/providers/microsoft.compute/"):
            return self._of_region(rest.removeprefix("/providers/microsoft.compute/"), path, query)
        if found := re.fullmatch(r"/providers/microsoft\.impact/workloadimpacts/([0-9a-f-]{36})(/insights)?", rest):
            return self._impact(method, found[1], bool(found[2]), query, body)
        if found := re.fullmatch(r"/resourcegroups/([^/]+)(.*)", rest):
            return self._of_group(method, found[1], found[2], path, query, body)
        raise self._foreign(method, path)

    def _foreign(self, method: str, path: str) -> Fault:
        self.unexpected.append(f"{method} {path}")
        return Fault(404, "InvalidResourceType", f"nobody knows {path}")

    def _version(self, query: dict[str, str], kind: str) -> None:
        found = query.get("api-version")
        if found is None:
            raise Fault(400, "MissingApiVersionParameter", "api-version is required")
        if found not in _VERSIONS.get(kind, ()):
            raise Fault(400, "InvalidApiVersionParameter", f"{kind} has no api-version {found!r}")

    def _by_tag(self, of: dict[str, dict[str, Any]], query: dict[str, str]) -> list[dict[str, Any]]:
        wanted = query.get("$filter", "")
        found = re.fullmatch(r"tagName eq '([^']+)'(?: and tagValue eq '([^']+)')?", wanted)
        if wanted and not found:
            raise Fault(400, "InvalidFilterInQueryString", wanted)
        with self._lock:
            return [
                each
                for each in of.values()
                if not found
                or (found[1] in each.get("tags", {}) and found[2] in (None, each.get("tags", {}).get(found[1])))
            ]

    @staticmethod
    def _shown(found: dict[str, Any]) -> dict[str, Any]:
        return {key: value for key, value in found.items() if not key.startswith("_")}

    def _of_region(self, rest: str, path: str, query: dict[str, str]) -> tuple[int, Any, dict[str, str]]:
        if rest == "skus":
            self._version(query, "skus")
            return 200, {"value": self.skus}, {}
        self._version(query, "microsoft.compute")
        if re.fullmatch(r"locations/\w+/usages", rest):
            rows = [
                {"name": {"value": name, "localizedValue": name}, "currentValue": used, "limit": limit, "unit": "Count"}
                for name, (used, limit) in self.quotas.items()
            ]
            return 200, {"value": rows}, {}
        image = re.fullmatch(
            r"locations/\w+/publishers/([^/]+)/artifacttypes/vmimage/offers/([^/]+)/skus/([^/]+)/versions(?:/(.+))?",
            rest,
        )
        if image:
            names = {key.lower(): value for key, value in self.images.items()}
            versions = names.get(":".join(image.groups()[:3]))
            if versions is None or (image[4] and image[4] not in versions):
                raise Fault(404, "PlatformImageNotFound", "no such image")
            return 200, {"name": image[4]} if image[4] else [{"name": each} for each in versions], {}
        raise self._foreign("GET", path)

    def _of_group(
        self, method: str, name: str, rest: str, path: str, query: dict[str, str], body: Any
    ) -> tuple[int, Any, dict[str, str]]:
        with self._lock:
            if not rest:
                return self._group(method, name, path, query, body)
            if name not in self.groups:
                raise Fault(404, "ResourceGroupNotFound", f"Resource group '{name}' could not be found.")
            if method == "PUT" and self.groups[name]["properties"]["provisioningState"] == "Deleting":
                raise Fault(409, "ResourceGroupBeingDeleted", f"The resource group '{name}' is being deleted.")
            if rest == "/resources":
                self._version(query, "group")
                inside = [each for identity, each in self.resources.items() if f"/resourcegroups/{name}/" in identity]
                return 200, {"value": [self._shown(each) for each in inside]}, {}
            if "/providers/microsoft.resources/deployments/" in rest:
                return self._deployment(method, name, path, query, body)
            return self._resource(method, path, query, body)

    def _group(
        self, method: str, name: str, path: str, query: dict[str, str], body: Any
    ) -> tuple[int, Any, dict[str, str]]:
        self._version(query, "group")
        if method == "PUT":
            there = self.groups.get(name)
            if set(body) - {"location", "tags", "managedBy"} or not body.get("location"):
                raise Fault(400, "InvalidRequestContent", f"found {sorted(body)}")
            if there and there["location"] != body["location"]:
                raise Fault(409, "InvalidResourceGroupLocation", f"'{name}' is in {there['location']}")
            if there and there["properties"]["provisioningState"] == "Deleting":
                raise Fault(409, "ResourceGroupBeingDeleted", f"'{name}' is being deleted")
            self.groups[name] = {
                "id": path,
                "name": path.rpartition("/")[2],
                "type": "Microsoft.Resources/resourceGroups",
                "location": body["location"],
                "tags": body.get("tags", {}),
                "properties": {"provisioningState": "Succeeded"},
            }
            return (200 if there else 201), self.groups[name], {}
        if name not in self.groups:
            raise Fault(404, "ResourceGroupNotFound", f"Resource group '{name}' could not be found.")
        if method == "GET":
            return 200, self.groups[name], {}
        if method == "DELETE":
            self.groups[name]["properties"]["provisioningState"] = "Deleting"
            return 202, None, self._goes_on(lambda: self._delete_group(name), self.delete_s, location_only=True)
        raise self._foreign(method, path)

    def _delete_group(self, name: str) -> None:
        with self._lock:
            self.groups.pop(name, None)
            for of in (self.resources, self.deployments):
                for identity in [each for each in of if f"/resourcegroups/{name}/" in each]:
                    del of[identity]

    # Operations.

    def _goes_on(self, result: Callable[[], Any], lasts_s: float, location_only: bool = False) -> dict[str, str]:
        """An operation that ends by itself, whether or not anybody asks; headers that lead to it."""
        identity = str(uuid.uuid4())
        operation = Operation(time.monotonic() + lasts_s, result)
        self.operations[identity] = operation

        def work() -> None:
            time.sleep(lasts_s)
            try:
                value = result()
                operation.result = lambda: value
                operation.state = "Succeeded"
            except Fault as fault:
                operation.error = fault.error
                operation.state = "Failed"
            except Exception as fault:  # noqa: BLE001 (shown to the test)
                self.unexpected.append(repr(fault))
                operation.error = {"code": "InternalServerError", "message": repr(fault)}
                operation.state = "Failed"

        worker = threading.Thread(target=work, daemon=True)
        self._workers.append(worker)
        worker.start()
        place = {"Retry-After": "0", "Location": f"{self.url}/operations/{identity}/result?api-version=x"}
        if not location_only:
            place["Azure-AsyncOperation"] = f"{self.url}/operations/{identity}?api-version=x"
        return place

    def _operation(self, identity: str, result: bool) -> tuple[int, Any, dict[str, str]]:
        operation = self.operations.get(identity)
        if operation is None:
            raise Fault(404, "OperationNotFound", identity)
        again = {"Retry-After": "0"}
        if result:
            if operation.state == "Running":
                return 202, None, {**again, "Location": f"{self.url}/operations/{identity}/result?api-version=x"}
            if operation.error:
                raise Fault(409, operation.error["code"], operation.error["message"])
            return 200, operation.result(), {}
        body: dict[str, Any] = {"status": operation.state}
        if operation.error:
            body["error"] = operation.error
        return 200, body, again

    # Reports of machines.

    def _impact(
        self, method: str, identity: str, insights: bool, query: dict[str, str], body: Any
    ) -> tuple[int, Any, dict[str, str]]:
        self._version(query, "insights" if insights else "impact")
        if not self.enrolled:
            raise Fault(403, "SubscriptionNotEnrolled", "The subscription is not enrolled.")
        if method == "PUT" and not insights:
            needed = {"startDateTime", "reportedTimeUtc", "impactCategory", "impactDescription", "impactedResourceId"}
            properties = body["properties"]
            if set(properties) != needed | {"additionalProperties"}:
                raise Fault(400, "InvalidRequestContent", str(sorted(properties)))
            if not properties["impactCategory"].startswith("Resource.Hpc."):
                raise Fault(400, "InvalidImpactCategory", properties["impactCategory"])
            self.impacts[identity] = body
            return 201, body, {}
        if method != "GET" or identity not in self.impacts:
            raise Fault(404, "ResourceNotFound", identity)
        codes = self.insights.pop(0) if len(self.insights) > 1 else (self.insights or [[]])[0]
        rows = [
            {
                "properties": {
                    "eventTime": f"2026-11-29T12:0{n}:00Z",
                    "additionalDetails": {"statusCode": code, "terminalInsight": final},
                }
            }
            for n, (code, final) in enumerate(codes)
        ]
        return 200, {"value": rows[::-1]}, {}

    # Deployments.

    def _deployment(
        self, method: str, group: str, path: str, query: dict[str, str], body: Any
    ) -> tuple[int, Any, dict[str, str]]:
        self._version(query, "deployment")
        if method == "POST" and path.lower().endswith("/validate"):
            self._expanded(self.groups[group]["id"], body)
            return 200, {"properties": {"provisioningState": "Succeeded"}}, {}
        there = self.deployments.get(path.lower())
        if method == "GET":
            if there is None:
                raise Fault(404, "DeploymentNotFound", f"Deployment '{path.rpartition('/')[2]}' could not be found.")
            return 200, there, {}
        if method != "PUT":
            raise self._foreign(method, path)
        if there and there["properties"]["provisioningState"] == "Running":
            raise Fault(409, "DeploymentActive", "The deployment with this name is still active.")
        made = self._expanded(self.groups[group]["id"], body)
        state: dict[str, Any] = {
            "id": path,
            "name": path.rpartition("/")[2],
            "properties": {"provisioningState": "Running", "mode": "Incremental"},
        }
        self.deployments[path.lower()] = state
        headers = self._goes_on(lambda: self._deploy(state, made), 0.0)
        del headers["Location"]
        return 201, state, headers

    def _expanded(self, group: str, body: Any) -> list[dict[str, Any]]:
        """The resources of a template, checked and with its expressions evaluated."""
        properties = body.get("properties", {}) if isinstance(body, dict) else {}
        if set(body or {}) != {"properties"} or set(properties) - {"mode", "template", "parameters"}:
            raise Fault(400, "InvalidRequestContent", f"found {sorted(body or {})}, {sorted(properties)}")
        template, given = properties["template"], properties.get("parameters", {})
        wrong = arm_schemas.template_errors(template)
        for each in template["resources"]:
            wrong += _autoscale_errors(each) if "Insights" in each["type"] else arm_schemas.errors(each)
        declared = template.get("parameters", {})
        wrong += [f"no parameter {name}" for name in given if name not in declared]
        if wrong:
            raise Fault(400, "InvalidTemplate", "; ".join(wrong))
        try:
            scope: dict[str, Any] = {"group": group, "parameters": {}, "variables": {}}
            for name, about in declared.items():
                if name not in given and "defaultValue" not in about:
                    raise Refused(f"the value of the parameter {name} is missing")
                default = resolve(about.get("defaultValue"), {**scope, "defaults": True})
                scope["parameters"][name] = given[name]["value"] if name in given else default
            scope["variables"] = resolve(template.get("variables", {}), scope)
            return [_in_order(resolve(each, scope), group) for each in template["resources"]]
        except Refused as fault:
            raise Fault(400, "InvalidTemplate", str(fault)) from None

    def _deploy(self, state: dict[str, Any], made: list[dict[str, Any]]) -> Any:
        """Make one resource after the other; what was made before a fault stays, as in Azure."""
        known: set[str] = set()
        try:
            for each in made:
                time.sleep(self.pace_s)
                missing = [needed for needed in each.pop("dependsOn", ()) if needed.lower() not in known]
                if missing:
                    raise Fault(
                        400, "InvalidTemplate", f"{each['id']} depends on {missing}, which is not made before it"
                    )
                self._make(each)
                known.add(each["id"].lower())
        except Fault as fault:
            inner = {"code": fault.error["code"], "message": json.dumps({"error": fault.error})}
            failed = Fault(
                409, "DeploymentFailed", "At least one resource deployment operation failed.", details=[inner]
            )
            state["properties"].update(provisioningState="Failed", error=failed.error)
            raise failed from None
        state["properties"]["provisioningState"] = "Succeeded"
        return state

    def _make(self, found: dict[str, Any]) -> None:
        with self._lock:
            group = found["id"].lower().split("/")[4]
            if group not in self.groups or self.groups[group]["properties"]["provisioningState"] == "Deleting":
                raise Fault(404, "ResourceGroupNotFound", f"Resource group '{group}' could not be found.")
            there = self.resources.get(found["id"].lower(), {})
            kind = found["type"].lower()
            if kind.endswith("publicipaddresses"):
                found["properties"]["ipAddress"] = (
                    self.public_address if found["name"].endswith("nodes-ip") else "192.0.2.9"
                )
            if kind.endswith("virtualmachinescalesets"):
                found["_vms"] = there.get("_vms", {})
                self.resources[found["id"].lower()] = found
                self._allocate(found)
            self.resources[found["id"].lower()] = found

    def _allocate(self, scale_set: dict[str, Any]) -> None:
        for needed in re.findall(r'"id": "(/subscriptions[^"]+)"', json.dumps(scale_set["properties"])):
            top = re.match(r"(/subscriptions/[^/]+/resourceGroups/[^/]+/providers/[^/]+/[^/]+/[^/]+)", needed)
            if top and top[1].lower() not in self.resources:
                raise Fault(400, "InvalidResourceReference", f"{needed} is not there")
        vms, wanted = scale_set["_vms"], scale_set["sku"]["capacity"]
        prefix = scale_set["properties"]["virtualMachineProfile"]["osProfile"]["computerNamePrefix"]
        number = itertools.count(scale_set.get("_next", max(vms, default=-1) + 1))
        while len(vms) < wanted:
            if sum(len(each.get("_vms", ())) for each in self.resources.values()) >= self.allocatable:
                raise Fault(
                    409,
                    "AllocationFailed",
                    "Allocation failed. We do not have sufficient capacity for the requested VM size.",
                )
            index = next(number)
            vms[index] = {"computerName": f"{prefix}{index:06d}", "vmId": str(uuid.uuid4())}

    # Single resources.

    def _resource(self, method: str, path: str, query: dict[str, str], body: Any) -> tuple[int, Any, dict[str, str]]:
        lower = path.lower()
        provider = lower.split("/")[6]
        if uniform := _UNIFORM.fullmatch(path):
            return self._of_scale_set(method, uniform, path, query, body)
        self._version(query, provider)
        listed = re.fullmatch(r".*/providers/microsoft\.(?:compute/virtualmachines|network/networkinterfaces)", lower)
        if listed and method == "GET":
            return 200, {"value": self._flexible(lower.rpartition("/")[2])}, {}
        if "/providers/microsoft.compute/virtualmachines/" in lower or "/microsoft.network/networkinterfaces/" in lower:
            return self._of_vm(method, path, body)
        if lower.endswith("/queryinboundnatruleportmapping") and method == "POST":
            return 202, None, self._goes_on(lambda: self._port(body), self.pace_s)
        found = self.resources.get(lower)
        if found is None:
            raise Fault(404, "ResourceNotFound", f"The Resource '{path}' was not found.")
        if method == "GET":
            return 200, self._shown(found), {}
        if method == "DELETE":
            users = [
                each["id"] for each in self.resources.values() if each is not found and found["id"] in json.dumps(each)
            ]
            blocking = [user for user in users if "autoscalesettings" not in user.lower() and user.lower() != lower]
            if blocking:
                raise Fault(409, "InUseResourceCannotBeDeleted", f"{path} is used by {blocking}")
            return 202, None, self._goes_on(lambda: self.resources.pop(lower, None) and None, self.delete_s)
        raise self._foreign(method, path)

    def _of_scale_set(
        self, method: str, match: re.Match[str], path: str, query: dict[str, str], body: Any
    ) -> tuple[int, Any, dict[str, str]]:
        found = self.resources.get(match[1].lower())
        if found is None or found["properties"]["orchestrationMode"] != "Uniform":
            raise Fault(404, "ResourceNotFound", f"The Resource '{match[1]}' was not found.")
        if match[2].lower() == "networkinterfaces":
            self._version(query, "scale set cards")
            return 200, {"value": [self._card(found, index) for index in found["_vms"]]}, {}
        self._version(query, "microsoft.compute")
        if match[3] is None and method == "GET":
            return 200, {"value": [self._vm(found, index) for index in found["_vms"]]}, {}
        return self._act(method, path, found, int(match[3] or -1), (match[4] or "").lower(), body)

    def _of_vm(self, method: str, path: str, body: Any) -> tuple[int, Any, dict[str, str]]:
        for found in self.of_type("Microsoft.Compute/virtualMachineScaleSets"):
            for index in found["_vms"]:
                for shown in (self._vm(found, index), self._card(found, index)):
                    if shown["id"].lower() == path.lower() and method == "GET":
                        return 200, shown, {}
                identity = self._vm(found, index)["id"].lower()
                if path.lower().startswith(f"{identity}/"):
                    return self._act(method, path, found, index, path.lower().removeprefix(identity), body)
        raise Fault(404, "ResourceNotFound", f"The Resource '{path}' was not found.")

    def _act(
        self, method: str, path: str, scale_set: dict[str, Any], index: int, action: str, body: Any
    ) -> tuple[int, Any, dict[str, str]]:
        if index not in scale_set["_vms"]:
            raise Fault(404, "ResourceNotFound", f"The Resource '{path}' was not found.")
        if method == "POST" and action == "/runcommand":
            if set(body) != {"commandId", "script"} or body["commandId"] != "RunShellScript":
                raise Fault(400, "InvalidParameter", str(body))
            name = scale_set["_vms"][index]["computerName"]
            return 202, None, self._goes_on(lambda: self._ran(name, body["script"]), self.pace_s)
        if method == "POST" and action == "/simulateeviction":
            if scale_set["properties"]["virtualMachineProfile"].get("priority") != "Spot":
                raise Fault(409, "OperationNotAllowed", "The VM is not a spot VM.")
            del scale_set["_vms"][index]
            return 204, None, {}
        if method == "GET" and not action:
            return 200, self._vm(scale_set, index), {}
        raise self._foreign(method, path)

    def _ran(self, name: str, script: list[str]) -> Any:
        text = f"Enable succeeded: \n[stdout]\n{self.run_script(name, script)}\n[stderr]\n"
        return {
            "value": [{"code": "ProvisioningState/succeeded", "level": "Info", "displayStatus": "ok", "message": text}]
        }

    def _flexible(self, kind: str) -> list[dict[str, Any]]:
        make = self._vm if kind == "virtualmachines" else self._card
        sets = self.of_type("Microsoft.Compute/virtualMachineScaleSets")
        return [
            make(each, index)
            for each in sets
            if each["properties"]["orchestrationMode"] == "Flexible"
            for index in each["_vms"]
        ]

    def _vm(self, scale_set: dict[str, Any], index: int) -> dict[str, Any]:
        vm, size = scale_set["_vms"][index], self.given_size or scale_set["sku"]["name"]
        properties = {
            "vmId": vm["vmId"],
            "provisioningState": "Succeeded",
            "osProfile": {"computerName": vm["computerName"]},
            "hardwareProfile": {"vmSize": size},
        }
        if scale_set["properties"]["orchestrationMode"] == "Uniform":
            identity, name = f"{scale_set['id']}/virtualMachines/{index}", f"{scale_set['name']}_{index}"
            return {
                "id": identity,
                "name": name,
                "instanceId": str(index),
                "properties": properties,
                "sku": {"name": size},
            }
        name = f"{scale_set['name']}_{vm['vmId'][:8]}"
        base = scale_set["id"].rpartition("/virtualMachineScaleSets/")[0]
        owner = {"virtualMachineScaleSet": {"id": scale_set["id"]}}
        return {"id": f"{base}/virtualMachines/{name}", "name": name, "properties": {**properties, **owner}}

    def _card(self, scale_set: dict[str, Any], index: int) -> dict[str, Any]:
        vm = self._vm(scale_set, index)
        if "instanceId" in vm:
            identity = f"{vm['id']}/networkInterfaces/nic"
        else:
            group = scale_set["id"].partition("/providers/")[0]
            identity = f"{group}/providers/Microsoft.Network/networkInterfaces/nic-{vm['properties']['vmId'][:8]}"
        address = self.addresses.get(index, str(ipaddress.IPv4Address("10.0.0.4") + index))
        configuration = {
            "id": f"{identity}/ipConfigurations/ipconfig",
            "name": "ipconfig",
            "properties": {"privateIPAddress": address, "primary": True},
        }
        properties = {"primary": True, "virtualMachine": {"id": vm["id"]}, "ipConfigurations": [configuration]}
        return {"id": identity, "name": "nic", "type": "Microsoft.Network/networkInterfaces", "properties": properties}

    def _port(self, body: Any) -> Any:
        wanted = str(body["ipConfiguration"]["id"]).lower()
        for scale_set in self.of_type("Microsoft.Compute/virtualMachineScaleSets"):
            for index in scale_set["_vms"]:
                if self._card(scale_set, index)["properties"]["ipConfigurations"][0]["id"].lower() == wanted:
                    port = self.ports.get(index, 50_000 + index)
                    mapping = {"inboundNatRuleName": "ssh", "protocol": "Tcp", "frontendPort": port, "backendPort": 22}
                    return {"inboundNatRulePortMappings": [mapping]}
        raise Fault(404, "NotFound", wanted)


def _holds(fixed: dict[str, str], time: dt.datetime) -> bool:
    assert fixed["timeZone"] == "UTC"
    begin, end = (dt.datetime.fromisoformat(fixed[key].replace("Z", "+00:00")) for key in ("start", "end"))
    return begin <= time < end


def _in_order(found: dict[str, Any], group: str) -> dict[str, Any]:
    provider, _, kind = found["type"].partition("/")
    made = {"id": f"{group}/providers/{provider}/{kind}/{found['name']}", **found}
    os_profile = made["properties"].get("virtualMachineProfile", {}).get("osProfile", {})
    if os_profile and os_profile.get("customData") is None:
        os_profile.pop("customData", None)
    return made


def _autoscale_errors(found: dict[str, Any]) -> list[str]:
    """There is no official schema at hand: the keys and forms of the documented ones."""
    wrong = [f"autoscaleSettings: {key}" for key in set(found["properties"]) - _AUTOSCALE]
    for profile in found["properties"]["profiles"]:
        wrong += [f"profile: {key}" for key in set(profile) - {"name", "capacity", "rules", "fixedDate", "recurrence"}]
        capacity = profile["capacity"]
        if set(capacity) != {"minimum", "maximum", "default"} or not all(
            isinstance(each, str) for each in capacity.values()
        ):
            wrong.append(f"capacity: {capacity}")
    return wrong


def sku(name: str, family: str, vcpus: int, **more: Any) -> dict[str, Any]:
    """A size as Microsoft.Compute/skus lists it."""
    return {
        "resourceType": "virtualMachines",
        "name": name,
        "family": family,
        "locations": ["eastus2"],
        "locationInfo": [{"location": "eastus2", "zones": ["1", "2", "3"]}],
        "capabilities": [{"name": "vCPUs", "value": str(vcpus)}, {"name": "LowPriorityCapable", "value": "True"}],
        "restrictions": [],
        **more,
    }


def price(size: str, usd: float, **more: Any) -> dict[str, Any]:
    """A row of the retail prices."""
    return {
        "currencyCode": "USD",
        "retailPrice": usd,
        "armSkuName": size,
        "skuName": size.replace("_", " "),
        "productName": "Virtual Machines",
        "unitOfMeasure": "1 Hour",
        **more,
    }


@contextlib.contextmanager
def arm_server(certificate: Path | None = None) -> Iterator[ArmServer]:
    """A server that listens on this machine until the block ends; what it did not understand fails the test.

    Args:
        certificate: file with a key and a certificate; then it speaks https.
    """
    state = ArmServer()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def _serve(self) -> None:
            length = int(self.headers.get("Content-Length", 0))
            body = self.rfile.read(length)
            if len(body) < length:  # the client was killed while it wrote: no server acts on a part of a request
                self.close_connection = True
                return
            try:
                status, found, headers = state.answer(self.command, self.path, self.headers, body)
            except Exception as fault:  # noqa: BLE001 (shown to the test)
                state.unexpected.append(f"{self.command} {self.path}: {fault!r}")
                status, found, headers = 500, {"error": {"code": "InternalServerError", "message": repr(fault)}}, {}
            if state.lose and re.search(state.lose, f"{self.command} {self.path}"):
                state.lose = ""
                self.close_connection = True
                self.connection.shutdown(2)
                return
            raw = b"" if found is None else json.dumps(found).encode()
            length = len(raw)
            for pattern, harm in list(state.harms.items()):
                if re.search(pattern, f"{self.command} {unquote(self.path)}", re.IGNORECASE):
                    status, raw, length = harm(status, raw)
                    self.close_connection = True
            with contextlib.suppress(OSError):
                self.send_response(status)
                for key, value in {"Content-Type": "application/json", **headers}.items():
                    self.send_header(key, value)
                self.send_header("Content-Length", str(length))
                self.end_headers()
                self.wfile.write(raw)

        do_GET = do_PUT = do_POST = do_DELETE = do_PATCH = do_HEAD = _serve  # noqa: N815

        def log_message(self, *_: Any) -> None:
            """Nothing: the state has the requests."""

    class Server(ThreadingHTTPServer):
        request_queue_size = 128

    server = Server(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    state.url = f"{'https' if certificate else 'http'}://127.0.0.1:{server.server_address[1]}"
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        state.settle()
    assert state.unexpected == []


def expired_tag() -> str:
    """A time that is over, as the tag has it."""
    return (dt.datetime.now(dt.timezone.utc) - dt.timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
