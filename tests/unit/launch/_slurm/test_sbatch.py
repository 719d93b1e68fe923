"""What sbatch answers, with what sites print around it."""

from __future__ import annotations

import pytest

from hpcaccept.launch._slurm.sbatch import job_numbers


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("4711\n", ["4711"]),
        ("4711;alps\n", ["4711"]),
        ("4711\r\n", ["4711"]),
        ("Submitted batch job 4711\n", ["4711"]),
        ("Submitted batch job 4711 on cluster alps\n", ["4711"]),
        ("Welcome to cluster 7: 20 of 100 TB are used\n4711\n42 jobs are waiting\n", ["4711"]),
        ("sbatch: lua: 3 hints\n4711;alps\nYour share is 0.37\n", ["4711"]),
        ("1024\n4711\n20261129\n", ["1024", "4711", "20261129"]),
        ("4711\nSubmitted batch job 4711\n", ["4711"]),
        ("maintenance on 2026-11-30\n", []),
        ("", []),
    ],
)
def test_the_number_of_the_job_is_told_from_those_of_banners(text: str, found: list[str]) -> None:
    assert job_numbers(text) == found
