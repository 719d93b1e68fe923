from __future__ import annotations

import json
from typing import Any

import pytest
from support.builders import AT, suite

from hpcaccept.config.settings import Settings
from hpcaccept.errors import UsageError
from hpcaccept.launch import refuse_unfit
from hpcaccept.model.plan import Image, Plan, Request
from hpcaccept.plan.make import image_of, make_plan, request_of
from hpcaccept.serial import dumps, from_plain


def made(settings: Settings, *checks: str, gpus: int = 0, launcher: str = "slurm", image: Image | None = None) -> Plan:
    return make_plan(
        settings,
        suite(*checks or ("identity", "matmul")),
        request_of(settings, gpus),
        image or Image(),
        launcher=launcher,
        run_id="r",
        now=AT,
        version="0.1.0",
        commit="c",
    )


# --- the request ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "gpus", "ranks"),
    [({}, 0, 1), ({}, 8, 8), ({}, 1, 1), ({"ranks_per_node": 4}, 0, 4), ({"ranks_per_node": 8}, 8, 8)],
)
def test_there_is_one_rank_per_gpu_else_one_per_node(settings: dict[str, Any], gpus: int, ranks: int) -> None:
    assert request_of(Settings(**settings), gpus).ranks_per_node == ranks


def test_a_request_carries_what_was_set() -> None:
    settings = Settings(
        nodes=2, partition="gpu", account="hpc", exclude="n7", time="1:30:00", slurm={"qos": "high"}, mpi="pmi2"
    )
    assert request_of(settings, 0) == Request(
        nodes=2, exclude="n7", partition="gpu", account="hpc", time_s=5400, slurm={"qos": "high"}, mpi="pmi2"
    )


@pytest.mark.parametrize(
    ("nodelist", "count"), [("node7", 1), ("node[01-04]", 4), ("node[01-02],gpu7", 3), ("a,b,a", 2)]
)
def test_a_node_list_says_how_many_nodes(nodelist: str, count: int) -> None:
    request = request_of(Settings(nodelist=nodelist), 0)
    assert (request.nodes, request.nodelist) == (count, nodelist)


@pytest.mark.parametrize(
    ("settings", "gpus", "words"),
    [
        ({"nodes": 0}, 0, "--nodes is 0, expected 1 to 65,533"),
        ({"nodes": -4}, 0, "--nodes is -4"),
        ({"ranks_per_node": -1}, 0, "--ranks-per-node is -1"),
        ({"ranks_per_node": 4}, 8, "--ranks-per-node is 4 with 8 GPUs per node: each GPU needs one rank"),
        ({"nodes": 3, "nodelist": "node[1-2]"}, 0, "--nodes is 3, --nodelist names 2 nodes"),
        ({"nodelist": "node[1-"}, 0, r"--nodelist 'node\[1-' is not a node list"),
        ({"nodelist": "node[4-1]"}, 0, "is not a node list"),
        ({"time": "soon"}, 0, "--time: found 'soon', expected minutes"),
    ],
)
def test_a_request_that_cannot_be_is_refused(settings: dict[str, Any], gpus: int, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        request_of(Settings(**settings), gpus)


# --- the image --------------------------------------------------------------------------------------------------------


def test_without_a_container_the_ranks_use_this_python() -> None:
    assert image_of(Settings(), "/venv/bin/python") == Image("none", "", (), "/venv/bin/python")


def test_a_named_python_wins() -> None:
    assert image_of(Settings(python="/opt/py"), "/venv/bin/python").python == "/opt/py"
    assert image_of(Settings(python="/opt/py", container_image="x"), "/venv/bin/python").python == "/opt/py"


def test_in_a_container_the_python_of_the_image_is_used_and_the_runs_are_seen() -> None:
    settings = Settings(container_image="reg#a:1", container_mounts="/data:/data:ro,/scratch:/scratch", runs_dir="/r")
    image = image_of(settings, "/venv/bin/python")
    assert image == Image("pyxis", "reg#a:1", ("/r:/r", "/data:/data:ro", "/scratch:/scratch"), "python3")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"container_mounts": "/a:/b"}, "--container-mounts needs --container-image"),
        ({"container_image": "x", "container_mounts": "/a"}, "found '/a', expected SRC:DST"),
        ({"container_image": "x", "container_mounts": "/a:/b,/c"}, "found '/c', expected SRC:DST"),
    ],
)
def test_mounts_that_cannot_be_are_refused(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        image_of(Settings(**settings), "python")


def test_a_container_needs_slurm() -> None:
    with pytest.raises(
        UsageError, match="--container-runtime is 'pyxis', which the launcher 'local' cannot use; it needs slurm"
    ):
        refuse_unfit("local", Request(1), "pyxis")


# --- the plan ---------------------------------------------------------------------------------------------------------


def test_a_plan_depends_on_its_arguments_alone() -> None:
    settings = Settings(nodes=4, start_timeout_s=60)
    one, other = made(settings, gpus=8), made(settings, gpus=8)
    assert one == other
    assert (one.created_at, one.version, one.commit, one.run_id) == (AT, "0.1.0", "c", "r")
    assert one.start_deadline_s == 60


def test_a_plan_comes_back_from_its_file() -> None:
    one = made(Settings(nodes=2, slurm={"qos": "x"}))
    assert from_plain(json.loads(dumps(one)), Plan) == one


@pytest.mark.parametrize(
    ("settings", "gpus", "required"),
    [({"nodes": 1}, 0, False), ({"nodes": 1}, 1, False), ({"nodes": 1}, 8, True), ({"nodes": 2}, 0, True)],
)
def test_what_needs_several_ranks_is_not_required_of_a_single_one(
    settings: dict[str, Any], gpus: int, required: bool
) -> None:
    specs = made(Settings(**settings), "identity", "allreduce", gpus=gpus).suite.checks
    assert [spec.required for spec in specs] == [True, required]
