"""A report to Azure takes its category from what health found, and from nothing else."""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.azure_fixtures import CPU_SIZE, HOST_KEY, Said, config_text
from support.stand_ins import DATA

from hpcaccept.app.azure import hosts, node_health
from hpcaccept.app.azure.found_faults import fault_of, keep
from hpcaccept.cli import main
from hpcaccept.errors import UsageError
from hpcaccept.provider.azure.nodes import Node
from hpcaccept.serial import dumps

if TYPE_CHECKING:
    from support.arm_server import ArmServer

NOW = dt.datetime(2026, 11, 29, 14, 5, tzinfo=dt.timezone.utc)
#: The recorded logs are of the machine node7 on this host.
NODE = Node("node7", "/vm/7", "id-7", "10.0.0.4", 50000, HOST_KEY, "ABC123456789", CPU_SIZE)


def health(log: str, now: dt.datetime = NOW) -> node_health.ScaleSetHealth:
    written = f"{now:%Y-%m-%dT%H:%M:%SZ}"
    word = b" passed\n" if log == "healthy" else b" failed\n"
    given: dict[str, bytes | str] = {
        node_health.AZNHC: (DATA / "aznhc/recorded" / f"{log}.log").read_bytes(),
        f"{node_health.AZNHC}.status": written.encode() + word,
        node_health.INFO: b"node7 10.0.0.4 ABC123456789\n",
    }
    return node_health.judge_nodes({"node7": given}, gpus=0, now=now)


def test_the_fault_that_was_found_is_reported(tmp_path: Path) -> None:
    keep(tmp_path, health("first_failure"), [NODE], NOW)
    found = fault_of(tmp_path, NODE, NOW)
    assert found.category == "HpcMissingGpu"
    assert "NHC2009" in found.description


@pytest.mark.parametrize(
    ("log", "node", "later", "says"),
    [
        ("healthy", NODE, dt.timedelta(0), "found PASS, expected FAIL"),
        ("silent_pass", NODE, dt.timedelta(0), "found ERROR, expected FAIL"),
        ("first_failure", NODE, dt.timedelta(hours=25), "is of 2026-11-29T14:05:00Z, expected the last 24 hours"),
        ("first_failure", NODE, dt.timedelta(hours=-1), "expected the last 24 hours"),
        ("first_failure", replace(NODE, vm_id="another"), dt.timedelta(0), "did not look at this VM"),
        ("first_failure", replace(NODE, name="node8"), dt.timedelta(0), "did not look at this VM"),
        ("first_failure", replace(NODE, physical_host="ELSEWHERE"), dt.timedelta(0), "The VM has moved"),
    ],
)
def test_what_was_not_found_of_this_vm_is_not_reported(
    tmp_path: Path, log: str, node: Node, later: dt.timedelta, says: str
) -> None:
    keep(tmp_path, health(log), [NODE], NOW)
    with pytest.raises(UsageError) as refused:
        fault_of(tmp_path, node, NOW + later)
    assert says in str(refused.value)


@pytest.mark.parametrize(
    ("categories", "says"),
    [
        (("Resource.Hpc.Unhealthy.MissingIB", "Resource.Hpc.Unhealthy.NvLink"), "several kinds of fault (MissingIB, NvLink)"),
        (("Resource.Hpc.Unhealthy.Unheard",), "a fault that has no category"),
        ((), "a fault that has no category"),
    ],
)  # fmt: skip
def test_nobody_guesses_which_fault(tmp_path: Path, categories: tuple[str, ...], says: str) -> None:
    (row,) = health("first_failure").rows
    keep(tmp_path, node_health.ScaleSetHealth((replace(row, categories=categories),)), [NODE], NOW)
    with pytest.raises(UsageError) as refused:
        fault_of(tmp_path, NODE, NOW)
    assert says in str(refused.value)
    assert "--category" in str(refused.value)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"time": 1, "nodes": []}', b"\xff"])
def test_a_file_that_is_none_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "health.json").write_bytes(content)
    with pytest.raises(UsageError, match="cannot be read"):
        fault_of(tmp_path, NODE, NOW)


def test_what_is_typed_is_not_looked_up_and_what_is_not_typed_is(logged_in: ArmServer, said: Said) -> None:
    Path("c.toml").write_text(config_text(CPU_SIZE, 1))
    Path("t1").mkdir()
    (Path("t1") / hosts._FILE).write_text(dumps(hosts._Kept((NODE,))))
    words = ["azure", "report-host", "c.toml", "node7"]
    assert main(words) == 2
    assert "there is no health of node7 to take it from" in said()
    now = dt.datetime.now(dt.timezone.utc)
    keep(Path("t1"), health("first_failure", now), [NODE], now)
    assert main(words) == 0
    properties = json.loads(said().partition("It was not sent")[0])["properties"]
    assert properties["impactCategory"] == "Resource.Hpc.Unhealthy.HpcMissingGpu"
    assert "NHC2009" in properties["impactDescription"]
    assert main([*words, "--description", "mine"]) == 0
    assert json.loads(said().partition("It was not sent")[0])["properties"]["impactDescription"] == "mine"
    assert main([*words, "--category", "MissingIB", "--description", "mine"]) == 0
    properties = json.loads(said().partition("It was not sent")[0])["properties"]
    assert properties["impactCategory"] == "Resource.Hpc.Unhealthy.MissingIB"
    assert logged_in.requests == []
