from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hpcaccept.app.node_check import deep_cache
from hpcaccept.app.node_check.look import Asked
from hpcaccept.app.node_check.state import write_deep
from hpcaccept.model.node_check import Deep, Expected, verdict_of

if TYPE_CHECKING:
    from pathlib import Path

    from hpcaccept.model.node_check import Verdict

NOW = 1_800_000_000.0
DAY = 86400.0


def looked(folder: Path, *, wanted: bool = True) -> tuple[str, str]:
    """Verdict and code of a gate that holds nothing else."""
    items = tuple(deep_cache.look(Asked(Expected(deep=wanted, deep_max_age_s=7 * DAY), "node0"), folder, NOW).items)
    return (verdict_of(items), items[0].code) if items else ("nothing", "")


def kept(folder: Path, age_s: float, verdict: Verdict = "FIT") -> None:
    codes = ("gpu-lost",) if verdict == "NOT_FIT" else ()
    write_deep(folder, Deep(NOW - age_s, "boot", verdict, "/runs/1", "quick", codes, "health: a GPU is lost"))


def test_a_fresh_result_passes(tmp_path: Path) -> None:
    kept(tmp_path, DAY)
    assert looked(tmp_path) == ("FIT", "")


def test_a_stale_result_is_unknown_and_never_a_pass(tmp_path: Path) -> None:
    kept(tmp_path, 7 * DAY + 1)
    assert looked(tmp_path) == ("UNKNOWN", "deep-stale")


@pytest.mark.parametrize("text", ["", "{", '{"at": 1}', '{"at": 1e999}', "[]"])
def test_a_damaged_result_is_unknown(tmp_path: Path, text: str) -> None:
    (tmp_path / "deep.json").write_text(text)
    assert looked(tmp_path) == ("UNKNOWN", "deep-stale")


def test_a_missing_result_is_unknown_where_one_is_expected(tmp_path: Path) -> None:
    assert looked(tmp_path) == ("UNKNOWN", "deep-stale")
    assert looked(tmp_path, wanted=False) == ("nothing", "")


def test_a_result_of_the_future_is_unknown(tmp_path: Path) -> None:
    kept(tmp_path, -DAY)
    assert looked(tmp_path) == ("UNKNOWN", "deep-stale")


def test_a_deep_result_that_failed_is_a_fail(tmp_path: Path) -> None:
    kept(tmp_path, DAY, "NOT_FIT")
    assert looked(tmp_path) == looked(tmp_path, wanted=False) == ("NOT_FIT", "deep-failed")


def test_an_old_failure_blames_nobody(tmp_path: Path) -> None:
    kept(tmp_path, 8 * DAY, "NOT_FIT")
    assert looked(tmp_path) == ("UNKNOWN", "deep-stale")


def test_a_result_that_could_not_be_judged_is_unknown(tmp_path: Path) -> None:
    kept(tmp_path, DAY, "UNKNOWN")
    assert looked(tmp_path) == ("UNKNOWN", "deep-stale")
