"""Whatever stands in a configuration is understood or refused with a sentence, and what is understood can be rendered."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from support import arm_schemas

from hpcaccept.errors import UsageError
from hpcaccept.provider.azure import faults, health_report
from hpcaccept.provider.azure.config import read_cluster
from hpcaccept.provider.azure.env_file import tables_of
from hpcaccept.provider.azure.template import render_template

SITE = Path("/site")
BASE: dict[str, Any] = {"name": "t1", "location": "eastus2", "size": "Standard_ND96isr_H200_v5", "nodes": 2}
GOOD: dict[str, dict[str, Any]] = {"cluster": BASE, "network": {"allow_ssh_from": ["203.0.113.7/32"]}}
KEYS = st.sampled_from(
    [
        "name",
        "location",
        "size",
        "nodes",
        "gpus",
        "orchestration",
        "image",
        "admin",
        "resource_group",
        "subscription",
        "zone",
        "owner",
        "tags",
        "computer_prefix",
        "os_disk_gb",
        "capacity_reservation",
        "cloud_init",
        "ssh_public_key",
        "stop_when_expired",
    ]
)
NETWORK_KEYS = st.sampled_from(["allow_ssh_from", "address_space", "subnet", "existing_subnet", "nat_gateway"])
SPOT_KEYS = st.sampled_from(["enabled", "eviction", "max_price"])
#: What TOML can hold, and what stands near what is right.
VALUES = st.one_of(
    st.text(max_size=20),
    st.integers(-5, 2000),
    st.floats(),
    st.booleans(),
    st.lists(st.text(max_size=20), max_size=2),
    st.dictionaries(st.text(max_size=5), st.one_of(st.text(max_size=5), st.integers()), max_size=2),
    st.sampled_from(
        [
            "Flexible",
            "1",
            "",
            "x'y",
            "[a]",
            "10.0.0.0/8",
            "::/0",
            "Standard_ND128isr_GB300_v6",
            "a:b:c:latest",
            "Delete",
        ]
    ),
)
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=8)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(["code", "message", "details", "error", "value", "properties"]), inner, max_size=3)),
    max_leaves=8,
)  # fmt: skip


@given(
    st.dictionaries(KEYS, VALUES, max_size=3),
    st.dictionaries(NETWORK_KEYS, VALUES, max_size=2),
    st.dictionaries(SPOT_KEYS, VALUES, max_size=2),
)
def test_any_configuration_is_refused_with_a_sentence_or_accepted_by_azures_schemas(
    cluster: dict[str, Any], network: dict[str, Any], spot: dict[str, Any]
) -> None:
    tables = {"cluster": {**BASE, **cluster}, "network": {**GOOD["network"], **network}, "spot": spot}
    try:
        found = read_cluster(tables, SITE)
    except UsageError:
        return
    for each in render_template(found)["resources"]:
        if "Insights" not in each["type"]:
            assert arm_schemas.errors(each) == []


@given(st.one_of(VALUES, st.dictionaries(st.text(max_size=5), VALUES, max_size=2)))
def test_a_table_that_is_none_is_refused_with_a_sentence(value: object) -> None:
    for name in ("cluster", "network", "spot", "interconnect"):
        with contextlib.suppress(UsageError):
            read_cluster({**GOOD, name: value}, SITE)


@given(
    st.one_of(
        st.text(max_size=60),
        st.from_regex(r"(export )?(SKU|TAGS|ADMIN|INSTANCE_COUNT)=[\"'(]?[a-z $=`\n\"')#]{0,20}", fullmatch=True),
    )
)
def test_any_text_is_an_env_file_or_refused_with_a_sentence(text: str) -> None:
    with contextlib.suppress(UsageError):
        assert tables_of(text, "c.env").keys() == {"cluster", "network"}


@given(st.dictionaries(st.sampled_from(["code", "message", "details"]), JSON, max_size=3))
def test_any_error_of_azure_has_a_sentence(error: dict[str, Any]) -> None:
    assert faults.explain(error)[0]


@given(st.lists(st.dictionaries(st.sampled_from(["properties", "name"]), JSON, max_size=2), max_size=2))
def test_an_insight_of_another_form_is_never_the_last_one(found: list[dict[str, Any]]) -> None:
    assert not any(each.final for each in health_report.insights_of(found))
