from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from hpcaccept.app.tester.cell import CellRun, packed, unpacked
from hpcaccept.errors import UsageError
from hpcaccept.provider.vast.requests import MOST_ONSTART

if TYPE_CHECKING:
    from pathlib import Path

INNER = {"work": "", "tests": [{"name": "t", "kind": "script", "script": "t.py"}]}


def test_what_is_packed_is_unpacked() -> None:
    assert unpacked(packed(INNER, {"t.py": "print(1)\n"})) == (INNER, {"t.py": "print(1)\n"})


def test_a_few_tests_fit_into_a_start_command() -> None:
    tests = [{"name": f"t{n}", "kind": "imports", "imports": ["torch", "numpy"]} for n in range(20)]
    assert len(packed({"work": "", "tests": tests}, {})) < MOST_ONSTART / 4


@pytest.mark.parametrize("text", ["", "no base85 \x00", packed({"work": "", "tests": []}, {"../up": "x"})])
def test_what_is_no_order_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--cell"):
        unpacked(text)


def test_files_lie_where_the_tests_look_for_them(tmp_path: Path) -> None:
    CellRun(tmp_path, packed(INNER, {"t.py": "print(1)\n"}), 10.0, {})
    inner = json.loads((tmp_path / "inner.json").read_text())
    assert inner["tests"][0]["script"] == str(tmp_path / "t.py")
    assert (tmp_path / "t.py").read_text() == "print(1)\n"
