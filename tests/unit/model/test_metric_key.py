"""The name of a number: as text at the edges, as parts everywhere else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcaccept.model.metric_key import MetricKey, Pair, check_of

names = st.text(st.characters(exclude_characters=".:[]", exclude_categories=["Cs"]), min_size=1)
metrics = st.text(st.characters(exclude_characters="[]", exclude_categories=["Cs"]), min_size=1)


@given(names, st.one_of(st.just(""), names), metrics, st.text())
def test_a_metric_key_comes_apart_as_it_was_put_together(check: str, label: str, metric: str, variant: str) -> None:
    key = MetricKey(check, label, metric, variant)
    assert MetricKey.parse(str(key)) == key


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("matmul.rate_flops", MetricKey("matmul", "", "rate_flops")),
        ("matmul:small.rate_flops[fp32]", MetricKey("matmul", "small", "rate_flops", "fp32")),
        ("health.lost[gpu3 0000:18:00.0]", MetricKey("health", "", "lost", "gpu3 0000:18:00.0")),
        ("os_noise.detours[0.1%]", MetricKey("os_noise", "", "detours", "0.1%")),
    ],
)
def test_a_text_is_the_key_that_it_was_written_from(text: str, key: MetricKey) -> None:
    assert MetricKey.parse(text) == key
    assert str(key) == text


def test_a_key_is_looked_up_once_however_often_it_is_read() -> None:
    assert MetricKey.parse("matmul.rate_flops[fp32]") is MetricKey.parse("matmul.rate_flops[fp32]")


def test_a_key_without_variant_or_label_is_of_the_same_metric() -> None:
    key = MetricKey.parse("matmul:small.rate_flops[fp32]")
    assert (str(key.bare), str(key.unlabelled)) == ("matmul:small.rate_flops", "matmul.rate_flops[fp32]")
    assert (key.check_name, check_of(key.check_name)) == ("matmul:small", "matmul")


@pytest.mark.parametrize(
    "text",
    ["", "matmul", ".rate", "matmul.", "[x]", "matmul.rate[fp32", "matmul[fp32].rate", "matmul:.rate", ":small.rate"],
)
def test_another_text_is_no_metric_key(text: str) -> None:
    with pytest.raises(ValueError, match=r"expected check\.metric"):
        MetricKey.parse(text)


@pytest.mark.parametrize(
    ("variant", "pair"),
    [
        ("0→3", Pair("0", "3")),
        ("1↔2", Pair("1", "2", both_ways=True)),
        ("read_ce/gpu3→gpu5", Pair("gpu3", "gpu5", test="read_ce")),
        ("a/b/cpu→gpu5", Pair("cpu", "gpu5", test="a/b")),
    ],
)
def test_a_pair_is_parts_of_a_variant(variant: str, pair: Pair) -> None:
    assert Pair.parse(variant) == pair
    assert str(pair) == variant


@pytest.mark.parametrize("variant", ["", "fp32", "node7", "node1 – node2", "read_ce/gpu3", "node1/mlx5_0→node2/mlx5_0"])
def test_other_variants_are_no_pair(variant: str) -> None:
    assert Pair.parse(variant) is None
