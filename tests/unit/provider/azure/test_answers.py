"""What Azure's answers about quota, price, faults and tags are read as."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Any

import pytest
from support.arm_server import price, sku

from hpcaccept.provider.azure import faults, prices, quota, tags
from hpcaccept.provider.azure.config import Cluster, read_cluster

SIZE = "Standard_ND96isr_H200_v5"
FAMILY = "standardNDISRH200V5Family"


def cluster(spot: dict[str, Any] | None = None, **changes: Any) -> Cluster:
    base = {"name": "t1", "location": "eastus2", "size": SIZE, "nodes": 2, **changes}
    network = {"allow_ssh_from": ["203.0.113.7/32"]}
    return read_cluster({"cluster": base, "network": network, "spot": spot or {}}, Path("/site"))


def usage(name: str, used: int, limit: int) -> dict[str, Any]:
    return {"name": {"value": name}, "currentValue": used, "limit": limit}


def test_an_offer_has_family_vcpus_and_zones() -> None:
    found = quota.offer_of([sku("Other", "f", 1), sku(SIZE.lower(), FAMILY, 96)], cluster())
    assert found == quota.Offer(FAMILY, 96, ("1", "2", "3"))


@pytest.mark.parametrize(
    ("offered", "changes", "says"),
    [
        ([], {}, f"eastus2 does not offer {SIZE}"),
        (
            [sku(SIZE, FAMILY, 96, restrictions=[{"type": "Location", "reasonCode": "NotAvailableForSubscription"}])],
            {},
            "The subscription may not use",
        ),
        (
            [sku(SIZE, FAMILY, 96, restrictions=[{"type": "Zone", "restrictionInfo": {"zones": ["2"]}}])],
            {"zone": "2"},
            "zones that do: 1, 3",
        ),
        (
            [sku(SIZE, FAMILY, 96, capabilities=[{"name": "LowPriorityCapable", "value": "False"}])],
            {"spot": {"enabled": True}},
            "cannot be had as spot",
        ),
    ],
)
def test_what_cannot_be_had_is_told_with_where_it_can(
    offered: list[dict[str, Any]], changes: dict[str, Any], says: str
) -> None:
    with pytest.raises(quota.NotOffered) as refused:
        quota.offer_of(offered, cluster(**changes))
    assert says in str(refused.value)


OFFER = quota.Offer(FAMILY, 96, ())


def test_a_quota_that_is_too_small_is_told_with_the_limit_to_ask_for() -> None:
    enough = [usage("cores", 0, 192), usage(FAMILY.upper(), 0, 192)]
    assert quota.shortfalls(enough, OFFER, cluster()) == ()
    (said,) = quota.shortfalls([usage("cores", 0, 500), usage(FAMILY, 96, 191)], OFFER, cluster())
    assert "191 vCPUs, 96 in use, 192 more needed (2 x 96); ask for a limit of 288" in str(said)
    assert said.request("S") == (
        f"az quota update --resource-name {FAMILY} --resource-type dedicated --limit-object value=288 "
        "--scope /subscriptions/S/providers/Microsoft.Compute/locations/eastus2"
    )


def test_both_quotas_are_told_at_once_and_an_unknown_one_is_none() -> None:
    assert len(quota.shortfalls([], OFFER, cluster())) == 2


def test_nodes_that_run_already_need_no_quota_again() -> None:
    full = [usage("cores", 192, 192), usage(FAMILY, 192, 192)]
    assert quota.shortfalls(full, OFFER, cluster(), running=2) == ()


def test_spot_has_a_quota_of_its_own() -> None:
    spot = cluster({"enabled": True})
    assert quota.shortfalls([usage("lowPriorityCores", 0, 192)], OFFER, spot) == ()
    (said,) = quota.shortfalls([usage("lowPriorityCores", 0, 191), usage("cores", 0, 0)], OFFER, spot)
    assert str(said).startswith("quota lowPriorityCores")
    assert "--resource-type lowPriority" in said.request("S")


def test_the_price_is_that_of_linux_and_the_highest() -> None:
    items = [
        price(SIZE, 84.8),
        price(SIZE, 200, productName="Virtual Machines Windows"),
        price(SIZE, 20, skuName="ND96isr Spot"),
        price(SIZE, 17, skuName="ND96isr Low Priority"),
        price(SIZE, 999, unitOfMeasure="1 Month"),
        price(SIZE, 0),
        price("Standard_Other", 500),
    ]
    assert prices.price_of(items, cluster()) == 84.8
    assert prices.price_of([], cluster()) is None


def test_a_spot_price_can_become_what_was_agreed_to() -> None:
    items = [price(SIZE, 84.8), price(SIZE, 20, skuName="ND96isr Spot")]
    assert prices.price_of(items, cluster({"enabled": True})) == 84.8
    assert prices.price_of(items, cluster({"enabled": True, "max_price": 30})) == 30


def test_an_estimate_says_what_is_not_known() -> None:
    assert (
        str(prices.Estimate(84.8, 2, 4)) == "2 nodes for 4 h: at most 678.40 USD (84.80 USD per node and hour, retail)"
    )
    assert prices.Estimate(None, 2, 4).usd is None
    assert "no retail price" in str(prices.Estimate(None, 2, 4))


def test_the_innermost_errors_are_told_and_no_envelope() -> None:
    inner = {"error": {"code": "AllocationFailed", "message": "no  capacity\n here"}}
    error = {
        "code": "DeploymentFailed",
        "message": "At least one resource deployment operation failed.",
        "details": [{"code": "Conflict", "message": json.dumps(inner)}],
    }
    said, remedy = faults.explain(error, cluster(zone="1"))
    assert said == "AllocationFailed: no capacity here"
    assert remedy.startswith(f"There is no capacity for {SIZE} in eastus2, zone 1, now")


@pytest.mark.parametrize(
    ("code", "text", "remedy"),
    [
        (
            "AuthorizationFailed",
            "'x' may not perform action 'Microsoft.Compute/virtualMachineScaleSets/write' over scope '/subscriptions/s/resourceGroups/g'",
            "az role assignment create --assignee YOU --role Contributor --scope /subscriptions/s/resourceGroups/g",
        ),
        (
            "QuotaExceeded",
            "Operation could not be completed as it results in exceeding approved quota",
            "Ask for more quota",
        ),
        (
            "OperationNotAllowed",
            "exceeding approved standardNDv5 Cores quota",
            f"Ask for more quota of {SIZE} in eastus2",
        ),
        ("SkuNotAvailable", "x", "There is no capacity"),
        (
            "MissingSubscriptionRegistration",
            "not registered to use namespace 'Microsoft.Insights'.",
            "az provider register --namespace Microsoft.Insights",
        ),
        ("ExpiredAuthenticationToken", "x", "az login"),
        ("RequestDisallowedByPolicy", "x", "A policy of the subscription forbids it"),
        ("ScopeLocked", "x", "az lock delete"),
        ("ResourceGroupBeingDeleted", "x", "hpcaccept azure status"),
        ("Other", "x", ""),
    ],
)
def test_a_fault_names_what_to_ask_for(code: str, text: str, remedy: str) -> None:
    said, told = faults.explain({"code": code, "message": text}, cluster())
    assert said.startswith(code)
    assert remedy in told
    assert bool(remedy) == bool(told)


def test_an_error_nested_for_ever_ends() -> None:
    error: dict[str, Any] = {"code": "DeploymentFailed", "message": "m"}
    error["details"] = [error]
    assert faults.explain(error)[0]


def test_a_mark_comes_back_from_its_tags() -> None:
    mark = tags.Mark("t1", "me", dt.datetime(2026, 11, 29, 12, tzinfo=dt.timezone.utc), "abc")
    assert tags.mark_of(tags.tags_of(mark)) == mark
    assert tags.tags_of(mark)[tags.EXPIRES] == "2026-11-29T12:00:00Z"


@pytest.mark.parametrize("found", [None, {}, {"owner": "x"}, {tags.RUN: ""}])
def test_what_hpcaccept_did_not_make_has_no_mark(found: dict[str, str] | None) -> None:
    assert tags.mark_of(found) is None


@pytest.mark.parametrize("text", ["", "soon", "2026-11-29", "2026-13-29T12:00:00Z"])
def test_an_expiry_that_cannot_be_read_is_none(text: str) -> None:
    found = tags.mark_of({tags.RUN: "t1", tags.EXPIRES: text})
    assert found is not None
    assert found.expires is None
