"""A format is one file: found by its name, shown in the help, listed in the docs."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from support.builders import fleet, judged_run_of
from support.finished_runs import gpu_run

from hpcaccept.report import formats

ROOT = Path(__file__).parents[4]
TOY = '''"""Which run, and how many nodes?"""

ABOUT = "For a test: the run and how many nodes it has."


def render(judged):
    return f"{judged.evidence.plan.run_id} has {len(judged.evidence.nodes)} nodes, in {judged.where}\\n"
'''
#: What an installed hpcaccept does, with one more folder in which formats are looked for.
COMMAND = """
import sys
from hpcaccept.report import formats
formats.__path__.append(sys.argv.pop(1))
from hpcaccept.__main__ import main
sys.exit(main())
"""


def hpcaccept(place: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", COMMAND, str(place / "more"), *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=place)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A run, and a folder with a format of its own."""
    gpu_run(tmp_path)
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "toy_count.py").write_text(TOY, "utf-8")
    return tmp_path


def test_a_new_format_is_one_new_file(place: Path) -> None:
    done = hpcaccept(place, "report", "run1", "--format", "toy-count")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"run1 has 4 nodes, in {place / 'runs' / 'run1'}\n"


def test_a_new_format_is_written_into_a_file_as_well(place: Path) -> None:
    done = hpcaccept(place, "report", "run1", "--format", "toy-count", "--output", "count.txt")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert (place / "count.txt").read_text("utf-8").startswith("run1 has 4 nodes")


def test_the_help_lists_a_new_format_with_its_sentence(place: Path) -> None:
    done = hpcaccept(place, "report", "--help")
    words = " ".join(done.stdout.split())
    assert "toy-count For a test: the run and how many nodes it has." in words
    for name in formats.names():
        assert f"{name} {formats.about(name)}" in words
    assert "toy-count" in hpcaccept(place, "wait", "--help").stdout


def test_a_format_that_does_not_exist_is_refused_with_exit_2(place: Path) -> None:
    done = hpcaccept(place, "report", "run1", "--format", "toy")
    assert done.returncode == 2
    assert "toy-count" in done.stderr


def test_the_default_comes_first_and_the_others_by_name() -> None:
    names = formats.names()
    assert names[0] == formats.DEFAULT == "table"
    assert list(names[1:]) == sorted(names[1:])
    assert {"html", "json", "nodes-bad", "nodes-good", "nodes-unjudged"} < set(names)


@pytest.mark.parametrize("name", formats.names())
def test_a_format_says_in_one_sentence_whom_it_is_for(name: str) -> None:
    form = formats.load(name)
    assert formats.about(name) == form.ABOUT
    assert re.fullmatch(r"For [^.]+: [^.]+\.", form.ABOUT)


def test_a_module_without_its_sentence_is_told_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mute.py").write_text("def render(judged): return ''\n", "utf-8")
    monkeypatch.setattr(formats, "__path__", [*formats.__path__, str(tmp_path)])
    assert "mute" in formats.names()
    with pytest.raises(TypeError, match=r"formats\.mute has no ABOUT"):
        formats.about("mute")


def test_each_format_stands_in_the_docs_with_its_sentence() -> None:
    page = (ROOT / "docs/how-to/reports.md").read_text("utf-8")
    table = page.partition("| format | what it is for |\n|---|---|\n")[2].partition("\n\n")[0]
    rows = re.findall(r"^\| `(.+?)` \| (.+) \|$", table, re.MULTILINE)
    assert rows == [(name, formats.about(name)) for name in formats.names()]


def test_a_format_of_the_terminal_prints_itself_and_any_other_is_printed_as_it_is(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    judged = judged_run_of(fleet([100.0] * 4))
    formats.show("nodes-good", judged)
    assert capsys.readouterr().out == formats.render("nodes-good", judged)
    formats.show("table", judged)
    printed = capsys.readouterr().out
    assert max(map(len, printed.splitlines())) <= 60 < max(map(len, formats.render("table", judged).splitlines()))
    assert sorted(printed.split()) == sorted(formats.render("table", judged).split())
