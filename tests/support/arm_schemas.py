"""What would the official schemas of Azure Resource Manager say of a template? Strictly: a key that they do not know is an error.

``tests/data/arm_schemas`` has the part of them that hpcaccept's templates use. ``python -m support.arm_schemas FOLDER`` cuts it out of a
folder of whole schema files again.
"""

from __future__ import annotations

import functools
import json
import sys
from pathlib import Path
from typing import Any

import jsonschema

DATA = Path(__file__).parents[1] / "data" / "arm_schemas"
_FILES = {
    "Microsoft.Compute": "2026-03-01_Microsoft.Compute.json",
    "Microsoft.Network": "2025-07-01_Microsoft.Network.NRP.json",
}
_USED = {
    "Microsoft.Compute": ("virtualMachineScaleSets", "interconnectBlocks"),
    "Microsoft.Network": (
        "networkSecurityGroups",
        "publicIPAddresses",
        "natGateways",
        "virtualNetworks",
        "loadBalancers",
        "interconnectGroups",
    ),
}
#: An expression of a template may stand wherever a value may.
_EXPRESSION = {"type": "string", "pattern": r"^\[.*\]$"}
#: What every resource of a template may have, whatever its own schema says.
_OF_TEMPLATES = ("dependsOn", "condition", "copy", "comments", "scope")


def errors(resource: dict[str, Any]) -> list[str]:
    """What is wrong with one resource of a template; empty for nothing."""
    provider, _, kind = str(resource.get("type", "")).partition("/")
    if kind not in _USED.get(provider, ()):
        return [f"no schema for the type {resource.get('type')!r}"]
    found = _validator(provider, kind).iter_errors(resource)
    return [f"{'/'.join(map(str, error.absolute_path))}: {_told(error)}" for error in found]


def template_errors(template: dict[str, Any]) -> list[str]:
    """What the schema of templates says of all but the resources."""
    whole = json.loads((DATA / "2019-04-01_deploymentTemplate.json").read_text("utf-8"))
    rest = {**template, "resources": []}
    return [str(error.message) for error in jsonschema.Draft4Validator(whole).iter_errors(rest)]


def _told(error: Any) -> str:
    """The innermost of what went wrong in a choice between forms: the branch that is no expression."""
    while error.context:
        error = max(error.context, key=lambda each: len(each.absolute_path))
    return str(error.message)[:300]


@functools.cache
def _validator(provider: str, kind: str) -> Any:
    whole = json.loads((DATA / _FILES[provider]).read_text("utf-8"))
    schema = {**whole["resourceDefinitions"][kind], "definitions": whole["definitions"]}
    _strict(schema)
    schema["properties"].update({key: {} for key in _OF_TEMPLATES})
    return jsonschema.Draft4Validator(schema)


def _strict(node: Any) -> None:
    """External references stand for expressions; nothing but what is named may be there."""
    if isinstance(node, list):
        for each in node:
            _strict(each)
        return
    if not isinstance(node, dict):
        return
    if str(node.get("$ref", "")).startswith("http"):
        node.clear()
        node.update(_EXPRESSION)
        return
    if isinstance(node.get("pattern"), str):
        # A hyphen between two classes is a literal in the schemas' dialect, and no pattern in Python's.
        node["pattern"] = node["pattern"].replace(r"\w-.", r"\w.\-")
    for key, each in node.items():
        if key != "enum":
            _strict(each)
    if isinstance(node.get("properties"), dict) and node.get("type") == "object":
        node.setdefault("additionalProperties", False)


def _cut(source: Path) -> None:
    """Write the part that is used, without descriptions."""
    for provider, name in _FILES.items():
        whole = json.loads((source / name).read_text("utf-8"))
        resources = {kind: _bare(whole["resourceDefinitions"][kind]) for kind in _USED[provider]}
        needed: dict[str, Any] = {}
        todo = _references(resources)
        while todo:
            each = todo.pop()
            if each not in needed:
                needed[each] = _bare(whole["definitions"][each])
                todo |= _references(needed[each]) - set(needed)
        part = {"id": whole["id"], "resourceDefinitions": resources, "definitions": dict(sorted(needed.items()))}
        (DATA / name).write_text(json.dumps(part, separators=(",", ":")) + "\n")
    name = "2019-04-01_deploymentTemplate.json"
    template = _bare(json.loads((source / name).read_text("utf-8")))
    (DATA / name).write_text(json.dumps(template, separators=(",", ":")) + "\n")


def _bare(node: Any, in_properties: bool = False) -> Any:
    if isinstance(node, list):
        return [_bare(each) for each in node]
    if not isinstance(node, dict):
        return node
    return {
        key: _bare(value, key in ("properties", "definitions"))
        for key, value in node.items()
        if in_properties or key not in ("description", "title")
    }


def _references(node: Any) -> set[str]:
    if isinstance(node, list):
        return set().union(*map(_references, node))
    if not isinstance(node, dict):
        return set()
    reference = str(node.get("$ref", ""))
    own = {reference.rpartition("/")[2]} if reference.startswith("#/definitions/") else set()
    return own.union(*map(_references, node.values()))


if __name__ == "__main__":
    _cut(Path(sys.argv[1]))
