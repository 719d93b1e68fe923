"""The baselines that come with hpcaccept: built from text, byte for byte, and nothing in them that cannot be."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.builders import baseline

from hpcaccept.app.baseline.build_shipped import SOURCES, build, check, shipped_bands
from hpcaccept.cli import main
from hpcaccept.errors import RunError, UsageError
from hpcaccept.judge.baseline.match import fitting_entry
from hpcaccept.model.baseline import peak_of
from hpcaccept.parse.baseline_source import Source, parse_source
from hpcaccept.store.baseline_file import SHIPPED, find_baseline, read_generations, write_baseline

if TYPE_CHECKING:
    from pathlib import Path

FILES = sorted(SOURCES.glob("*.toml"))
SOURCE = """
model = "NVIDIA X"
date = 2026-11-22
confidence = "B"
name_source = "a table"
power_limit_w = 350
peak_source = "a data sheet"
revisions = { matmul = 2 }
[[peaks]]
keys = "matmul.rate_flops[bf16]"
value = 100
unit = "TFLOP/s"
[[limits]]
keys = "matmul.rate_flops[bf16]"
value = 80
band = "products"
unit = "TFLOP/s"
subjects = 1
source = "somebody"
date = 2026-10-05
why = "one board"
method = { tool = "gemm", timing = "sustained", gpus = "all", shape = "cube", dtype = "bf16", accumulate = "fp32", operands = "random" }
"""
UNUSED = """
[[unused]]
figure = "x"
source = "somebody"
date = 2026-10-05
why = "another thing"
method = { tool = "gemm", timing = "burst", gpus = "one" }
"""


def source(text: str = SOURCE) -> Source:
    return parse_source(text, "x.toml", shipped_bands())


# --- what is shipped --------------------------------------------------------------------------------------------------


def test_building_again_gives_the_same_bytes(tmp_path: Path) -> None:
    assert len(list(build(SOURCES, tmp_path))) == len(FILES) == 39
    for file in sorted(tmp_path.glob("*.h5")):
        there = SHIPPED / file.name
        assert there.read_bytes() == file.read_bytes() or read_generations(there) == read_generations(file), file.name
    assert {f.name for f in tmp_path.glob("*.h5")} == {f.name for f in SHIPPED.glob("*.h5")}


def test_what_is_in_the_repository_is_what_its_sources_say() -> None:
    assert len(list(check(SOURCES, SHIPPED))) == len(FILES)


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.stem))
def test_every_number_has_a_unit_a_source_and_a_date_and_lies_below_its_peak(file: Path) -> None:
    (one,) = read_generations(SHIPPED / f"{file.stem}.h5")
    assert one.state == "shipped"
    for entry in one.entries.values():
        assert entry.unit in ("FLOP/s", "B/s")
        assert entry.source
        assert re.fullmatch(r"\d{4}-\d\d-\d\d", entry.date)
        peak = peak_of(one, entry.key)
        assert entry.lower is not None
        assert peak is None or max(entry.lower, entry.center or 0.0) <= peak.ceiling
    assert all(peak.source and peak.date for peak in one.peaks)


def test_a_blank_stays_blank() -> None:
    (one,) = read_generations(SHIPPED / "nvidia-rtx-pro-6000-blackwell-workstation-edition.h5")
    assert one.entries == {}


@pytest.mark.parametrize("file", sorted(SHIPPED.glob("*.h5")), ids=lambda file: file.stem)
def test_no_shipped_file_is_empty(file: Path) -> None:
    (one,) = read_generations(file)
    assert one.entries or one.peaks


def test_the_shipped_one_judges_where_a_site_has_nothing_of_its_own(tmp_path: Path) -> None:
    found = find_baseline((tmp_path, SHIPPED), "NVIDIA H100 80GB HBM3")
    assert found is not None
    key, facts = "matmul.rate_flops[bf16]", {"gpu_power_limit_w": "700", "gpu_memory_gib": "79.6"}
    entry, word, _ = fitting_entry(found[1], key, 2, "FLOP/s", "12 threads, all at once", facts)
    assert entry is not None
    assert entry.center is None
    assert entry.lower == pytest.approx(0.88 * 7.3e14)
    assert word == "published figure, not learned here"
    assert fitting_entry(found[1], key, 2, "FLOP/s", "any", {**facts, "gpu_power_limit_w": "500"})[0] is None


# --- the form of a source ---------------------------------------------------------------------------------------------


def test_a_source_is_read_in_si() -> None:
    one = source()
    assert one.facts == {"gpu_power_limit_w": "350"}
    (limit,) = one.limits
    assert (limit.center, limit.unit) == (80e12, "FLOP/s")
    assert limit.lower == pytest.approx(70.4e12)
    assert limit.source.startswith(
        "somebody (2026-10-05: gemm, sustained, all GPUs at once, cube, bf16 accumulated in fp32, random operands); "
        "12 % below 80 TFLOP/s (products: "
    )
    assert limit.source.endswith("): one board")


def test_a_figure_that_is_not_used_may_be_one_of_ours() -> None:
    (one,) = source(SOURCE + UNUSED).unused
    assert (one.keys, one.value, one.date) == ((), None, "2026-10-05")
    keyed = UNUSED.replace("source =", 'keys = "matmul.rate_flops[bf16]"\nvalue = 75\nunit = "TFLOP/s"\nsource =')
    (one,) = source(SOURCE + keyed).unused
    assert (one.keys, one.value, one.unit) == (("matmul.rate_flops[bf16]",), 75e12, "FLOP/s")
    for line in ('unit = "TFLOP/s"\n', "value = 75\n", 'keys = "matmul.rate_flops[bf16]"\n'):
        with pytest.raises(UsageError, match="keys, value and unit"):
            source(SOURCE + keyed.replace(line, ""))


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ('source = "somebody"\n', "", "source is missing"),
        ('why = "one board"\n', "", "why is missing"),
        ('unit = "TFLOP/s"\nsubjects', "subjects", "unit is missing"),
        ("date = 2026-11-22\n", "", "date is missing"),
        ("date = 2026-11-22", 'date = "today"', "expected a TOML date"),
        ('peak_source = "a data sheet"\n', "", "peak_source is missing"),
        ('band = "products"\n', "", "expected value and band"),
        ('band = "products"', "band = 0.10", "band is 0.1, expected one of products, "),
        ('band = "products"', 'band = "product"', "band is 'product', expected one of products, "),
        ('band = "products"', "lower = 39", "less than half of its value"),
        ('band = "products"', 'band = "products"\nlower = 70', "expected value and band"),
        ("date = 2026-10-05\n", "", "limit of matmul.rate_flops[bf16]: date is None"),
        ("method = {", "methode = {", "there is no key 'methode'"),
        ('method = { tool = "gemm", ', "method = { ", "expected at least tool, timing and gpus"),
        ('timing = "sustained"', 'timing = "long"', "timing is 'long', expected one of sustained, burst, not said"),
        ('gpus = "all"', 'gpus = "8"', "gpus is '8', expected one of all, one, not said"),
        ("operands =", "operand =", "method: there is no key 'operand'"),
        ("value = 80\n", "", "expected value and band"),
        ("confidence", "confidenze", "there is no key 'confidenze'"),
        ("value = 100", "valu = 100", "there is no key 'valu'"),
        ("value = 100\n", "", "value is missing"),
        ("keys = \"matmul.rate_flops[bf16]\"\nvalue = 80", "value = 80", "keys is None"),
        ("subjects = 1", 'subjects = 1\nwhen = "now"', "there is no key 'when'"),
        ('unit = "TFLOP/s"\nsubjects', 'unit = "TF"\nsubjects', "found the unit 'TF'"),
        ("model", "[model", "is not TOML"),
        ("[[limits]]", '[[unused]]\nfigure = "x"\n[[limits]]', "unused 'x': expected"),
        ("[[limits]]", UNUSED.replace("date = 2026-10-05\n", "") + "[[limits]]", "unused 'x': expected"),
        ("[[limits]]", UNUSED.replace('timing = "burst"', 'timing = ""') + "[[limits]]", "timing is ''"),
    ],
)  # fmt: skip
def test_a_source_without_what_it_must_say_is_refused(old: str, new: str, why: str) -> None:
    assert old in SOURCE
    with pytest.raises(UsageError, match=re.escape(why)):
        source(SOURCE.replace(old, new))


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("value = 80", "value = 120", "above the physical peak"),
        ('value = 100\nunit = "TFLOP/s"', 'value = 100\nunit = "TB/s"', "is in B/s, the metric in FLOP/s"),
        ('unit = "TFLOP/s"\nsubjects', 'unit = "GB/s"\nsubjects', "is in B/s, the metric in FLOP/s"),
        ("matmul = 2", "matmul = 1", "mapped to revision 1 of matmul, which is now 2"),
        ("revisions = { matmul = 2 }", "", "mapped to revision None"),
        ("rate_flops[bf16]\"\nvalue = 80", "speed\"\nvalue = 80", "is not a metric of the check"),
        ("matmul.rate_flops[bf16]\"\nvalue = 80", "gemm.x\"\nvalue = 80", "There is no check 'gemm'"),
        ("matmul.rate_flops[bf16]\"\nvalue = 80", "matmul\"\nvalue = 80", "expected check.metric"),
        ("NVIDIA X", "NVIDIA Y", "Name it nvidia-y.toml"),
        ('timing = "sustained"', 'timing = "burst"', "does not judge it: matmul is measured back to back"),
        ('operands = "random"', 'operands = "constant"', "Keep it under [[unused]] with that reason"),
        ("[[limits]]", SOURCE[SOURCE.index("[[limits]]") :] + "[[limits]]", "has two limits"),
    ],
)  # fmt: skip
def test_a_source_that_cannot_be_is_not_built(tmp_path: Path, old: str, new: str, why: str) -> None:
    assert old in SOURCE
    (tmp_path / "nvidia-x.toml").write_text(SOURCE.replace(old, new))
    with pytest.raises(UsageError, match=re.escape(why)):
        list(build(tmp_path, tmp_path))
    assert not list(tmp_path.glob("*.h5"))


def test_what_differs_from_its_source_or_has_none_is_told(tmp_path: Path) -> None:
    (tmp_path / "nvidia-x.toml").write_text(SOURCE)
    with pytest.raises(RunError, match="it is missing"):
        list(check(tmp_path, tmp_path))
    list(build(tmp_path, tmp_path))
    assert list(check(tmp_path, tmp_path)) == ["nvidia-x.h5: the same bytes"]
    (tmp_path / "nvidia-x.toml").write_text(SOURCE.replace("value = 80", "value = 81"))
    with pytest.raises(RunError, match=r"nvidia-x.h5 differs from its source \(from nvidia-x.toml\)"):
        list(check(tmp_path, tmp_path))
    list(build(tmp_path, tmp_path))
    (tmp_path / "nvidia-x.h5").rename(tmp_path / "nvidia-z.h5")
    with pytest.raises(RunError, match=r"nvidia-z\.h5 has no source"):
        list(check(tmp_path, tmp_path))


def test_what_a_site_has_learned_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "nvidia-x.toml").write_text(SOURCE)
    write_baseline(tmp_path, baseline(model="NVIDIA X"))
    with pytest.raises(RunError, match="learned or imported here"):
        list(build(tmp_path, tmp_path))


def test_what_is_learned_in_a_checkout_stands_beside_what_is_shipped(tmp_path: Path) -> None:
    (tmp_path / "nvidia-x.toml").write_text(SOURCE)
    list(build(tmp_path, tmp_path))
    write_baseline(tmp_path, baseline(model="NVIDIA X"))
    assert list(check(tmp_path, tmp_path)) == [
        "nvidia-x.h5: the same content, beside 1 generation(s) that were learned or imported here"
    ]


def test_build_and_check_as_they_are_typed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "nvidia-x.toml").write_text(SOURCE)
    places = ["--sources", str(tmp_path), "--output", str(tmp_path)]
    assert main(["baseline", "build", *places]) == 0
    assert "1 limits, 1 peaks from nvidia-x.toml" in capsys.readouterr().out
    assert main(["baseline", "build", "--check", *places]) == 0
    (tmp_path / "nvidia-x.h5").unlink()
    assert main(["baseline", "build", "--check", *places]) == 3
    assert main(["baseline", "build", "--sources", str(tmp_path / "none")]) == 2


@given(st.text(max_size=80))
def test_any_text_is_a_source_or_a_sentence(text: str) -> None:
    with pytest.raises(UsageError):
        source(text)
