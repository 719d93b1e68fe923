"""``hpcaccept plan`` and ``submit --budget``: what is said before anything is spent, and what is refused."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from hpcaccept.cli import main
from hpcaccept.config import settings as settings_module

if TYPE_CHECKING:
    from pathlib import Path

STANDARD = ("-l", "slurm", "-N", "64", "-g", "8", "-s", "standard")


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder and home, no settings from outside, and no Slurm."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    for name in settings_module.Settings.__dataclass_fields__:
        monkeypatch.delenv(f"HPCACCEPT_{name.upper()}", raising=False)
    monkeypatch.setattr(settings_module, "SYSTEM_FILE", tmp_path / "system.toml")
    return tmp_path


def test_a_plan_says_what_each_check_takes_finds_and_misses_and_starts_nothing(
    capsys: pytest.CaptureFixture[str], place: Path
) -> None:
    assert main(["plan", *STANDARD, "--budget", "30m", "--explain"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("Budget 30m: suite standard on 64 nodes × 8 GPUs. Planned: ")
    assert "; the job ends after 30 min 0 s, at most 256 GPU-hours." in said
    (matmul,) = (line for line in said.splitlines() if line.startswith("  matmul   "))
    assert "(0.3 of its time limit)  products 3.7 % (4.9 %)" in matmul
    for words in ("Not seen:", "  burn (", "No run of yours tells yet", "In the order of buying", "+ "):
        assert words in said
    assert list(place.iterdir()) == []


def test_a_plan_for_programs_is_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", *STANDARD, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["budget_s"], told["left_out"], told["suite"]) == (None, [], "standard")
    assert main(["plan", *STANDARD, "--json", "--budget", f"{told['planned_s'] / 60 + 1:.0f}m"]) == 0
    assert json.loads(capsys.readouterr().out)["left_out"] == []


def test_the_dry_run_shows_the_job_that_the_budget_buys(capsys: pytest.CaptureFixture[str], place: Path) -> None:
    assert main(["submit", *STANDARD, "--budget", "30m", "--dry-run"]) == 0
    shown = capsys.readouterr()
    assert "#SBATCH --time=30\n" in shown.out
    assert '"left_out":["' in shown.out
    assert "Budget 30m: suite standard on 64 nodes" in shown.err
    assert list(place.iterdir()) == []


def test_an_isolation_takes_its_time_from_the_budget(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", *STANDARD, "--json", "--budget", "40m"]) == 0
    alone = json.loads(capsys.readouterr().out)["planned_s"]
    words = ["submit", *STANDARD, "--budget", "40m", "--isolate", "--isolate-budget", "10m", "--dry-run"]
    assert main(words) == 0
    shown = capsys.readouterr()
    assert "#SBATCH --time=40\n" in shown.out
    left = len(json.loads(shown.out.partition("plan.json\n")[2].partition("\n")[0])["left_out"])
    assert main(["plan", *STANDARD, "--json", "--budget", "30m"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["planned_s"] < alone
    assert left == len(told["left_out"])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--budget", "soon"), "--budget is 'soon', expected a time"),
        (("--budget", "1m"), "--budget 1m is too small: a run of identity, kernel_log, health on 64 nodes takes "),
        (("--budget", "5gpu-h"), "--budget 5gpu-h is 35 s of 512 GPUs, expected at least a minute."),
        (("--budget", "30m", "--time", "60"), "--time and --budget both limit the job."),
        (("--all",), "--all and --nodes 64 both say how many."),
        (("-N", "some"), "found 'some', expected a number, all or idle"),
    ],
)
def test_what_cannot_be_is_refused_by_both(
    capsys: pytest.CaptureFixture[str], words: tuple[str, ...], said: str
) -> None:
    for command in (["plan"], ["submit", "--dry-run"]):
        assert main([*command, *STANDARD, *words]) == 2
        shown = capsys.readouterr().err
        assert said in " ".join(shown.split())
        assert "Traceback" not in shown
