"""Which nodes can be entered? A step without checks, from what its tasks and Pyxis have said (recorded) to the course that follows."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from support.builders import DATA, nodes, plan, rank_started, suite

from hpcaccept.launch.job.driver import reckon
from hpcaccept.launch.job.events import Events
from hpcaccept.launch.job.preflight import by_task, opening
from hpcaccept.launch.job.queue import StepQueue, next_step
from hpcaccept.model.event import Event
from hpcaccept.model.plan import Image
from hpcaccept.model.record import RankFinished, RankStopped
from hpcaccept.model.suite import CheckSpec
from hpcaccept.store.folder import RunFolder
from hpcaccept.store.journal import Journal, read

if TYPE_CHECKING:
    from pathlib import Path

PYXIS = DATA / "pyxis"
FOUR = nodes(4)
PLAN = replace(
    plan(suite(CheckSpec("identity"), CheckSpec("matmul"))), launcher="slurm", image=Image("pyxis", "/shared/x.sqsh")
)


class Look:
    """A job whose first step, the look into every node, has been launched on four nodes."""

    def __init__(self, place: Path) -> None:
        self.folder = RunFolder(place / "run")
        self.folder.create()
        self.folder.write_plan(PLAN)
        self.events = Events(self.folder)
        step, self.queue = next_step(opening(PLAN, FOUR))
        assert step is not None
        self.step = step
        self.folder.write_step(step)

    def journal(self, task: int) -> Journal:
        return Journal(self.folder.records(self.step.id) / f"r{task:06d}.jsonl")

    def entered(self, *tasks: int) -> None:
        for task in tasks:
            self.journal(task).write(rank_started(task, FOUR[task]))
            self.journal(task).write(RankFinished())

    def reckon(self, stderr: str = "", *, late: bool = False) -> tuple[str, str] | None:
        (self.folder.logs / f"step-{self.step.id}.err").write_text(stderr)
        self.queue, why = reckon(self.folder, self.events, self.queue, self.step, code=1, late=late, runtime="pyxis")
        return why

    def told(self) -> list[Event]:
        return [e for e in read(self.folder.driver_log) if isinstance(e, Event) and e.kind == "not_entered"]


@pytest.fixture
def look(tmp_path: Path) -> Look:
    return Look(tmp_path)


def test_a_job_in_containers_looks_into_every_node_before_it_measures() -> None:
    first, then = opening(PLAN, FOUR).steps
    assert (first.checks, first.ranks_per_node, first.nodes) == ((), 1, FOUR)
    assert [spec.name for spec in then.checks] == ["identity", "matmul"]


@pytest.mark.parametrize("without", [replace(PLAN, image=Image()), replace(PLAN, launcher="local")])
def test_a_job_without_them_begins_with_its_checks(without: object) -> None:
    (only,) = opening(without, FOUR).steps  # type: ignore[arg-type]
    assert only.checks


def test_when_every_node_is_entered_everything_is_measured_everywhere(look: Look) -> None:
    look.entered(0, 1, 2, 3)
    assert look.reckon() is None
    assert look.told() == []
    assert [step.nodes for step in look.queue.steps] == [FOUR]


@pytest.mark.parametrize(
    ("recorded", "task", "words"),
    [
        ("no_such_sqsh_on_one_node", 2, "the image file does not exist"),
        ("no_space_on_one_node", 1, "no space where images are unpacked"),
        ("hook_fails_on_one_node", 3, "a hook of Enroot failed"),
        ("no_such_mount_on_one_node", 0, "cannot be"),
        ("no_enroot_on_one_node", 1, "not installed on the node"),
        ("read_only_on_one_node", 2, "cannot be made"),
    ],
)
def test_a_node_that_cannot_be_entered_is_told_as_that_and_left_out(
    look: Look, recorded: str, task: int, words: str
) -> None:
    inside = [number for number in range(4) if number != task]
    look.entered(*inside)
    assert look.reckon((PYXIS / f"{recorded}.err").read_text()) is None
    (event,) = look.told()
    assert event.nodes == (FOUR[task],)
    assert words in event.detail
    assert "so on 1 of 4 nodes, 3 could be entered: look at this node rather than at the image" in event.detail
    assert [step.nodes for step in look.queue.steps] == [tuple(FOUR[number] for number in inside)]


@pytest.mark.parametrize("recorded", ["no_such_sqsh", "torn_sqsh", "registry_bearer", "no_python", "another_version"])
def test_when_no_node_can_be_entered_the_job_ends_and_blames_nobody(look: Look, recorded: str) -> None:
    why = look.reckon((PYXIS / f"{recorded}.err").read_text())
    assert why is not None
    assert why[0].startswith("container: ")
    assert "on all 4 nodes" in why[0]
    assert why[1]
    assert look.told() == []


def test_nodes_with_the_same_trouble_are_told_together_and_others_apart(look: Look) -> None:
    look.entered(0)
    full = (PYXIS / "no_space_on_one_node.err").read_text()
    lacking = (PYXIS / "no_such_sqsh_on_one_node.err").read_text()
    texts = [full, full.replace("1: ", "3: ").replace("node1", "node3"), lacking]
    assert look.reckon("".join(texts)) is None
    assert sorted(event.nodes for event in look.told()) == [("node1", "node3"), ("node2",)]


def test_different_troubles_everywhere_name_the_one_of_most_nodes(look: Look) -> None:
    full = (PYXIS / "no_space_on_one_node.err").read_text()
    texts = [full.replace("1: ", f"{n}: ") for n in (0, 1, 3)] + [(PYXIS / "no_such_sqsh_on_one_node.err").read_text()]
    why = look.reckon("".join(texts))
    assert why is not None
    assert "no space" in why[0]
    assert "on 3 of 4 nodes, on none is it entered" in why[0]


def test_what_a_rank_says_of_itself_needs_no_standard_error(look: Look) -> None:
    look.entered(0, 1, 2)
    look.journal(3).write(rank_started(3, "node3"))
    look.journal(3).write(RankStopped("MPI cannot join: PMIx 4.2.2 of the host and 1.2.4 of the image", by_peer=False))
    assert look.reckon() is None
    (event,) = look.told()
    assert event.nodes == ("node3",)
    assert "MPI cannot join its host" in event.detail
    assert "1.2.4" in event.detail


def test_a_node_that_takes_too_long_is_told_with_the_time_it_had(look: Look) -> None:
    look.entered(0, 1, 3)
    assert look.reckon(late=True) is None
    (event,) = look.told()
    assert event.nodes == ("node2",)
    assert f"did not start within {PLAN.start_deadline_s:g} s" in event.detail
    assert "--start-timeout" in event.remedy


def test_what_an_ended_container_says_does_not_hide_that_it_was_late(look: Look) -> None:
    look.entered(0, 1, 3)
    assert look.reckon("2: slurmstepd-node2: error: pyxis: container exited too soon\n", late=True) is None
    assert "did not start within" in look.told()[0].detail


def test_words_that_nobody_knows_are_quoted(look: Look) -> None:
    look.entered(0, 1, 2)
    assert look.reckon("3: something that nobody has ever seen\n") is None
    (event,) = look.told()
    assert "something that nobody has ever seen" in event.detail


def test_labels_are_those_of_srun_whatever_their_width() -> None:
    assert by_task(" 3: a\n12: b\nsrun: error: x\n 3: c\n") == {3: "a\nc", 12: "b"}


def test_a_course_without_nodes_left_is_over(look: Look) -> None:
    assert next_step(StepQueue(()))[0] is None
    assert look.reckon("srun: error: Unable to create step: Requested nodes are busy\n") is not None
