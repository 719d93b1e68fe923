from __future__ import annotations

import pytest

from hpcaccept.errors import HpcacceptError, LaunchError, RunError, RunFolderFull, StoreError, UsageError, nearest


@pytest.mark.parametrize(
    ("kind", "code"),
    [(UsageError, 2), (RunError, 3), (StoreError, 3), (RunFolderFull, 3), (LaunchError, 3), (HpcacceptError, 3)],
)
def test_each_error_has_the_exit_code_of_its_class(kind: type[HpcacceptError], code: int) -> None:
    assert kind("x").exit_code == code


def test_an_error_shows_its_remedy_on_a_line_of_its_own() -> None:
    assert str(UsageError("Found 7, expected 8.", "Type 8.")) == "Found 7, expected 8.\n  → Type 8."


def test_an_error_without_a_remedy_is_its_sentence() -> None:
    assert str(LaunchError("Slurm refused.")) == "Slurm refused."


def test_a_full_folder_can_be_caught_as_a_run_error() -> None:
    assert issubclass(RunFolderFull, RunError)
    assert issubclass(StoreError, RunError)
    assert not issubclass(LaunchError, RunError)


@pytest.mark.parametrize(
    ("word", "hint"),
    [
        ("matmull", "Did you mean 'matmul'?"),
        ("mat-mul", "Did you mean 'matmul'?"),
        ("zzz", "Known: burn, matmul."),
    ],
)
def test_the_nearest_name_is_offered_and_all_names_when_none_is_near(word: str, hint: str) -> None:
    assert nearest(word, ["matmul", "burn"]) == hint


def test_nothing_is_offered_when_nothing_is_known() -> None:
    assert nearest("x", []) == ""
