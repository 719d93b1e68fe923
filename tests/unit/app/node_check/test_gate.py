"""The gate as slurmd starts it: a process, its output and its exit code."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.schema import faults

from hpcaccept.app.node_check import gate
from hpcaccept.app.node_check.gate import Question, check_node
from hpcaccept.model.node_check import Expected, ExpectedMount, Gate, Item

if TYPE_CHECKING:
    from hpcaccept.app.node_check.look import Look

SCHEMA = Path(__file__).parents[4] / "docs/reference/node-check.schema.json"
EXPECTED = Expected(gpus=0, clock=False)


@pytest.fixture(autouse=True)
def young(monkeypatch: pytest.MonkeyPatch) -> None:
    """The age of a process counts against its deadline, and that of pytest is minutes."""
    begun = time.monotonic()
    monkeypatch.setattr(gate, "_age_s", lambda: time.monotonic() - begun)


def asked(tmp_path: Path, expected: Expected = EXPECTED, **changes: Any) -> Question:
    kmsg = tmp_path / "kmsg"
    kmsg.write_text("6,0,1000000,-;Linux version 6.1\n")
    (tmp_path / "tmp").mkdir(exist_ok=True)
    changes = {"phase": "health", "job": "", "deadline_s": 20.0, **changes}
    return Question(expected, folder=tmp_path / "state", root=tmp_path, kmsg=str(kmsg), **changes)


def typed(tmp_path: Path, *words: str, text: str = "gpus = 0\nclock = false\n") -> subprocess.CompletedProcess[str]:
    config = tmp_path / "node-check.toml"
    config.write_text(text)
    return subprocess.run(
        [sys.executable, "-m", "hpcaccept", "node-check", "--config", str(config), "--state-dir", str(tmp_path / "state"), *words],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def schema_faults(text: str) -> list[str]:
    schema = json.loads(SCHEMA.read_text("utf-8"))
    return faults(json.loads(text), schema, schema)


def said(found: Gate) -> dict[str, tuple[str, str]]:
    return {item.part: (item.outcome, item.code) for item in found.items if item.outcome != "PASS"}


# --- verdicts ---------------------------------------------------------------------------------------------------------


def test_a_node_that_has_what_is_expected_is_fit_and_every_pass_has_a_limit(tmp_path: Path) -> None:
    found = check_node(asked(tmp_path))
    assert (found.verdict, found.exit_code, found.reason) == ("FIT", 0, "")
    assert {item.part for item in found.items} == {"kernel log", "disk /", "disk /tmp"}
    assert all(item.value is not None and item.met for item in found.items)


def test_a_finding_names_itself_and_the_node_in_its_action(tmp_path: Path) -> None:
    found = check_node(asked(tmp_path, Expected(gpus=8, clock=False)))
    assert (found.verdict, found.exit_code) == ("NOT_FIT", 1)
    assert found.items[0].code == "gpu-missing"
    assert found.reason.startswith("gpu-missing: gpu_count is 0 GPUs, expected exactly 8 GPUs")
    assert f"Drain {found.node}." in found.items[0].action


def test_a_pass_without_a_value_that_met_its_limit_cannot_be_built() -> None:
    for item in ({"value": None}, {"value": 2.0, "upper": 1.0}, {"value": float("nan"), "upper": 1.0}, {"value": 1.0}):
        with pytest.raises(ValueError, match="PASS"):
            Item("part", "what", "PASS", **item)


def test_nothing_looked_at_is_unknown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "PARTS", {})
    found = check_node(asked(tmp_path, Expected(clock=False, disks={})))
    assert (found.verdict, found.exit_code) == ("UNKNOWN", 3)
    assert "nothing was looked at" in found.reason


# --- what hangs, what dies --------------------------------------------------------------------------------------------


def test_a_mount_that_hangs_costs_only_its_own_answer_and_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.statvfs

    def hang(place: str) -> os.statvfs_result:
        if "home" in place:
            time.sleep(600)
        return real(place)

    monkeypatch.setattr(os, "statvfs", hang)
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/mountinfo").write_text("1 0 0:1 / /home rw - nfs4 server:/home rw\n")
    question = asked(tmp_path, Expected(gpus=0, clock=False, mounts={"/home": ExpectedMount("nfs4")}))
    found = check_node(Question(**{**vars(question), "deadline_s": 2.0}))
    assert said(found) == {"mount /home": ("NOT_RUN", "mount-silent")}
    assert found.verdict == "UNKNOWN"
    assert {item.part for item in found.items} >= {"kernel log", "disk /"}


def test_a_part_that_dies_is_unknown_and_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(gate.PARTS, "host", lambda _asked: os.kill(os.getpid(), signal.SIGKILL))
    found = check_node(asked(tmp_path))
    assert said(found) == {"host": ("NOT_RUN", "gate-late")}
    assert "ended by signal 9" in found.reason


def test_a_part_that_raises_is_an_error_with_its_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def look(_asked: object) -> Look:
        raise RuntimeError("no such luck")

    monkeypatch.setitem(gate.PARTS, "host", look)
    found = check_node(asked(tmp_path))
    assert said(found) == {"host": ("ERROR", "check-error")}
    assert "RuntimeError: no such luck" in found.reason


def test_a_config_that_never_comes_ends_by_the_deadline(tmp_path: Path) -> None:
    """Reading the file itself hangs: the process ends itself, as unknown."""
    code = (
        "import sys, time\nfrom hpcaccept.cli import node_check\n"
        "node_check.read_expected = lambda file: time.sleep(600)\n"
        "from hpcaccept.cli import main\nsys.exit(main(['node-check', '--deadline', '2', '--config', 'x']))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 3
    assert "gate-late" in done.stderr


# --- before and after a job -------------------------------------------------------------------------------------------


def test_what_came_during_the_job_is_named_and_blames_no_other_job(tmp_path: Path) -> None:
    assert check_node(asked(tmp_path, phase="prolog", job="7")).verdict == "FIT"
    question = asked(tmp_path, phase="epilog", job="7")
    with Path(question.kmsg).open("a") as log:
        log.write("3,1,9000000,-;blk_update_request: I/O error, dev nvme1n1, sector 2048 op 0x0:(READ) flags 0x0\n")
    found = check_node(question)
    assert found.verdict == "NOT_FIT"
    assert "I/O error at nvme1n1" in found.reason
    assert not list((tmp_path / "state").glob("job-*"))


def test_without_a_snapshot_of_before_the_job_it_says_so(tmp_path: Path) -> None:
    found = check_node(asked(tmp_path, phase="epilog", job="8"))
    assert "none of before this job" in found.facts["snapshot"]


def test_a_name_of_a_job_is_no_path(tmp_path: Path) -> None:
    check_node(asked(tmp_path, phase="prolog", job="../../escaped"))
    assert [file.name for file in (tmp_path / "state").iterdir()] == ["job-.._.._escaped.json"]


def test_what_a_writer_left_that_was_ended_is_removed_in_time(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    folder.mkdir()
    for name, age_s in (
        (".health.json.old", 7200),
        (".health.json.new", 1),
        ("job-1.json", 40 * 86400),
        ("deep.json", 40 * 86400),
    ):
        (folder / name).write_text("{}")
        os.utime(folder / name, (time.time() - age_s,) * 2)
    check_node(asked(tmp_path))
    assert {file.name for file in folder.iterdir()} == {".health.json.new", "deep.json", "health.json"}


def test_a_state_folder_that_takes_no_writing_costs_no_verdict(tmp_path: Path) -> None:
    question = asked(tmp_path)
    (tmp_path / "file").write_text("")
    found = check_node(Question(**{**vars(question), "folder": tmp_path / "file"}))
    assert found.verdict == "FIT"
    assert "cannot be kept" in found.facts["snapshot"]


# --- the command ------------------------------------------------------------------------------------------------------


def test_it_prints_json_by_its_schema_and_exits_by_the_verdict(tmp_path: Path) -> None:
    done = typed(tmp_path)
    assert schema_faults(done.stdout) == []
    assert done.returncode == json.loads(done.stdout)["exit_code"] == 0
    bad = typed(tmp_path, text="gpus = 8\nclock = false\n")
    assert schema_faults(bad.stdout) == []
    assert bad.returncode == 1


@pytest.mark.parametrize(("choice", "code"), [("unknown", 3), ("fit", 0), ("unfit", 1)])
def test_the_site_chooses_what_slurm_does_with_unknown(tmp_path: Path, choice: str, code: int) -> None:
    done = typed(tmp_path, "--on-unknown", choice, text="gpus = 0\nclock = false\ndeep = true\n")
    assert done.returncode == code
    assert json.loads(done.stdout)["verdict"] == "UNKNOWN"


def test_the_lines_begin_with_the_verdict_and_end_with_a_reason_for_a_drain(tmp_path: Path) -> None:
    lines = typed(tmp_path, "--nhc", text="gpus = 8\nclock = false\n").stdout.splitlines()
    assert lines[0].startswith("hpcaccept NOT FIT: gpu-missing: ")
    assert lines[-1].startswith("reason hpcaccept drain ")
    assert typed(tmp_path, "--nhc").stdout == "hpcaccept FIT\n"


@pytest.mark.parametrize("text", ["gpu = 8\n", "gpus = 'eight'\n", "gpus = -1\n", "[mounts.home]\n", "gpus ="])
def test_a_wrong_file_of_what_is_expected_is_usage(tmp_path: Path, text: str) -> None:
    done = typed(tmp_path, text=text)
    assert done.returncode == 2
    assert "node-check.toml" in done.stderr


def test_it_is_small_and_imports_nothing_heavy(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom hpcaccept.cli import main\n"
        f"main(['node-check', '--state-dir', {str(tmp_path)!r}])\n"
        "heavy = {'numpy', 'torch', 'h5py', 'pandas', 'rich', 'submitit', 'ClusterShell', 'socket', 'ssl', 'subprocess'}\n"
        "sys.stderr.write(' '.join(sorted(heavy & set(sys.modules))))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.stderr in ("", "subprocess")


def test_it_takes_less_than_60_mib(tmp_path: Path) -> None:
    code = (
        "import re, sys\nfrom hpcaccept.cli import main\n"
        f"main(['node-check', '--state-dir', {str(tmp_path)!r}])\n"
        # Not getrusage: its maximum is inherited from whoever started the process.
        "sys.stderr.write(re.search(r'VmHWM:\\s+(\\d+) kB', open('/proc/self/status').read())[1])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert int(done.stderr) < 60 * 1024
