"""Writes HTML in which no text can act.

Every child and attribute is escaped unless it is ``Markup``, which only ``tag`` and its like make: forgetting to escape is
not possible. Control characters are replaced as for a terminal (hpcaccept.report.printable).
"""

from __future__ import annotations

import html
import json
from typing import TYPE_CHECKING, Any

from hpcaccept.report.printable import safe

if TYPE_CHECKING:
    from collections.abc import Iterable

#: Elements that have no end. https://html.spec.whatwg.org/multipage/syntax.html#void-elements
_VOID = frozenset({"meta", "link", "br", "hr", "input", "col"})


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


def escaped(text: str) -> Markup:
    """The text as HTML that shows it; what is ``Markup`` stays as it is."""
    return text if isinstance(text, Markup) else Markup(html.escape(safe(text)))


def joined(parts: Iterable[str]) -> Markup:
    """One after the other."""
    return Markup("".join(escaped(part) for part in parts))


def separated(parts: Iterable[str]) -> Markup:
    """Those that are not empty, with a dot between them."""
    shown = [part for part in parts if part]
    return joined(piece for number, part in enumerate(shown) for piece in ([" · "] if number else []) + [part])


def tag(kind: str, /, *children: str, **attributes: str | float | bool | None) -> Markup:
    """An element.

    Args:
        kind: of the element.
        children: text (escaped) or ``Markup``.
        attributes: a trailing underscore is dropped (``class_``), others become dashes (``aria_label``); ``None`` and ``False``
            leave the attribute out, ``True`` has no value.
    """
    words = [kind]
    for key, value in attributes.items():
        if value is None or value is False:
            continue
        attribute = key.rstrip("_").replace("_", "-")
        text = f"{value:.6g}" if isinstance(value, float) else str(value)
        words.append(attribute if value is True else f'{attribute}="{escaped(text)}"')
    start = f"<{' '.join(words)}>"
    return Markup(start if kind in _VOID else f"{start}{joined(children)}</{kind}>")


def verbatim(name: str, text: str, **attributes: str) -> Markup:
    """An element whose text HTML does not unescape: ``style`` and ``script`` of our own.

    Raises:
        ValueError: the text would end its element.
    """
    if f"</{name}" in text.lower() or "<!--" in text:
        raise ValueError(f"this text cannot stand in <{name}>")
    words = "".join(f' {key.rstrip("_")}="{escaped(value)}"' for key, value in attributes.items())
    return Markup(f"<{name}{words}>{text}</{name}>")


def data_block(ident: str, content: Any) -> Markup:
    """JSON for scripts: no byte of it can end the element, and it is no code (NaN is refused)."""
    text = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    # Lone surrogates (bytes of an environment that were no UTF-8) are no text for a file.
    text = text.encode("utf-8", "replace").decode()
    for sign in "<>&\u2028\u2029":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return verbatim("script", text, type="application/json", id=ident)
