"""A nightly job stands in nobody's way, and is found again by its word."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from support.builders import plan

from hpcaccept.launch.job.driver import time_limit_s
from hpcaccept.launch.slurm import behind_others

if TYPE_CHECKING:
    from hpcaccept.model.plan import Request


def request_behind(asked: dict[str, str], nice: int = 10000, within_s: float | None = None) -> Request:
    return behind_others(plan(slurm=asked), "run-7", nice, within_s).request


@pytest.mark.parametrize(
    ("asked", "nice", "options"),
    [
        ({}, 10000, {"nice": "10000", "comment": "run-7"}),
        ({"qos": "scavenger"}, 10000, {"qos": "scavenger", "comment": "run-7"}),
        ({"nice": "5"}, 10000, {"nice": "5", "comment": "run-7"}),
        ({"comment": "ops"}, 0, {"comment": "ops run-7"}),
    ],
)
def test_jobs_are_modest_unless_the_site_says_how(asked: dict[str, str], nice: int, options: dict[str, Any]) -> None:
    assert request_behind(asked, nice).slurm == options


def test_a_job_has_its_whole_time_before_the_window_is_over() -> None:
    assert request_behind({}, within_s=3600.9).slurm["deadline"] == "now+3600seconds"
    assert request_behind({}, within_s=3.0).slurm["deadline"] == "now+60seconds"
    assert request_behind({"deadline": "06:00"}, within_s=3600.0).slurm["deadline"] == "06:00"


def test_its_time_limit_is_in_whole_minutes_as_slurm_takes_it() -> None:
    limit_s = request_behind({}).time_s
    assert limit_s % 60 == 0
    assert 0 <= limit_s - time_limit_s(plan()) < 60
