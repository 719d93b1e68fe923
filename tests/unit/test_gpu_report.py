"""What ``make gpu`` leaves, made of what its two parts leave; no GPU is needed for it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from benchmarks import __main__ as bench
from benchmarks import _gpu_report, _row
from benchmarks._row import Row, Target

if TYPE_CHECKING:
    from pathlib import Path

JUNIT = """<testsuites><testsuite>
<testcase classname="tests.gpu.test_checks" name="matmul" time="12.5"/>
<testcase classname="tests.gpu.test_checks" name="burn" time="1"><failure message="found 3 wrong elements">…</failure></testcase>
<testcase classname="tests.gpu.test_checks" name="pairs" time="0"><error message="fixture broke">…</error></testcase>
<testcase classname="tests.gpu.test_fidelity" name="nccl" time="0"><skipped message="not run: there is one GPU">…</skipped></testcase>
</testsuite></testsuites>"""
ROW = Row("copy on a CPU", "B/s", (1e9, 1.1e9), "a loop", (1e9, 1e9), Target("ratio", 0.95, 1.05))


@pytest.fixture
def report(tmp_path: Path) -> dict[str, Any]:
    tests, figures = tmp_path / "tests.xml", tmp_path / "figures.json"
    tests.write_text(JUNIT)
    figures.write_text(json.dumps({"machine": {}, "results": {"fidelity_gpu": {"rows": [_row.plain(ROW)]}}}))
    return _gpu_report.collect(tests, figures)


def test_each_test_has_its_outcome_and_what_did_not_run_its_reason(report: dict[str, Any]) -> None:
    assert [(test["outcome"], test["why"]) for test in report["tests"]] == [
        ("passed", ""),
        ("failed", "found 3 wrong elements"),
        ("failed", "fixture broke"),
        ("not run", "not run: there is one GPU"),
    ]


def test_one_json_and_one_text_file_are_left_and_say_the_same(report: dict[str, Any], tmp_path: Path) -> None:
    as_json, as_text = _gpu_report.write(report, tmp_path / "new" / "folder")
    assert json.loads(as_json.read_text("utf-8")) == report
    text = as_text.read_text("utf-8")
    assert "failed   tests.gpu.test_checks::burn (1.0 s): found 3 wrong elements" in text
    assert "not run  tests.gpu.test_fidelity::nccl (0.0 s): there is one GPU" in text
    assert "copy on a CPU: 1.05 GB/s" in text
    assert "target 0.95 … 1.05 ×: met" in text
    assert sorted(file.name for file in as_json.parent.iterdir()) == ["gpu-report.json", "gpu-report.txt"]


def test_where_nothing_ran_the_files_say_so(tmp_path: Path) -> None:
    found = _gpu_report.collect(tmp_path / "none.xml", tmp_path / "none.json", ["pytest did not end within 1 s"])
    text = _gpu_report.text_of(found)
    assert "pytest did not end within 1 s" in text
    assert "no test has run" in text
    assert "no benchmark has run" in text


def test_a_benchmark_of_gpus_is_none_of_a_machine_without() -> None:
    assert bench.names("cuda") == ["fidelity_gpu"]
    assert "fidelity_gpu" not in bench.names()
    assert "fidelity" in bench.names()
