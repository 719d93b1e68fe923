"""Vast.ai on this machine: stateful, held to its OpenAPI document, and as unpleasant as the real one on demand.

A request that the document refuses is refused, an answer of ours that it refuses fails the test (``unexpected``). Instances live by the clock: created,
loading, running, or whatever a machine's ``Behaviour`` says; a rented machine may be a real process. The account may be full of others' instances.
"""

from __future__ import annotations

import base64
import contextlib
import copy
import itertools
import json
import re
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote, urlsplit

from support import vast_openapi

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

KEY = "dummy-key-of-the-tests"
ADDRESS = "127.0.0.1"
_PAGE = 25
_AUTH = {"success": False, "error": "auth_error", "msg": "Invalid user key"}
_OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "eq": lambda a, b: a == b,
    "neq": lambda a, b: a != b,
    "gt": lambda a, b: a > b,
    "gte": lambda a, b: a >= b,
    "lt": lambda a, b: a < b,
    "lte": lambda a, b: a <= b,
    "in": lambda a, b: a in b,
    "notin": lambda a, b: a not in b,
}
#: As the official client says it → as the document has it. Whoever is not that client may not.
_OF_THE_CLIENT = {
    "on-demand": "ondemand",
    "ssh_direc ssh_proxy": "ssh_direct",
    "jupyter_direc ssh_direc ssh_proxy": "jupyter_direct",
}


@dataclass
class Behaviour:
    """How a machine behaves once it is rented.

    Attributes:
        load_s: from creation to running.
        status: that it comes to instead of running; ``loading`` is for ever.
        message: ``status_msg`` on the way.
        ports: whether its port is mapped.
        address: public one.
        port: outside; None: that of the process, else one where nobody listens.
        dies_after_s: seconds of running after which it is ``status_then``.
        status_then: see there; empty: it vanishes from the account.
        dearer: factor of the price as rented.
        asks_more: its host asks for a higher price as soon as it is rented.
    """

    load_s: float = 0.05
    status: str = "running"
    message: str = "success, running"
    ports: bool = True
    address: str = ADDRESS
    port: int | None = None
    dies_after_s: float | None = None
    status_then: str = "offline"
    dearer: float = 1.0
    asks_more: bool = False


@dataclass
class Rule:
    """An answer instead of the usual one.

    Attributes:
        pattern: of ``METHOD path``.
        kind: ``answer``; ``lost``: done, and the answer lost; ``unheard``: not done, the connection broken; ``cut``: the answer ends in its middle;
            ``twice``: the whole answer a second time behind it; ``big``: blown up to ten megabytes.
        status: of an ``answer``.
        body: of an ``answer``: plain values, or bytes as they are.
        headers: of an ``answer``.
        times: how often.
        after: requests of this pattern that are answered as usual before.
    """

    pattern: str
    kind: str = "answer"
    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    times: int = 1
    after: int = 0


class Fault(Exception):
    """An answer with an error."""

    def __init__(self, status: int, error: str, msg: str, **more: Any) -> None:
        super().__init__(msg)
        self.status = status
        self.body = {"success": False, "error": error, "msg": msg, **more}


class VastServer:
    """The state of one account.

    Attributes:
        offers: id → offer as it is listed.
        instances: id → instance, with private keys in front.
        behaviours: machine → how it behaves.
        start: starts what runs on a machine; gives its port, and what ends it.
        pending: price increases: id → row.
        rejected: those that were rejected.
        accepted: those that were accepted: none ever must be.
        benchmarks: rows.
        reports: machine → rows.
        charges: instance → USD; others are computed by the clock.
        usd_factor: of computed charges.
        rules: answers instead of the usual ones.
        requests: method and path of each request, in order.
        bodies: of them, as they were understood.
        sent: of them, as they came.
        deviations: what the official client sent that the document refuses.
        unexpected: what failed the test.
        copies: instances that one creation makes.
        list_late_s: for so long a new instance is in no list.
        stays: destructions that say success and change nothing.
        on_request: called with number, method and path before anything is done.
        on_answer: called likewise when it is done, before the answer is sent.
    """

    def __init__(self) -> None:
        self.offers: dict[int, dict[str, Any]] = {}
        self.instances: dict[int, dict[str, Any]] = {}
        self.gone: dict[int, dict[str, Any]] = {}
        self.behaviours: dict[int, Behaviour] = {}
        self.start: Callable[[dict[str, Any]], tuple[int, Callable[[], None]]] | None = None
        self.pending: dict[int, dict[str, Any]] = {}
        self.rejected: list[int] = []
        self.accepted: list[int] = []
        self.benchmarks: list[dict[str, Any]] = []
        self.reports: dict[int, list[dict[str, Any]]] = {}
        self.charges: dict[int, float] = {}
        self.usd_factor = 1.0
        self.rules: list[Rule] = []
        self.requests: list[str] = []
        self.bodies: list[Any] = []
        self.sent: list[Any] = []
        self.deviations: set[str] = set()
        self.unexpected: list[str] = []
        self.copies = 1
        self.list_late_s = 0.0
        self.stays = 0
        self.on_request: Callable[[int, str, str], None] = lambda *_: None
        self.on_answer: Callable[[int, str, str], None] = lambda *_: None
        self.url = ""
        self.most_rented = 0
        self._ids = itertools.count(900_001)
        self._count = itertools.count()
        self._lock = threading.RLock()

    # What a test sets and looks at.

    def offer(self, machine: int, **other: Any) -> dict[str, Any]:
        """List an offer of a machine."""
        made = offer(7_000_000 + machine, machine, **other)
        self.offers[made["id"]] = made
        return made

    def foreign(self, count: int, label: str | None = "training") -> list[int]:
        """Instances of the account that are not ours."""
        made = [
            self._instance(offer(1, 5, gpu_name="RTX 3090"), {"image": "their/image:1", "label": label})
            for _ in range(count)
        ]
        for each in made:
            each["_foreign"] = True
        return [each["id"] for each in made]

    def ask_more(self, identity: int) -> None:
        """The host of an instance asks for a higher price."""
        row = next(self._ids)
        self.pending[row] = {
            "pending_price_increase_id": row,
            "contract_id": identity,
            "host_id": 1,
            "new_gpu_costpersec": 0.002,
            "old_gpu_costpersec": 0.0001,
        }

    def ours(self) -> list[int]:
        """Instances that a client of a test has rented."""
        with self._lock:
            return [key for key, each in self.instances.items() if not each.get("_foreign")]

    # HTTP.

    def answer(self, method: str, url: str, headers: Any, raw: bytes) -> tuple[int, Any, dict[str, str], str]:
        """One request: status, plain values or bytes of the body, headers, and what becomes of the answer on the way."""
        parts = urlsplit(url)
        path, query = unquote(parts.path), {key: each[0] for key, each in parse_qs(parts.query).items()}
        number = next(self._count)
        line = f"{method} {path}"
        body = json.loads(raw) if raw else None
        self.requests.append(line)
        self.bodies.append(body)
        self.sent.append(copy.deepcopy(body))
        self.on_request(number, method, path)
        rule = self._rule(line)
        if rule and rule.kind == "answer":
            return rule.status, rule.body, rule.headers, ""
        if rule and rule.kind == "unheard":
            return 0, None, {}, "lost"
        try:
            if path.startswith("/logs/"):
                return 200, b"a line of the log\n", {"Content-Type": "text/plain"}, ""
            if path == "/api/v0/gpu_names/unique/":
                return 200, {"gpu_names": sorted({each["gpu_name"] for each in self.offers.values()})}, {}, ""
            if headers.get("Authorization") != f"Bearer {KEY}":
                return 404, _AUTH, {}, ""
            with self._lock:
                status, found = self._checked(method, path, query, body, str(headers.get("User-Agent", "")))
        except Fault as fault:
            status, found = fault.status, fault.body
        self.on_answer(number, method, path)
        return status, found, {}, rule.kind if rule else ""

    def _rule(self, line: str) -> Rule | None:
        with self._lock:
            for rule in self.rules:
                if rule.times > 0 and re.search(rule.pattern, line):
                    if rule.after > 0:
                        rule.after -= 1
                        return None
                    rule.times -= 1
                    return rule
        return None

    def _checked(self, method: str, path: str, query: dict[str, str], body: Any, agent: str) -> tuple[int, Any]:
        known = vast_openapi.operation_of(method, path)
        if known is None:
            return self._undocumented(method, path, body, agent)
        pattern, operation = known
        if agent.startswith("vastai"):
            query, body = self._as_documented(pattern, dict(query), body)
        if wrong := vast_openapi.errors_of_request(operation, query, body):
            self.unexpected.append(f"{method} {path}: {wrong}")
            raise Fault(400, "invalid_args", "; ".join(wrong)[:500])
        status, found = self._route(method, pattern, path, query, body)
        if wrong := vast_openapi.errors_of_answer(operation, status, found):
            self.unexpected.append(f"answer to {method} {path}: {wrong}")
        return status, found

    def _as_documented(self, pattern: str, query: dict[str, str], body: Any) -> tuple[dict[str, str], Any]:
        """What the official client says otherwise than the document, in its words; each is noted."""
        if query.pop("owner", None):
            self.deviations.add("owner=me")
        if not isinstance(body, dict):
            return query, body
        for key in ("type", "runtype"):
            if body.get(key) in _OF_THE_CLIENT:
                self.deviations.add(f"{key}={body[key]}")
                body[key] = _OF_THE_CLIENT[body[key]]
        if isinstance(body.get("tail"), int):
            self.deviations.add("tail is a number")
            body["tail"] = str(body["tail"])
        if isinstance(body.get("env"), dict):
            self.deviations.add("env is an object")
            body["env"] = " ".join(
                key if key.startswith("-p") else f"-e {key}={value}" for key, value in body["env"].items()
            )
        if pattern == "/api/v0/asks/{id}":
            known = vast_openapi.document()[pattern]["put"]["request"]["properties"]
            for key in [each for each in body if each not in known]:
                self.deviations.add(f"create: {key}")
                del body[key]
            for key in [each for each in body if body[each] is None]:
                self.deviations.add("create: null for what is not given")
                del body[key]
        if pattern == "/api/v0/bundles":
            for name in [
                key for key, filters in body.items() if isinstance(filters, dict) and filters.get("eq") == "any"
            ]:
                self.deviations.add("any is sent")
                del body[name]
            for filters in body.values():
                for operator, value in filters.items() if isinstance(filters, dict) else ():
                    if isinstance(value, list):
                        filters[operator] = [_number(each) for each in value]
                    elif isinstance(value, str) and _number(value) != value:
                        self.deviations.add("numbers as text")
                        filters[operator] = _number(value)
        return query, body

    def _undocumented(self, method: str, path: str, body: Any, agent: str) -> tuple[int, Any]:
        """Endpoints that the official client has and the document has not; and the list that is no longer there."""
        if method == "GET" and path == "/api/v0/instances/":
            raise Fault(410, "deprecated_endpoint", "Use GET /api/v1/instances/")
        if method == "GET" and path == "/api/v0/instances/pending-price-increases/":
            rows = list(self.pending.values())
            return 200, {"success": True, "count": len(rows), "truncated": False, "pending_price_increases": rows}
        found = re.fullmatch(r"/api/v0/instances/(accept|reject)-price-increase/", path)
        if method == "PUT" and found:
            if set(body or {}) != {"pending_price_increase_id"}:
                raise Fault(400, "invalid_args", "extra fields not permitted")
            row = self.pending.pop(body["pending_price_increase_id"], None)
            if row is None:
                raise Fault(404, "no_pending_price_increase", "")
            (self.accepted if found[1] == "accept" else self.rejected).append(row["pending_price_increase_id"])
            return 200, {
                "success": True,
                "contract_id": row["contract_id"],
                "pending_price_increase_id": row["pending_price_increase_id"],
            }
        if agent.startswith("vastai") and path == "/api/v0/instances/filters/":
            return 200, {"success": True, "filters": []}
        if agent.startswith("vastai") and method == "GET" and re.fullmatch(r"/api/v0/machines/\d+/?", path):
            return 200, {"machines": []}
        self.unexpected.append(f"{method} {path}")
        raise Fault(404, "not_found", f"nobody knows {path}")

    def _route(self, method: str, pattern: str, path: str, query: dict[str, str], body: Any) -> tuple[int, Any]:
        identity = next((int(each) for each in path.split("/") if each.isdigit()), 0)
        if pattern == "/api/v0/bundles":
            return 200, {"offers": self._search(body or {})}
        if pattern == "/api/v0/asks/{id}":
            return 200, self._create(identity, body)
        if pattern == "/api/v1/instances":
            return 200, self._list(query)
        if pattern == "/api/v0/instances/{id}":
            return 200, self._one(method, identity, body)
        if pattern == "/api/v0/instances/request_logs/{id}":
            self._own(identity)
            return 200, {"success": True, "result_url": f"{self.url}/logs/{identity}"}
        if pattern == "/api/v0/charges":
            return 200, self._charges(query)
        if pattern == "/api/v0/benchmarks":
            wanted = json.loads(query.get("select_filters") or "{}")
            rows = [each for each in self.benchmarks if _holds(each, wanted)]
            return 200, {"success": True, "benchmarks_found": len(rows), "benchmarks": rows, "next_token": None}
        if pattern == "/api/v0/machines/{machine_id}/reports":
            return 200, self.reports.get(identity, [])
        return 200, {"id": 1, "email": "someone@example.org", "balance": 25.0, "ssh_key": "", "sid": "", "key_id": 1}

    def _search(self, body: dict[str, Any]) -> list[dict[str, Any]]:
        filters = {key: value for key, value in body.items() if isinstance(value, dict)}
        taken = {each["_offer"] for each in self.instances.values()}
        listed = [{**each, "rentable": each["rentable"] and each["id"] not in taken} for each in self.offers.values()]
        found = [each for each in listed if _holds(each, filters)]
        for name, direction in reversed(body.get("order", [])):
            found.sort(key=lambda each: each.get(name) or 0, reverse=direction == "desc")
        shown = [{key: value for key, value in each.items() if key != "verified"} for each in found]
        return shown[: body.get("limit") or None]

    def _create(self, identity: int, body: dict[str, Any]) -> dict[str, Any]:
        listed = self.offers.get(identity)
        if not listed or identity in {each["_offer"] for each in self.instances.values()}:
            raise Fault(
                404,
                "invalid_args",
                f"error 404/3603: no_such_ask Instance type by id {identity} is not available.",
                ask_id=identity,
            )
        if not listed["rentable"]:
            raise Fault(
                410,
                "no_such_ask",
                f"error 410/3907: no_such_ask Instance type {identity} is no longer available.",
                ask_id=identity,
            )
        if len(body.get("onstart") or "") > 4048:
            raise Fault(400, "invalid_args", "onstart")
        made = [self._instance(listed, body) for _ in range(self.copies)]
        self.most_rented = max(self.most_rented, len(self.ours()))
        return {"success": True, "new_contract": made[0]["id"]}

    def _instance(self, listed: dict[str, Any], body: dict[str, Any]) -> dict[str, Any]:
        identity = next(self._ids)
        behaviour = self.behaviours.get(listed["machine_id"], Behaviour())
        made = {
            "id": identity, "machine_id": listed["machine_id"], "label": body.get("label"), "image_uuid": body["image"],
            "dph_total": listed["dph_total"] * behaviour.dearer, "gpu_name": listed["gpu_name"], "num_gpus": listed["num_gpus"],
            "start_date": time.time(), "extra_env": [], "onstart": body.get("onstart") or "", "public_ipaddr": behaviour.address,
            "intended_status": "running", "cur_state": "running", "next_state": "running", "host_id": listed["host_id"], "template_hash_id": None,
            "_offer": listed["id"] if listed["id"] in self.offers else 0, "_born": time.monotonic(), "_behaviour": behaviour, "_port": None, "_end": lambda: None,
        }  # fmt: skip
        self.instances[identity] = made
        if behaviour.asks_more:
            self.ask_more(identity)
        if self.start and body.get("onstart") and behaviour.status == "running":
            made["_port"], made["_end"] = self.start(made)
        return made

    def _shown(self, made: dict[str, Any]) -> dict[str, Any] | None:
        behaviour: Behaviour = made["_behaviour"]
        age = time.monotonic() - made["_born"]
        status: str | None = None
        if age >= behaviour.load_s:
            status = behaviour.status
        elif age >= behaviour.load_s / 2:
            status = "loading"
        died = behaviour.dies_after_s is not None and age > behaviour.load_s + behaviour.dies_after_s
        if died:
            if not behaviour.status_then:
                return None
            status = behaviour.status_then
        shown = {key: value for key, value in made.items() if not key.startswith("_")}
        shown |= {"actual_status": status, "status_msg": None if status is None else behaviour.message}
        running = status == "running" and behaviour.ports
        port = behaviour.port or made["_port"] or 9
        shown["ports"] = (
            {
                "5000/tcp": [{"HostIp": "0.0.0.0", "HostPort": str(port)}],
                "22/tcp": [{"HostIp": "0.0.0.0", "HostPort": "20022"}],
            }
            if running
            else None
        )
        if status is None:
            del shown["public_ipaddr"]
        return shown

    def _list(self, query: dict[str, str]) -> dict[str, Any]:
        if json.loads(query.get("select_filters", "{}")):
            raise Fault(400, "invalid_request", "this server has no filters")
        begin = 0
        if token := query.get("after_token"):
            try:
                begin = json.loads(base64.b64decode(token, validate=True))["after"]
            except (ValueError, KeyError):
                raise Fault(400, "invalid_token", "Invalid pagination token") from None
        now = time.monotonic()
        visible = [each for _, each in sorted(self.instances.items()) if now - each["_born"] >= self.list_late_s]
        rows = [shown for each in visible if (shown := self._shown(each))]
        for each in visible:
            if not self._shown(each):
                del self.instances[each["id"]]
        rest = [each for each in rows if each["id"] > begin]
        size = int(query.get("limit", _PAGE))
        page = rest[: 5 if size <= 0 else size]
        token = (
            base64.b64encode(json.dumps({"after": page[-1]["id"]}).encode()).decode() if len(rest) > len(page) else None
        )
        return {
            "success": True,
            "instances_found": len(page),
            "total_instances": len(rows),
            "instances": page,
            "next_token": token,
        }

    def _own(self, identity: int) -> dict[str, Any]:
        if identity not in self.instances:
            raise Fault(404, "invalid_id", "Invalid instance id.")
        return self.instances[identity]

    def _one(self, method: str, identity: int, body: Any) -> dict[str, Any]:
        if method == "GET":
            made = self.instances.get(identity)
            return {"instances": self._shown(made) if made else None}
        if identity not in self.instances:
            raise Fault(404, "not_found", "Instance not found")
        if method == "PUT":
            self.instances[identity].update({key: value for key, value in body.items() if key == "label"})
            return {"success": True}
        if self.stays > 0:
            self.stays -= 1
            return {"success": True}
        made = self.instances.pop(identity)
        self.gone[identity] = {**made, "_died": time.monotonic()}
        made["_end"]()
        return {"success": True}

    def _charges(self, query: dict[str, str]) -> dict[str, Any]:
        wanted = json.loads(query["select_filters"])
        if set(wanted.get("day", {})) != {"gte", "lte"}:
            raise Fault(400, "", "Must provide both 'day' gte and lte filters for instance charges")
        rows = []
        for identity, made in {**self.gone, **self.instances}.items():
            hours = (made.get("_died", time.monotonic()) - made["_born"]) / 3600
            amount = self.charges.get(identity, made["dph_total"] * hours * self.usd_factor)
            begin = int(made["start_date"])
            rows.append(
                {
                    "start": begin,
                    "end": begin + 1,
                    "type": "instance",
                    "source": f"instance-{identity}",
                    "amount": amount,
                    "metadata": {},
                    "items": [],
                }
            )
        return {"success": True, "count": len(rows), "total": len(rows), "next_token": None, "results": rows}

    def end(self) -> None:
        """End whatever runs on machines."""
        for made in list(self.instances.values()):
            made["_end"]()


def offer(identity: int, machine: int, **other: Any) -> dict[str, Any]:
    """An offer as Vast.ai lists it; a decent unverified machine with two RTX 4090."""
    gpus = other.get("num_gpus", 2)
    return {
        "id": identity, "ask_contract_id": identity, "machine_id": machine, "host_id": machine % 97 + 1, "gpu_name": "RTX 4090", "num_gpus": gpus, "gpu_arch": "nvidia",
        "gpu_ram": 24564, "gpu_total_ram": 24564 * gpus, "gpu_frac": 1.0, "gpu_mem_bw": 880.5, "cpu_ram": 131072, "cpu_cores": 32, "cpu_cores_effective": 32.0,
        "cpu_name": "EPYC 7302", "compute_cap": 890, "cuda_max_good": 12.8, "driver_version": "570.86.15", "driver_vers": 570086015, "dlperf": 110.0 * gpus,
        "dlperf_per_dphtotal": 200.0, "dph_base": 0.35 * gpus, "dph_total": 0.36 * gpus, "total_flops": 82.6 * gpus, "flops_per_dphtotal": 229.0,
        "direct_port_count": 100, "disk_bw": 2000.0, "disk_space": 500.0, "inet_down": 800.0, "inet_up": 600.0, "inet_down_cost": 0.002, "inet_up_cost": 0.004,
        "pcie_bw": 12.3, "pci_gen": 4.0, "reliability": 0.985, "reliability2": 0.985, "rentable": True, "rented": False, "verification": "unverified", "verified": False,
        "external": False, "geolocation": "Sweden, SE", "static_ip": True, "storage_cost": 0.15, "duration": 2_000_000.0, "score": 100.0, "public_ipaddr": "203.0.113.7",
        "start_date": 1_700_000_000.0, "end_date": 1_900_000_000.0, **other,
    }  # fmt: skip


def _holds(row: dict[str, Any], filters: dict[str, dict[str, Any]]) -> bool:
    """Whether a row meets every filter; a null in the row meets only what asks for it."""
    for name, comparisons in filters.items():
        actual = row.get(name)
        if name == "geolocation" and isinstance(actual, str):
            actual = actual[-2:]
        if name == "driver_version":
            actual = row.get("driver_vers")
        for operator, wanted in comparisons.items():
            if operator not in _OPERATORS:
                raise Fault(400, "invalid_request", f"no operator {operator}")
            try:
                if not _OPERATORS[operator](actual, wanted):
                    return False
            except TypeError:
                return False
    return True


def _number(value: Any) -> Any:
    if isinstance(value, str) and re.fullmatch(r"-?\d+(\.\d+)?", value):
        return float(value) if "." in value else int(value)
    return value


@contextlib.contextmanager
def vast_server() -> Iterator[VastServer]:
    """A server that listens on this machine until the block ends; what it did not understand fails the test."""
    state = VastServer()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def _serve(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            raw = self.rfile.read(length)
            if len(raw) < length:  # the client was killed while it wrote: no server acts on a part of a request
                self.close_connection = True
                return
            try:
                status, found, headers, way = state.answer(self.command, self.path, self.headers, raw)
            except Exception as fault:  # noqa: BLE001 (shown to the test)
                state.unexpected.append(f"{self.command} {self.path}: {fault!r}")
                status, found, headers, way = 500, {"error": "internal", "msg": repr(fault)}, {}, ""
            if way == "lost":
                self.close_connection = True
                with contextlib.suppress(OSError):
                    self.connection.shutdown(2)
                return
            body = found if isinstance(found, bytes) else json.dumps(found).encode()
            if way == "big":
                body = body[:-1] + b', "padding": "' + b"x" * 10_000_000 + b'"}'
            kind = "application/json"
            with contextlib.suppress(OSError):
                self.send_response(status)
                for key, value in {"Content-Type": kind, **headers}.items():
                    self.send_header(key, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body[: len(body) // 2] if way == "cut" else body)
                if way == "cut":
                    self.close_connection = True
                    self.connection.shutdown(2)
                if way == "twice":
                    head = f"HTTP/1.1 {status} OK\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
                    self.wfile.write(head.encode() + body)

        do_GET = do_PUT = do_POST = do_DELETE = _serve  # noqa: N815

        def log_message(self, *_: Any) -> None:
            """Nothing: the state has the requests."""

    class Server(ThreadingHTTPServer):
        request_queue_size = 256

    server = Server((ADDRESS, 0), Handler)
    server.daemon_threads = True
    state.url = f"http://{ADDRESS}:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        state.end()
    assert state.unexpected == [], state.unexpected
