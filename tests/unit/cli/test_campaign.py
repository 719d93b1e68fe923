"""``hpcaccept campaign`` as it is typed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest
from support.campaign_slurm import StandInSlurm

from hpcaccept.app.campaign import rounds
from hpcaccept.cli import main
from hpcaccept.cli import nodes as marking

if TYPE_CHECKING:
    from collections.abc import Callable

SCHEMA = json.loads((Path(__file__).parents[3] / "docs/reference/campaign.schema.json").read_text("utf-8"))


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StandInSlurm:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    found = StandInSlurm(tmp_path, nodes=2)
    found.install(monkeypatch)
    return found


@pytest.fixture
def typed(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    def carry_out(*words: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main(["campaign", *words])
        said = capsys.readouterr()
        return code, said.out, said.err

    return carry_out


START = ("start", "--partition", "gpu", "--suite", "cpu", "--gpus-per-node", "0", "--cap", "gpu=1")


def test_a_campaign_from_its_beginning_to_its_report(
    slurm: StandInSlurm, typed: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    slurm.change(bad={"node1": "FAIL"})
    code, out, err = typed(*START, "--no-wait", "--name", "weekly")
    assert (code, out) == (0, "")
    assert "Campaign weekly: " in err
    assert typed("status")[0] == 3
    code, out, err = typed("run-once", "weekly")
    assert (code, out) == (0, "")
    assert "slurm job 1 on node0" in err
    assert typed("status")[0] == 0
    assert typed("pause")[0] == 0
    assert json.loads(typed("status", "--json")[1])["state"] == "paused"
    code, out, err = typed("resume")
    assert code == 1
    assert "done: 2 of 2 nodes tested, 1 accepted, 1 failed" in out
    assert "2 runs at 1 % each; in a healthy fleet the chance of blaming any node is 2 %" in out
    code, out, err = typed("report", "--format", "json")
    jsonschema.validate(json.loads(out), SCHEMA)
    assert (code, json.loads(out)["counts"]) == (1, {"PASS": 1, "FAIL": 1})
    assert typed("report", "--format", "nodes", "--output", "nodes.tsv")[:2] == (1, "")
    assert len(Path("nodes.tsv").read_text().splitlines()) == 3
    marked: list[tuple[str, str]] = []

    def mark(kind: str, run: str, code: int, yes: bool, **_: object) -> int:
        marked.append((kind, run))
        return code

    monkeypatch.setattr(marking, "after_run", mark)
    assert typed("report", "--quarantine", "--yes")[0] == 1
    (failed,) = [one["run"] for one in json.loads(out)["runs"] if one["exit_code"]]
    assert marked == [("quarantine", failed)]
    code, _, err = typed("resume")
    assert code == 2
    assert "The campaign weekly is over (done)" in err


def test_a_dry_run_starts_nothing(slurm: StandInSlurm, typed: Any) -> None:
    code, out, _ = typed(*START, "--dry-run", "--for", "12h")
    assert code == 0
    assert "# 2 nodes until" in out
    assert not Path("runs").exists()
    assert slurm.known()["jobs"] == {}


def test_an_interrupted_campaign_says_how_it_goes_on(
    slurm: StandInSlurm, typed: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(rounds, "look", interrupt)
        code, _, err = typed(*START)
    assert code == 130
    assert "hpcaccept campaign resume" in err
    assert typed("resume")[0] == 0
    assert slurm.known()["violations"] == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("start", "--cap", "gpu"), "--cap: found 'gpu', expected a partition and a number of nodes."),
        (("start", "--cap", "gpu=0"), "--cap: found 'gpu=0'"),
        (("start", "--cap", "gpu=²"), "--cap: found"),
        (("start", "--for", "soon"), "--for is 'soon'"),
        (("start", "--max-share", "0"), "--max-share"),
        (("start", "--max-share", "nan"), "--max-share"),
        (("start", "--window", "22-5"), "expected a time of day like 02:30"),
        (("start", "--launcher", "local"), "A campaign needs a scheduler"),
        (("start", "--partition", "none"), "No node belongs to a partition 'none'"),
        (("start", "--nodelist", "x"), "None of the 2 nodes of gpu is among those"),
        (("run-once",), "There is no campaign under"),
        (("report", "weekly"), "There is no campaign 'weekly' under"),
    ],
)
def test_what_cannot_be_is_refused_with_what_was_expected(
    slurm: StandInSlurm, typed: Any, words: tuple[str, ...], said: str
) -> None:
    code, _, err = typed(*words)
    assert code == 2, err
    assert said in err
    assert not list(Path().glob("runs/campaigns/*/journal.jsonl"))
