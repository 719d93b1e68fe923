"""A budget is a time or GPU-hours; both become whole minutes of the job, never more than was given."""

from __future__ import annotations

import pytest

from hpcaccept.config.budget import parse_budget
from hpcaccept.errors import UsageError


@pytest.mark.parametrize(
    ("text", "gpus", "seconds"),
    [
        *(("30m", 0, 1800), ("2h", 512, 7200), ("90s", 8, 60), ("1800", 0, 1800)),
        # 40 GPU-hours on 64 nodes with 8 GPUs are 281.25 s.
        *(("40gpu-h", 512, 240), ("40 GPU-h", 8, 18_000), ("0.5gpuh", 1, 1800), ("1gpu-h", 7, 480)),
    ],
)
def test_a_budget_is_so_much_time_of_the_job(text: str, gpus: int, seconds: float) -> None:
    assert parse_budget(text).seconds(gpus) == seconds


@pytest.mark.parametrize(
    "text", ["", "soon", "0", "-5m", "40gpu", "gpu-h", "0gpu-h", "nangpu-h", "9e9gpu-h", "1e5h", "40node-h"]
)
def test_anything_else_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(UsageError, match="--budget is "):
        parse_budget(text)


def test_gpu_hours_need_gpus() -> None:
    with pytest.raises(UsageError, match="no GPUs were asked for"):
        parse_budget("40gpu-h").seconds(0)


@pytest.mark.parametrize(("text", "gpus"), [("59s", 0), ("1gpu-h", 512)])
def test_less_than_a_minute_is_no_job(text: str, gpus: int) -> None:
    with pytest.raises(UsageError, match="expected at least a minute"):
        parse_budget(text).seconds(gpus)
