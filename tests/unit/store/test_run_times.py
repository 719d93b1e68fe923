"""What a run took is read from its own journals: of a real run of four virtual nodes, and of runs that tell less."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest
from support.builders import DATA

from hpcaccept.store.folder import RunFolder
from hpcaccept.store.run_times import known_times, times_of

if TYPE_CHECKING:
    from pathlib import Path

    from hpcaccept.model.run_time import StepTime


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    shutil.copytree(DATA / "printed_run", tmp_path / "run")
    return RunFolder(tmp_path / "run")


def the_step(folder: RunFolder) -> StepTime:
    (step,) = times_of(folder)
    return step


def test_every_second_of_a_real_step_is_somebodys(folder: RunFolder) -> None:
    step = the_step(folder)
    assert (step.nodes, step.ranks_per_node, step.virtual, step.first) == (4, 1, True, True)
    assert [check.check for check in step.checks] == [
        *("identity", "matmul", "memory_bandwidth", "train", "allreduce", "ddp_train", "burn")
    ]
    # From the driver's first word, 00:31:02.389, to the end of the step, 00:31:48.155.
    assert step.start_s + sum(check.seconds for check in step.checks) == pytest.approx(45.766, abs=1e-3)


def test_importing_torch_belongs_to_the_start_and_not_to_the_check_before(folder: RunFolder) -> None:
    step = the_step(folder)
    # Rank 0 imports torch in 5.0 s after identity, which reads some files.
    assert step.checks[0].seconds < 1.0
    assert step.start_s > 5.0


def test_parameters_are_those_of_the_step(folder: RunFolder) -> None:
    assert {check.check: check.params for check in the_step(folder).checks}["burn"]["duration_s"] == 2.0


def _journal(folder: RunFolder) -> Path:
    return folder.records("00") / "r000000.jsonl"


def _with(folder: RunFolder, check: str, found: str, instead: str) -> None:
    """Change the record of one check."""
    lines = _journal(folder).read_text().splitlines(keepends=True)
    (number,) = (n for n, line in enumerate(lines) if f'"record","data":{{"check":"{check}"' in line)
    assert found in lines[number]
    lines[number] = lines[number].replace(found, instead, 1)
    _journal(folder).write_text("".join(lines))


def test_a_check_that_could_not_be_measured_says_why(folder: RunFolder) -> None:
    _with(folder, "train", '"outcome":"measured"', '"outcome":"not_run","cause":"torch cannot be imported"')
    causes = {check.check: check.cause for check in the_step(folder).checks}
    assert causes["train"] == "torch cannot be imported"
    assert causes["matmul"] == ""


@pytest.mark.parametrize(
    ("found", "instead", "lost"),
    [
        # What failed in the middle does not tell how long it lasts.
        ('"outcome":"measured"', '"outcome":"error"', {"train"}),
        ('"started_at":"2026', '"started_at":"soon 2026', {"memory_bandwidth", "train"}),
        # A clock that jumped.
        ('"started_at":"2026', '"started_at":"2046', {"memory_bandwidth", "train"}),
    ],
)
def test_a_check_that_did_not_go_well_teaches_nothing_and_the_others_do(
    folder: RunFolder, found: str, instead: str, lost: set[str]
) -> None:
    before = {check.check: check.seconds for check in the_step(folder).checks}
    _with(folder, "train", found, instead)
    after = {check.check: check.seconds for check in the_step(folder).checks}
    assert before.keys() - after.keys() == lost
    assert after.items() <= before.items()


def test_a_step_whose_begin_is_not_known_teaches_nothing(folder: RunFolder) -> None:
    _with(folder, "identity", '"started_at":"2026', '"started_at":"1926')
    assert times_of(folder) == []


def test_a_step_that_has_not_ended_teaches_nothing(folder: RunFolder) -> None:
    lines = [line for line in folder.driver_log.read_text().splitlines(True) if "step_ended" not in line]
    folder.driver_log.write_text("".join(lines))
    assert times_of(folder) == []


def test_what_cannot_be_read_is_passed_over(folder: RunFolder, tmp_path: Path) -> None:
    broken = RunFolder(tmp_path / "broken")
    shutil.copytree(folder.path, broken.path)
    broken.plan_file.write_text("{")
    assert len(known_times([broken, RunFolder(tmp_path / "none"), folder])) == 1
