"""The few functions of ARM template expressions that hpcaccept's templates use; any other is an error, as in Azure."""

from __future__ import annotations

import datetime as dt
import re
from typing import Any

_TOKEN = re.compile(r"\s*('(?:[^']|'')*'|[A-Za-z_]\w*|-?\d+|[(),.\[\]])")


class Refused(Exception):
    """Azure would say InvalidTemplate."""


def resolve(value: Any, scope: dict[str, Any]) -> Any:
    """A value of a template with its expressions evaluated.

    Args:
        value: plain values.
        scope: ``parameters``, ``variables`` and ``group`` (the id of the resource group).
    """
    if isinstance(value, dict):
        return {key: resolve(each, scope) for key, each in value.items()}
    if isinstance(value, list):
        return [resolve(each, scope) for each in value]
    if isinstance(value, str) and value.startswith("[["):
        return value[1:]
    if isinstance(value, str) and value.startswith("[") and value.endswith("]"):
        return _evaluate(value[1:-1], scope)
    return value


def _evaluate(text: str, scope: dict[str, Any]) -> Any:
    tokens, place = [], 0
    while place < len(text):
        found = _TOKEN.match(text, place)
        if not found:
            raise Refused(f"cannot read {text!r}")
        tokens.append(found[1])
        place = found.end()
    value = _term(tokens, scope)
    if tokens:
        raise Refused(f"cannot read {text!r} from {tokens[0]!r} on")
    return value


def _term(tokens: list[str], scope: dict[str, Any]) -> Any:
    token = tokens.pop(0)
    if token.startswith("'"):
        return token[1:-1].replace("''", "'")
    if token.lstrip("-").isdigit():
        return int(token)
    if not tokens or tokens.pop(0) != "(":
        raise Refused(f"{token} is no function call")
    arguments = []
    while tokens and tokens[0] != ")":
        arguments.append(_term(tokens, scope))
        if tokens and tokens[0] == ",":
            tokens.pop(0)
    if not tokens:
        raise Refused("a bracket is open")
    tokens.pop(0)
    return _call(token, arguments, scope)


def _call(name: str, arguments: list[Any], scope: dict[str, Any]) -> Any:
    if name in ("parameters", "variables"):
        if arguments[0] not in scope[name]:
            raise Refused(f"there is no {name[:-1]} {arguments[0]!r}")
        return scope[name][arguments[0]]
    if name == "resourceId":
        provider, *kinds = str(arguments[0]).split("/")
        if len(kinds) != len(arguments) - 1:
            raise Refused(f"resourceId of {arguments[0]} needs {len(kinds)} names")
        path = "/".join(f"{kind}/{each}" for kind, each in zip(kinds, arguments[1:], strict=True))
        return f"{scope['group']}/providers/{provider}/{path}"
    if name == "utcNow":
        if not scope.get("defaults"):
            raise Refused("utcNow may stand in the default of a parameter only")
        return dt.datetime.now(dt.timezone.utc).isoformat()
    if name == "dateTimeAdd":
        hours = int(re.fullmatch(r"PT(\d+)H", arguments[1])[1])  # type: ignore[index]
        return (dt.datetime.fromisoformat(arguments[0]) + dt.timedelta(hours=hours)).strftime("%Y-%m-%dT%H:%M:%SZ")
    if name == "if":
        return arguments[1] if arguments[0] else arguments[2]
    if name == "empty":
        return not arguments[0]
    if name == "null":
        return None
    raise Refused(f"there is no function {name!r} here")
