"""What monitoring hears of a gate; both of Prometheus' parsers read it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING

from support.metric_files import Samples, samples_of

from hpcaccept.app.node_check import metrics
from hpcaccept.app.node_check.metrics import metrics_of, write_metrics
from hpcaccept.app.node_check.state import write_deep
from hpcaccept.model.node_check import Deep, Gate, Item

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

FAULT = Item("gpus", "gpu_count", "FAIL", "gpu-missing", "7 of 8", "Look.", 7, "GPUs", 8, 8)
LATE = Item("mount /home", "answer", "NOT_RUN", "mount-silent", "no answer", "Look.")
FACTS = {"deep": "FIT, 1 h ago, run1", "deep_at": "2026-11-30T05:00:00+00:00"}


def gate(*items: Item, verdict: str = "NOT_FIT") -> Gate:
    codes = {"FIT": 0, "NOT_FIT": 1, "UNKNOWN": 3}
    return Gate("n1", "b", "2026-11-30T06:00:00+00:00", "health", "", verdict, codes[verdict], 0.5, "", items, FACTS)  # type: ignore[arg-type]


def typed(file: Path, tmp_path: Path, text: str = "gpus = 0\nclock = false\n") -> subprocess.CompletedProcess[str]:
    config = tmp_path / "node-check.toml"
    config.write_text(text)
    words = [
        "node-check",
        "--nhc",
        "--deadline",
        "60",
        "--config",
        str(config),
        "--state-dir",
        str(tmp_path / "state"),
        "--prometheus",
        str(file),
    ]
    return subprocess.run(
        [sys.executable, "-m", "hpcaccept", *words], capture_output=True, text=True, timeout=120, check=False
    )


def one(found: Samples, name: str) -> float:
    ((_, value),) = found[f"hpcaccept_node_check_{name}"]
    return value


def test_a_verdict_has_its_findings_its_time_and_the_age_of_the_deep_result() -> None:
    found = samples_of(metrics_of(gate(FAULT, LATE, LATE)))
    assert found["hpcaccept_node_check_fit"] == [({"node": "n1", "verdict": "NOT_FIT"}, 0)]
    assert (one(found, "timestamp_seconds"), one(found, "exit_code")) == (1796018400, 1)
    assert (one(found, "deep_age_seconds"), one(found, "duration_seconds")) == (3600, 0.5)
    findings = {(labels["part"], labels["code"]): n for labels, n in found["hpcaccept_node_check_findings"]}
    assert findings == {("gpus", "gpu-missing"): 1, ("mount /home", "mount-silent"): 2}
    assert {labels["outcome"]: n for labels, n in found["hpcaccept_node_check_items"]}["NOT_RUN"] == 2


def test_what_could_not_be_judged_is_not_fit() -> None:
    assert one(samples_of(metrics_of(gate(LATE, verdict="UNKNOWN"))), "fit") == 0


def test_the_command_writes_it_whole_for_everybody_to_read(tmp_path: Path) -> None:
    file = tmp_path / "textfile" / "node-check.prom"
    file.parent.mkdir()
    write_deep(tmp_path / "state", Deep(time.time() - 60, "b", "FIT", "run1", "cpu"))
    before = time.time()
    done = typed(file, tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert file.stat().st_mode & 0o777 == 0o644
    found = samples_of(file.read_text())
    assert one(found, "fit") == 1
    assert one(found, "timestamp_seconds") >= int(before)
    assert one(found, "deep_age_seconds") >= 59
    assert list(file.parent.iterdir()) == [file]


def test_a_place_that_takes_no_writing_costs_no_verdict(tmp_path: Path) -> None:
    done = typed(tmp_path / "none" / "x.prom", tmp_path, "gpus = 8\nclock = false\n")
    assert done.returncode == 1
    assert done.stdout.startswith("hpcaccept NOT FIT")
    assert "x.prom was not written: No such file or directory" in done.stderr


def test_a_disk_that_hangs_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "replace_file", lambda *_: os.read(os.pipe()[0], 1))
    assert write_metrics(tmp_path / "x.prom", gate(), 0.2) == "no answer before the deadline"
