"""A fleet for monitoring: no node of it is without a number."""

from __future__ import annotations

import pytest
from support.metric_files import samples_of

from hpcaccept.report.campaign_metrics import Standing, campaign_metrics

AT = "2026-11-30T06:00:00+00:00"
NODES = {
    "n1": Standing("PASS", "2026-11-30T02:00:00Z", "20261130-010000-full-2n-aaaa"),
    "n2": ("FAIL", "2026-11-01T02:00:00+00:00", "20261130-010000-full-2n-aaaa"),
    "n3": ("", "", ""),
}


def test_every_node_has_its_verdict_its_age_and_its_run() -> None:
    found = samples_of(campaign_metrics("weekly", NODES, {"done": 2, "never idle": 1}, AT))
    accepted = {
        labels["node"]: (labels["outcome"], value) for labels, value in found["hpcaccept_campaign_node_accepted"]
    }
    assert accepted == {"n1": ("PASS", 1), "n2": ("FAIL", 0), "n3": ("NOT_RUN", 0)}
    ages = {
        labels["node"]: 1796018400 - value
        for labels, value in found["hpcaccept_campaign_node_accepted_timestamp_seconds"]
    }
    assert ages == {"n1": 4 * 3600, "n2": 29 * 86400 + 4 * 3600, "n3": 1796018400}, "never accepted is very long ago"
    assert found["hpcaccept_campaign_timestamp_seconds"] == [({"campaign": "weekly"}, 1796018400)]
    states = {labels["state"]: value for labels, value in found["hpcaccept_campaign_nodes"]}
    assert states == {"done": 2, "never idle": 1}
    assert {labels["run"] for labels, _ in found["hpcaccept_campaign_node_info"]} == {NODES["n1"][2], ""}


def test_a_campaign_without_nodes_still_says_when() -> None:
    assert "hpcaccept_campaign_timestamp_seconds" in samples_of(campaign_metrics("new", {}, {}, AT))


def test_a_time_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="yesterday"):
        campaign_metrics("weekly", {"n1": ("PASS", "yesterday", "r")}, {}, AT)
