"""``ib_write_bw`` between real ranks of several nodes: real MPI, real processes, a perftest that speaks TCP."""

from __future__ import annotations

import json
import stat
import sys
from pathlib import Path
from typing import Any

import pytest
from support.infiniband_tree import adapter
from support.submission import submit, suite_file

TESTS = Path(__file__).parents[1]
RAILS = ("mlx5_0", "mlx5_1")
pytestmark = pytest.mark.mpi


@pytest.fixture
def rails(tmp_path: Path) -> Any:
    """A suite, and the environment in which its ranks find adapters and perftest."""
    folder = tmp_path / "bin"
    folder.mkdir()
    program = folder / "ib_write_bw"
    text = (TESTS / "support" / "perftest_stand_in.py").read_text()
    program.write_text(text.replace("#!/usr/bin/env python3", f"#!{sys.executable}", 1))
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    for rail in RAILS:
        adapter(tmp_path / "root", rail)
    # Open MPI puts its own folder, in which the real perftest may lie, in front of the PATH of its ranks.
    suite = suite_file(
        tmp_path,
        f'[checks.ib_write_bw]\nprogram = "{program}"\nroot = "{tmp_path / "root"}"\nduration_s = 1\ndeadline_s = 60\n',
    )

    def prepared(**world: Any) -> tuple[Path, dict[str, str]]:
        told = tmp_path / "world.json"
        told.write_text(json.dumps({"devices": RAILS, **world}))
        return suite, {"HPCACCEPT_FAKE_PERFTEST": str(told)}

    return prepared


def test_three_nodes_measure_their_rails_and_one_slow_link_is_named_by_both_ends(tmp_path: Path, rails: Any) -> None:
    suite, env = rails(gbits={"0>1/mlx5_1": 195.0})
    done = submit(tmp_path / "runs", suite, "--nodes", "3", "--launcher", "local", env=env).finish(120)
    assert done.code == 1, done.out + done.err
    failed = done.verdicts(outcome="FAIL")
    names = sorted(done.report["nodes"])
    assert {v["metric"] for v in failed} == {"line_share", "rail_share"}
    assert {v["variant"] for v in failed} == {f"{names[0]}/mlx5_1→{names[1]}/mlx5_1"}
    assert {v["node"] for v in failed} == {""}, "each end is fast with its other neighbour: no node is blamed"
    rates = done.verdicts(metric="rate_bytes")
    assert {v["variant"] for v in rates} == {f"{rail}/{way}" for rail in RAILS for way in ("send", "receive")}
    assert all(v["value"] == pytest.approx(391e9 / 8) for v in rates)


def test_a_server_that_dies_is_an_error_of_both_its_ends_and_the_run_goes_on(tmp_path: Path, rails: Any) -> None:
    suite, env = rails(broken=["0>1/mlx5_0"])
    done = submit(tmp_path / "runs", suite, "--nodes", "2", "--launcher", "local", env=env).finish(120)
    assert done.code == 3, done.out + done.err
    assert not done.verdicts(outcome="FAIL")
    (a, b) = sorted(done.report["nodes"])
    errors = [v for v in done.verdicts(check="ib_write_bw", outcome="ERROR") if "Completion with error" in v["reason"]]
    assert {v["node"] for v in errors} == {a, b}
    assert all(f"{a}/mlx5_0→{b}/mlx5_0" in v["reason"] for v in errors)
    assert not done.events("death")
