from __future__ import annotations

import hashlib
import json
import os
from typing import TYPE_CHECKING

import pytest

from hpcaccept.app.tester.cell import CellRun, packed, unpacked
from hpcaccept.app.tester.sent_files import pack
from hpcaccept.errors import UsageError
from hpcaccept.provider.vast.requests import MOST_ONSTART

if TYPE_CHECKING:
    from pathlib import Path

INNER = {"work": "", "tests": [{"name": "t", "kind": "script", "script": "t.py"}]}


def test_what_is_packed_is_unpacked() -> None:
    assert unpacked(packed(INNER, {"t.py": "print(1)\n"})) == (INNER, {"t.py": "print(1)\n"}, False)


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


def test_the_tests_wait_for_their_files_and_take_them_once(tmp_path: Path) -> None:
    branch, home = tmp_path / "branch", tmp_path / "home"
    for folder in (branch / "deep", home):
        folder.mkdir(parents=True)
    (branch / "deep/t.py").write_text("import pathlib; print(pathlib.Path('beside').read_text())\n")
    (branch / "beside").write_text("seven\n")
    pack(branch, tmp_path / "f")
    test = {"name": "t", "kind": "script", "script": "deep/t.py", "arguments": [], "output": "^seven$", "limit_s": 20, "suite": ""}  # fmt: skip
    run = CellRun(home, packed({"work": "", "tests": [test]}, {}, more=True), 30.0, dict(os.environ))
    with pytest.raises(ValueError, match="have not come yet"):
        run.start()
    with pytest.raises(ValueError, match=r"."):
        run.take([b"no archive"])
    content = (tmp_path / "f").read_bytes()
    assert run.take([content[:9], content[9:]]) == hashlib.sha256(content).hexdigest()
    with pytest.raises(ValueError, match="here already"):
        run.take([content])
    assert run.start()
    assert run._thread is not None
    run._thread.join(30)
    results = json.loads(run.report())["results"].splitlines()
    assert [json.loads(line)["outcome"] for line in results if '"test"' in line] == ["PASS"], results
