"""A cluster from up to down, against a strict Azure Resource Manager on this machine."""

from __future__ import annotations

import datetime as dt
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from support.arm_server import SUBSCRIPTION, ArmServer, Rule, expired_tag
from support.azure_fixtures import Said, config_text

from hpcaccept.app.azure import session as sessions
from hpcaccept.cli import main
from hpcaccept.provider.azure import requests

#: Real servers and clients, which wait for each other.
pytestmark = pytest.mark.slow
GROUP = "hpcaccept-t1"


@pytest.fixture
def azure(logged_in: ArmServer) -> ArmServer:
    configure()
    return logged_in


def configure(more: str = "", extra: str = "") -> Path:
    file = Path("c.toml")
    file.write_text(config_text(cluster=f'owner = "me@site.example"\n{more}', more=extra))
    return file


def up(*more: str) -> int:
    return main(["azure", "up", "c.toml", "--max-hours", "2", "--no-wait", "--yes", *more])


def down() -> int:
    return main(["azure", "down", "c.toml", "--yes"])


@pytest.mark.parametrize("mode", ["uniform", "flexible"])
def test_up_status_down(azure: ArmServer, said: Said, mode: str) -> None:
    configure(f'orchestration = "{mode}"')
    assert up() == 0
    assert "2 nodes for 2 h: at most 339.20 USD" in said()
    (scale_set,) = azure.of_type("Microsoft.Compute/virtualMachineScaleSets")
    assert len(scale_set["_vms"]) == 2
    assert scale_set["tags"]["hpcaccept-owner"] == "me@site.example"
    assert azure.groups[GROUP]["tags"]["hpcaccept-run"] == "t1"
    assert main(["azure", "status"]) == 0
    assert "hpcaccept-t1  t1  Succeeded  2 nodes, 8 resources" in said()
    assert down() == 0
    assert "a listing shows nothing with its tag" in said()
    assert azure.billed() == []
    assert azure.groups == {}


def test_a_rack_of_gb300_comes_up_with_its_interconnect(azure: ArmServer) -> None:
    rack = 'zone = "1"\nimage = "a:b:c:latest"'
    Path("c.toml").write_text(config_text("Standard_ND128isr_GB300_v6", 18, rack))
    azure.images["a:b:c"] = ["1.0.0"]
    assert up() == 0
    assert azure.of_type("Microsoft.Compute/interconnectBlocks")[0]["sku"]["capacity"] == 18
    assert azure.of_type("Microsoft.Network/interconnectGroups")
    assert down() == 0
    assert azure.billed() == []


def test_up_again_changes_nothing_and_keeps_the_expiry(azure: ArmServer, said: Said) -> None:
    assert up() == 0
    before, expiry = azure.billed(), azure.groups[GROUP]["tags"]["hpcaccept-expires"]
    key = Path("t1/id_ed25519").read_bytes()
    assert main(["azure", "up", "c.toml", "--max-hours", "48", "--no-wait", "--yes"]) == 0
    assert azure.billed() == before
    assert azure.groups[GROUP]["tags"]["hpcaccept-expires"] == expiry
    assert Path("t1/id_ed25519").read_bytes() == key
    assert sum("PUT" in each and "deployments" in each for each in azure.requests) == 1
    assert "the deployment is there already" in said()


def test_the_key_of_the_cluster_is_its_owners_alone(azure: ArmServer) -> None:
    assert up() == 0
    private = Path("t1/id_ed25519")
    assert stat.S_IMODE(private.stat().st_mode) == 0o600
    public = Path("t1/id_ed25519.pub").read_text().strip()
    profile = azure.of_type("Microsoft.Compute/virtualMachineScaleSets")[0]["properties"]["virtualMachineProfile"]
    assert profile["osProfile"]["linuxConfiguration"]["ssh"]["publicKeys"][0]["keyData"] == public
    assert "PRIVATE" not in "".join(file.read_text() for file in Path("t1").glob("*.json"))
    private.chmod(0o644)
    assert up() == 3


def test_the_users_own_key_is_used_where_it_is_named(azure: ArmServer) -> None:
    Path("mine.pub").write_text("ssh-ed25519 AAAA me\n")
    configure('ssh_public_key = "mine.pub"')
    assert up() == 0
    assert not Path("t1/id_ed25519").exists()


def test_nothing_is_made_without_somebody_who_confirms(azure: ArmServer, said: Said) -> None:
    assert main(["azure", "up", "c.toml", "--max-hours", "2"]) == 2
    assert "Add --yes" in said()
    assert not [each for each in azure.requests if each.startswith("PUT")]


def test_an_estimate_above_the_cap_makes_nothing(azure: ArmServer, said: Said) -> None:
    assert up("--max-cost", "339") == 3
    assert "--max-cost allows 339.00 USD. Nothing was made" in said()
    azure.items.clear()
    assert up("--max-cost", "1000000") == 3
    assert not [each for each in azure.requests if each.startswith("PUT")]


@pytest.mark.parametrize(
    ("break_it", "says"),
    [
        (lambda server: server.quotas.update(standardNDISRH200V5Family=(0, 96)), "ask for a limit of 192"),
        (
            lambda server: server.quotas.update(cores=(0, 96)),
            f"--limit-object value=192 --scope /subscriptions/{SUBSCRIPTION}/providers/Microsoft.Compute/locations/eastus2",
        ),
        (lambda server: server.skus.clear(), "eastus2 does not offer"),
        (lambda server: server.images.clear(), "there is no image"),
        (
            lambda server: server.rules.append(Rule("GET", "/skus$", 403, ("AuthorizationFailed", "perform action 'A/b/read' over scope '/s'"))),
            "Permission A/b/read is missing",
        ),
    ],
)  # fmt: skip
def test_what_is_missing_is_told_before_anything_is_made(
    azure: ArmServer, said: Said, break_it: Callable[[ArmServer], None], says: str
) -> None:
    break_it(azure)
    assert up() == 3
    assert says in said()
    assert not [each for each in azure.requests if each.startswith("PUT")]


def test_a_deployment_that_half_fails_is_told_found_and_removed(azure: ArmServer, said: Said) -> None:
    azure.allocatable = 1
    assert up() == 3
    assert "AllocationFailed" in (text := said())
    assert "try another zone or region" in text
    assert "What was made stays and may be billed" in text
    assert main(["azure", "status"]) == 0
    assert "Failed  2 nodes" in said()
    assert down() == 0
    assert azure.billed() == []


def test_a_deployment_that_failed_is_finished_by_the_next_up(azure: ArmServer) -> None:
    azure.allocatable = 1
    assert up() == 3
    azure.allocatable = 10
    assert up() == 0


def test_a_throttled_client_waits_and_goes_on(azure: ArmServer) -> None:
    for method in ("GET", "PUT"):
        azure.rules.append(Rule(method, "hpcaccept-t1", 429, ("TooManyRequests", "later"), 2, {"Retry-After": "0"}))
    assert up() == 0


def test_a_group_that_somebody_else_made_is_not_touched(azure: ArmServer, said: Said) -> None:
    theirs = {"location": "eastus2", "tags": {"team": "b"}, "properties": {"provisioningState": "Succeeded"}}
    azure.groups[GROUP] = {"id": f"/subscriptions/{SUBSCRIPTION}/resourceGroups/{GROUP}", "name": GROUP, **theirs}
    assert up() == 3
    assert "has no tag hpcaccept-run" in said()
    assert down() == 3
    assert "nothing in it was deleted" in said()
    assert azure.groups[GROUP]["tags"] == {"team": "b"}
    assert not [each for each in azure.requests if each.startswith(("PUT", "DELETE"))]


def test_what_others_put_into_the_group_stays(azure: ArmServer, said: Said) -> None:
    assert up() == 0
    identity = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/{GROUP}/providers/Microsoft.Storage/storageAccounts/data"
    azure.resources[identity.lower()] = {
        "id": identity,
        "name": "data",
        "type": "Microsoft.Storage/storageAccounts",
        "tags": {},
    }
    assert down() == 0
    assert azure.billed() == [identity.lower()]
    assert "Microsoft.Storage/storageAccounts data is not of this cluster" in said()
    assert azure.groups[GROUP]["tags"] == {}
    assert main(["azure", "status"]) == 0
    assert "There is no cluster" in said()


def test_another_configuration_does_not_change_a_cluster_that_is_there(azure: ArmServer, said: Said) -> None:
    assert up() == 0
    configure("os_disk_gb = 128")
    assert up() == 3
    assert "holds t1 of another configuration" in said()


def test_a_size_that_the_platform_exchanged_is_told(azure: ArmServer, said: Said) -> None:
    azure.given_size = "Standard_ND96isr_H100_v5"
    assert up() == 3
    assert "t1_0 is a Standard_ND96isr_H100_v5, expected Standard_ND96isr_H200_v5" in said()


def test_a_slow_deletion_is_waited_for(azure: ArmServer) -> None:
    assert up() == 0
    azure.delete_s = 0.3
    assert down() == 0
    assert azure.groups == {}


def test_down_twice_is_no_error(azure: ArmServer, said: Said) -> None:
    assert down() == 0
    assert "There is no t1" in said()


def test_what_is_left_elsewhere_is_named(azure: ArmServer, said: Said) -> None:
    identity = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/other/providers/Microsoft.Compute/disks/d"
    azure.resources[identity.lower()] = {
        "id": identity,
        "name": "d",
        "type": "Microsoft.Compute/disks",
        "tags": {"hpcaccept-run": "t1"},
    }
    assert down() == 3
    assert "1 resources of t1 are left and may be billed" in said()


def test_reap_deletes_what_has_expired_and_nothing_else(azure: ArmServer, said: Said) -> None:
    assert up() == 0
    assert main(["azure", "reap", "--yes"]) == 0
    assert "0 of 0 expired" in said()
    azure.groups[GROUP]["tags"]["hpcaccept-expires"] = expired_tag()
    assert main(["azure", "status"]) == 3
    assert "EXPIRED" in said()
    assert up() == 3
    assert "expired at" in said()
    assert main(["azure", "reap"]) == 0
    assert "--yes deletes them" in said()
    assert azure.billed()
    assert main(["azure", "reap", "--yes"]) == 0
    assert azure.billed() == []


def test_a_group_without_a_readable_expiry_is_shown_and_never_reaped(azure: ArmServer, said: Said) -> None:
    assert up() == 0
    azure.groups[GROUP]["tags"]["hpcaccept-expires"] = "soon"
    assert main(["azure", "reap", "--yes"]) == 0
    assert azure.billed()
    assert main(["azure", "status"]) == 3
    assert "no readable expiry EXPIRED" in said()


def test_reap_goes_on_after_one_that_cannot_be_deleted(azure: ArmServer, said: Said) -> None:
    assert up() == 0
    for name in ("hpcaccept-a", GROUP):
        azure.groups[name] = {
            **azure.groups[GROUP],
            "name": name,
            "tags": {"hpcaccept-run": "a" if name.endswith("-a") else "t1", "hpcaccept-expires": expired_tag()},
        }
    azure.rules.append(Rule("DELETE", "hpcaccept-a", 409, ("ScopeLocked", "locked")))
    assert main(["azure", "reap", "--yes"]) == 3
    assert "hpcaccept-a could not be deleted and may be billed" in said()
    assert azure.billed() == []


def test_without_a_subscription_nothing_is_asked(azure: ArmServer, said: Said, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AZURE_SUBSCRIPTION_ID")
    assert up() == 2
    assert "az account show" in said()
    assert azure.requests == []


def test_a_subscription_that_one_may_not_read_is_named(azure: ArmServer, said: Said) -> None:
    configure(f'subscription = "{SUBSCRIPTION.replace("1", "9")}"')
    assert up() == 3
    assert "SubscriptionNotFound" in (text := said())
    assert "az account list" in text


def test_the_server_of_these_tests_refuses_what_azure_refuses(azure: ArmServer) -> None:
    session = sessions.open_session(SUBSCRIPTION)
    for request, code in (
        (requests.Request("GET", f"/subscriptions/{SUBSCRIPTION}", {}), "MissingApiVersionParameter"),
        (
            requests.Request("GET", f"/subscriptions/{SUBSCRIPTION}", {"api-version": "2019"}),
            "InvalidApiVersionParameter",
        ),
    ):
        with pytest.raises(Exception, match=code):
            session.send(request)


@pytest.mark.parametrize("allocatable", [2, 1])
def test_a_deployment_whose_answer_was_lost_is_waited_for(azure: ArmServer, said: Said, allocatable: int) -> None:
    azure.lose, azure.allocatable = "PUT .*deployments", allocatable
    assert up() == (0 if allocatable == 2 else 3)
    assert ("AllocationFailed" in said()) == (allocatable == 1)
    assert sum(each.startswith("PUT") and "deployments" in each for each in azure.requests) == 2


def test_a_group_whose_answer_was_lost_is_written_again(azure: ArmServer) -> None:
    azure.lose = "PUT .*hpcaccept-t1[?]"
    assert up() == 0


def test_without_any_client_azure_scales_to_nothing_at_the_expiry(azure: ArmServer, said: Said) -> None:
    assert up() == 0
    expires = dt.datetime.fromisoformat(azure.groups[GROUP]["tags"]["hpcaccept-expires"].replace("Z", "+00:00"))
    (scale_set,) = azure.of_type("Microsoft.Compute/virtualMachineScaleSets")
    azure.pass_to(expires - dt.timedelta(minutes=1))
    assert len(scale_set["_vms"]) == 2
    azure.pass_to(expires + dt.timedelta(minutes=1))
    assert scale_set["_vms"] == {}
    said()
    assert main(["azure", "status"]) == 0
    assert "0 nodes" in said()


def test_a_cluster_may_be_left_to_reap(azure: ArmServer) -> None:
    configure("stop_when_expired = false")
    assert up() == 0
    assert azure.of_type("Microsoft.Insights/autoscaleSettings") == []


VNET = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/net/providers/Microsoft.Network/virtualNetworks/v"


def existing(azure: ArmServer, space: str, prefix: str, location: str = "eastus2") -> None:
    """A network of the site, in a group of its own."""
    configure(extra=f'existing_subnet = "{VNET}/subnets/s"\n')
    azure.groups["net"] = {
        "id": VNET.partition("/providers")[0],
        "name": "net",
        "location": location,
        "properties": {"provisioningState": "Succeeded"},
    }
    about = {"type": "Microsoft.Network/virtualNetworks", "location": location, "tags": {}}
    azure.resources[VNET.lower()] = {
        "id": VNET,
        "name": "v",
        **about,
        "properties": {"addressSpace": {"addressPrefixes": [space, "fd00::/48"]}},
    }
    subnet = {"id": f"{VNET}/subnets/s", "name": "s", "type": "Microsoft.Network/virtualNetworks/subnets"}
    azure.resources[f"{VNET}/subnets/s".lower()] = {**subnet, "properties": {"addressPrefix": prefix}}


def test_a_network_of_the_site_is_used_and_stays(azure: ArmServer) -> None:
    existing(azure, "10.9.0.0/16", "10.9.1.0/24")
    theirs = azure.billed()
    assert up() == 0
    assert not [each for each in azure.of_type("Microsoft.Network/virtualNetworks") if each["name"] != "v"]
    assert down() == 0
    assert azure.billed() == theirs


@pytest.mark.parametrize(
    ("space", "prefix", "location", "says"),
    [
        ("172.16.0.0/12", "172.17.0.0/24", "eastus2", "overlaps 172.16.0.0/16"),
        ("10.9.0.0/16", "10.9.1.0/30", "eastus2", "has 0 usable addresses, expected at least 2"),
        ("10.9.0.0/16", "10.9.1.0/24", "westus", "lies in westus, expected eastus2"),
    ],
)
def test_a_network_that_does_not_fit_is_refused_before_anything_is_made(
    azure: ArmServer, said: Said, space: str, prefix: str, location: str, says: str
) -> None:
    existing(azure, space, prefix, location)
    assert up() in (2, 3)
    assert says in said()
    assert not [each for each in azure.requests if each.startswith("PUT")]


def test_a_network_and_a_reservation_that_are_not_there_are_named(azure: ArmServer, said: Said) -> None:
    configure(extra=f'existing_subnet = "{VNET}/subnets/s"\n')
    assert up() == 3
    assert "network.existing_subnet: there is no /subscriptions" in said()
    reservation = (
        f"/subscriptions/{SUBSCRIPTION}/resourceGroups/net/providers/Microsoft.Compute/capacityReservationGroups/c"
    )
    configure(f'capacity_reservation = "{reservation}"')
    assert up() == 3
    assert "cluster.capacity_reservation: there is no" in said()


def cut(status: int, body: bytes) -> tuple[int, bytes, int]:
    return status, b'{"value":[]}', 4000


def emptied(status: int, body: bytes) -> tuple[int, bytes, int]:
    return status, b"", 0


def page_of_a_proxy(status: int, body: bytes) -> tuple[int, bytes, int]:
    return 200, b"<html>sign in</html>", 20


def not_found_by_a_proxy(status: int, body: bytes) -> tuple[int, bytes, int]:
    return 404, b"<html>no</html>", 15


def without_a_list(status: int, body: bytes) -> tuple[int, bytes, int]:
    return 200, b"{}", 2


def elsewhere(status: int, body: bytes) -> tuple[int, bytes, int]:
    said = b'{"value":[],"nextLink":"https://evil.example/x"}'
    return 200, said, len(said)


HARMS = [cut, emptied, page_of_a_proxy, not_found_by_a_proxy, without_a_list, elsewhere]
Harm = Callable[[int, bytes], tuple[int, bytes, int]]


@pytest.mark.parametrize("harm", HARMS)
@pytest.mark.parametrize("which", ["GET .*/resources[?].*tagValue", "GET .*hpcaccept-t1/resources"])
def test_down_believes_no_list_that_azure_did_not_give(azure: ArmServer, said: Said, which: str, harm: Harm) -> None:
    assert up() == 0
    azure.harms[which] = harm
    assert down() == 3
    assert "the resource group hpcaccept-t1" in (text := said())
    assert "may still be there and be billed" in text
    assert "is gone" not in text.replace("not shown that t1 is gone", "")
    azure.harms.clear()
    assert down() == 0
    assert azure.billed() == []


@pytest.mark.parametrize("harm", [cut, emptied, page_of_a_proxy, not_found_by_a_proxy])
def test_down_believes_azure_alone_that_there_is_no_group(azure: ArmServer, said: Said, harm: Harm) -> None:
    assert up() == 0
    azure.harms["GET .*/resourceGroups/hpcaccept-t1[?]"] = harm
    assert down() == 3
    assert "may still be there and be billed" in said()
    assert azure.billed()


@pytest.mark.parametrize("harm", HARMS)
def test_status_and_reap_believe_no_list_that_azure_did_not_give(azure: ArmServer, said: Said, harm: Harm) -> None:
    assert up() == 0
    azure.groups[GROUP]["tags"]["hpcaccept-expires"] = expired_tag()
    azure.harms["GET .*/resourcegroups[?]"] = harm
    for words, what in (
        (["status"], "Clusters"),
        (["reap"], "Expired clusters"),
        (["reap", "--yes"], "Expired clusters"),
    ):
        assert main(["azure", *words]) == 3
        assert f"{what} of hpcaccept could not be listed: there may be some, and they may be billed" in (text := said())
        assert "There is no cluster" not in text
        assert "Nothing has expired" not in text
    assert azure.billed()


@pytest.mark.parametrize("harm", HARMS)
def test_one_cluster_that_cannot_be_read_does_not_hide_the_others(azure: ArmServer, said: Said, harm: Harm) -> None:
    assert up() == 0
    tags = {"hpcaccept-run": "a", "hpcaccept-expires": azure.groups[GROUP]["tags"]["hpcaccept-expires"]}
    azure.groups["hpcaccept-a"] = {**azure.groups[GROUP], "name": "hpcaccept-a", "tags": tags}
    azure.harms["GET .*hpcaccept-t1/resources"] = harm
    said()
    assert main(["azure", "status"]) == 3
    assert "hpcaccept-a  a  no deployment" in (text := said())
    assert "hpcaccept-t1  t1  its resources could not be listed and may be billed" in text


@pytest.mark.parametrize("harm", HARMS)
def test_reap_tells_what_it_could_not_show_to_be_gone(azure: ArmServer, said: Said, harm: Harm) -> None:
    assert up() == 0
    azure.groups[GROUP]["tags"]["hpcaccept-expires"] = expired_tag()
    azure.harms["GET .*/resources[?].*tagValue"] = harm
    assert main(["azure", "reap", "--yes"]) == 3
    assert "hpcaccept-t1 could not be deleted and may be billed" in said()


@pytest.mark.parametrize("harm", HARMS)
def test_an_answer_that_was_harmed_once_is_asked_for_again(azure: ArmServer, harm: Harm) -> None:
    def once(status: int, body: bytes) -> tuple[int, bytes, int]:
        azure.harms.clear()
        return harm(status, body)

    assert up() == 0
    azure.harms["GET .*/resources[?].*tagValue"] = once
    assert down() == (3 if harm is elsewhere else 0)


def test_a_resource_without_an_identity_is_not_passed_over(azure: ArmServer, said: Said) -> None:
    assert up() == 0

    def nameless(status: int, body: bytes) -> tuple[int, bytes, int]:
        found = body.replace(b'"id"', b'"di"')
        return status, found, len(found)

    azure.harms["GET .*hpcaccept-t1/resources"] = nameless
    assert down() == 3
    assert "a resource without an id" in said()
    assert azure.billed()
