"""Reads the ``.env`` file of a shell script as a configuration, without running it.

The keys are those of ``example-config.env`` of basic-vmss-cluster. Nothing is expanded but ``~`` and ``$HOME`` at the beginning of a path.
"""

from __future__ import annotations

import re
import shlex
from typing import Any

from hpcaccept.errors import UsageError, nearest

_TEXTS = {
    "RESOURCE_GROUP": "resource_group",
    "LOCATION": "location",
    "SKU": "size",
    "IMAGE": "image",
    "ADMIN": "admin",
    "VM_NAME_PREFIX": "computer_prefix",
    "SSH_PATH": "ssh_public_key",
    "CLOUD_INIT": "cloud_init",
    "ORCH_MODE": "orchestration",
    "SUBSCRIPTION": "subscription",
    "ZONE": "zone",
    "OWNER": "owner",
}
_KEYS = frozenset((*_TEXTS, "VMSS_NAME", "INSTANCE_COUNT", "TAGS", "ALLOW_SSH_FROM"))
_LINE = re.compile(r"(?:export\s+)?([A-Za-z_]\w*)=(.*)", re.DOTALL)
#: What a shell would have done with it, and this reader does not.
_SHELL = re.compile(r"\$|`|;|&|\||<|>")
_DEFAULTS = {"VMSS_NAME": "vmss", "RESOURCE_GROUP": "vmss-rg", "SKU": "Standard_ND96isr_H200_v5", "INSTANCE_COUNT": "2"}


def tables_of(text: str, place: str) -> dict[str, Any]:
    """The tables of a TOML configuration that say the same.

    Args:
        text: of the file.
        place: name of the file, for messages.

    Raises:
        UsageError: a line is no assignment, an unknown key, or needs a shell to be understood.
    """
    values = {**_DEFAULTS, **_assignments(text, place)}
    cluster: dict[str, Any] = {
        key: value for name, key in _TEXTS.items() if isinstance(value := values.get(name), str) and value
    }
    cluster["name"] = str(values["VMSS_NAME"]).lower()
    cluster["nodes"] = _number(str(values["INSTANCE_COUNT"]), place)
    cluster["tags"] = _tags(values.get("TAGS", []), place)
    sources = values.get("ALLOW_SSH_FROM", [])
    network = {"allow_ssh_from": sources.replace(",", " ").split() if isinstance(sources, str) else sources}
    return {"cluster": cluster, "network": network}


def in_its_words(message: str) -> str:
    """A message about a key of the TOML file, about the key of this one."""
    names = {f"cluster.{key}": name for name, key in _TEXTS.items()}
    names |= {"cluster.name": "VMSS_NAME", "cluster.nodes": "INSTANCE_COUNT", "cluster.tags": "TAGS"}
    names["network.allow_ssh_from"] = "ALLOW_SSH_FROM"
    return re.sub(r"\b(?:cluster|network)\.[a-z_]+", lambda found: names.get(found[0], found[0]), message)


def _assignments(text: str, place: str) -> dict[str, str | list[str]]:
    found: dict[str, str | list[str]] = {}
    for number, line in _logical_lines(text):
        match = _LINE.fullmatch(line)
        if not match:
            raise UsageError(f"{place}, line {number}: found {line[:80]!r}, expected KEY=VALUE.")
        key, value = match[1], match[2].strip()
        if key not in _KEYS:
            raise UsageError(f"{place}, line {number}: there is no key {key}. {nearest(key, _KEYS)}")
        found[key] = _value(value, f"{place}, line {number}")
    return found


def _logical_lines(text: str) -> list[tuple[int, str]]:
    """Lines with something in them; an array may go over several."""
    lines: list[tuple[int, str]] = []
    open_array = False
    for number, line in enumerate(text.splitlines(), 1):
        bare = line.strip()
        if not bare or bare.startswith("#"):
            continue
        if open_array:
            lines[-1] = (lines[-1][0], f"{lines[-1][1]}\n{bare}")
        else:
            lines.append((number, bare))
        last = lines[-1][1]
        open_array = "=(" in last and not re.sub(r"#.*", "", last.rpartition("\n")[2]).rstrip().endswith(")")
    return lines


def _value(text: str, place: str) -> str | list[str]:
    home = re.sub(r'^(["\']?)(?:\$HOME|\$\{HOME\})/', r"\1~/", text)
    try:
        if home.startswith("("):
            inside, closed, _ = home[1:].rpartition(")")
            if not closed:
                raise UsageError(f"{place}: found {text[:80]!r}, expected ) at the end of the array.")
            words = shlex.split(inside, comments=True)
        else:
            words = shlex.split(home, comments=True)
    except ValueError as fault:
        raise UsageError(f"{place}: found {text[:80]!r}, expected a quoted value ({fault}).") from None
    if any(_SHELL.search(word) for word in words) or (not home.startswith("(") and len(words) > 1):
        raise UsageError(f"{place}: found {text[:80]!r}, expected a plain value: this file is read, not run.")
    return words if home.startswith("(") else "".join(words)


def _number(text: str, place: str) -> int:
    if not re.fullmatch(r"[0-9]{1,4}", text):
        raise UsageError(f"{place}: INSTANCE_COUNT: found {text!r}, expected a whole number.")
    return int(text)


def _tags(found: str | list[str], place: str) -> dict[str, str]:
    tags = {}
    for text in found.split() if isinstance(found, str) else found:
        key, equals, value = text.partition("=")
        if not equals:
            raise UsageError(f"{place}: TAGS: found {text!r}, expected KEY=VALUE.")
        tags[key] = value
    return tags
