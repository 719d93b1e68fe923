"""What the driver makes of a step that has ended: losses told, containers not blamed on nodes, suspects measured again."""

from __future__ import annotations

import math
import re
import shutil
import signal
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
from support.builders import AT, DATA, baseline, entry, nodes, plan, rank_started, record, suite
from support.pasts import SETTING, past_run
from support.submission import until

from hpcaccept import checks, container, launch
from hpcaccept.app.run.conclude import evidence_of, judge_run
from hpcaccept.app.run.known import leave_known
from hpcaccept.config.settings import Settings
from hpcaccept.judge import judge
from hpcaccept.launch.job import driver
from hpcaccept.launch.job.driver import reckon
from hpcaccept.launch.job.events import Events
from hpcaccept.launch.job.queue import StepQueue, next_step
from hpcaccept.launch.job.retest import retest_of
from hpcaccept.model.event import Event
from hpcaccept.model.history import PastSubject
from hpcaccept.model.metric import Limit
from hpcaccept.model.record import RankExited, RankFinished, RankStopped
from hpcaccept.model.suite import CheckSpec, PeerRule
from hpcaccept.model.verdict import Outcome
from hpcaccept.store.baseline_file import write_baseline
from hpcaccept.store.folder import RunFolder
from hpcaccept.store.gather import gather
from hpcaccept.store.history_file import append
from hpcaccept.store.journal import Journal, read

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from hpcaccept.model.plan import Step

CHECKS = (CheckSpec("identity"), CheckSpec("matmul"))
SUITE = suite(*CHECKS)


class Run:
    """A run folder with one step launched on some nodes, in which the ranks can be made to speak."""

    def __init__(self, place: Path, the_suite: object = SUITE, count: int = 4) -> None:
        self.folder = RunFolder(place / "run")
        self.folder.create()
        self.plan = plan(the_suite, gpus_per_node=0)  # type: ignore[arg-type]
        self.folder.write_plan(self.plan)
        self.events = Events(self.folder)
        self.events.say("started", nodes=nodes(count))
        self.launch(StepQueue((self.plan.first_step(nodes(count)),)))

    def launch(self, queue: StepQueue) -> Step:
        step, self.queue = next_step(queue)
        assert step is not None
        self.step: Step = step
        self.folder.write_step(step)
        return step

    def finish(self, rates: Sequence[float] = (1e11,) * 4, *, silent: Sequence[int] = (), boot_id: str = "") -> None:
        """Every rank measures everything; silent ones stop before matmul; nodes are virtual where they have one kernel."""
        for rank, node in enumerate(self.step.nodes):
            journal = Journal(self.folder.records(self.step.id) / f"r{rank:06d}.jsonl")
            common = {"step": self.step.id, "rank": rank, "device": "cpu", "device_model": "CPU"}
            journal.write(rank_started(rank, node, boot_id=boot_id or node))
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


def failed(run: Run) -> set[str]:
    """Nodes that the judge fails."""
    catalogue = checks.catalogue(spec.name for spec in run.plan.suite.checks)
    verdicts = judge(gather(run.folder, catalogue), catalogue, {}, frozenset()).verdicts
    return {v.subject.node for v in verdicts if v.outcome is Outcome.FAIL}


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


def test_a_rank_that_dies_while_mpi_starts_is_not_waited_for(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver, "LAUNCHER_ACTS_S", 0.0)
    for rank in range(4):
        Journal(run.folder.records("00") / f"r{rank:06d}.jsonl")
    clock = driver._StepClock(run.folder, run.step)
    assert not clock.is_late()
    Journal(run.folder.records("00") / "r000002.jsonl").write(RankExited(-9, 100.0))
    until(clock.is_late, 10)
    assert run.reckon(code=-9, late=True) is None
    (death,) = run.told("death")
    assert (death.nodes, death.ranks) == (("node2",), (2,))
    assert [step.nodes for step in run.queue.steps] == [("node0", "node1", "node3")]


def test_the_way_into_an_image_has_the_time_that_start_timeout_gives_and_mpi_some_more(run: Run) -> None:
    into = replace(run.step, checks=())
    assert driver._StepClock(run.folder, into)._start_s == run.plan.start_deadline_s
    assert driver._StepClock(run.folder, run.step)._start_s > run.plan.start_deadline_s


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


@pytest.mark.parametrize(
    "recorded", ["srun_bad_gres", "srun_node_not_in_job", "srun_too_many_tasks", "srun_never_granted"]
)
def test_a_step_that_srun_refused_is_told_in_its_words_with_what_to_do(run: Run, recorded: str) -> None:
    text = (DATA / "launchers" / f"{recorded}.err").read_text()
    run.stderr(text)
    why = run.reckon()
    assert why is not None
    assert why[0].startswith("srun refused the step: ")
    assert text.strip().splitlines()[-1].partition("error: ")[2] in why[0]
    assert "no rank started" not in why[0]
    assert why[1]
    assert run.told("death") == []


def ended(run: Run, rank: int, status: int) -> None:
    Journal(run.folder.records("00") / f"r{rank:06d}.jsonl").write(RankExited(status, 100.0))


MPICH_UNDER_PMIX = (DATA / "launchers" / "srun_mpich_under_pmix.err").read_text()


@pytest.mark.parametrize("first", [0, 2])
def test_an_mpi_that_does_not_speak_with_its_launcher_is_told_with_what_to_type_and_costs_nobody(
    run: Run, first: int
) -> None:
    run.stderr(MPICH_UNDER_PMIX)
    ended(run, first, 16)
    Journal(run.folder.records("00") / "r000001.jsonl").write(RankStopped("ended by SIGTERM", by_peer=True))
    why = run.reckon(code=16)
    assert why is not None
    assert "unsupported PMI version PMIx" in why[0]
    assert not why[0].startswith("container")
    assert "--mpi=pmi2" in why[1]
    assert run.told("death") == []
    assert run.queue.struck == {}


@pytest.mark.parametrize(
    "text", [MPICH_UNDER_PMIX, "node1: PMIX ERROR: PMIX_ERR_UNREACH in file client/pmix_client.c at line 813\n"]
)
def test_no_sign_beats_a_known_death(run: Run, text: str) -> None:
    run.stderr(text)
    ended(run, 2, -9)
    assert run.reckon() is None
    (death,) = run.told("death")
    assert (death.nodes, death.ranks) == (("node2",), (2,))
    assert "signal 9" in death.detail
    assert "cannot join" not in death.detail


@pytest.mark.parametrize("how", ["Killed", "Out Of Memory", "Segmentation fault (core dumped)"])
def test_a_death_that_only_the_launcher_saw_is_known_too(run: Run, how: str) -> None:
    """A rank and its parent that end together, as where the kernel ends a whole control group, leave no line."""
    run.stderr(
        f"srun: error: node2: task 2: {how}\nPMIX ERROR: PMIX_ERR_UNREACH in file client/pmix_client.c at line 813\n"
    )
    assert run.reckon() is None
    (death,) = run.told("death")
    assert (death.nodes, death.ranks) == (("node2",), (2,))
    assert [step.nodes for step in run.queue.steps] == [("node0", "node1", "node3")]


@pytest.mark.parametrize("ranks", [(0, 1, 3), (0, 1, 2, 3), (3,)])
def test_ranks_that_are_each_alone_are_no_suspects_whoever_was_ended_before_it_could_say_so(
    run: Run, ranks: tuple[int, ...]
) -> None:
    for rank in ranks:
        journal = Journal(run.folder.records("00") / f"r{rank:06d}.jsonl")
        for spec in run.step.checks:
            common = {"step": "00", "rank": rank, "device": "cpu", "outcome": "error", "interruption": "stray"}
            journal.write(
                record(spec.name, f"node{rank}", {}, cause="MPI cannot join: alone", remedy="--mpi=pmix", **common)
            )
        journal.write(RankExited(77, 100.0))
    assert run.reckon() == ("MPI cannot join: alone", "--mpi=pmix")
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


def test_a_suspect_is_measured_again_together_with_two_good_nodes(run: Run) -> None:
    run.finish(SLOW)
    assert run.reckon(code=0) is None
    (again,) = run.queue.steps
    assert ([spec.name for spec in again.checks], again.nodes) == (["matmul"], ("node0", "node1", "node2"))
    assert run.queue.retests == 1
    (told,) = run.told("retest")
    assert "node2" in told.detail


def test_of_many_nodes_only_the_suspect_and_two_good_ones_are_measured_again(tmp_path: Path) -> None:
    run = Run(tmp_path, count=16)
    run.finish((1e11,) * 9 + (5e10,) + (1e11,) * 6)
    assert run.reckon(code=0) is None
    (again,) = run.queue.steps
    assert again.nodes == ("node0", "node1", "node9")


def test_there_is_one_good_node_more_than_there_are_suspects(tmp_path: Path) -> None:
    run = Run(tmp_path, count=16)
    run.finish((5e10,) * 3 + (1e11,) * 13)
    run.reckon(code=0)
    assert run.queue.steps[0].nodes == nodes(7)


def test_a_slower_launch_clears_nobody_and_blames_nobody(tmp_path: Path) -> None:
    """The second launch is a fifth slower for all of it: its three nodes are not held against the thirteen that it left out."""
    run = Run(tmp_path, count=16)
    run.finish((1e11,) * 9 + (5e10,) + (1e11,) * 6)
    run.reckon(code=0)
    run.launch(run.queue)
    run.finish((0.8e11, 0.8e11, 0.4e11))
    run.reckon(code=0)
    (again,) = run.queue.steps
    assert "node9" in again.nodes
    run.launch(run.queue)
    run.finish((0.8e11, 0.8e11, 0.8e11))
    run.reckon(code=0)
    assert failed(run) == set()
    assert run.queue.steps == ()


def test_who_is_slow_in_each_launch_fails_by_name(tmp_path: Path) -> None:
    run = Run(tmp_path, count=16)
    run.finish((1e11,) * 9 + (5e10,) + (1e11,) * 6)
    for _ in range(2):
        run.reckon(code=0)
        run.launch(run.queue)
        run.finish((0.7e11, 0.7e11, 0.35e11))
    run.events.say("ended")
    assert failed(run) == {"node9"}


# --- suspects of the past and of limits -------------------------------------------------------------------------------

#: node2 is a fifth faster than the others, since ever: at their rate no peer sees its loss.
USUAL, LOST, FP32_KEY = (1e11, 1e11, 1.2e11, 1e11), (1e11,) * 4, "matmul.rate_flops[fp32]"
STRICT = suite(*CHECKS, peers=PeerRule(floor=0.05))


def with_past(run: Run, runs: int = 8) -> None:
    """Eight runs of the past in the history beside the run, and the excerpt of it in its folder."""
    history = run.folder.path.parent / "history"
    for night in range(runs):
        wobble = 1 + 0.001 * ((night * 7) % 5 - 2)
        places = [PastSubject(node, "cpu", "CPU", SETTING) for node in nodes(4)]
        rates = {FP32_KEY: [rate * wobble for rate in USUAL]}
        append(
            history,
            [past_run(night, rates, subjects=[f"{node}/cpu" for node in nodes(4)], places=places, environment="")],
        )
    leave_known(run.plan, run.folder, Settings(runs_dir=str(run.folder.path.parent), baselines_dir=str(history)))


def concluded(run: Run) -> tuple[int, set[str]]:
    """Exit code of the run, and the nodes that fail or are in doubt, judged where it was submitted."""
    run.events.say("ended")
    there = run.folder.path.parent
    judgement = judge_run(evidence_of(run.folder), there / "no baselines", there / "history").judgement
    bad = (Outcome.FAIL, Outcome.WARN)
    return judgement.exit_code, {v.subject.node for v in judgement.verdicts if v.outcome in bad}


def test_who_is_slower_than_its_own_past_alone_is_measured_again(tmp_path: Path) -> None:
    run = Run(tmp_path, STRICT)
    with_past(run)
    run.finish(LOST)
    assert run.reckon(code=0) is None
    (again,) = run.queue.steps
    assert again.nodes == ("node0", "node1", "node2")
    (told,) = run.told("retest")
    assert "node2" in told.detail
    assert "own median of 8 earlier runs" in told.detail


def test_a_loss_of_one_launch_is_gone_after_it_was_measured_again(tmp_path: Path) -> None:
    run = Run(tmp_path, STRICT)
    with_past(run)
    run.finish(LOST)
    run.reckon(code=0)
    run.launch(run.queue)
    run.finish((1e11, 1e11, 1.2e11))
    run.reckon(code=0)
    assert run.queue.steps == ()
    assert concluded(run) == (0, set())


def test_a_loss_that_stays_fails_by_name_and_no_more_often_than_the_rule_says(tmp_path: Path) -> None:
    run = Run(tmp_path, STRICT)
    with_past(run)
    launched = 0
    while launched < 10:
        run.finish(LOST)
        run.reckon(code=0)
        if not run.queue.steps:
            break
        run.launch(run.queue)
        launched += 1
    assert launched == PeerRule().retests
    assert concluded(run) == (1, {"node2"})


def test_a_healthy_run_with_a_past_is_launched_once(tmp_path: Path) -> None:
    run = Run(tmp_path, STRICT)
    with_past(run)
    run.finish(USUAL)
    run.reckon(code=0)
    assert run.queue.steps == ()
    assert concluded(run) == (0, set())


def test_a_node_that_writes_another_past_changes_nobodys_verdict(tmp_path: Path) -> None:
    run = Run(tmp_path, STRICT)
    with_past(run)
    for file in run.folder.known_history.iterdir():
        file.unlink()
    run.finish(LOST)
    run.reckon(code=0)
    assert run.queue.steps == (), "nobody is launched again"
    assert concluded(run) == (3, {"node2"}), "and so it is in doubt"


def test_a_past_that_cannot_be_read_is_told_and_the_peers_are_still_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = Run(tmp_path, STRICT)
    with_past(run)
    (file,) = run.folder.known_history.glob("*.h5")
    file.write_bytes(b"no HDF5")
    run.finish(SLOW)
    run.reckon(code=0)
    assert run.queue.steps[0].nodes == ("node0", "node1", "node2")
    assert "nobody is measured again for its own past" in capsys.readouterr().err


@pytest.mark.parametrize("rates", [(1e11, 1e11, 0.97e11, 1e11), (0.97e11,) * 3 + (1e11,)])
@pytest.mark.parametrize("origin", ["suite", "baseline"])
def test_who_misses_a_limit_is_measured_again_unless_most_do(
    tmp_path: Path, origin: str, rates: tuple[float, ...]
) -> None:
    limits = {FP32_KEY: Limit(0.98e11, None, "FLOP/s", "suite", "test.toml")} if origin == "suite" else {}
    run = Run(tmp_path, suite(*CHECKS, limits=limits))
    if origin == "baseline":
        limit = entry(FP32_KEY, center=1e11, spread=1e9, lower=0.98e11)
        write_baseline(run.folder.known_baselines, replace(baseline(limit, model="CPU"), state="approved"))
    run.finish(rates)
    run.reckon(code=0)
    assert [step.nodes for step in run.queue.steps] == ([("node0", "node1", "node2")] if rates[0] == 1e11 else [])


def test_virtual_nodes_that_differ_too_much_are_not_measured_again(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.finish((1e11, 2e10, 6e10, 3e10), boot_id="one kernel")
    assert run.reckon(code=0) is None
    assert run.told("retest") == []


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


# --- whatever breaks, there is a last word ----------------------------------------------------------------------------


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[RunFolder]:
    """A run folder that no driver has taken; the signals that a driver takes for itself are given back."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR2)}
    folder = RunFolder(tmp_path / "fresh")
    folder.create()
    folder.write_plan(plan(SUITE, gpus_per_node=0))
    yield folder
    for number, handler in before.items():
        signal.signal(number, handler)


def last_word(folder: RunFolder) -> Event:
    (ended,) = [e for e in read(folder.driver_log) if isinstance(e, Event) and e.kind == "ended"]
    return ended


@pytest.mark.parametrize(
    "fault",
    [KeyError("node7"), RecursionError(), MemoryError(), SystemExit(1), UnicodeDecodeError("utf-8", b"x", 0, 1, "no")],
)
def test_whatever_breaks_in_the_driver_is_told_as_its_last_word(
    fault: BaseException, fresh: RunFolder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: object) -> None:
        raise fault

    monkeypatch.setattr("hpcaccept.launch.slurm.nodes", broken)
    assert driver.drive(str(fresh.path)) == 3
    ended = last_word(fresh)
    assert f"hpcaccept itself broke: {type(fault).__name__}" in ended.detail
    assert re.search(r"at line \d+ of hpcaccept/launch/job/driver\.py", ended.detail)
    assert "says nothing about a node" in ended.remedy
    assert "hpcaccept report" in ended.remedy
    assert "Traceback" in capsys.readouterr().err


def test_an_error_of_the_system_elsewhere_is_not_told_as_one_of_the_run_folder(
    fresh: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise FileNotFoundError(2, "No such file or directory", "/etc/elsewhere")

    monkeypatch.setattr("hpcaccept.launch.slurm.nodes", broken)
    assert driver.drive(str(fresh.path)) == 3
    assert "FileNotFoundError" in last_word(fresh).detail
    assert "/etc/elsewhere" in last_word(fresh).detail
    assert "Cannot write" not in last_word(fresh).detail


def test_a_folder_that_takes_no_word_is_told_in_the_jobs_output(
    fresh: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    fresh.driver_log.mkdir()
    assert driver.drive(str(fresh.path)) == 3
    assert f"Cannot write under {fresh.path}" in capsys.readouterr().err


def test_what_was_asked_for_ends_the_job_where_no_scheduler_does(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(driver, "time", SimpleNamespace(monotonic=lambda: now))
    monkeypatch.setattr("hpcaccept.launch.job.driver.signal.signal", lambda *_: None)
    unlimited, limited = driver._Stop(launch.load("local")), driver._Stop(launch.load("local"), 600.0)
    assert (bool(unlimited), bool(limited)) == (False, False)
    assert limited.seconds_left() == 600.0
    now += 600.0 - driver.WARNING_S - 0.1
    assert not limited
    now += 1.1
    assert limited
    assert limited.why == driver.TIME_IS_UP
    assert not unlimited


def test_a_scheduler_that_rounds_up_does_not_lengthen_what_was_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(driver, "time", SimpleNamespace(monotonic=lambda: now))
    monkeypatch.setattr("hpcaccept.launch.job.driver.signal.signal", lambda *_: None)
    slurm = launch.load("slurm")
    monkeypatch.setattr(slurm, "seconds_left", lambda environ: 3600.0 - now)
    stop = driver._Stop(slurm, 90.0)
    assert stop.seconds_left() == 90.0
    assert not stop
    now = 71.0
    assert stop
    later = driver._Stop(slurm, 7200.0)
    assert later.seconds_left() == 3600.0 - 71.0


# --- what earlier runs left -------------------------------------------------------------------------------------------


def test_what_earlier_runs_left_on_nodes_is_removed_and_said(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    there = "echo node1 pyxis_hpcaccept-old; echo node0 pyxis_hpcaccept-older; echo node9 pyxis_hpcaccept-of-nobody; echo what is this"
    runtime = SimpleNamespace(before_job=lambda _: ("sh", "-c", there))
    monkeypatch.setattr(container, "load", lambda _: runtime)
    stop = driver._Stop.__new__(driver._Stop)  # without its signal handlers
    stop.why, stop._ask_at = "", math.inf
    driver._sweep(replace(run.plan, launcher="local"), run.folder, run.events, nodes(4), stop)
    (event,) = run.told("swept")
    assert event.nodes == ("node0", "node1")
    assert event.detail == "pyxis_hpcaccept-old, pyxis_hpcaccept-older"
    assert "earlier runs left" in event.sentence
