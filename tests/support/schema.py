"""Does a document keep to a JSON schema? The few keywords that docs/reference/report.schema.json uses, and no others."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

REPORT = Path(__file__).parents[2] / "docs" / "reference" / "report.schema.json"

_KINDS: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "null": (type(None),),
}
_SAID = {"$schema", "$defs", "title", "description"}
_KNOWN = {
    "type",
    "properties",
    "required",
    "additionalProperties",
    "items",
    "enum",
    "const",
    "minimum",
    "anyOf",
    "$ref",
}


def report_faults(document: object) -> list[str]:
    """Where a report breaks its schema; empty when it keeps to it."""
    schema = json.loads(REPORT.read_text("utf-8"))
    return faults(document, schema, schema)


def faults(thing: object, schema: dict[str, Any], root: dict[str, Any], at: str = "$") -> list[str]:
    """Every fault with its place.

    Raises:
        ValueError: the schema has a keyword that is not understood here, which would be a silent pass.
    """
    unknown = set(schema) - _KNOWN - _SAID
    if unknown:
        raise ValueError(f"{at}: keywords {sorted(unknown)} are not understood")
    if "$ref" in schema:
        return faults(thing, root["$defs"][schema["$ref"].removeprefix("#/$defs/")], root, at)
    if "anyOf" in schema:
        tried = [faults(thing, option, root, at) for option in schema["anyOf"]]
        return [] if [] in tried else [fault for found in tried for fault in found]
    if "const" in schema and thing != schema["const"]:
        return [f"{at}: {thing!r} is not {schema['const']!r}"]
    if "enum" in schema and thing not in schema["enum"]:
        return [f"{at}: {thing!r} is none of {schema['enum']}"]
    kinds = schema.get("type", [])
    if kinds and not any(_is(thing, kind) for kind in ([kinds] if isinstance(kinds, str) else kinds)):
        return [f"{at}: {thing!r} is no {kinds}"]
    if isinstance(thing, (int, float)) and "minimum" in schema and thing < schema["minimum"]:
        return [f"{at}: {thing!r} is below {schema['minimum']}"]
    if isinstance(thing, list):
        return [f for i, x in enumerate(thing) for f in faults(x, schema.get("items", {}), root, f"{at}[{i}]")]
    return _of_object(thing, schema, root, at) if isinstance(thing, dict) else []


def _is(thing: object, kind: str) -> bool:
    return isinstance(thing, _KINDS[kind]) and (kind == "boolean" or not isinstance(thing, bool))


def _of_object(thing: dict[str, Any], schema: dict[str, Any], root: dict[str, Any], at: str) -> list[str]:
    found = [f"{at}: {key!r} is absent" for key in schema.get("required", []) if key not in thing]
    others = schema.get("additionalProperties", {})
    for key, value in thing.items():
        mine = schema.get("properties", {}).get(key, others)
        if mine is False:
            found.append(f"{at}: {key!r} is not in the schema")
        else:
            found += faults(value, mine, root, f"{at}.{key}")
    return found
