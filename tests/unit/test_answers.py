"""The page of answers is what the codes and the errors say today."""

from __future__ import annotations

import os
from pathlib import Path

from support.answers import errors_of, page

from hpcaccept.model.finding_code import FindingCode

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "answers.md"


def test_the_page_is_made_from_the_code() -> None:
    if os.environ.get("HPCACCEPT_ACCEPT"):
        PAGE.write_text(page(), "utf-8")
    assert PAGE.read_text("utf-8") == page(), "HPCACCEPT_ACCEPT=1 pytest tests/unit/test_answers.py writes it"


def test_every_code_has_an_answer() -> None:
    text = page()
    assert [code.value for code in FindingCode if f"[`{code}`](codes.md#{code})" not in text] == []
    assert text.count("\n| ") > 300


def test_an_error_is_read_with_what_is_filled_in_later_left_open() -> None:
    code = 'raise UsageError(f"{name!r} is not a run.", f"Type hpcaccept runs{more}.")\nraise UsageError("without a remedy, so not here")'
    assert list(errors_of(code)) == [("… is not a run.", "Type hpcaccept runs….")]
