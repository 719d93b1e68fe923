from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from support.builders import plan, step

from hpcaccept.errors import RunError, RunFolderFull, StoreError, UsageError
from hpcaccept.model.job import JobRef
from hpcaccept.store.folder import RESERVE_BYTES, RunFolder, all_runs, find, latest, short_id


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    made = RunFolder(tmp_path / "runs" / "20261122-010000-test")
    made.create()
    return made


def test_a_new_folder_has_its_parts_and_holds_space_back(folder: RunFolder) -> None:
    assert folder.run_id == "20261122-010000-test"
    assert {p.name for p in folder.path.iterdir()} == {"logs", "steps", "records", ".reserve"}
    assert folder.reserve.stat().st_blocks * 512 >= RESERVE_BYTES


def test_making_a_folder_twice_loses_nothing(folder: RunFolder) -> None:
    folder.write_plan(plan())
    folder.create()
    assert folder.read_plan() == plan()


def test_plan_job_and_steps_come_back(folder: RunFolder) -> None:
    job = JobRef("slurm", "77", host="login")
    folder.write_plan(plan(slurm={"qos": "high"}))
    folder.write_job(job)
    for number in ("01", "00"):
        folder.write_step(step(("identity", "matmul"), id=number))
    assert folder.read_plan() == plan(slurm={"qos": "high"})
    assert folder.read_job() == job
    assert [s.id for s in folder.read_steps()] == ["00", "01"]
    assert folder.read_step("01") == step(("identity", "matmul"), id="01")
    assert folder.records("01").is_dir()


def test_a_job_that_an_older_version_wrote_is_read(folder: RunFolder) -> None:
    folder.job_file.write_text(
        '{"launcher": "slurm", "id": "77", "started": 0.0, "host": "login", "submitted_at": "2026-11-22T01:00:00Z"}'
    )
    assert folder.read_job() == JobRef("slurm", "77", host="login")


def test_a_run_of_an_sbatch_script_has_no_job(folder: RunFolder) -> None:
    assert folder.read_job() is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "not readable as a Plan"),
        ('{"run_id":', "not readable as a Plan"),
        ("[]", "not readable as a Plan"),
        ('{"run_id": "x", "colour": "blue"}', "colour"),
        ("\udcff", "not readable as a Plan"),
    ],
)
def test_a_plan_that_cannot_be_read_is_told_with_its_file(folder: RunFolder, text: str, words: str) -> None:
    folder.plan_file.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(StoreError, match=words) as fault:
        folder.read_plan()
    assert str(folder.plan_file) in str(fault.value)


def test_a_folder_without_a_plan_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="is not a run folder"):
        RunFolder(tmp_path).read_plan()


def test_a_folder_that_may_not_be_made_is_told_with_a_remedy(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="Cannot write under") as fault:
        RunFolder(tmp_path / "file" / "run").create()
    assert "--runs-dir" in fault.value.remedy


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.ENOSPC, RunFolderFull),
        (errno.EDQUOT, RunFolderFull),
        (errno.EACCES, RunError),
        (errno.EROFS, RunError),
    ],
)
def test_a_folder_that_takes_no_writing_says_why(tmp_path: Path, number: int, kind: type[RunError]) -> None:
    error = RunFolder(tmp_path).refused(OSError(number, os.strerror(number)))
    assert type(error) is kind
    assert str(tmp_path) in error.message


# --- written whole ----------------------------------------------------------------------------------------------------


# --- finding runs -----------------------------------------------------------------------------------------------------


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    for name in ("20261122-020000-b", "20261121-010000-a", "20261122-010000-c"):
        made = RunFolder(tmp_path / name)
        made.create()
        made.write_plan(plan())
    (tmp_path / "no-run").mkdir()
    return tmp_path


def test_runs_are_listed_by_their_time(runs: Path) -> None:
    assert [r.run_id for r in all_runs(runs)] == ["20261121-010000-a", "20261122-010000-c", "20261122-020000-b"]


def test_no_name_means_the_latest_run(runs: Path) -> None:
    assert find(runs, "").run_id == latest(runs).run_id == "20261122-020000-b"


def test_a_run_is_found_by_name_and_by_path(runs: Path) -> None:
    assert find(runs, "20261121-010000-a").path == (runs / "20261121-010000-a").resolve()
    assert find(Path("/nowhere"), str(runs / "20261121-010000-a")).run_id == "20261121-010000-a"


@pytest.mark.parametrize("name", ["nope", "no-run"])
def test_a_run_that_is_not_there_is_told_with_how_to_list_them(runs: Path, name: str) -> None:
    with pytest.raises(UsageError, match=f"no run {name!r}(?s:.*)hpcaccept runs"):
        find(runs, name)


@pytest.mark.parametrize("name", ["", "x"])
def test_where_there_are_no_runs_there_is_none(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError if name else RunError, match="There is no run"):
        find(tmp_path / "absent", name)


@pytest.mark.parametrize("part", ["latest", "20261122-02", "-020000-b", "0000-b"])
def test_latest_and_a_part_that_fits_one_name_find_it(runs: Path, part: str) -> None:
    assert find(runs, part).run_id == "20261122-020000-b"


def test_a_part_that_fits_several_runs_is_refused_with_their_names(runs: Path) -> None:
    with pytest.raises(UsageError, match=r"runs under .* fit '2026', for example .*20261122-020000-b"):
        find(runs, "2026")


def test_a_part_of_fewer_than_four_characters_stands_for_no_run(runs: Path) -> None:
    with pytest.raises(UsageError, match="There is no run '0-b'"):
        find(runs, "0-b")


def test_the_short_name_is_the_random_end() -> None:
    assert short_id("20261130-124113-cpu-2n-5811") == "5811"
    assert short_id("mine") == "mine"
    assert short_id("a-b") == "a-b"
