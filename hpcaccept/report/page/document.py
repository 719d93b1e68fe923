"""A page in one file without network: its head, and the policy by which nothing acts in it but its own style and script."""

from __future__ import annotations

import base64
import hashlib
from typing import TYPE_CHECKING

from hpcaccept.report.page.markup import joined, tag, verbatim

if TYPE_CHECKING:
    from collections.abc import Iterable


def document(title: str, style: str, body: Iterable[str], script: str = "") -> str:
    """The page, whole.

    Args:
        title: of the window.
        style: its only one.
        body: elements, one after the other; ``script`` stands last among them.
        script: its only one; empty: none.
    """
    head = [
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=_policy(style, script)),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("meta", name="referrer", content="no-referrer"),
        tag("link", rel="icon", href="data:,"),
        tag("title", title),
        verbatim("style", style),
    ]
    whole = [*body, *([verbatim("script", script)] if script else [])]
    page = tag("html", tag("head", joined(head)), tag("body", joined(whole)), lang="en")
    return f"<!doctype html>\n{page}\n".encode("utf-8", "replace").decode()


def _policy(style: str, script: str) -> str:
    """Nothing but this style and this script.

    Source: https://www.w3.org/TR/CSP3/#grammardef-hash-source
    """
    scripts = f"script-src {_digest(script)}; " if script else ""
    return (
        f"default-src 'none'; style-src {_digest(style)}; {scripts}img-src data:; base-uri 'none'; form-action 'none'"
    )


def _digest(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode('utf-8')).digest()).decode()}'"
