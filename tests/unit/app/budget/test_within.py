"""A plan that fits: what earlier runs took decides, the job's limit is the budget, and what is left out is said and kept."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from support.builders import DATA, plan
from support.submission import noise

from hpcaccept.app.budget.said import as_json, in_words
from hpcaccept.app.budget.within import Budgeted, fit_plan
from hpcaccept.config.suites import SuiteText, read_suite
from hpcaccept.config.toml import parse_toml
from hpcaccept.errors import UsageError
from hpcaccept.launch.slurm import render
from hpcaccept.model.plan import Plan
from hpcaccept.plan.resolve import resolve_suite
from hpcaccept.store.folder import RunFolder


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """A run of the suite ``cpu`` on four virtual nodes, as it was recorded."""
    shutil.copytree(DATA / "printed_run", tmp_path / "runs" / "20261129-003102-cpu-4n-ce0d")
    return tmp_path / "runs"


def cpu(nodes: int = 4, **request: object) -> Plan:
    mine = plan(resolve_suite(read_suite("cpu")), nodes=nodes, gpus_per_node=0, mpi="", **request)
    return Plan(**{**vars(mine), "launcher": "local"})


def standard(nodes: int = 64, **request: object) -> Plan:
    return plan(resolve_suite(read_suite("standard")), nodes=nodes, gpus_per_node=8, ranks_per_node=8, **request)


def names(fit: Budgeted) -> list[str]:
    return [spec.name for spec in fit.plan.suite.checks]


def test_the_limit_of_the_job_is_the_budget_in_slurms_script_too(tmp_path: Path) -> None:
    fit = fit_plan(standard(), "30m", tmp_path)
    assert fit.plan.request.time_s == 1800.0
    assert fit.choice.total_s <= 1800.0
    script = "".join(render(fit.plan, RunFolder(tmp_path / "run")).files.values())
    assert "#SBATCH --time=30\n" in script


def test_forty_gpu_hours_on_five_hundred_gpus_are_four_minutes(tmp_path: Path) -> None:
    assert fit_plan(standard(), "40gpu-h", tmp_path).plan.request.time_s == 240.0


def test_what_is_left_out_is_said_and_stands_in_the_plan(tmp_path: Path) -> None:
    fit = fit_plan(standard(), "30m", tmp_path)
    whole = [spec.name for spec in fit.whole.suite.checks]
    assert fit.plan.left_out == tuple(name for name in whole if name not in names(fit))
    assert fit.plan.left_out
    said = in_words(fit)
    for name in fit.plan.left_out:
        assert f"\n  {name} (" in said.partition("Not seen:")[2]


def test_earlier_runs_tell_what_a_check_takes(runs: Path) -> None:
    fit = fit_plan(cpu(), "30m", runs)
    assert {one.form.cost.source for one in fit.choice.bought} == {"1 run on 4 nodes"}
    # It took 45.8 s; a fifth more of that, twice more for suspects, and the end.
    assert 45.8 * 1.2 < fit.choice.total_s < 3 * 45.8 * 1.2 + 21
    assert "No run of yours tells yet" not in in_words(fit)
    assert "No run of yours tells yet" in in_words(fit_plan(cpu(), "60m", runs / "none"))


def test_without_a_budget_everything_is_reckoned_and_nothing_changes(runs: Path) -> None:
    fit = fit_plan(cpu(), "", runs)
    assert fit.plan == fit.whole
    assert not fit.choice.dropped
    assert in_words(fit).startswith("Without a budget: suite cpu on 4 nodes. Planned: ")


def test_a_budget_that_is_too_small_is_refused_with_what_fits(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as refused:
        fit_plan(standard(), "26gpu-h", tmp_path / "none", kept_back_s=600.0)
    assert "is too small: a run of identity, kernel_log, health on 64 nodes takes " in refused.value.message
    fitting = refused.value.remedy.split()[1]
    assert fit_plan(standard(), fitting, tmp_path / "none", kept_back_s=600.0).choice.bought
    fewer = int(refused.value.remedy.partition("--nodes ")[2].partition(";")[0])
    assert fit_plan(standard(fewer), "26gpu-h", tmp_path / "none", kept_back_s=600.0).choice.bought
    with pytest.raises(UsageError):
        fit_plan(standard(fewer + 1), "26gpu-h", tmp_path / "none", kept_back_s=600.0)


def test_two_limits_of_one_job_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--time and --budget both limit the job"):
        fit_plan(standard(time_s=60.0), "30m", tmp_path)


def test_what_the_latest_run_could_not_measure_takes_nothing_of_the_budget(tmp_path: Path) -> None:
    text = noise(0.1, "os_noise") + "[checks.storage]\nrequired = false\n[checks.kernel_log]\nrequired = false\n"
    the_suite = resolve_suite(SuiteText(Path("mine.toml"), parse_toml(text, "mine.toml")))
    mine = plan(the_suite, nodes=4, gpus_per_node=0, mpi="")
    mine = Plan(**{**vars(mine), "launcher": "local"})
    folder = RunFolder(tmp_path / "runs" / "20261129-003102-cpu-4n-ce0d")
    shutil.copytree(DATA / "printed_run", folder.path)
    journal = folder.records("00") / "r000000.jsonl"
    cause = '"outcome":"not_run","cause":"fio is not installed"'
    # The third and the fourth check of that run, under other names.
    words = journal.read_text().replace('"memory_bandwidth"', '"storage"').replace('"train"', '"kernel_log"')
    lines = [
        line.replace('"outcome":"measured"', cause) if '"storage"' in line or '"kernel_log"' in line else line
        for line in words.splitlines(keepends=True)
    ]
    journal.write_text("".join(lines))
    fit = fit_plan(mine, "30m", folder.path.parent)
    assert fit.not_there == {"storage": "fio is not installed"}
    assert names(fit) == ["identity", "os_noise", "kernel_log"], "what every verdict rests on is tried again"
    assert fit.plan.left_out == ("storage",)
    assert (
        "storage: the latest run could not measure it: fio is not installed (again: hpcaccept submit --suite "
        in in_words(fit)
    )


def test_words_of_other_machines_do_not_steer_the_terminal(tmp_path: Path) -> None:
    fit = fit_plan(standard(), "30m", tmp_path)
    fit.not_there["storage"] = "\x1b[2Jgone"
    assert "\x1b" not in in_words(fit)


def test_programs_read_the_same(tmp_path: Path) -> None:
    fit = fit_plan(standard(), "30m", tmp_path)
    told = json.loads(as_json(fit, {"node7": "is drain"}))
    assert (told["budget_s"], told["nodes"], told["nodes_left_out"]) == (1800.0, 64, {"node7": "is drain"})
    assert [one["check"] for one in told["checks"]] == names(fit)
    assert [one["check"] for one in told["left_out"]] == list(fit.plan.left_out)
    assert json.loads(as_json(fit_plan(standard(), "", tmp_path), {}))["budget_s"] is None


def test_explaining_names_the_source_of_each_time_and_what_more_would_buy(tmp_path: Path) -> None:
    said = in_words(fit_plan(standard(), "30m", tmp_path), explain=True)
    assert "(declared by the check)" in said
    ladder = said.partition("In the order of buying, with the time of the whole job:\n")[2].splitlines()
    assert ladder[0].split()[-1] == "identity"
    assert any(line.startswith("+ ") for line in ladder)
