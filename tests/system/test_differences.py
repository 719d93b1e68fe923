"""What happens while a run goes on is judged, what was before is not: begin, load and measure of real ranks."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.infiniband_tree import adapter
from support.submission import ANY_NOISE, submit, suite_file

QUIET = (Path(__file__).parents[1] / "data/kernel_log/quiet.kmsg").read_text()
FLAPS = "sys/class/infiniband/mlx5_0/ports/1/counters/link_downed"
pytestmark = pytest.mark.mpi


def test_a_flap_and_an_xid_during_the_run_are_found_and_those_of_before_are_not(tmp_path: Path) -> None:
    root, log = tmp_path / "root", tmp_path / "kmsg"
    for rail in ("mlx5_0", "mlx5_1"):
        adapter(root, rail, link_downed="7")
    log.write_text(QUIET + "3,353,10000000,-;I/O error, dev nvme1n1, sector 8\n")
    text = f'[checks.os_noise]\nduration_s = 4.0\n[checks.ib_links]\nroot = "{root}"\n'
    text += f'[checks.kernel_log]\nsource = "kmsg"\nkmsg = "{log}"\n'
    suite = suite_file(tmp_path, text + ANY_NOISE.format(label="os_noise"))
    run = submit(tmp_path / "runs", suite, "--nodes", "1", "--launcher", "local")
    run.pid(0, check="os_noise")  # by then every check has had its first look
    (root / FLAPS).write_text("8\n")
    with log.open("a") as more:
        more.write("4,354,20000000,-;NVRM: Xid (PCI:0000:18:00): 79, pid=1, name=x, GPU has fallen off the bus.\n")
    done = run.finish(120)
    assert done.code == 1, done.out + done.err
    failed = {(v["check"], v["metric"], v["variant"]) for v in done.verdicts(outcome="FAIL")}
    assert failed == {
        ("ib_links", "link_faults", "mlx5_0/1 link_downed"),
        ("kernel_log", "faults", "Xid 79 at 0000:18:00"),
    }
    (node,) = done.report["nodes"]
    assert f"NOT ACCEPTED: {node}" in done.out
