"""A machine that is reported to Azure, and a spot VM that is taken back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.azure_fixtures import CPU_SIZE, HOST_KEY, Said, config_text

from hpcaccept.app.azure import hosts
from hpcaccept.cli import main
from hpcaccept.provider.azure import health_report

if TYPE_CHECKING:
    from support.arm_server import ArmServer

NODE = "vm-000001"


@pytest.fixture
def azure(logged_in: ArmServer) -> ArmServer:
    logged_in.run_script = lambda name, _: f"hpcaccept:key {HOST_KEY} root@{name}\nhpcaccept:host BN-{name}\n"
    return logged_in


def cluster(extra: str = "") -> None:
    Path("c.toml").write_text(config_text(CPU_SIZE, more=extra))
    assert main(["azure", "up", "c.toml", "--max-hours", "2", "--no-wait", "--yes"]) == 0
    assert main(["azure", "hosts", "c.toml"]) == 0


def report(*more: str) -> int:
    what = ["--category", "HpcMissingGpu", "--description", "7 of 8 GPUs"]
    return main(["azure", "report-host", "c.toml", NODE, *what, *more])


def test_the_body_is_shown_and_not_sent(azure: ArmServer, said: Said) -> None:
    cluster()
    said()
    assert report("--detail", "serial=123", "--begun", "2026-11-29T12:00:00Z") == 0
    text = said()
    properties = json.loads(text[: text.rindex("}") + 1])["properties"]
    assert properties["impactCategory"] == "Resource.Hpc.Unhealthy.HpcMissingGpu"
    assert properties["startDateTime"] == "2026-11-29T12:00:00Z"
    assert properties["impactedResourceId"].endswith("/virtualMachineScaleSets/t1/virtualMachines/1")
    assert properties["additionalProperties"]["PhysicalHostName"] == f"BN-{NODE}"
    assert properties["additionalProperties"]["SerialNumber"] == "123"
    assert "It was not sent" in text
    assert azure.impacts == {}


def test_an_acknowledged_report_is_followed_to_the_last_answer(azure: ArmServer, said: Said) -> None:
    cluster()
    azure.insights = [
        [],
        [("AcknowledgedUnhealthy", False)],
        [("AcknowledgedUnhealthy", False), ("NodeRemovedFromService", True)],
    ]
    assert report("--send", "--yes") == 0
    text = said()
    assert text.count("AcknowledgedUnhealthy: Azure has the report") == 1
    assert text.index("AcknowledgedUnhealthy") < text.index("NodeRemovedFromService: the machine has been taken out")
    assert len(azure.impacts) == 1


def test_acknowledged_is_not_the_end_and_the_same_report_is_gone_on_with(azure: ArmServer, said: Said) -> None:
    cluster()
    azure.insights = [[("AcknowledgedUnhealthy", False)]]
    assert report("--send", "--yes", "--wait", "0") == 3
    (kept,) = Path("t1").glob("report-*.json")
    assert f"--follow {kept}" in said()
    azure.insights = [[("AcknowledgedUnhealthy", False), ("NodeRemovedFromService", True)]]
    assert main(["azure", "report-host", "c.toml", NODE, "--follow", str(kept)]) == 0
    assert len(azure.impacts) == 1


def test_a_report_that_azure_did_not_take_is_told(azure: ArmServer, said: Said) -> None:
    cluster()
    azure.insights = [[("TooManyRequests", True)]]
    assert report("--send", "--yes") == 3
    assert "report it again later" in said()


def test_a_subscription_that_is_not_enrolled_is_told_what_it_needs(azure: ArmServer, said: Said) -> None:
    cluster()
    azure.enrolled = False
    assert report("--send", "--yes") == 3
    assert "the role Impact Reporter" in said()


def test_a_report_is_not_sent_without_somebody_who_confirms(azure: ArmServer, said: Said) -> None:
    cluster()
    assert report("--send") == 2
    assert azure.impacts == {}


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["--category", "HpcMissingGPU"], "Did you mean 'HpcMissingGpu'?"),
        (["--detail", "serail=1"], "Did you mean 'serial'?"),
        (["--begun", "yesterday"], "--begun: found 'yesterday'"),
        (["--description", ""], "--description is missing"),
    ],
)
def test_what_azure_would_not_understand_is_refused_here(
    azure: ArmServer, said: Said, more: list[str], says: str
) -> None:
    cluster()
    assert report(*more) == 2
    assert says in said()
    assert azure.impacts == {}


def test_without_a_physical_host_there_is_no_report(azure: ArmServer, said: Said) -> None:
    azure.run_script = lambda name, _: f"hpcaccept:key {HOST_KEY} root@{name}\n"
    cluster()
    assert report() == 2
    assert "It must be read before the VM is rebooted or moved" in said()


def test_every_category_of_the_facts_has_azures_form() -> None:
    assert len(health_report.CATEGORIES) == 26
    assert health_report.CATEGORIES["Reboot"] == "Resource.Hpc.Reboot"
    assert health_report.CATEGORIES["NvLink"] == "Resource.Hpc.Unhealthy.NvLink"


def test_an_answer_without_a_code_is_never_the_last_one() -> None:
    found = health_report.insights_of([{}, {"properties": {"additionalDetails": {"terminalInsight": "true"}}}])
    assert [each.final for each in found] == [False, False]


@pytest.mark.parametrize("text", ["{", "[]", '{"identity": "x", "body": {}}', '{"identity": 1, "body": {}}'])
def test_what_is_no_report_is_refused(azure: ArmServer, said: Said, text: str) -> None:
    cluster()
    Path("r.json").write_text(text)
    assert main(["azure", "report-host", "c.toml", NODE, "--follow", "r.json"]) == 2


@pytest.mark.parametrize("mode", ["uniform", "flexible"])
def test_a_spot_vm_is_taken_back_and_the_hosts_say_who_is_left(azure: ArmServer, said: Said, mode: str) -> None:
    spot = "[spot]\nenabled = true\n"
    Path("c.toml").write_text(config_text(CPU_SIZE, cluster=f'orchestration = "{mode}"', more=spot))
    assert main(["azure", "up", "c.toml", "--max-hours", "2", "--no-wait", "--yes"]) == 0
    assert main(["azure", "hosts", "c.toml"]) == 0
    assert main(["azure", "simulate-eviction", "c.toml", NODE, "--yes"]) == 0
    said()
    assert main(["azure", "hosts", "c.toml"]) == 3
    assert f"{NODE} is gone" in said()
    assert [node.name for node in hosts.read_nodes(Path("t1"))] == ["vm-000000"]


def test_a_regular_vm_is_not_evicted(azure: ArmServer, said: Said) -> None:
    cluster()
    assert main(["azure", "simulate-eviction", "c.toml", NODE, "--yes"]) == 2
    assert "has no spot VMs" in said()
    assert not [each for each in azure.requests if "eviction" in each.lower()]


def identities(azure: ArmServer) -> int:
    return sum("runCommand" in each for each in azure.requests)


def test_a_physical_host_that_was_not_known_is_asked_for_again(azure: ArmServer, said: Said) -> None:
    answers = {"vm-000000": "BN1", NODE: ""}
    azure.run_script = lambda name, _: f"hpcaccept:key {HOST_KEY}\nhpcaccept:host {answers[name]}\nhpcaccept:size S\n"
    cluster()
    assert Path("t1/physical-hosts").read_text().rstrip().endswith("unknown")
    first = identities(azure)
    answers[NODE] = "BN2"
    assert main(["azure", "hosts", "c.toml"]) == 0
    assert identities(azure) == first + 1, "only the node that is not known is asked"
    assert Path("t1/physical-hosts").read_text().rstrip().endswith("BN2")
    assert main(["azure", "hosts", "c.toml"]) == 0
    assert identities(azure) == first + 1


def test_a_node_that_is_asked_again_in_vain_stays_reachable(azure: ArmServer, said: Said) -> None:
    azure.run_script = lambda name, _: f"hpcaccept:key {HOST_KEY}\nhpcaccept:host \nhpcaccept:size S\n"
    cluster()
    before = Path("t1/ssh_config").read_bytes(), Path("t1/known_hosts").read_bytes()
    azure.run_script = lambda name, _: ""
    said()
    assert main(["azure", "hosts", "c.toml"]) == 0
    assert "is not identified" not in said()
    assert (Path("t1/ssh_config").read_bytes(), Path("t1/known_hosts").read_bytes()) == before


def test_a_last_answer_that_nobody_knows_is_no_repair(azure: ArmServer, said: Said) -> None:
    cluster()
    azure.insights = [[("SomethingNew", True)]]
    about = ["--category", "MissingIB", "--description", "no port", "--send", "--yes"]
    assert main(["azure", "report-host", "c.toml", NODE, *about]) == 3
    assert "SomethingNew" in said()
