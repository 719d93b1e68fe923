from __future__ import annotations

import contextlib
import datetime as dt
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.vast_server import offer

from hpcaccept.errors import UsageError
from hpcaccept.provider.vast import images, labels, prices, requirements
from hpcaccept.provider.vast.instances import NotAnInstance, instance_of
from hpcaccept.provider.vast.offers import NotAnOffer, Offer, best_of_each_machine, offer_of, offers_of
from hpcaccept.provider.vast.requests import Launch, create

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=8,
)
KEYS = (
    "id",
    "machine_id",
    "gpu_name",
    "num_gpus",
    "dph_total",
    "label",
    "ports",
    "public_ipaddr",
    "actual_status",
    "status_msg",
)


def listed(**other: Any) -> Offer:
    return offer_of(offer(7, 11, **other))


def test_prices_per_gpu_and_per_tflops() -> None:
    found = listed(num_gpus=4, dph_total=2.0, total_flops=400.0)
    assert found.usd_per_gpu_hour == 0.5
    assert found.usd_per_tflops_hour == 0.005
    assert listed(total_flops=0.0).usd_per_tflops_hour is None


def test_the_premium_is_over_the_cheapest_gpu() -> None:
    cheap, dear = listed(num_gpus=2, dph_total=1.0), listed(num_gpus=1, dph_total=0.6)
    assert prices.premium(dear, [cheap, dear]) == pytest.approx(0.2)
    assert prices.premium(cheap, [cheap, dear]) == 0


def test_the_whole_machine_is_the_best_offer_and_of_equals_the_cheapest() -> None:
    offers = [
        offer_of(offer(i, m, num_gpus=n, dph_total=p))
        for i, m, n, p in ((1, 5, 1, 0.4), (2, 5, 4, 1.6), (3, 5, 4, 1.5), (4, 6, 1, 0.1))
    ]
    assert [each.id for each in best_of_each_machine(offers)] == [3, 4]


def test_a_rate_counts_disk_beyond_the_listed_one_and_traffic() -> None:
    rate = prices.rate_of(listed(dph_total=1.0, storage_cost=0.72, inet_down_cost=0.01, inet_up_cost=0.02), 45.0, 5.0)
    assert rate.usd_per_hour == pytest.approx(1.04)
    assert rate.until(3600) == pytest.approx(1.04 + 0.15 + 0.02)


def test_only_charges_of_our_instances_count() -> None:
    rows = [{"source": "instance-5", "amount": 0.1}, {"source": "instance-5", "amount": 0.2}, {"source": "instance-6", "amount": 9},
            {"source": "volume-5", "amount": 9}, {"source": "instance-5", "amount": "9"}, "row", {"source": "instance-5", "amount": True}]  # fmt: skip
    assert prices.charged(rows, [5, 7]) == {5: pytest.approx(0.3)}


@given(st.dictionaries(st.sampled_from(KEYS), ANYTHING) | ANYTHING)
def test_any_answer_is_an_offer_or_named(plain: Any) -> None:
    with contextlib.suppress(NotAnOffer):
        assert offer_of(plain).id > 0
    try:
        found = instance_of(plain)
    except NotAnInstance:
        return
    assert found.id > 0
    assert all(0 < port < 65_536 for port in (found.ports or {}).values())


def test_a_listing_names_what_is_no_offer() -> None:
    found, refused = offers_of([offer(1, 2), {"id": 5}])
    assert len(found) == 1
    assert [str(each) for each in refused] == ["entry 2: gpu_name: expected a text, found NoneType None"]


@pytest.mark.parametrize("address", ["evil.example.org", "127.0.0.1; rm -rf /", "", None, 5])
def test_an_address_is_numbers_or_nothing(address: Any) -> None:
    assert instance_of({"id": 5, "public_ipaddr": address}).address == ""


@pytest.mark.parametrize("port", ["0", "65536", "-1", "5000; x", "٣", None, 5000, "1" * 30])
def test_a_port_is_a_number_of_a_port_or_nothing(port: Any) -> None:
    assert instance_of({"id": 5, "ports": {"5000/tcp": [{"HostPort": port}]}}).ports == {}


def test_a_label_says_run_machine_and_time_and_nothing_else_is_ours() -> None:
    mark = labels.Mark("20261129t184500-0a1b2c3d", 4711, dt.datetime(2026, 11, 29, 20, 45, tzinfo=dt.timezone.utc))
    assert str(mark) == "hpcaccept-vast.20261129t184500-0a1b2c3d.4711.20261129T204500Z"
    assert labels.mark_of(str(mark)) == mark
    others = (
        None,
        5,
        "",
        "training",
        "hpcaccept",
        "hpcaccept-vast",
        f"my {mark}",
        f"{mark} ",
        f"{mark}\n",
        str(mark).replace("4711", "x"),
        str(mark).replace("T20", "T99"),
    )
    assert [labels.mark_of(each) for each in others] == [None] * len(others)
    assert labels.run_id(mark.until, "00000001") == "20261129t204500-00000001"
    assert labels.RUN.fullmatch(labels.run_id(mark.until, "00000001"))


def test_an_image_is_the_newest_that_driver_and_gpus_take() -> None:
    cases = [
        (12.8, 890, "12.8"),
        (13.9, 900, "13.3"),
        (13.0, 700, "12.8"),
        (13.0, 610, "11.8"),
        (12.4, 890, "11.8"),
        (11.4, 890, ""),
        (13.0, 750, "13.0"),
    ]
    for cuda, capability, expected in cases:
        assert images.cuda_for(listed(cuda_max_good=cuda, compute_cap=capability)) == expected, (cuda, capability)
    assert images.cuda_for(listed(cuda_max_good=None)) == ""
    assert images.image_for("me/image:cuda-{cuda}", "12.8") == "me/image:cuda-12.8"
    for wrong in ("", "--privileged", "a b", "x;y", "A" * 5):
        with pytest.raises(UsageError):
            images.image_for(wrong, "12.8")


@pytest.mark.parametrize(
    ("cuda", "capability", "part"),
    [
        (13.3, 890, "cuda13.0"), (13.0, 1200, "cuda13.0"), (12.8, 1200, "cuda12.8"), (12.9, 700, "cuda12.8"), (13.0, 700, "cuda12.8"),
        (13.0, 610, "cuda12.6"), (12.7, 890, "cuda12.6"), (12.4, 860, "cuda11.8"), (11.8, 750, "cuda11.8"), (12.6, None, "cuda12.6"),
        (12.4, 1200, ""), (11.7, 750, ""), (13.0, 350, ""), (None, 890, ""),
    ],
)  # fmt: skip
def test_without_an_image_of_one_s_own_a_published_one_suits_driver_and_gpus(cuda: float | None, capability: int | None, part: str) -> None:  # fmt: skip
    found = images.published_for(listed(cuda_max_good=cuda, compute_cap=capability))
    assert (part in found) if part else found == ""


def test_published_images_are_tagged_newest_first() -> None:
    versions = [float(each.cuda) for each in images.PUBLISHED]
    assert versions == sorted(versions, reverse=True)
    assert all(images.image_for(each.reference, "") == each.reference for each in images.PUBLISHED)


def test_a_creation_has_neither_price_nor_force_and_fits_the_limits() -> None:
    body = create(5, Launch("a/b:c", "start"), "label").body
    assert body["cancel_unavail"] is True
    assert not {"price", "force", "image_login"} & set(body)
    assert not create(5, Launch("a/b:c", "start"), "label").harmless
    for launch, label in ((Launch("a/b:c", "x" * 4049), "l"), (Launch("a/b:c", "x"), "l" * 1025)):
        with pytest.raises(UsageError):
            create(5, launch, label)


@pytest.mark.parametrize("name", requirements.names())
def test_each_set_is_dated_sourced_and_met_by_a_decent_machine(name: str) -> None:
    found = requirements.read_set(name)
    assert found.source.startswith("https://")
    assert found.read.year >= 2026
    assert {each.outcome for each in requirements.judge(found, listed())} == {"met"}
    assert all(rule.remedy and rule.unit for rule in found.rules)


def test_the_default_is_the_official_self_test() -> None:
    assert requirements.names()[0] == requirements.DEFAULT == "self-test"


@pytest.mark.parametrize(
    ("field", "value", "rule"),
    [
        ("cuda_max_good", 11.7, "cuda.version"),
        ("reliability", 0.90, "reliability"),
        ("direct_port_count", 5, "network.direct_ports"),
        ("pcie_bw", 2.85, "pcie.bandwidth"),
        ("inet_down", 124.0, "network.download"),
        ("inet_up", 99.0, "network.upload"),
        ("cpu_ram", 46_000, "system.ram"),
        ("cpu_cores", 3, "cpu.cores"),
    ],
)
def test_a_rule_says_what_is_missed_and_by_how_much(field: str, value: float, rule: str) -> None:
    found = requirements.judge(requirements.read_set("self-test"), listed(**{field: value}))
    (missed,) = [each for each in found if each.outcome == "missed"]
    assert missed.rule.id == rule
    assert missed.actual == value
    assert missed.required is not None
    assert missed.missing == pytest.approx(abs(missed.required - value) / missed.required)


def test_memory_is_compared_in_gib_and_what_is_not_listed_is_unknown() -> None:
    rules = requirements.read_set("self-test")
    small = {each.rule.id: each for each in requirements.judge(rules, listed(gpu_ram=6144, gpu_total_ram=12_288))}
    assert small["gpu.ram"].outcome == "missed"
    unknown = {each.rule.id: each.outcome for each in requirements.judge(rules, listed(pcie_bw=None))}
    assert unknown["pcie.bandwidth"] == "unknown"


def test_bandwidth_grows_with_memory_between_its_bounds() -> None:
    rule = next(each for each in requirements.read_set("self-test").rules if each.id == "network.download")
    assert rule.limit(listed(gpu_total_ram=8 * 1024)) == 100
    assert rule.limit(listed(gpu_total_ram=96 * 1024)) == pytest.approx(250)
    assert rule.limit(listed(gpu_total_ram=640 * 1024)) == 500


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "expected about, source, read"),
        ('about="a"\nsource="b"\nread=2026-01-01\nrule=[]', "expected about"),
        ('about="a"\nsource="b"\nread="today"\n[[rule]]\nid="x"', "expected about"),
        ('about="a"\nsource="b"\nread=2026-01-01\n[[rule]]\nid="x"', "expected exactly"),
        (
            'about="a"\nsource="b"\nread=2026-01-01\n[[rule]]\nid="x"\nfield="f"\ncompare="="\nrequired=1\nunit="u"\nremedy="r"',
            "expected one of",
        ),
        (
            'about="a"\nsource="b"\nread=2026-01-01\n[[rule]]\nid="x"\nfield="f"\ncompare=">"\nrequired="1"\nunit="u"\nremedy="r"',
            "expected a number",
        ),
        (
            'about="a"\nsource="b"\nread=2026-01-01\n[[rule]]\nid="x"\nfield="f"\ncompare=">"\nrequired={times=1,of="num_gpu"}\nunit="u"\nremedy="r"',
            "Did you mean 'num_gpus'",
        ),
    ],
)
def test_a_site_s_own_set_is_checked(tmp_path: Any, text: str, part: str) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(text)
    with pytest.raises(UsageError, match=part):
        requirements.read_set(str(file))


def test_an_unknown_set_is_refused_with_the_nearest() -> None:
    with pytest.raises(UsageError, match="Did you mean 'self-test'"):
        requirements.read_set("selftest")
