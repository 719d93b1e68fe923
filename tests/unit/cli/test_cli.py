"""The command line in this process: messages, exit codes, and never a traceback."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest
from support import schema
from support.builders import AT, H100, baseline, nodes, rank_started, record

from hpcaccept import __version__
from hpcaccept.app.run.conclude import collect
from hpcaccept.cli import _COMMANDS, main
from hpcaccept.config import settings as settings_module
from hpcaccept.config.settings import Settings
from hpcaccept.config.suites import SuiteText
from hpcaccept.model.event import Event
from hpcaccept.model.job import JobRef, JobStatus
from hpcaccept.model.plan import Image
from hpcaccept.model.record import RankFinished
from hpcaccept.plan.make import make_plan, request_of
from hpcaccept.plan.resolve import resolve_suite
from hpcaccept.store.baseline_file import write_baseline
from hpcaccept.store.folder import RunFolder
from hpcaccept.store.journal import Journal

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder and home, no settings from outside."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    for name in Settings.__dataclass_fields__:
        monkeypatch.delenv(f"HPCACCEPT_{name.upper()}", raising=False)
    monkeypatch.setattr(settings_module, "SYSTEM_FILE", tmp_path / "system.toml")
    monkeypatch.setenv("COLUMNS", "80")
    return tmp_path


def a_run(
    place: Path,
    *,
    name: str = "20261122-010000-mine-4n-abcd",
    silent: tuple[str, ...] = (),
    wrong: str = "",
    ended: bool = True,
) -> RunFolder:
    """A finished run of ``matmul`` on four virtual nodes, as its ranks and driver would have left it."""
    settings = Settings(nodes=4)
    suite = resolve_suite(SuiteText(place / "mine.toml", {"checks": {"matmul": {}}}))
    plan = make_plan(
        settings, suite, request_of(settings, 0), Image(), launcher="local", run_id=name, now=AT, version=__version__, commit=""
    )  # fmt: skip
    folder = RunFolder(place / "runs" / name)
    folder.create()
    folder.write_plan(plan)
    folder.write_step(plan.first_step(nodes(4), virtual=True))
    events = Journal(folder.driver_log)
    events.write(Event("started", AT, nodes=nodes(4)))
    events.write(Event("step_started", AT, step="00", nodes=nodes(4)))
    for rank, node in enumerate(nodes(4)):
        if node in silent:
            continue
        journal = Journal(folder.records("00") / f"r{rank:06d}.jsonl")
        journal.write(rank_started(rank, node))
        numbers: dict[str, float | Sequence[float]] = {
            "rate_flops[fp32]": [1e11, 1.01e11],
            "wrong_elements[fp32]": float(node == wrong),
            "spread[fp32]": 0.01,
        }
        journal.write(record("matmul", node, numbers, device="cpu", device_model="A CPU"))
        journal.write(RankFinished())
    if ended:
        events.write(Event("ended", AT))
    return folder


# --- mistakes ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["sumbit"], "There is no command 'sumbit'. Did you mean 'submit'?"),
        (["xyzzy"], "There is no command 'xyzzy'. Known: "),
        (["submit", "--nods", "4"], "No such option"),
        (["submit", "--nodes", "four"], "found 'four', expected a number, all or idle"),
        (["submit", "--gpus-per-node", "-1"], "--gpus-per-node is '-1', expected a number, or TYPE:N"),
        (["submit", "--nodes", "0", "--launcher", "local"], "--nodes is 0, expected 1 to 65,533"),
        (["submit", "--suite", "quik", "--launcher", "local"], "There is no suite 'quik'."),
        (["submit", "--suite", "nowhere.toml", "--launcher", "local"], "Cannot read nowhere.toml"),
        (["submit", "--launcher", "lokal"], "Did you mean 'local'?"),
        (["submit", "--slurm", "=high"], "--slurm: found '=high', expected key=value"),
        (["submit", "--time", "soon", "--launcher", "local"], "--time: found 'soon'"),
        (["submit", "--container-image", "x", "--container-runtime", "pyxis", "-l", "local"], "it needs slurm"),
        (["submit", "--container-image", "x", "--container-runtime", "pixis", "-l", "local"], "Did you mean 'pyxis'?"),
        (
            ["submit", "--container-image", "x.sqsh", "--container-runtime", "docker", "-l", "local"],
            "an image of Enroot's",
        ),
        (
            ["submit", "--container-image", "x", "--container-runtime", "enroot", "-l", "local"],
            "make one with enroot/import",
        ),
        (
            ["submit", "--container-image", "x", "--container-env", "A B=1", "-l", "local"],
            "found 'A B=1', expected NAME=VALUE",
        ),
        (["submit", "--nodelist", "node[1-", "-l", "local"], "is not a node list"),
        (["report", "--format", "yaml"], "'yaml' is not one of"),
        (["checks", "explain", "matmull"], "Did you mean 'matmul'?"),
        (["checks", "explain"], "Missing argument"),
        (["baseline", "shwo"], "No such command"),
        (["sbatch-step", "--folder", "x"], "belongs inside a Slurm job"),
    ],
)
def test_a_mistake_on_the_command_line_is_told_with_what_is_right_and_exit_2(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, place: Path, words: list[str], said: str
) -> None:
    monkeypatch.setattr("hpcaccept.launch.local.available", lambda: "")
    monkeypatch.setattr("hpcaccept.app.run.submit.start", lambda *_: pytest.fail("something was started"))
    assert main(words) == 2
    shown = capsys.readouterr()
    assert said in " ".join(shown.err.split())
    assert "Traceback" not in shown.err
    assert not (place / "runs").exists(), "something was started"


@pytest.mark.parametrize("words", [["config"], ["runs"], ["report"], ["submit", "-l", "local"], ["baseline", "show"]])
def test_a_mistake_in_a_settings_file_is_exit_2_in_every_command(
    capsys: pytest.CaptureFixture[str], place: Path, words: list[str]
) -> None:
    (place / "hpcaccept.toml").write_text("node = 4\n")
    assert main(words) == 2
    assert (
        capsys.readouterr().err == "Error: hpcaccept.toml: there is not a setting 'node'.\n  → Did you mean 'nodes'?\n"
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["report"], "There is no run under"),
        (["report", "nope"], "There is no run 'nope'"),
        (["status"], "There is no run under"),
        (["wait", "nope"], "There is no run 'nope'"),
        (["cancel", "latest"], "There is no run under"),
        (["collect"], "There is no run under"),
        (["baseline", "learn"], "There is no run under"),
        (["baseline", "learn", "nope"], "There is no run 'nope'"),
    ],
)
def test_a_run_that_is_not_there_is_exit_2_where_it_was_named_and_3_where_there_is_none(
    capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    assert main(words) == (2 if "nope" in words else 3)
    shown = capsys.readouterr()
    assert said in shown.err
    assert "  → " in shown.err
    assert shown.out == ""


def test_a_launcher_that_cannot_be_used_here_is_told(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert main(["submit", "--launcher", "slurm"]) == 2
    shown = capsys.readouterr().err
    assert "Launcher 'slurm' cannot be used here: there is no sbatch on the PATH." in shown


@pytest.mark.parametrize(
    ("words", "code"), [(["report", "\x1b[2Jx"], 2), (["submit", "-l", "local", "-g", "0", "-s", "\x1b[2Jx.toml"], 2)]
)
def test_an_escape_sequence_in_an_error_does_not_act(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, words: list[str], code: int
) -> None:
    monkeypatch.setattr("hpcaccept.launch.local.available", lambda: "")
    assert main(words) == code
    shown = capsys.readouterr().err
    assert "[2Jx" in shown
    assert "\x1b" not in shown


# --- help -------------------------------------------------------------------------------------------------------------


def test_help_lists_every_command_and_the_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    for name in _COMMANDS:
        assert f"\n  {name} " in text or name == "sbatch-step"
    for code in (
        "0  every node that was asked for passed",
        "1  at least one FAIL",
        "3  anything else",
        "130  interrupted",
    ):
        assert code in text


@pytest.mark.parametrize("name", [name for name in _COMMANDS if name != "sbatch-step"])
def test_every_command_has_help_that_begins_as_the_list_says(capsys: pytest.CaptureFixture[str], name: str) -> None:
    assert main([name, "--help"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert text.startswith(f"Usage: hpcaccept {name}")
    assert _COMMANDS[name][2].split(".")[0].split(":")[0].split(",")[0].split()[0] in text


@pytest.mark.parametrize(("known", "shown"), [("0123456789ab-dirty", " (commit 0123456789ab-dirty)"), ("", "")])
def test_the_version_is_told_with_its_commit_where_one_is_known(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, known: str, shown: str
) -> None:
    monkeypatch.setattr("hpcaccept.app.commit.commit", lambda: known)
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"hpcaccept, version {__version__}{shown}\n"


def test_every_option_of_submit_is_a_setting(capsys: pytest.CaptureFixture[str]) -> None:
    from hpcaccept.cli.submit import submit

    own = {
        *("dry_run", "no_wait", "cancel_on_interrupt", "as_json", "only", "skip", "changes", "search"),
        *("rerun", "kind", "yes", "isolate", "isolate_budget", "budget", "all_nodes"),
    }
    assert {p.name for p in submit.params} - own <= set(Settings.__dataclass_fields__)


# --- config, checks, runs, baseline -----------------------------------------------------------------------------------


def test_config_shows_each_value_with_its_origin(
    capsys: pytest.CaptureFixture[str], place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (place / "hpcaccept.toml").write_text('partition = "gpu"\n')
    monkeypatch.setenv("HPCACCEPT_NODES", "7")
    assert main(["config"]) == 0
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines() if line}
    assert lines["partition"].split()[1:] == ["'gpu'", "hpcaccept.toml"]
    assert lines["nodes"].split()[1:] == ["7", "environment"]
    assert lines["suite"].split()[1:] == ["'auto'", "default"]


def test_config_says_so_when_nothing_is_set(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config"]) == 0
    assert "Nothing is set yet" in capsys.readouterr().out


def test_config_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["nodes"] == {"value": 1, "origin": "default"}


def test_checks_lists_checks_and_suites(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["checks"]) == 0
    text = capsys.readouterr().out
    assert "\n  identity " in text
    assert "\n  quick " in text


def test_checks_explains_a_check_with_its_metrics_limits_and_parameters(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["checks", "explain", "matmul"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("matmul (revision 2, device): ")
    for words in (
        "rate_flops [FLOP/s], higher is better",
        "formula:",
        "at most 0 elements",
        "Parameters (in [checks.matmul]",
        "size = 0",
    ):
        assert words in text


def test_checks_explains_what_a_parameter_may_be(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["checks", "explain", "matmul"]) == 0
    shown = capsys.readouterr().out
    assert "blocks = 5, from 1 to 10000\n" in shown
    assert "block_s = 0.0, from 0 to 3600 s\n" in shown
    assert "each one of 'fp64', 'fp32'" in shown


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("matmul.blocks=0", ["'blocks' of check 'matmul' is 0", "from 1 to 10000", "--set matmul.blocks=5"]),
        ("burn.duration_s=-5", ["'duration_s' of check 'burn' is -5.0", "from 0 to 604800 s"]),
        ("kernel_log.source=foo", ["'source' of check 'kernel_log' is 'foo'", "'kmsg', 'dmesg', 'journal'"]),
        ("storage.size_bytes=5", ["'size_bytes' of check 'storage' is 5", "a multiple of 1048576"]),
        ("ib_write_bw.queue_pairs=0", ["'queue_pairs' of check 'ib_write_bw' is 0", "from 1 to 16384"]),
        ("burn.duration_s=nan", ["'duration_s' of check 'burn' is nan", "a finite number"]),
    ],
)
def test_a_parameter_out_of_bounds_is_exit_2_before_anything_is_written(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, place: Path, change: str, words: list[str]
) -> None:
    monkeypatch.setattr("hpcaccept.launch.local.available", lambda: "")
    monkeypatch.setattr("hpcaccept.app.run.submit.start", lambda *_: pytest.fail("something was started"))
    assert main(["submit", "--launcher", "local", "--suite", "full", "--set", change]) == 2
    told = capsys.readouterr().err
    assert all(word in told for word in ["command line: ", f"[checks.{change.partition('.')[0]}]", *words]), told
    assert not (place / "runs").exists()


def test_a_parameter_of_a_settings_file_out_of_bounds_names_the_file(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, place: Path
) -> None:
    monkeypatch.setattr("hpcaccept.launch.local.available", lambda: "")
    (place / "hpcaccept.toml").write_text("[checks.matmul]\nblocks = 0\n", "utf-8")
    assert main(["submit", "--launcher", "local", "--dry-run"]) == 2
    told = capsys.readouterr().err
    assert "hpcaccept.toml: [checks.matmul]: parameter 'blocks' of check 'matmul' is 0, expected from 1" in told


def test_without_runs_there_is_a_hint_how_to_start(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["runs"]) == 0
    assert "There is no run yet" in capsys.readouterr().out
    assert main(["runs", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == []


@pytest.mark.parametrize("content", [None, "", "{", "[]", "{}", '{"exit_code": 1}'])
def test_runs_are_listed_whatever_became_of_their_report(
    capsys: pytest.CaptureFixture[str], place: Path, content: str | None
) -> None:
    folder = a_run(place)
    if content is not None:
        folder.report_file.write_text(content)
    assert main(["runs", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["run"], row["state"], row["verdict"]) == (folder.run_id, "ended", "")


def test_a_shipped_baseline_fits_into_eighty_columns(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["baseline", "show", "h100 80gb hbm3"]) == 0
    lines = capsys.readouterr().out.splitlines()
    # An address, or the name of a file, is never broken.
    assert [line for line in lines if len(line) > 80 and len(line.split()) > 1] == []
    assert any(
        line.split() == ["memory_bandwidth.rate_bytes[copy]", "≥", "2.27", "TB/s", "(8", "units)", "[9]"]
        for line in lines
    )


def test_a_model_without_a_baseline_is_an_unknown_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["baseline", "show", "a part that nobody has"]) == 2
    assert "There is no baseline of 'a part that nobody has'" in capsys.readouterr().err


def test_a_baseline_is_shown_with_limits_and_provenance(capsys: pytest.CaptureFixture[str], place: Path) -> None:
    write_baseline(place / "baselines", baseline())
    assert main(["baseline", "show"]) == 0
    assert f"{H100}: 1 metric, " in capsys.readouterr().out
    assert main(["baseline", "show", "h100"]) == 0
    text = capsys.readouterr().out
    assert "≥ 90 FLOP/s (8 units)" in text
    assert "driver 580.1" in text


def test_a_damaged_baseline_is_told_and_exit_3(capsys: pytest.CaptureFixture[str], place: Path) -> None:
    write_baseline(place / "baselines", baseline()).write_bytes(b"rubbish")
    assert main(["baseline", "show"]) == 3
    assert "not a readable HDF5 file" in capsys.readouterr().err


# --- a run that is there ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("more", "code", "said"),
    [
        ({}, 0, "ACCEPTED: 4 of 4 nodes"),
        ({"wrong": "node2"}, 1, "NOT ACCEPTED: node2"),
        ({"silent": ("node3",)}, 3, "the node never reported"),
    ],
)
def test_the_exit_code_of_a_report_is_the_runs(
    capsys: pytest.CaptureFixture[str], place: Path, more: dict[str, object], code: int, said: str
) -> None:
    folder = a_run(place, **more)  # type: ignore[arg-type]
    assert main(["report"]) == code
    assert said in " ".join(capsys.readouterr().out.split())
    assert folder.run_file.exists()
    assert json.loads(folder.report_file.read_text())["exit_code"] == code


def test_a_report_may_be_asked_for_again_and_by_name(capsys: pytest.CaptureFixture[str], place: Path) -> None:
    folder = a_run(place)
    assert main(["report"]) == 0
    first = capsys.readouterr().out
    assert main(["report", folder.run_id]) == 0
    assert capsys.readouterr().out == first


def test_a_report_in_json_keeps_to_its_schema(capsys: pytest.CaptureFixture[str], place: Path) -> None:
    a_run(place, wrong="node1")
    assert main(["report", "--format", "json"]) == 1
    assert schema.report_faults(json.loads(capsys.readouterr().out)) == []


def test_a_report_in_csv_has_every_sample(capsys: pytest.CaptureFixture[str], place: Path) -> None:
    a_run(place)
    assert main(["report", "--format", "csv"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 1 + 4 * 4


def test_a_report_leaves_a_page_for_the_browser_beside_the_run(place: Path) -> None:
    folder = a_run(place, wrong="node1")
    assert main(["report", "--format", "nodes-bad"]) == 1
    assert folder.page_file.read_text("utf-8").startswith("<!doctype html>")


def test_a_report_goes_into_a_file_and_nothing_to_the_terminal(capsys: pytest.CaptureFixture[str], place: Path) -> None:
    a_run(place, wrong="node1")
    assert main(["report", "--format", "nodes-bad", "--output", "bad.txt"]) == 1
    assert (place / "bad.txt").read_text("utf-8") == "node1\n"
    assert main(["report", "--output", "table.txt"]) == 1
    assert "NOT ACCEPTED: node1" in (place / "table.txt").read_text("utf-8")
    assert capsys.readouterr().out == ""


def test_a_report_that_cannot_be_written_is_told(capsys: pytest.CaptureFixture[str], place: Path) -> None:
    a_run(place)
    assert main(["report", "--format", "html", "--output", "no/such/page.html"]) == 2
    assert "Cannot write no/such/page.html" in capsys.readouterr().err


def test_collecting_counts_what_is_there(capsys: pytest.CaptureFixture[str], place: Path) -> None:
    folder = a_run(place)
    assert main(["collect"]) == 0
    assert f"{folder.run_file}: 4 records, 16 samples" in capsys.readouterr().out


def test_a_damaged_plan_is_told_and_exit_3(capsys: pytest.CaptureFixture[str], place: Path) -> None:
    a_run(place).plan_file.write_text('{"run_id":')
    assert main(["report"]) == 3
    assert "not readable as a Plan" in capsys.readouterr().err


def test_a_damaged_run_file_is_told_with_how_to_mend_it(capsys: pytest.CaptureFixture[str], place: Path) -> None:
    folder = a_run(place)
    assert main(["collect"]) == 0
    folder.run_file.write_bytes(folder.run_file.read_bytes()[:1000])
    assert main(["report"]) in (0, 3)
    shown = capsys.readouterr()
    assert "Traceback" not in shown.err


def test_a_journal_that_is_newer_than_the_run_file_is_gathered(capsys: pytest.CaptureFixture[str], place: Path) -> None:
    folder = a_run(place, silent=("node3",))
    assert main(["report"]) == 3
    journal = Journal(folder.records("00") / "r000003.jsonl")
    journal.write(rank_started(3, "node3"))
    numbers = {"rate_flops[fp32]": 1e11, "wrong_elements[fp32]": 0.0, "spread[fp32]": 0.01}
    journal.write(record("matmul", "node3", numbers, device="cpu", device_model="A CPU"))
    later = folder.run_file.stat().st_mtime + 2
    os.utime(journal.file, (later, later))
    capsys.readouterr()
    assert main(["report"]) == 0


def test_what_the_driver_says_after_the_collection_is_in_the_report(
    capsys: pytest.CaptureFixture[str], place: Path
) -> None:
    folder = a_run(place, silent=("node3",), ended=False)
    assert main(["report"]) == 3
    assert "has not ended yet" in " ".join(capsys.readouterr().out.split())
    events = Journal(folder.driver_log)
    events.write(Event("ended", AT, detail="the job was cancelled"))
    later = folder.run_file.stat().st_mtime + 2
    os.utime(events.file, (later, later))
    assert main(["report"]) == 3
    assert "the job was cancelled" in " ".join(capsys.readouterr().out.split())


def test_how_a_job_ended_is_not_forgotten_when_its_records_are_collected_again(
    capsys: pytest.CaptureFixture[str], place: Path
) -> None:
    folder = a_run(place, silent=("node3",), ended=False)
    collect(folder, JobStatus("timeout", "TIMEOUT"))
    assert main(["collect"]) == 0
    capsys.readouterr()
    assert main(["report"]) == 3
    assert "the job reached its time limit" in " ".join(capsys.readouterr().out.split())


def test_the_status_of_a_run_that_has_ended(capsys: pytest.CaptureFixture[str], place: Path) -> None:
    folder = a_run(place)
    assert main(["status"]) == 0
    assert capsys.readouterr().out == f"{folder.run_id}: ended\n"


@pytest.mark.parametrize("words", ["wait", "cancel"])
def test_a_run_of_an_sbatch_script_has_no_job_to_wait_for(
    capsys: pytest.CaptureFixture[str], place: Path, words: str
) -> None:
    a_run(place, ended=False)
    assert main([words, "latest"]) == 3
    assert "started by an sbatch script" in capsys.readouterr().err


def test_a_driver_that_is_gone_without_a_word_is_told(capsys: pytest.CaptureFixture[str], place: Path) -> None:
    folder = a_run(place, ended=False)
    folder.write_job(JobRef("local", str(2**22 + 5), started=1.0, host=os.uname().nodename))
    assert main(["status"]) == 3
    assert "lost" in capsys.readouterr().out


def test_learning_from_a_run_writes_a_baseline_that_the_next_report_uses(
    capsys: pytest.CaptureFixture[str], place: Path
) -> None:
    a_run(place)
    assert main(["baseline", "learn"]) == 0
    assert "1 metric of A CPU from 4 units in 1 run" in capsys.readouterr().out
    assert main(["report", "--format", "json"]) == 0
    limits = [v["limit"]["origin"] for v in json.loads(capsys.readouterr().out)["verdicts"] if v["limit"]]
    assert "baseline" in limits


def test_nothing_is_learned_from_nodes_that_failed(capsys: pytest.CaptureFixture[str], place: Path) -> None:
    run = a_run(place, wrong="node2").run_id
    assert main(["baseline", "learn"]) == 3
    assert f"--unaccepted {run}" in capsys.readouterr().err
    assert main(["baseline", "learn", "--unaccepted", run]) == 0
    text = capsys.readouterr().out
    assert "from 3 unit(s)" in text
    assert "left out node2: FAIL matmul.wrong_elements[fp32]" in text


# --- interruptions ----------------------------------------------------------------------------------------------------


def test_ctrl_c_is_130_and_a_sentence(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_folder: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("hpcaccept.cli.run_list.all_runs", interrupted)
    assert main(["runs"]) == 130
    assert capsys.readouterr().err.strip() == "Interrupted."


def test_a_dry_run_prints_everything_and_writes_nothing(
    capsys: pytest.CaptureFixture[str], place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hpcaccept.launch.local.available", lambda: "")
    (place / "mine.toml").write_text("[checks.identity]\n")
    assert main(["submit", "-N", "2", "-l", "local", "-g", "0", "-s", "mine.toml", "--dry-run"]) == 0
    text = capsys.readouterr().out
    assert "plan.json" in text
    assert "hpcaccept.rank" in text
    assert not (place / "runs").exists()
