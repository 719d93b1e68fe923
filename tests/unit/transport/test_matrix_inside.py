"""The program that runs inside an image, as that starts it."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from hpcaccept.transport import matrix_inside
from hpcaccept.transport.matrix_inside import meets

DEFAULTS: dict[str, Any] = {
    "imports": [], "versions": {}, "suite": "", "gpus": 0, "command": [], "script": "", "notebook": "", "arguments": [],
    "output": "", "limit_s": 30.0, "cell_s": 20.0,
}  # fmt: skip


def tried(folder: Path, *tests: dict[str, Any]) -> list[dict[str, Any]]:
    """Lines of the tests, of a program that came to its end."""
    inner = {"work": "", "tests": [{**DEFAULTS, "name": f"t{n}", **test} for n, test in enumerate(tests)]}
    (folder / "inner.json").write_text(json.dumps(inner))
    env = {**os.environ, "PYTHONPATH": str(folder)}
    subprocess.run([sys.executable, matrix_inside.__file__, str(folder)], check=True, timeout=60, cwd="/", env=env)
    lines = [json.loads(line) for line in (folder / "results.jsonl").read_text().splitlines()]
    assert lines[0]["facts"]["image.python"].startswith("3.")
    assert lines[-1] == {"end": True}
    return lines[1:-1]


def command(*words: str, **more: Any) -> dict[str, Any]:
    return {"kind": "command", "command": list(words), **more}


def test_an_image_may_have_an_older_python_and_nothing_else() -> None:
    text = Path(matrix_inside.__file__).read_text("utf-8")
    tree = ast.parse(text, feature_version=(3, 8))
    imported = {
        name.name.partition(".")[0]
        for node in tree.body
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for name in (node.names if isinstance(node, ast.Import) else [ast.alias(node.module or "")])
    }
    assert imported <= set(sys.stdlib_module_names)


@pytest.mark.parametrize(
    ("version", "wanted", "met"),
    [
        ("2.5.1", ">=2.5,<3", True),
        ("2.5.1+cu124", "==2.5.1", True),
        ("2.5.1+cu124", "===2.5.1", False),
        ("2.5.1+cu124", "===2.5.1+cu124", True),
        ("2.10.0", ">=2.9", True),
        ("2.5", "==2.5.0", True),
        ("2.5.9", "==2.5.*", True),
        ("2.50.1", "==2.5.*", False),
        ("2.5.1", "!=2.5.*", False),
        ("2.6.0rc1", ">=2.6", True),
        ("3.0", "<3", False),
        ("unknown", ">=1", False),
    ],
)
def test_a_version_meets_what_is_wanted(version: str, wanted: str, met: bool) -> None:
    assert meets(version, wanted) == met


def test_imports_name_each_module_that_fails_and_each_version_that_differs(tmp_path: Path) -> None:
    (found,) = tried(tmp_path, {"kind": "imports", "imports": ["json", "no_such"], "versions": {"pytest": "<1", "nope": ">=1"}})  # fmt: skip
    assert found["outcome"] == "FAIL"
    assert "import no_such: ModuleNotFoundError: No module named 'no_such'" in found["reason"]
    assert f"pytest is {pytest.__version__}, expected <1" in found["reason"]
    assert "nope is not installed, expected >=1" in found["reason"]


def test_a_module_that_ends_its_process_or_raises_what_it_likes_is_a_failure(tmp_path: Path) -> None:
    (tmp_path / "killer.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n")
    (tmp_path / "quitter.py").write_text("raise SystemExit(0)\n")
    (tmp_path / "leaver.py").write_text("import os\nos._exit(0)\n")
    killed, quit_, left = tried(tmp_path, *({"kind": "imports", "imports": [name]} for name in ("killer", "quitter", "leaver")))  # fmt: skip
    assert killed["reason"] == "importing killer: ended by signal 9: no output"
    assert quit_["reason"] == "import quitter: SystemExit: 0"
    assert left["reason"] == "importing leaver: exit status 0: no output"
    assert {each["outcome"] for each in (killed, quit_, left)} == {"FAIL"}


def test_commands_are_judged_by_status_output_and_time(tmp_path: Path) -> None:
    began = time.monotonic()
    good, bad, silent, other, late, absent = tried(
        tmp_path,
        command("echo", "all is well", output="^all"),
        command("sh", "-c", "echo first; echo broken >&2; exit 3"),
        command("false"),
        command("echo", "hello", output="^bye"),
        command("sh", "-c", "sleep 60 & sleep 60", limit_s=0.5),
        command("no-such-program"),
    )
    assert good["outcome"] == "PASS"
    assert (bad["outcome"], bad["reason"]) == ("FAIL", "exit status 3: broken")
    assert silent["reason"] == "exit status 1: no output"
    assert other["reason"] == "nothing in its output matches '^bye'; last line: hello"
    assert late["reason"] == "it did not end within 0.5 s"
    assert "no-such-program: No such file or directory" in absent["reason"]
    assert time.monotonic() - began < 50
    assert (tmp_path / good["log"]).read_text() == "all is well\n"


def test_a_suite_needs_hpcaccept_in_the_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = tmp_path / "log"
    log.write_text("/usr/bin/python3: No module named hpcaccept\n")
    assert matrix_inside.of_suite(1, str(log))[0] == "ERROR"
    log.write_text("3 nodes\nNOT ACCEPTED: node0 is slow\n")
    assert matrix_inside.of_suite(1, str(log)) == ("FAIL", "exit status 1: NOT ACCEPTED: node0 is slow")
    assert matrix_inside.of_suite(3, str(log))[0] == "ERROR"


def notebook(folder: Path, *cells: str) -> dict[str, Any]:
    made: list[dict[str, Any]] = [
        {"cell_type": "code", "execution_count": None, "id": f"c{n}", "metadata": {}, "outputs": [], "source": text}
        for n, text in enumerate(cells)
    ]
    kernel = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    file = folder / "n.ipynb"
    file.write_text(json.dumps({"cells": made, "metadata": kernel, "nbformat": 4, "nbformat_minor": 5}))
    return {"kind": "notebook", "notebook": str(file), "cell_s": 3.0}


@pytest.mark.slow
def test_the_cell_of_a_notebook_that_fails_is_named_and_none_after_it_is_run(tmp_path: Path) -> None:
    pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    touched = tmp_path / "touched"
    test = notebook(tmp_path, "x = 1", "assert x == 2, 'x is one'", f"open({str(touched)!r}, 'w')")
    (found,) = tried(tmp_path, {**test, "cell_s": 30.0})
    assert (found["outcome"], found["reason"]) == ("FAIL", "cell 2: AssertionError: x is one")
    assert not touched.exists()
    kept = json.loads((tmp_path / "test-t0.ipynb").read_text())
    assert kept["cells"][1]["outputs"][0]["ename"] == "AssertionError"


@pytest.mark.slow
def test_a_cell_that_does_not_end_in_its_time_is_named(tmp_path: Path) -> None:
    pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    (found,) = tried(tmp_path, notebook(tmp_path, "print('begun')", "import time; time.sleep(60)"))
    assert (found["outcome"], found["reason"]) == ("FAIL", "cell 2 did not end within 3 s")


def test_an_image_without_nbclient_is_an_error_and_no_failure(tmp_path: Path) -> None:
    (tmp_path / "nbclient.py").write_text("raise ImportError('No module named nbclient')\n")
    done = subprocess.run(
        [sys.executable, matrix_inside.__file__, "--notebook", "x", "y", "1"],
        env={"PYTHONPATH": str(tmp_path)}, capture_output=True, text=True, check=False, timeout=30,
    )  # fmt: skip
    assert done.returncode == 42
    assert "pip install nbclient ipykernel" in done.stdout
