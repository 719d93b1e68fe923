"""The commands about runs that exist: list, prune, logs, facts, run again; what a shell completes; what --verbose prints."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from click.shell_completion import ShellComplete
from support.finished_runs import gpu_run

from hpcaccept.app.run.conclude import collect, judge_run, write_report
from hpcaccept.cli import group, main

if TYPE_CHECKING:
    from pathlib import Path

SLOW = (7.9e14, 7.91e14, 5e14, 7.92e14)


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with one run, of which node2 is slow."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TZ", "UTC")
    folder = gpu_run(tmp_path, "20261130-124113-quick-4n-5811", SLOW)
    write_report(folder, judge_run(collect(folder), tmp_path / "baselines"))
    return tmp_path


def test_the_list_fits_a_terminal_and_names_the_bad_node(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["runs"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert all(len(line) <= 80 for line in lines)
    assert lines[1].split()[0] == "5811"
    assert "NOT ACCEPTED" in lines[1]
    assert lines[1].split()[-1] == "node2"


def test_prune_lists_first_and_removes_when_it_is_confirmed(capsys: pytest.CaptureFixture[str], place: Path) -> None:
    assert main(["runs", "prune", "--keep", "0"]) == 0
    assert "Nothing has been removed. Add --yes to remove 1 run." in capsys.readouterr().out
    assert main(["runs", "prune", "--keep", "0", "--keep-bad", "--yes"]) == 0
    assert "No run fits these rules." in capsys.readouterr().out
    assert main(["runs", "prune", "--keep", "0", "--yes"]) == 0
    assert not list((place / "runs").glob("*/plan.json"))


def test_prune_without_a_rule_removes_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["runs", "prune", "--yes"]) == 2
    assert "Add --keep N" in capsys.readouterr().err


def test_facts_of_a_node_as_text_and_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["facts", "5811", "node1"]) == 0
    assert "gpu_serial: serial-of-GPU-1" in capsys.readouterr().out
    assert main(["facts", "latest", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert {
        "check": "identity",
        "fact": "driver",
        "text": "580.1",
        "places": [f"node{n} cuda:0" for n in range(4)],
    } in rows


def test_logs_of_an_unknown_node_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["logs", "latest", "node7"]) == 2
    assert "has no node 'node7'" in capsys.readouterr().err


def test_a_run_is_repeated_for_the_slow_node_and_its_partners(capsys: pytest.CaptureFixture[str], place: Path) -> None:
    (place / "mine.toml").write_text(
        'baseline = "optional"\n[checks.identity]\n[checks.matmul]\n[checks.memory_bandwidth]\n'
    )
    assert main(["submit", "--rerun", "5811", "--dry-run"]) == 0
    told = capsys.readouterr()
    assert "measuring node2 again, beside node[0-1]: matmul" in told.err
    assert "node2,node0,node1" in told.out
    assert "memory_bandwidth" not in told.out


@pytest.mark.parametrize("words", [["cancel"], ["nightly"]])
def test_what_acts_on_others_prints_its_help_where_nothing_is_named(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 2
    told = capsys.readouterr()
    assert "Usage: hpcaccept" in told.out + told.err


def test_an_unknown_check_of_only_is_refused_with_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["submit", "--only", "matmull", "--suite", "cpu", "-l", "local", "--dry-run"]) == 2
    assert "--only matmull: the suite cpu has no such check." in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "begun", "expected"),
    [
        (["report"], "", "5811"),
        (["logs"], "late", "latest"),
        (["submit", "--rerun"], "58", "5811"),
        (["submit", "--suite"], "allr", "allreduce"),
        (["submit", "--only"], "mat", "matmul"),
        (["submit", "--skip"], "hea", "health"),
    ],
)
def test_values_are_completed(words: list[str], begun: str, expected: str) -> None:
    found = ShellComplete(group, {}, "hpcaccept", "_HPCACCEPT_COMPLETE").get_completions(words, begun)
    assert expected in [item.value for item in found]


def test_a_shell_that_completes_gets_words_and_no_error(place: Path) -> None:
    variables = {"_HPCACCEPT_COMPLETE": "bash_complete", "COMP_WORDS": "hpcaccept rep", "COMP_CWORD": "1"}
    done = subprocess.run(
        [sys.executable, "-c", "import sys; from hpcaccept.cli import main; sys.exit(main([]))"],
        capture_output=True, text=True, env={**os.environ, **variables}, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert "report" in done.stdout


def test_verbose_prints_the_programs_that_are_started(place: Path) -> None:
    script = "import subprocess; from hpcaccept.cli.tracing import trace; trace(); subprocess.run(['true', 'a b\\x1b'])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert "run true 'a b" in done.stderr
    assert "\x1b" not in done.stderr


def test_no_number_of_an_option_may_be_nan_or_infinite() -> None:
    from pathlib import Path as File

    import hpcaccept.cli

    folder = File(hpcaccept.cli.__file__).parent
    loose = [file.name for file in folder.glob("*.py") if "click.FloatRange(" in file.read_text("utf-8")]
    assert loose == [], "use hpcaccept.cli.finite.FiniteRange"
