"""What Vast.ai's OpenAPI document says of the endpoints that are used, and what it refuses.

``tests/data/vast/openapi.json`` has the forms (types, enumerations, required keys) of those endpoints without the document's prose and examples;
``python -m support.vast_openapi FILE`` makes it anew from ``api-reference/openapi.yaml`` of github.com/vast-ai/docs.
"""

from __future__ import annotations

import functools
import json
import re
import sys
from pathlib import Path
from typing import Any

import jsonschema

FILE = Path(__file__).parents[1] / "data" / "vast" / "openapi.json"
USED = (
    "/api/v0/asks/{id}", "/api/v0/instances/{id}", "/api/v0/instances/request_logs/{id}", "/api/v1/instances", "/api/v0/bundles",
    "/api/v0/benchmarks", "/api/v0/charges", "/api/v0/machines/{machine_id}/reports", "/api/v0/users/current",
)  # fmt: skip
_PROSE = ("description", "example", "examples", "summary", "default", "title")
#: Where the document contradicts itself or every answer that was seen; applied when it is read, so that each is known here and nowhere else.
CORRECTIONS = (
    # "Each entry should contain two elements", but the bounds stand at the list of entries.
    ("/api/v0/bundles", "post", "request", ("properties", "order"), {"type": "array", "items": {"type": "array", "items": {"type": "string"}, "minItems": 2, "maxItems": 2}}),
    # A field of the official client that the document does not name.
    ("/api/v0/bundles", "post", "request", ("properties", "cluster_id"), {"type": "object"}),
    # The same instance has an object of ports in the v1 list, which is what the official client reads in both.
    ("/api/v0/instances/{id}", "get", "200", ("properties", "instances", "properties", "ports"), {"type": ["object", "null"]}),
    ("/api/v0/instances/{id}", "get", "200", ("properties", "instances", "properties", "extra_env"), {"type": "array"}),
    # The official client pages through {"benchmarks": […], "next_token"}; the document shows the bare list.
    ("/api/v0/benchmarks", "get", "200", (), {"type": ["array", "object"]}),
    # Null where there is no such instance (read by the official client).
    ("/api/v0/instances/{id}", "get", "200", ("properties", "instances", "type"), ["object", "null"]),
)  # fmt: skip
#: Parameters that the official client (vastai 1.9.1) sends and the document does not name.
BEYOND = {"/api/v0/benchmarks": {"select_cols", "select_filters", "limit", "order_by", "after_token"}}


@functools.cache
def document() -> dict[str, Any]:
    """Path → method → ``{"parameters", "request", "answers"}``."""
    found: dict[str, Any] = json.loads(FILE.read_text("utf-8"))["paths"]
    for path, names in BEYOND.items():
        found[path]["get"]["parameters"] += [{"in": "query", "name": each, "schema": {}} for each in sorted(names)]
    for path, method, what, place, schema in CORRECTIONS:
        operation = found[path][method]
        holder, key = (operation, "request") if what == "request" else (operation["answers"], what)
        for step in place:
            holder, key = holder[key], step
        holder[key] = schema
    return found


def operation_of(method: str, path: str) -> tuple[str, dict[str, Any]] | None:
    """The path of the document and its operation; None for what the document does not know."""
    bare = path.rstrip("/")
    for pattern, operations in document().items():
        if re.fullmatch(re.sub(r"\{\w+\}", r"\\d+", pattern), bare) and method.lower() in operations:
            return pattern, operations[method.lower()]
    return None


def errors_of_request(operation: dict[str, Any], query: dict[str, str], body: Any) -> list[str]:
    """What the document refuses; for a body, keys that it does not name too."""
    wrong = []
    known = {each["name"]: each for each in operation["parameters"] if each["in"] == "query"}
    wrong += [
        f"query: {name} is required" for name, each in known.items() if each.get("required") and name not in query
    ]
    for name, text in query.items():
        if name not in known:
            wrong.append(f"query: nobody knows {name}")
        elif known[name].get("schema", {}).get("type") == "integer":
            most = known[name]["schema"].get("maximum")
            if not re.fullmatch(r"-?\d+", text) or (most is not None and int(text) > most):
                wrong.append(f"query: {name}={text}")
    schema = operation.get("request")
    if schema:
        wrong += _against(schema, {} if body is None else body)
        wrong += [f"body: nobody knows {key}" for key in set(body or {}) - set(schema.get("properties", {}))]
    return wrong


def errors_of_answer(operation: dict[str, Any], status: int, body: Any) -> list[str]:
    """How an answer differs from the document; empty where it has no schema of that status."""
    schema = operation["answers"].get(str(status))
    return _against(schema, body) if schema else []


def _against(schema: dict[str, Any], value: Any) -> list[str]:
    return [
        f"{error.json_path}: {error.message}"[:300]
        for error in jsonschema.Draft202012Validator(schema).iter_errors(value)
    ]


def make(file: Path) -> None:
    """Write the forms anew."""
    import yaml

    whole = yaml.load(file.read_text("utf-8"), Loader=yaml.CSafeLoader)

    def form(node: Any) -> Any:
        if isinstance(node, list):
            return [form(each) for each in node]
        if not isinstance(node, dict):
            return node
        if "$ref" in node:
            found: Any = whole
            for step in node["$ref"].removeprefix("#/").split("/"):
                found = found[step]
            return form(found)
        kept = {}
        for key, value in node.items():
            if key == "properties":
                kept[key] = {name: form(each) for name, each in value.items()}
            elif key not in _PROSE:
                kept[key] = form(value)
        return kept

    def schema_of(holder: Any) -> Any:
        return form(((holder.get("content") or {}).get("application/json") or {}).get("schema"))

    paths: dict[str, Any] = {}
    for path in USED:
        for method, operation in whole["paths"][path].items():
            if method not in ("get", "put", "post", "delete"):
                continue
            answers = {status: schema_of(each) for status, each in operation["responses"].items()}
            paths.setdefault(path, {})[method] = {
                "parameters": form(operation.get("parameters", [])),
                "request": schema_of(operation["requestBody"]) if "requestBody" in operation else None,
                "answers": {status: each for status, each in answers.items() if each},
            }
    source = "github.com/vast-ai/docs, api-reference/openapi.yaml, commit c624622624 of 7 August 2026"
    text = json.dumps({"source": source, "paths": paths}, indent=1, sort_keys=True)
    FILE.write_text(text + "\n", "utf-8")


if __name__ == "__main__":
    make(Path(sys.argv[1]))
