"""Whether what a tool has written is text at all. Torn disks leave NUL bytes, other encodings what cannot be decoded, loops files without an end."""

from __future__ import annotations

from hpcaccept.errors import NotUnderstood

#: Longest output of a health tool in characters: a run with everything that it can print has about a tenth of it.
LONGEST = 8 * 1024 * 1024


def plain(text: str, whose: str, *, longest: int = LONGEST) -> str:
    """The text itself.

    Args:
        text: decoded with ``errors="replace"``.
        whose: "the log of AzNHC", for the message.
        longest: in characters.

    Raises:
        NotUnderstood: it holds NUL, or what could not be decoded, or is too long. What is right in it proves nothing then.
    """
    if len(text) > longest:
        raise NotUnderstood(
            f"{whose} is {len(text):,} characters long, expected at most {longest:,}",
            "See what fills it; run it again.",
        )
    for sign, what in (("\0", "NUL bytes"), ("\ufffd", "bytes that are not UTF-8")):
        if sign in text:
            line = text.count("\n", 0, text.index(sign)) + 1
            raise NotUnderstood(
                f"{whose} holds {what}, the first in line {line}, expected text",
                "Was the machine switched off, or the disk full, while it was written? Run it again.",
            )
    return text
