"""hpcaccept.judge.identities: what the nodes say of themselves, by whatever label it was asked."""

from __future__ import annotations

from support.builders import CATALOGUE, evidence, plan, record, suite

from hpcaccept.judge.identities import identities


def test_only_measured_records_of_identity_say_who_a_node_is() -> None:
    records = [
        record("identity", "node0", {"cores": 8}),
        record("identity", "node1", None, outcome="error", cause="ended"),
        record("identity:again", "node2", {"cores": 8}),
        record("speed", "node3", {"rate_flops": 1.0}),
    ]
    catalogue = {**CATALOGUE, "identity:again": CATALOGUE["identity"]}
    the_plan = plan(suite("identity", "identity:again", "speed"), nodes=4)
    found = identities(evidence(records, the_plan, catalogue=catalogue))
    assert [(one.check, one.node) for one in found] == [("identity", "node0"), ("identity:again", "node2")]
