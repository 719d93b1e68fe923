"""Facts in, findings out: every bad case of a path from the login node to a number, and what is said of it."""

from __future__ import annotations

import math
import struct
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.builders import DATA, plan

from hpcaccept import __version__, launch
from hpcaccept.app import doctor
from hpcaccept.app.doctor import Diagnosis, judged, modules, nodes
from hpcaccept.app.doctor.as_json import plain
from hpcaccept.app.doctor.case import Case
from hpcaccept.app.doctor.fitting import Seen
from hpcaccept.app.doctor.login import account, gres, image, mpi_types, mpiexec, partition, runs_folder, slurm
from hpcaccept.app.doctor.probe_nodes import probe_command
from hpcaccept.errors import install_hint
from hpcaccept.model.doctor.finding import Finding
from hpcaccept.model.doctor.probe import Clock, NoAnswer, NodeFacts, ProbeRequest, ProbeResult
from hpcaccept.model.node import NodeState, Reserved, TakenOut
from hpcaccept.model.plan import Image, Request
from hpcaccept.parse.image_file import ImageFile
from hpcaccept.parse.slurm.nodes import parse_nodes
from hpcaccept.parse.slurm.site import (
    Accounting,
    Partition,
    parse_accounting,
    parse_associations,
    parse_partitions,
)
from hpcaccept.parse.squashfs import Superblock, parse_superblock
from hpcaccept.report.views.findings import conclusion, render_findings

if TYPE_CHECKING:
    from collections.abc import Sequence

GIB = 1 << 30
SAID = DATA / "doctor"
GPU = Partition("gpu", "UP", default=True)
CASE = Case("slurm", Request(4, gpus_per_node=8), Image(), Path("/shared/runs"))


def node(number: int, **more: Any) -> NodeState:
    return NodeState(
        **{"name": f"n{number}", "flags": ("IDLE",), "gpus": (("h100", 8),), "partitions": ("gpu",), **more}
    )


def site(*found: NodeState, partitions: tuple[Partition, ...] = (GPU,), **more: Any) -> Seen:
    return Seen(partitions, found or tuple(map(node, range(4))), **more)


def only(findings: Sequence[Finding], look: str) -> Finding:
    (found,) = [finding for finding in findings if finding.look == look]
    return found


def asked(**request: Any) -> Case:
    return replace(CASE, request=replace(CASE.request, **request))


# --- this machine -----------------------------------------------------------------------------------------------------


def test_every_look_is_found_by_its_file() -> None:
    for package, folder in ((doctor.login, "login"), (nodes, "nodes")):
        files = {f.stem for f in (Path(doctor.__file__).parent / folder).glob("*.py")} - {"__init__"}
        assert {module.__name__.rpartition(".")[2] for module in modules(package)} == files
        places = [module.PLACE for module in modules(package)]
        assert places == sorted(places)


def test_a_slurm_that_does_not_answer_stops_everything() -> None:
    (found,) = slurm.judge(CASE, ("no Slurm controller answers: is DOWN", ""))
    assert (found.mark, found.stops) == ("wrong", True)
    assert "scontrol ping" in found.remedy
    (found,) = slurm.judge(CASE, ("", "slurm-wlm 22.05.8"))
    assert (found.mark, found.found) == ("ok", "slurm-wlm 22.05.8 answers")


def test_a_partition_that_is_not_there_names_those_that_are() -> None:
    (found,) = partition.judge(asked(partition="gpus"), site())
    assert (found.mark, found.found, found.expected, found.stops) == ("wrong", "there is no 'gpus'", "one of gpu", True)
    (found,) = partition.judge(CASE, site(partitions=(Partition("cpu", "UP"),)))
    assert found.found == "Slurm has no default partition"


def test_a_partition_that_is_down_is_wrong() -> None:
    found = only(partition.judge(CASE, site(partitions=(replace(GPU, state="DOWN"),))), "partition")
    assert (found.mark, found.found, found.stops) == ("wrong", "gpu is down", True)


def test_a_partition_may_not_take_the_account() -> None:
    for closed in (replace(GPU, accounts=("x",)), replace(GPU, closed_to=("z",))):
        findings = partition.judge(asked(account="z"), site(partitions=(closed,)))
        assert [finding.found for finding in findings if finding.mark == "wrong"] == ["gpu does not take account z"]
        assert all(f.mark == "ok" for f in partition.judge(asked(account="x"), site(partitions=(closed,))))


def test_drained_nodes_are_told_by_name_and_count() -> None:
    drained = [node(i, flags=("IDLE", "DRAIN")) for i in (1, 2)]
    found = only(partition.judge(asked(nodes=2), site(node(0), *drained, node(3))), "nodes")
    assert found.mark == "warning"
    assert found.found == "2 of 4 nodes can be used, 2 idle; n[1-2] drain"
    found = only(partition.judge(CASE, site(node(0), *drained, node(3))), "nodes")
    assert (found.mark, found.expected, found.stops) == ("wrong", "4", True)
    assert "sinfo -R -p gpu" in found.remedy


@pytest.mark.parametrize("flag", ["DOWN", "FAIL", "MARK *", "NOT_RESPONDING", "UNKNOWN", "MAINT", "RESERVED"])
def test_a_node_on_which_no_job_can_start_is_not_counted(flag: str) -> None:
    found = only(partition.judge(CASE, site(*map(node, range(3)), node(3, flags=("IDLE", flag)))), "nodes")
    assert found.mark == "wrong"


@pytest.mark.parametrize("flags", [("IDLE", "RESERVED"), ("IDLE", "MAINTENANCE", "RESERVED"), ("IDLE", "MAINT")])
def test_what_a_reservation_keeps_is_for_the_run_that_names_it(flags: tuple[str, ...]) -> None:
    kept = [node(i, flags=flags) for i in range(4)]
    of = [
        Reserved("night", 0.0, math.inf, frozenset(n.name for n in kept)),
        Reserved("day", 0.0, math.inf, frozenset(("x",))),
    ]
    mine = site(*kept, kept=tuple(of))
    found = only(partition.judge(asked(slurm={"reservation": "night"}), mine), "nodes")
    assert (found.mark, found.found) == ("ok", "4 of 4 nodes can be used, 4 idle")
    other = only(partition.judge(asked(slurm={"reservation": "day"}), mine), "nodes")
    assert (other.mark, other.stops, other.passes) == ("wrong", True, False)
    # It ends by itself: who can wait may queue.
    nobody = only(partition.judge(CASE, mine), "nodes")
    assert (nobody.mark, nobody.stops, nobody.passes) == ("wrong", True, True)
    by_shell = only(partition.judge(CASE, replace(mine, environ={"SBATCH_RESERVATION": "night"})), "nodes")
    assert by_shell.mark == "ok"


def test_outside_its_reservation_a_run_has_nothing() -> None:
    free = tuple(map(node, range(4)))
    mine = site(*free, kept=(Reserved("night", 0.0, math.inf, frozenset(("n0", "n1"))),))
    found = only(partition.judge(asked(nodes=3, slurm={"reservation": "night"}), mine), "nodes")
    assert found.found == "2 of 4 nodes can be used, 2 idle; n[2-3] elsewhere"


def test_a_reservation_that_is_not_there_names_those_that_are() -> None:
    seen = site(kept=(Reserved("night", 0.0, math.inf, frozenset(("n0",))),))
    found = only(partition.judge(asked(slurm={"reservation": "nigth"}), seen), "reservation")
    assert (found.mark, found.found, found.expected, found.stops) == (
        "wrong",
        "there is no 'nigth'",
        "one of night",
        True,
    )
    found = only(partition.judge(asked(slurm={"reservation": "x"}), site()), "reservation")
    assert (found.expected, found.remedy) == ("none: there is no reservation", "Leave it out")


def test_only_partitions_that_the_user_may_use_are_offered() -> None:
    closed = (GPU, Partition("staff", "UP", groups=("wheel",)), Partition("root", "UP", root_only=True))
    users = site(partitions=closed, groups=frozenset(("users",)))
    assert partition.judge(asked(partition="x"), users)[0].expected == "one of gpu"
    assert partition.judge(asked(partition="x"), replace(users, groups=None))[0].expected == "one of gpu, staff, root"
    (found,) = [f for f in partition.judge(asked(partition="staff"), users) if f.expected == "one of gpu"]
    assert (found.found, found.expected) == ("staff is for the groups wheel", "one of gpu")
    # Slurm looks groups up elsewhere, and has the last word.
    assert not found.stops


def test_the_partition_that_the_shell_names_is_looked_at() -> None:
    both = site(partitions=(GPU, Partition("old", "DOWN")), environ={"SBATCH_PARTITION": "old"})
    assert partition.judge(CASE, both)[0].found == "old is down"
    assert partition.judge(asked(partition="gpu"), both)[0].found == "gpu is up"


def test_a_drained_node_is_told_with_why_by_whom_since_when_and_what_fits() -> None:
    (drained,) = parse_nodes(
        "NodeName=n3 Gres=gpu:h100:8 State=IDLE+DRAIN Partitions=gpu Reason=bad DIMM in slot 3, ticket #42 [root@1795944475]"
    )
    found = only(partition.judge(CASE, site(*map(node, range(3)), drained)), "nodes")
    assert found.found == (
        "3 of 4 nodes can be used, 3 idle; n3 drain: bad DIMM in slot 3, ticket #42 (root, 2026-11-29 09:27 UTC)"
    )
    assert found.remedy.startswith("--nodes 3; with the others, once they are in service again: sinfo -R -p gpu")
    named = only(partition.judge(asked(nodelist="n[0-3]"), site(*map(node, range(3)), drained)), "nodes")
    assert named.remedy.startswith("--nodelist n[0-2]; with the others")


def test_of_many_reasons_a_few_are_told_and_the_rest_is_counted() -> None:
    many = [node(i, flags=("DOWN",), out=TakenOut(f"reason {i % 6}")) for i in range(12)]
    found = only(partition.judge(CASE, site(*many)), "nodes")
    assert "n[0,6] down: reason 0; " in found.found
    assert found.found.endswith("; 4 nodes more")
    assert found.remedy.startswith("sinfo -R")


def test_busy_nodes_can_be_used_later() -> None:
    found = only(partition.judge(CASE, site(*(node(i, flags=("ALLOCATED",)) for i in range(4)))), "nodes")
    assert (found.mark, found.found) == ("warning", "4 of 4 nodes can be used, 0 idle")


def test_named_nodes_must_belong_to_the_partition() -> None:
    found = only(partition.judge(asked(nodes=2, nodelist="n[3-4]"), site()), "nodes")
    assert (found.mark, found.found) == ("wrong", "n4 not in gpu")
    found = only(partition.judge(asked(nodes=2, nodelist="n[2-3]"), site()), "nodes")
    assert (found.mark, found.found) == ("ok", "2 of 2 nodes can be used, 2 idle")


def test_a_partition_may_allow_fewer_nodes_to_a_job() -> None:
    found = only(partition.judge(CASE, site(partitions=(replace(GPU, most_nodes=2),))), "nodes")
    assert (found.mark, found.found, found.remedy) == ("wrong", "at most 2 to a job", "--nodes 2")


def test_a_run_that_is_longer_than_the_partition_allows_would_wait_for_ever() -> None:
    case = replace(asked(time_s=7200.0), plan=plan(time_s=7200.0))
    short = site(partitions=(replace(GPU, most_s=3600.0),))
    found = only(partition.judge(case, short), "time limit")
    assert (found.mark, found.found) == ("wrong", "1 h 0 min at most")
    assert found.remedy.startswith("--time 60 ")
    assert only(partition.judge(case, site(partitions=(replace(GPU, most_s=7200.0),))), "time limit").mark == "ok"
    assert only(partition.judge(case, site()), "time limit").found == "none"


@pytest.mark.parametrize(
    ("asked_for", "seen", "mark", "said"),
    [
        ("", account.Seen(Accounting(False, False), "ada"), "ok", "not kept here: Slurm takes any"),
        ("x", account.Seen(Accounting(False, False), "ada"), "ok", "not kept here: Slurm takes any"),
        ("x", account.Seen(Accounting(True, True), "ada", ("x", "y")), "ok", "x"),
        ("", account.Seen(Accounting(True, True), "ada", ("x", "y")), "ok", "x, y (the default is taken)"),
        ("z", account.Seen(Accounting(True, True), "ada", ("x", "y")), "wrong", "ada has x, y"),
        ("z", account.Seen(Accounting(True, False), "ada", ("x",)), "warning", "ada has x"),
        ("", account.Seen(Accounting(True, True), "ada"), "wrong", "ada has none"),
    ],
)
def test_accounts(asked_for: str, seen: account.Seen, mark: str, said: str) -> None:
    (found,) = account.judge(asked(account=asked_for), seen)
    assert (found.mark, found.found) == (mark, said)
    assert found.stops == (mark == "wrong")


def test_seven_of_eight_gpus_in_the_gres_are_told_by_node() -> None:
    (found,) = gres.judge(CASE, site(*map(node, range(3)), node(3, gpus=(("h100", 7),))))
    assert (found.mark, found.found, found.expected, found.stops) == ("wrong", "n3: 7 GPUs", "8", True)
    (found,) = gres.judge(asked(nodes=3), site(*map(node, range(3)), node(3, gpus=(("h100", 7),))))
    assert (found.mark, found.stops) == ("warning", False)
    (found,) = gres.judge(CASE, site())
    assert (found.mark, found.found) == ("ok", "8 GPUs to a node")


def test_gpus_of_another_kind_are_no_gpus_of_this_request() -> None:
    sliced = [node(i, gpus=(("ampere", 6), ("1g.10gb", 28))) for i in range(4)]
    (found,) = gres.judge(asked(gpus_per_node=6), site(*sliced))
    assert (found.mark, found.stops) == ("wrong", True)
    assert found.found == "n0: ampere:6, 1g.10gb:28 to a node, slices among them, and which are meant is not said"
    assert found.remedy == "--gpus-per-node ampere:6 or --gpus-per-node 1g.10gb:28"
    for gpu_type, count in (("ampere", 6), ("1g.10gb", 28)):
        (found,) = gres.judge(asked(gpus_per_node=count, gpu_type=gpu_type), site(*sliced))
        assert (found.mark, found.found) == ("ok", f"{gpu_type}:{count} to a node")
    (found,) = gres.judge(asked(gpus_per_node=8, gpu_type="ampere"), site(*sliced))
    assert (found.mark, found.found, found.expected) == ("wrong", "n[0-3]: ampere:6, 1g.10gb:28", "ampere:8")


def test_what_starts_mpi() -> None:
    assert mpi_types.judge(asked(mpi="pmix"), ("none", "pmi2", "pmix"))[0].mark == "ok"
    (found,) = mpi_types.judge(asked(mpi="pmix"), ("none", "pmi2"))
    assert (found.mark, found.found, found.remedy) == ("wrong", "none, pmi2", "--mpi pmi2")
    assert mpi_types.judge(asked(mpi="pmi2"), ("none", "pmi2"))[0].mark == "warning"
    assert mpi_types.judge(asked(mpi="none"), ("none", "pmix"))[0].remedy == "--mpi pmix"
    (found,) = mpiexec.judge(replace(CASE, launcher="local"), ("", ""))
    assert (found.mark, found.stops) == ("wrong", True)
    assert install_hint("mpi") in found.remedy


ROOMY = runs_folder.Seen("/shared/runs", "lustre", 1 << 40, None)


def test_a_runs_folder_with_room_is_ok() -> None:
    (found,) = runs_folder.judge(CASE, ROOMY)
    assert (found.mark, found.found) == ("ok", "/shared/runs: 1.1 TB free on lustre")


@pytest.mark.parametrize(
    ("change", "mark", "said"),
    [
        ({"no_write": "Permission denied"}, "wrong", "Permission denied"),
        ({"free_bytes": 1 << 20}, "wrong", "1.05 MB free"),
        ({"free_bytes": 100 << 20}, "warning", "105 MB free"),
        ({"free_files": 12}, "warning", "room for 12 files"),
    ],
)
def test_a_runs_folder_without(change: dict[str, Any], mark: str, said: str) -> None:
    (found,) = runs_folder.judge(CASE, replace(ROOMY, **change))
    assert found.mark == mark
    assert said in found.found


def test_a_runs_folder_in_the_memory_of_this_machine_is_warned_of_where_no_node_is_asked() -> None:
    seen = replace(ROOMY, kind="tmpfs")
    assert runs_folder.judge(CASE, seen)[0].mark == "ok"  # the nodes themselves will say whether they see it
    (found,) = runs_folder.judge(replace(CASE, quick=True), seen)
    assert (found.mark, found.expected) == ("warning", "shared")


SQSH = replace(CASE, image=Image("pyxis", "/shared/a.sqsh"))
GOOD = ImageFile("squashfs 4.0, zstd", 1000)


@pytest.mark.parametrize(
    ("seen", "mark", "said"),
    [
        (image.Seen(size_bytes=4096, image=GOOD), "ok", "4.1 kB, squashfs 4.0, zstd"),
        (image.Seen(no_file="No such file or directory"), "wrong", "No such file or directory"),
        (image.Seen(size_bytes=4096), "wrong", "4.1 kB, not squashfs"),
        (image.Seen(size_bytes=900, image=GOOD), "wrong", "900 B, cut short"),
    ],
)
def test_the_file_of_an_image(seen: image.Seen, mark: str, said: str) -> None:
    runtime, found = image.judge(SQSH, seen)
    assert runtime.mark == "ok"
    assert found.mark == mark
    assert found.found == f"/shared/a.sqsh: {said}"
    assert found.stops == (mark == "wrong")


SIF = replace(CASE, image=Image("apptainer", "/shared/a.sif"))


def test_the_file_of_another_format_is_judged_by_its_own_header() -> None:
    whole = ImageFile("SIF 01", 61440)
    _, good = image.judge(SIF, image.Seen(size_bytes=61440, image=whole))
    _, cut = image.judge(SIF, image.Seen(size_bytes=40000, image=whole))
    _, other = image.judge(SIF, image.Seen(size_bytes=5))
    assert [found.mark for found in (good, cut, other)] == ["ok", "wrong", "wrong"]
    assert good.found == "/shared/a.sif: 61.4 kB, SIF 01"
    assert "apptainer pull" in cut.remedy
    assert other.expected == "a SIF image"


def test_a_runtime_that_only_the_nodes_need_is_not_looked_for_here() -> None:
    runtime, _ = image.judge(SIF, image.ask(SIF))
    assert (runtime.mark, runtime.found) == ("ok", "not needed here: the nodes must have it")


def test_an_engine_that_is_not_on_the_path_stops_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    asked = replace(CASE, image=Image("docker", "team/x:1"))
    runtime, _ = image.judge(asked, image.ask(asked))
    assert (runtime.found, runtime.remedy, runtime.stops) == (
        "there is no docker on this machine",
        "Install docker.",
        True,
    )


def test_a_tag_may_move_and_a_digest_may_not() -> None:
    tag = replace(CASE, image=Image("pyxis", "nvcr.io#nvidia/pytorch:25.10-py3"))
    assert image.judge(tag, image.Seen())[1].mark == "warning"
    digest = replace(CASE, image=Image("pyxis", f"nvcr.io#nvidia/pytorch@sha256:{'0' * 64}"))
    assert image.judge(digest, image.Seen())[1].mark == "ok"


def test_a_slurm_without_pyxis_stops_a_run_in_an_image() -> None:
    runtime = image.judge(SQSH, image.Seen("srun --help knows no --container-image", 4096, GOOD))[0]
    assert (runtime.look, runtime.mark, runtime.stops) == ("pyxis", "wrong", True)


def test_the_superblock_of_a_squashfs_image() -> None:
    # magic, inodes, time, block size, fragments, compressor …, version 4.0, root inode, bytes used, the rest
    head = b"hsqs" + struct.pack("<4I6HQQ", 5, 0, 131072, 0, 6, 17, 0, 1, 4, 0, 0, 123456).ljust(92, b"\0")
    assert parse_superblock(head) == Superblock("4.0", "zstd", 123456)
    assert parse_superblock(head[:50]) is None
    assert parse_superblock(b"ustar".ljust(96, b"\0")) is None


# --- what Slurm says, recorded ----------------------------------------------------------------------------------------


def test_recorded_partitions_are_read() -> None:
    found = {p.name: p for p in parse_partitions((SAID / "partitions.txt").read_text())}
    assert found == {
        "gpu": Partition("gpu", "UP", default=True),
        "small": Partition("small", "UP", most_s=60.0),
        "down": Partition("down", "DOWN"),
        "shut": Partition("shut", "UP", most_s=90000.0, most_nodes=2, accounts=("physics", "chemistry")),
    }


def test_recorded_accounting_is_read() -> None:
    assert parse_accounting((SAID / "config_plain.txt").read_text()) == Accounting(False, False)
    assert parse_accounting((SAID / "config_accounted.txt").read_text()) == Accounting(True, False)
    enforced = "AccountingStorageEnforce = associations,limits\nAccountingStorageType = accounting_storage/slurmdbd\n"
    assert parse_accounting(enforced) == Accounting(True, True)
    assert parse_associations((SAID / "associations.txt").read_text()) == ("acceptance", "root")


# --- the nodes --------------------------------------------------------------------------------------------------------

WELL = NodeFacts(
    node="n0", version=__version__, done=True, python="3.12.3", system="Ubuntu 24.04 LTS", boot_id="b", cores=96.0,
    cores_here=96, cores_given=96, memlock_bytes=-1, infiniband=8, shm_bytes=500 * GIB, tmp="/tmp",
    tmp_free_bytes=100 * GIB, gpus=8, torch="2.9.0", torch_cuda="12.8", torch_gpus=8, nccl="2.27.3", mpi4py="4.1.0",
    mpi="Open MPI v5.0.8", world=4, met=4, mpi_begun=True, pmix_host="4.2.2", pmix_image="5.0.3",
)  # fmt: skip


def four(last: dict[str, Any] | None = None, **every: Any) -> ProbeResult:
    """Four nodes, well but for what is said of all of them and of the last one."""
    found = [replace(WELL, node=f"n{i}", rank=i, **every) for i in range(4)]
    if last:
        found[3] = replace(found[3], **last)
    clocks = tuple(Clock(node.node, 0.001 * node.rank, 0.004) for node in found)
    return ProbeResult(tuple(found), clocks, asked=4)


def said_of(look: str, heard: ProbeResult, case: Case = CASE) -> list[Finding]:
    return [finding for finding in judged(case, heard) if finding.look == look]


def test_four_good_nodes_are_told_in_one_line_each() -> None:
    findings = judged(CASE, four())
    assert {finding.mark for finding in findings} == {"ok"}
    assert [finding.look for finding in findings] == [
        "job", "hpcaccept", "Python", "MPI", "MPI world", "PMIx", "torch", "GPUs", "runs seen", "clock", "memlock", "/dev/shm",
        "cores", "temp space",
    ]  # fmt: skip
    assert all(len(finding.nodes) == 4 for finding in findings[1:])


@pytest.mark.parametrize(
    ("look", "change", "mark", "said"),
    [
        ("hpcaccept", {"version": "0.0.1"}, "wrong", "0.0.1"),
        ("Python", {"python": "3.10.2"}, "warning", "3.10.2 on Ubuntu 24.04 LTS"),
        ("MPI", {"mpi4py": "", "world": 0}, "wrong", "mpi4py is not installed"),
        ("MPI", {"no_mpi": "MPI did not start within 60 s", "world": 0}, "wrong", "MPI did not start within 60 s"),
        ("MPI", {"world": 0, "done": False}, "wrong", "it ended the process when it started"),
        ("MPI", {"mpi": "Open MPI v4.1.4"}, "warning", "Open MPI v4.1.4, mpi4py 4.1.0"),
        ("MPI world", {"world": 1, "met": 1}, "wrong", "alone: a world of 1"),
        ("MPI world", {"met": 3}, "wrong", "words of 3 nodes came through"),
        ("PMIx", {"pmix_misfit": "they do not fit"}, "wrong", "host 4.2.2, image 5.0.3: they do not fit"),
        ("torch", {"no_torch": "No module named 'torch'"}, "wrong", "No module named 'torch'"),
        ("torch", {"torch_cuda": "", "torch_gpus": 0}, "wrong", "2.9.0 for CPUs"),
        ("torch", {"torch_gpus": 0}, "wrong", "2.9.0, CUDA 12.8, NCCL 2.27.3: it sees 0 GPUs"),
        ("torch", {"nccl": ""}, "wrong", "2.9.0, CUDA 12.8"),
        ("torch", {"torch": "2.8.0"}, "warning", "2.8.0, CUDA 12.8, NCCL 2.27.3, sees 8 GPUs"),
        ("GPUs", {"gpus": 7, "no_gpus": "GPU 3: lost"}, "wrong", "7 GPUs (GPU 3: lost)"),
        ("runs seen", {"no_read": "No such file or directory"}, "wrong", "No such file"),
        ("runs seen", {"no_write": "it does not arrive here"}, "wrong", "it does not arrive here"),
        ("memlock", {"memlock_bytes": 65536}, "wrong", "64KiB"),
        ("memlock", {"memlock_bytes": 65536, "infiniband": 0}, "warning", "64KiB"),
        ("memlock", {"memlock_bytes": None}, "unknown", "could not look"),
        ("/dev/shm", {"shm_bytes": 64 << 20}, "wrong", "64MiB"),
        ("/dev/shm", {"shm_bytes": 2 * GIB}, "warning", "2GiB"),
        ("/dev/shm", {"no_shm": "Permission denied"}, "wrong", "Permission denied"),
        ("cores", {"cores": 1.0}, "wrong", "1"),
        ("cores", {"cores": 95.0}, "warning", "95"),
        ("temp space", {"no_tmp": "Read-only file system"}, "wrong", "/tmp: Read-only file system"),
        ("temp space", {"tmp_free_bytes": 5 << 20}, "warning", "5 MiB free in /tmp"),
        ("locale", {"no_locale": "the locale 'de_DE.UTF-8' is not installed there"}, "warning", "de_DE.UTF-8"),
    ],
)  # fmt: skip
def test_one_node_that_differs_is_told_by_name(look: str, change: dict[str, Any], mark: str, said: str) -> None:
    (bad,) = [finding for finding in said_of(look, four(change)) if finding.mark != "ok"]
    assert (bad.mark, bad.nodes) == (mark, ("n3",))
    assert said in bad.found
    assert bad.remedy or bad.mark == "unknown"
    others = [finding for finding in said_of(look, four(change)) if finding.mark == "ok"]
    assert [finding.nodes for finding in others] == ([("n0", "n1", "n2")] if look != "locale" else [])


def test_of_a_version_that_is_not_understood_nothing_else_is_claimed() -> None:
    strange = ProbeResult((NodeFacts("n0", version="9.0", done=True),), asked=1)
    assert {f.look for f in judged(asked(nodes=1), strange) if f.mark == "wrong"} == {"hpcaccept"}


def test_without_gpus_asked_for_nothing_is_expected_of_them() -> None:
    cpu = four(gpus=None, torch_cuda="", torch_gpus=0, nccl="", memlock_bytes=65536, infiniband=0, shm_bytes=GIB)
    assert {finding.mark for finding in judged(asked(gpus_per_node=0), cpu)} == {"ok"}


def test_more_cores_in_slurms_configuration_than_there_are_are_no_fault_of_the_job() -> None:
    (found,) = said_of("cores", four(cores=2.0, cores_here=2, cores_given=8))
    assert (found.mark, found.expected) == ("ok", "2 that Slurm gave")


def test_a_clock_ten_seconds_off_is_wrong_and_told_by_name() -> None:
    heard = replace(four(), clocks=(*four().clocks[:3], Clock("n3", -10.0, 0.004)))
    good, bad = said_of("clock", heard)
    assert (good.mark, good.nodes, good.found) == ("ok", ("n0", "n1", "n2"), "within 6 ms of here, 2 ms of each other")
    assert (bad.mark, bad.nodes, bad.found) == ("wrong", ("n3",), "10 s behind this machine")
    late, unseen = said_of("clock", replace(four(), clocks=(Clock("n0", 1.0, 0.1),)))
    assert (late.mark, late.found) == ("warning", "1 s ahead of this machine")
    assert (unseen.mark, unseen.nodes) == ("warning", ("n1", "n2", "n3"))


def test_a_slow_answer_is_no_wrong_clock() -> None:
    found = said_of("clock", replace(four(), clocks=(Clock("n0", 3.0, 3.0),)))[0]
    assert (found.mark, found.nodes) == ("ok", ("n0",))


def test_nodes_that_did_not_speak_are_told_with_their_cause_and_the_rest_is_judged() -> None:
    silent = NoAnswer(("n3",), "container: the registry refused the image (401)", "Put credentials")
    heard = ProbeResult(four().nodes[:3], silent=(silent,), waited_s=3.0, asked=4)
    job, why = said_of("job", heard)
    assert (job.mark, job.found) == ("warning", "3 of 4 nodes answered in 3.0 s")
    assert (why.mark, why.nodes, why.remedy) == ("wrong", ("n3",), "Put credentials")
    assert said_of("torch", heard)[0].nodes == ("n0", "n1", "n2")


def test_mpi_is_not_blamed_for_waiting_for_a_silent_node() -> None:
    waiting = ProbeResult(
        four(world=0, done=False).nodes[:3], silent=(NoAnswer(("n3",), "nothing was heard of it"),), asked=4
    )
    (found,) = said_of("MPI", waiting)
    assert (found.mark, found.found) == ("unknown", "could not look: it waits for the nodes that are silent")


def test_a_process_that_ended_in_the_middle_is_told() -> None:
    _, cut = said_of("job", four({"done": False, "mpi_begun": False}))
    assert (cut.mark, cut.nodes) == ("wrong", ("n3",))


def test_a_job_that_never_began_is_nobodys_fault_and_no_acquittal() -> None:
    heard = ProbeResult((), silent=(NoAnswer((), "the job did not begin within 120 s"),), begun=False)
    (found,) = judged(CASE, heard)
    assert found.mark == "unknown"
    assert Diagnosis(CASE, (), (found,), heard).exit_code == 3


# --- the job ----------------------------------------------------------------------------------------------------------


def test_the_question_travels_as_a_run_would() -> None:
    slurm_options = {"qos": "high", "mail_type": "ALL"}
    made = plan(nodes=2, gpus_per_node=8, partition="gpu", account="a", slurm=slurm_options, mpi="pmix")
    made = replace(made, image=Image("pyxis", "/shared/a.sqsh", python="python3", name="a-run"))
    words = probe_command(made, ("NODE0", "NODE1"), ProbeRequest("t", "/shared/runs/.t", 8))
    job = launch.load("slurm").as_job(words, made, "t", 120.0)
    assert job[0] == "salloc"
    allocation, step = set(job[: job.index("srun")]), set(job[job.index("srun") :])
    assert {"--nodes=2", "--partition=gpu", "--account=a", "--qos=high", "--exclusive", "--time=2"} <= allocation
    assert {"--nodes=2", "--ntasks=2", "--mpi=pmix", "--container-image=/shared/a.sqsh", "--gpus-per-node=8"} <= step
    assert not [word for word in job if word.startswith(("--nodelist", "--mail", "--container-name"))]
    assert job[-4:-1] == ("python3", "-m", "hpcaccept.rank.probe")


# --- the page ---------------------------------------------------------------------------------------------------------


def page(findings: Sequence[Finding], many: int = 4, width: int = 80) -> str:
    from io import StringIO

    from rich.console import Console

    out = StringIO()
    Console(file=out, width=width, highlight=False).print(render_findings(findings, many))
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines())


def test_the_page_is_aligned_and_says_what_to_type() -> None:
    findings = [
        Finding("Slurm", "ok", "slurm-wlm 22.05.8 answers"),
        *said_of(
            "GPUs",
            four({"gpus": 7, "no_gpus": "GPU 3: lost", "gpus_remedy": "There: nvidia-smi -L; dmesg | grep -i xid"}),
        ),
    ]
    assert page(findings) == (
        "ok     Slurm  slurm-wlm 22.05.8 answers\n"
        "ok     GPUs   3 nodes: 8 GPUs, expected 8\n"
        "wrong  GPUs   n3: 7 GPUs (GPU 3: lost), expected 8\n"
        "              → There: nvidia-smi -L; dmesg | grep -i xid"
    )


def test_no_word_of_a_node_can_steer_the_terminal() -> None:
    assert "\x1b" not in page(said_of("torch", four(no_torch="\x1b[31mboom\x1b[0m")))


def test_what_could_not_be_looked_at_is_not_well() -> None:
    unseen = Finding("account", "unknown", "could not look: sacctmgr did not answer")
    assert conclusion([unseen]) == "Not ready: 1 could not be looked at."
    assert Diagnosis(CASE, (unseen,)).exit_code == 3
    warning = Finding("image", "warning", "a tag")
    assert conclusion([warning]) == "Nothing is wrong: 1 warning."
    assert Diagnosis(CASE, (warning,)).exit_code == 0
    assert plain(Diagnosis(CASE, (warning,), heard=four()))["findings"][0]["mark"] == "warning"
