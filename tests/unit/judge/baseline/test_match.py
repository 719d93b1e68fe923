"""Which entry may judge, what is said beside it, and why none may."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from support.builders import H100, baseline, entry

from hpcaccept.judge.baseline.match import beyond_peak, fitting_entry, unusable
from hpcaccept.model.baseline import Baseline, Peak
from hpcaccept.model.metric import Metric

SETTING = "8 threads, all at once"
KEY = "speed.rate_flops"
FACTS = {
    "gpu_power_limit_w": "700", "gpu_memory_gib": "79.6", "ecc_mode": "enabled", "mig_mode": "disabled",
    "driver": "580.1", "cuda": "12.8", "torch": "2.9.0", "image": "nvcr.io/a:1", "gpus_per_node": "8",
}  # fmt: skip


def known(facts: dict[str, str] | None = None, **more: Any) -> Baseline:
    one = baseline(entry(**more.pop("entry", {})))
    return replace(one, provenance=replace(one.provenance, facts=FACTS if facts is None else facts), **more)


def ask(one: Baseline | None, facts: dict[str, str] | None = None, **more: Any) -> tuple[float | None, str]:
    """Centre of the entry that fits (None when none does), and what is said."""
    call = {"key": KEY, "revision": 1, "unit": "FLOP/s", "setting": SETTING, **more}
    found, word, _ = fitting_entry(one, facts=FACTS if facts is None else facts, **call)
    return (found.center if found else None), word


def test_what_is_alike_judges_and_nothing_needs_to_be_said() -> None:
    assert ask(known()) == (100.0, "")


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        ({"key": "speed.latency_s"}, f"the baseline of {H100} has no speed.latency_s"),
        ({"unit": "B/s"}, "in unit FLOP/s, this run in B/s"),
        ({"revision": 2}, "revision 1 of the method, this run has 2"),
        ({"setting": "1 threads, in turn"}, f"measured with {SETTING}, this run with 1 threads, in turn"),
    ],
)
def test_another_way_of_measuring_is_refused(asked: dict[str, Any], why: str) -> None:
    found, word = ask(known(), **asked)
    assert found is None
    assert why in word


@pytest.mark.parametrize(
    ("fact", "here", "why"),
    [
        ("gpu_power_limit_w", "500", "of power limit 700, this device has 500"),
        ("gpu_memory_gib", "39.5", "of memory 79.6, this device has 39.5"),
        ("ecc_mode", "disabled", "of ECC enabled, this device has disabled"),
        ("mig_mode", "enabled", "of MIG disabled, this device has enabled"),
    ],
)
def test_another_kind_of_device_is_refused(fact: str, here: str, why: str) -> None:
    found, word = ask(known(), {**FACTS, fact: here})
    assert found is None
    assert why in word


@pytest.mark.parametrize(
    ("key", "fact", "learned", "here", "why"),
    [
        (KEY, "launcher", "local", "slurm", "measured with the launcher local, this run with slurm"),
        (KEY, "launcher", "local | slurm", "slurm", ""),
        (KEY, "launcher", "", "slurm", ""),
        ("allreduce.busbw_bytes", "transport[allreduce]", "NET/IB", "NET/Socket", "with the transport NET/IB, this run with NET/Socket"),
        (KEY, "transport[allreduce]", "NET/IB", "NET/Socket", ""),
    ],
)  # fmt: skip
def test_another_launcher_or_transport_is_refused(key: str, fact: str, learned: str, here: str, why: str) -> None:
    found, word = ask(known({**FACTS, fact: learned}, entry={"key": key}), FACTS | {fact: here}, key=key)
    assert (found is None) == bool(why)
    assert why in word


@pytest.mark.parametrize(
    ("fact", "here"),
    [("gpu_power_limit_w", "700.3"), ("gpu_memory_gib", "80"), ("ecc_mode", "enabled, disabled after a reset")],
)
def test_what_differs_by_rounding_only_is_the_same_device(fact: str, here: str) -> None:
    assert ask(known(), {**FACTS, fact: here}) == (100.0, "")


@pytest.mark.parametrize(
    ("fact", "here", "word"),
    [
        ("driver", "570.9", "driver 570.9, baseline 580.1"),
        ("cuda", "13.0", "CUDA 13.0, baseline 12.8"),
        ("torch", "2.8.0", "torch 2.8.0, baseline 2.9.0"),
        ("image", "nvcr.io/a:2", "image nvcr.io/a:2, baseline nvcr.io/a:1"),
    ],
)
def test_another_software_is_said_and_refused_by_a_strict_baseline(fact: str, here: str, word: str) -> None:
    facts = {**FACTS, fact: here}
    assert ask(known(), facts) == (100.0, word)
    found, why = ask(known(strict=True), facts)
    assert found is None
    assert word in why


def test_one_of_several_drivers_that_were_learned_from_is_the_same() -> None:
    assert ask(known({**FACTS, "driver": "570.9 | 580.1"})) == (100.0, "")


def test_a_device_that_does_not_say_what_it_is_is_judged_and_that_is_said() -> None:
    found, word = ask(known(), {})
    assert found == 100.0
    assert "this run does not say its power limit" in word


def test_a_fact_that_the_baseline_does_not_know_is_not_compared() -> None:
    assert ask(known({})) == (100.0, "")


@pytest.mark.parametrize(("gpus", "fits"), [("8", True), ("4", False), (None, False)])
def test_a_limit_of_so_many_gpus_per_node_is_of_no_other_number(gpus: str | None, fits: bool) -> None:
    facts = {name: text for name, text in FACTS.items() if name != "gpus_per_node"}
    found, word = ask(known(entry={"gpus": 8}), {**facts, **({"gpus_per_node": gpus} if gpus else {})})
    assert (found is not None) == fits
    assert fits or "of 8 GPUs per node" in word


def test_a_number_of_all_ranks_has_a_setting_of_its_own() -> None:
    scale = f"{SETTING}, 4 nodes × 8"
    one = known(entry={"setting": scale})
    assert ask(one, setting=scale)[0] == 100.0
    assert "4 nodes × 8, this run with" in ask(one, setting=f"{SETTING}, 8 nodes × 8")[1]


def test_a_published_figure_fits_every_setting() -> None:
    one = known()
    one = replace(one, state="shipped", provenance=replace(one.provenance, setting=""))
    assert ask(one, setting="1 threads, in turn") == (100.0, "published figure, not learned here")


# --- states and alternatives ------------------------------------------------------------------------------------------


def test_a_draft_judges_and_says_so_unless_a_baseline_is_required() -> None:
    assert ask(known(state="draft")) == (100.0, "the baseline is a draft")
    found, word = ask(known(state="draft"), drafts=False)
    assert found is None
    assert "is a draft: hpcaccept baseline approve" in word


@pytest.mark.parametrize("state", ["approved", "shipped"])
def test_what_is_approved_or_shipped_judges_where_a_baseline_is_required(state: Any) -> None:
    assert ask(known(state=state), drafts=False)[0] == 100.0


def test_an_expired_one_judges_nothing() -> None:
    assert "has expired" in ask(known(state="expired", generation=3))[1]
    assert "generation 3" in ask(known(state="expired", generation=3))[1]


def of(center: float, state: Any = "approved", facts: dict[str, str] | None = None, **more: Any) -> Baseline:
    return known(facts, state=state, entry={"center": center, "lower": 1.0, **more})


@pytest.mark.parametrize(
    ("first", "others", "center"),
    [
        (of(1.0, facts={**FACTS, "gpu_power_limit_w": "500"}), (of(2.0),), 2.0),
        (of(1.0, facts={**FACTS, "driver": "1"}), (of(2.0),), 2.0),
        (of(1.0), (of(2.0),), 1.0),
        (of(1.0, "expired"), (of(2.0, "draft"),), 2.0),
        (of(1.0, key="speed.latency_s"), (of(2.0, "shipped"),), 2.0),
        (of(1.0, "draft"), (of(2.0, "shipped"),), 1.0),
        (of(1.0, facts={**FACTS, "driver": "1"}), (of(2.0, "draft"),), 1.0),
    ],
    ids=[
        "another power limit", "the same driver before the newer", "the newer", "in force", "has the metric",
        "learned before shipped", "approved before draft",
    ],
)  # fmt: skip
def test_of_several_generations_the_one_that_fits_best_judges(
    first: Baseline, others: tuple[Baseline, ...], center: float
) -> None:
    assert ask(replace(first, alternatives=others))[0] == center


def test_where_none_fits_the_most_telling_reason_is_given() -> None:
    lacks, other = of(1.0, key="speed.latency_s"), of(2.0, facts={**FACTS, "gpu_power_limit_w": "500"})
    assert "power limit 500" in ask(replace(lacks, alternatives=(other,)))[1]
    assert "power limit 500" in ask(replace(other, alternatives=(lacks,)))[1]


def test_no_baseline_at_all() -> None:
    assert ask(None) == (None, "there is no baseline of this device")


def test_a_pattern_judges_every_cell_and_the_exact_key_goes_before_it() -> None:
    pattern, exact = entry("links.rate_bytes[a/*]", unit="B/s"), entry("links.rate_bytes[a/3]", unit="B/s", center=7.0)
    one = replace(baseline(pattern, exact), provenance=known().provenance)
    found, _, _ = fitting_entry(one, "links.rate_bytes[a/2]", 1, "B/s", SETTING, FACTS)
    assert found is not None
    assert (found.key, found.center) == ("links.rate_bytes[a/2]", 100.0)
    assert fitting_entry(one, "links.rate_bytes[a/3]", 1, "B/s", SETTING, FACTS)[0] == exact
    assert fitting_entry(one, "links.rate_bytes[b/3]", 1, "B/s", SETTING, FACTS)[0] is None


# --- peaks ------------------------------------------------------------------------------------------------------------

PEAK = Peak("speed.*", "FLOP/s", 100.0, "a data sheet", "2026-11-22")


@pytest.mark.parametrize(
    ("value", "margin", "told"), [(100.0, 0.0, False), (109.9, 0.0, False), (111.0, 0.0, True), (124.0, 0.25, False)]
)
def test_more_than_the_part_can_do_is_a_fault_of_the_measurement(value: float, margin: float, told: bool) -> None:
    shipped = replace(baseline(), state="shipped", peaks=(replace(PEAK, margin=margin),))
    why = beyond_peak(replace(baseline(), alternatives=(shipped,)), KEY, value, "FLOP/s")
    assert bool(why) == told
    assert not told or ("more than the part can do" in why and "a data sheet" in why)


@pytest.mark.parametrize(("value", "unit"), [(1e9, "B/s"), (float("inf"), "FLOP/s")])
def test_what_cannot_be_compared_with_a_peak_is_not(value: float, unit: str) -> None:
    assert beyond_peak(replace(baseline(), peaks=(PEAK,)), KEY, value, unit) == ""
    assert beyond_peak(None, KEY, value, unit) == ""


def test_entries_that_no_check_of_today_has_are_told() -> None:
    catalogue = {"speed": {"rate_flops": Metric("rate_flops", "FLOP/s", "higher", "…")}}
    one = baseline(
        entry(), entry("speed.rate_flops[a]", revision=2), entry("speed.rate_flops[b]", unit="B/s"),
        entry("speed.rate_flops[c]", direction="lower"), entry("speed.gone"), entry("lost.x"),
    )  # fmt: skip
    told = list(unusable(one, catalogue, {"speed": 1}))
    assert [line.partition(":")[0] for line in told] == [
        "speed.rate_flops[a]", "speed.rate_flops[b]", "speed.rate_flops[c]", "speed.gone", "lost.x",
    ]  # fmt: skip
