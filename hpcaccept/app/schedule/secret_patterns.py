"""Finds files that must not leave this machine because they hold a secret, by name or by content."""

from __future__ import annotations

import fnmatch
import re
from dataclasses import dataclass

from hpcaccept.report.redact import KNOWN_TOKEN

#: Names under which tools keep keys and passwords.
_NAMES = (
    ".env", ".env.*", "*.env", ".netrc", "_netrc", ".pgpass", ".pypirc", ".npmrc", ".git-credentials", ".dockercfg", ".htpasswd", "kaggle.json",
    "id_rsa*", "id_ed25519*", "id_ecdsa*", "id_dsa*", "*.pem", "*.key", "*.p12", "*.pfx", "*.jks", "*.keystore", "*.kdbx", "*.ovpn",
    "vast_api_key", ".vast_api_key", "credentials", "credentials.json", "service-account*.json", "secrets.toml", "secrets.y*ml", "secrets.json",
)  # fmt: skip
#: Of these, what is public or an example.
_HARMLESS = ("*.pub", "*.example", "*.sample", "*.template", ".env.example")
_PRIVATE_KEY = re.compile(rb"-----BEGIN [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----")
_ASSIGNED = re.compile(
    rb"(?i)\b(?:aws_secret_access_key|wandb_api_key|hf_token|openai_api_key|anthropic_api_key|vast_api_key|azure_client_secret|comet_api_key|neptune_api_token)"
    rb"\b[\"']?\s*[=:]\s*[\"']?([A-Za-z0-9+/_.-]{16,})"
)
#: Bytes at the beginning of a file that are looked at: a secret stands in text, and text is not long.
MOST_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True)
class Finding:
    """Why a file is not sent; the secret itself is shown nowhere.

    Attributes:
        file: relative to what is sent.
        pattern: that matched.
        line: from 1 on; 0: its name matched.
    """

    file: str
    pattern: str
    line: int = 0

    def __str__(self) -> str:
        return f"{self.file}{f':{self.line}' if self.line else ''}: {self.pattern}"


def by_name(file: str) -> Finding | None:
    """A file whose name says that it holds a secret."""
    name = file.rpartition("/")[2].lower()
    if any(fnmatch.fnmatchcase(name, each) for each in _HARMLESS):
        return None
    found = next((each for each in _NAMES if fnmatch.fnmatchcase(name, each)), None)
    return Finding(file, f"named like {found}") if found else None


def by_content(file: str, content: bytes) -> Finding | None:
    """A file with a private key, a token of a known form, or a variable that holds one."""
    if found := _PRIVATE_KEY.search(content):
        return Finding(file, "a private key", _line(content, found.start()))
    if found := _ASSIGNED.search(content):
        name = found[0][: found.start(1) - found.start()].strip(b" \t=:\"'").decode("ascii", "replace")
        return Finding(file, f"a value of {name}", _line(content, found.start()))
    if b"\0" in content[:8192]:
        return None
    if token := KNOWN_TOKEN.search(content.decode("latin-1")):
        return Finding(file, f"a token that begins with {token[0][:4]}", _line(content, token.start()))
    return None


def _line(content: bytes, place: int) -> int:
    return content.count(b"\n", 0, place) + 1
