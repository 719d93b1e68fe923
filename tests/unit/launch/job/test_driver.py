"""What the driver makes of a step that has ended: losses told, containers not blamed on nodes, suspects measured again."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest
from support.builders import AT, DATA, nodes, plan, rank_started, record, suite

from hpcaccept.launch.job import driver
from hpcaccept.launch.job.driver import reckon
from hpcaccept.launch.job.events import Events
from hpcaccept.launch.job.queue import StepQueue, next_step
from hpcaccept.launch.job.retest import retest_of
from hpcaccept.model.event import Event
from hpcaccept.model.record import RankFinished, RankStopped
from hpcaccept.model.suite import CheckSpec, PeerRule
from hpcaccept.store.folder import RunFolder
from hpcaccept.store.journal import Journal, read

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from hpcaccept.model.plan import Step

CHECKS = (CheckSpec("identity"), CheckSpec("matmul"))
SUITE = suite(*CHECKS)


class Run:
    """A run folder with one step launched on four nodes, in which the ranks can be made to speak."""

    def __init__(self, place: Path, the_suite: object = SUITE) -> None:
        self.folder = RunFolder(place / "run")
        self.folder.create()
        self.plan = plan(the_suite, gpus_per_node=0)  # type: ignore[arg-type]
        self.folder.write_plan(self.plan)
        self.events = Events(self.folder)
        self.events.say("started", nodes=nodes(4))
        self.launch(StepQueue((self.plan.first_step(nodes(4)),)))

    def launch(self, queue: StepQueue) -> Step:
        step, self.queue = next_step(queue)
        assert step is not None
        self.step: Step = step
        self.folder.write_step(step)
        return step

    def finish(self, rates: Sequence[float] = (1e11,) * 4, *, silent: Sequence[int] = ()) -> None:
        """Every rank measures everything; silent ones stop before matmul."""
        for rank, node in enumerate(self.step.nodes):
            journal = Journal(self.folder.records(self.step.id) / f"r{rank:06d}.jsonl")
            common = {"step": self.step.id, "rank": rank, "device": "cpu", "device_model": "CPU"}
            journal.write(rank_started(rank, node))
            if "identity" in [spec.name for spec in self.step.checks]:
                journal.write(record("identity", node, {"cores": 8.0, "memory_bytes": 1e10}, **common))
            if rank in silent:
                continue
            if silent:
                more = {"cause": "ended by SIGTERM", "cut_short": True, "by_peer": True}
                journal.write(record("matmul", node, None, **common, **more))
            else:
                numbers = {"rate_flops[fp32]": rates[rank], "wrong_elements[fp32]": 0.0, "spread[fp32]": 0.0}
                journal.write(record("matmul", node, numbers, **common))
                journal.write(RankFinished())

    def stderr(self, text: str) -> None:
        (self.folder.logs / f"step-{self.step.id}.err").write_text(text)

    def reckon(self, *, code: int = 1, late: bool = False, runtime: str = "none") -> tuple[str, str] | None:
        self.queue, why = reckon(self.folder, self.events, self.queue, self.step, code=code, late=late, runtime=runtime)
        return why

    def told(self, kind: str) -> list[Event]:
        return [e for e in read(self.folder.driver_log) if isinstance(e, Event) and e.kind == kind]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path)


# --- losses -----------------------------------------------------------------------------------------------------------


def test_a_step_in_which_all_is_well_leaves_nothing_to_do(run: Run) -> None:
    run.finish()
    assert run.reckon(code=0) is None
    assert run.queue.steps == ()
    assert run.told("death") == run.told("retest") == []


def test_a_lost_rank_is_told_with_node_check_and_evidence(run: Run) -> None:
    run.finish(silent=[2])
    run.stderr((DATA / "launchers" / "srun_one_killed.err").read_text())
    assert run.reckon() is None
    (death,) = run.told("death")
    assert (death.nodes, death.ranks, death.check) == (("node2",), (2,), "matmul")
    assert "rank 2 on node2 was lost during matmul: the launcher reports 'Killed'" in death.detail
    assert "step-00.err" in death.remedy
    assert [s.nodes for s in run.queue.steps] == [("node0", "node1", "node3")]


def test_a_loss_without_any_output_of_the_launcher_is_told_too(run: Run) -> None:
    run.finish(silent=[1])
    assert run.reckon(late=True) is None
    assert "ran out of time" in run.told("death")[0].detail


def test_output_that_is_no_text_does_no_harm(run: Run) -> None:
    run.finish(silent=[1])
    (run.folder.logs / "step-00.err").write_bytes(b"\xff\xfe" * 1000)
    assert run.reckon() is None
    assert run.told("death")[0].nodes == ("node1",)


def test_of_very_long_output_the_end_counts(run: Run) -> None:
    run.finish(silent=[2])
    noise = "srun: error: node0: task 0: Killed\n" + "blah\n" * 200_000
    run.stderr(noise + (DATA / "launchers" / "srun_one_killed.err").read_text())
    assert run.reckon() is None
    assert run.told("death")[0].ranks == (2,)


def test_a_host_that_is_gone_took_the_others_with_it(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Open MPI 5 ends the ranks of all others without a word: then who cannot be reached any more is who was lost."""
    gone = {"node1": ("cannot be reached: it does not answer", "Is it switched on?")}
    monkeypatch.setattr("hpcaccept.launch.slurm.unreachable", lambda *_: gone)
    run.finish(silent=[0, 1, 2, 3])
    run.stderr((DATA / "launchers" / "mpiexec5_host_lost.err").read_text())
    assert run.reckon(code=0) is None
    (death,) = run.told("death")
    assert (death.nodes, death.ranks, death.check) == (("node1",), (1,), "matmul")
    assert "node1 cannot be reached: it does not answer" in death.detail
    assert [s.nodes for s in run.queue.steps] == [("node0", "node2", "node3")]


# --- a container or launcher that fails is no bad node ----------------------------------------------------------------


@pytest.mark.parametrize("case", sorted(p.stem for p in (DATA / "pyxis").glob("*.err")))
def test_a_container_that_nobody_could_enter_ends_the_run_and_blames_no_node(run: Run, case: str) -> None:
    run.stderr((DATA / "pyxis" / f"{case}.err").read_text())
    why = run.reckon(runtime="pyxis")
    assert why is not None
    assert why[0].startswith("container: ")
    assert why[1]
    assert run.told("death") == []
    assert run.queue.struck == {}


@pytest.mark.parametrize(
    ("recorded", "words"),
    [
        ("srun_no_program", "nosuchprogram"),
        ("srun_bad_mpi", "Invalid MPI type"),
        ("mpiexec_no_module", "No module named nosuchmodule"),
        ("mpiexec_no_program", "Executable: nosuchprogram"),
        ("srun_node_not_in_job", "Requested node configuration is not available"),
    ],
)
def test_a_launcher_that_starts_nobody_is_quoted_and_blames_no_node(run: Run, recorded: str, words: str) -> None:
    run.stderr((DATA / "launchers" / f"{recorded}.err").read_text())
    why = run.reckon()
    assert why is not None
    assert words in why[0]
    assert run.told("death") == []


def test_when_nobody_started_and_nobody_said_why_the_run_ends(run: Run) -> None:
    run.reckon(late=True)
    assert run.queue.steps == ()


def test_a_container_that_fails_on_one_node_is_told_as_what_it_is(run: Run) -> None:
    # Pyxis issue 122: the image cannot be unpacked on a few nodes; the others wait in MPI start and are ended.
    run.stderr((DATA / "pyxis" / "no_such_sqsh.err").read_text().replace("tasks 0-7", "task 2"))
    for rank in (0, 1, 3):
        Journal(run.folder.records("00") / f"r{rank:06d}.jsonl").write(RankStopped("ended by SIGTERM", by_peer=True))
    assert run.reckon(runtime="pyxis") is None
    (death,) = run.told("death")
    assert death.nodes == ("node2",)
    assert "container: the image file does not exist" in death.detail
    assert [s.nodes for s in run.queue.steps] == [("node0", "node1", "node3")]


# --- suspects ---------------------------------------------------------------------------------------------------------

SLOW = (1e11, 1e11, 1e10, 1e11)


def test_a_suspect_is_measured_again_together_with_its_peers(run: Run) -> None:
    run.finish(SLOW)
    assert run.reckon(code=0) is None
    (again,) = run.queue.steps
    assert ([spec.name for spec in again.checks], again.nodes) == (["matmul"], nodes(4))
    assert run.queue.retests == 1
    (told,) = run.told("retest")
    assert "node2" in told.detail


def test_who_is_slow_again_and_again_is_measured_no_more_than_the_rule_says(run: Run) -> None:
    launched = 0
    while True:
        run.finish(SLOW)
        assert run.reckon(code=0) is None
        if not run.queue.steps:
            break
        launched += 1
        assert launched < 10, "retests do not end"
        run.launch(run.queue)
    assert launched == PeerRule().retests


def test_who_is_fast_in_the_second_launch_is_not_blamed(run: Run) -> None:
    run.finish(SLOW)
    run.reckon(code=0)
    run.launch(run.queue)
    run.finish()
    run.reckon(code=0)
    assert run.queue.steps == ()


@pytest.mark.parametrize("rule", [PeerRule(enabled=False), PeerRule(retests=0)])
def test_a_suite_may_do_without_retests(tmp_path: Path, rule: PeerRule) -> None:
    run = Run(tmp_path, suite(*CHECKS, peers=rule))
    run.finish(SLOW)
    run.reckon(code=0)
    assert run.queue.steps == ()


def test_what_is_left_of_the_suite_comes_before_any_retest(run: Run) -> None:
    run.finish(SLOW)
    run.queue = StepQueue((run.step,), launched=1)
    run.reckon(code=0)
    assert run.queue.steps == (run.step,)
    assert run.told("retest") == []


def test_a_node_that_was_lost_in_the_check_is_not_asked_again(run: Run) -> None:
    run.finish(SLOW)
    hung = run.folder.records("00") / "r000003.jsonl"
    lines = hung.read_text().splitlines()
    hung.write_text("\n".join(lines[:2]) + "\n")
    more = {"step": "00", "rank": 3, "device": "cpu", "device_model": "CPU", "cut_short": True, "cause": "deadline: …"}
    Journal(hung).write(record("matmul", "node3", None, **more))
    found = retest_of(run.folder, run.plan, run.step, 0)
    assert found is not None
    assert "node3" not in found[0].nodes


def test_a_missing_core_is_counted_and_needs_no_second_look(tmp_path: Path) -> None:
    run = Run(tmp_path, suite(CheckSpec("identity")))
    for rank, node in enumerate(nodes(4)):
        journal = Journal(run.folder.records("00") / f"r{rank:06d}.jsonl")
        journal.write(rank_started(rank, node))
        cores = 4.0 if rank == 1 else 8.0
        journal.write(record("identity", node, {"cores": cores, "memory_bytes": 1e10}, device="cpu", rank=rank))
        journal.write(RankFinished())
    run.reckon(code=0)
    assert run.queue.steps == ()


def test_the_driver_says_its_last_word_even_when_the_plan_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("signal.signal", lambda *_: None)
    run = Run(tmp_path)
    run.folder.plan_file.unlink()
    assert driver.drive(str(run.folder.path)) == 3
    (ended,) = run.told("ended")
    assert "plan.json does not exist" in ended.detail
    assert ended.at > AT


def test_the_driver_says_its_last_word_when_its_launcher_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("signal.signal", lambda *_: None)
    monkeypatch.delenv("SLURM_JOB_NODELIST", raising=False)
    run = Run(tmp_path)
    assert driver.drive(str(run.folder.path)) == 3
    assert "SLURM_JOB_NODELIST" in run.told("ended")[0].detail


def test_a_folder_that_vanishes_under_the_driver_is_no_endless_loop(run: Run) -> None:
    shutil.rmtree(run.folder.logs)
    run.reckon(late=True)
    assert run.queue.steps == ()
