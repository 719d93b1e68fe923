"""The page for browsers as structure: verdict first, every bad unit with its plots, every value there, and no text that acts."""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from support.big_runs import big_run, judged_run, names, past_of
from support.builders import AT, evidence, fleet, judged_run_of, nodes, plan, record, suite

from hpcaccept.judge.statistics.aggregate import values_of
from hpcaccept.model.event import Event
from hpcaccept.model.record import UnreadableLine
from hpcaccept.report.formats import html
from hpcaccept.report.page import columns, matrix, plots
from hpcaccept.report.page.bad_subjects import CARDS
from hpcaccept.report.page.markup import Markup, data_block, tag, verbatim

if TYPE_CHECKING:
    from hpcaccept.model.evidence import Evidence

HOSTILE = (
    "<script>alert(1)</script>",
    "\x1b[31mred\x1b[0m",
    "\"'><img src=x onerror=alert(1)>",
    "x" * 200,
    "a\u202eb & c",
)


class Page(HTMLParser):
    """What a browser would see: elements with their attributes, and the text of each section."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.text = text
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.sections: dict[str, str] = {}
        self.blocks: dict[str, str] = {}
        self._open: list[tuple[str, str]] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, kind: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = {key: value or "" for key, value in attrs}
        self.elements.append((kind, attributes))
        if kind not in ("meta", "link", "br", "hr", "input", "col"):
            self._open.append((kind, attributes.get("id", "")))

    def handle_endtag(self, kind: str) -> None:
        assert self._open.pop()[0] == kind, f"</{kind}> closes something else"

    def handle_data(self, text: str) -> None:
        if self._open and self._open[-1][0] in ("script", "style"):
            self.blocks[f"{self._open[-1][0]}:{self._open[-1][1]}"] = text
            return
        for kind, ident in self._open:
            if kind == "section" and ident:
                self.sections[ident] = self.sections.get(ident, "") + text

    @property
    def data(self) -> Any:
        return json.loads(self.blocks["script:data"])

    def all(self, kind: str, class_: str = "") -> list[dict[str, str]]:
        return [a for k, a in self.elements if k == kind and (not class_ or class_ in a.get("class", "").split())]


def page_of(found: Evidence) -> Page:
    """The page of a run of the metrics of ``builders``."""
    page = Page(html.render(judged_run_of(found)))
    assert page._open == []
    return page


@pytest.fixture(scope="module")
def big() -> Page:
    found = big_run(12, pairs=True)
    past = past_of(found)
    return Page(html.render(judged_run(found, past)))


# --- the verdict ------------------------------------------------------------------------------------------------------


def test_the_verdict_stands_first_and_in_the_title() -> None:
    page = page_of(fleet([100.0] * 4))
    assert next(iter(page.sections)) == "verdict"
    assert page.sections["verdict"].startswith("ACCEPTED4 of 4 nodes passed all that is required.")
    assert "<title>ACCEPTED: 20261122-010000-test-4n-abcd</title>" in page.text
    assert "100 %4 of 4, counted per node" in page.sections["verdict"]
    assert "there is nothing to do" in page.sections["findings"]


def test_a_bad_node_is_named_with_reason_remedy_and_plot_in_plain_html() -> None:
    page = page_of(fleet([100.0, 100.0, 50.0, 100.0]))
    assert "NOT ACCEPTEDnode2 is not fit for work (1 of 4 nodes)." in page.sections["verdict"]
    for text in ("50.0 % below", "Keep work off node2"):
        assert page.sections["findings"].count(text) == 1
    assert "lowest of 4" in page.sections["findings"]
    assert len(page.all("svg", "dist")) == 1


def test_what_was_not_judged_is_not_called_accepted() -> None:
    found = evidence([record("speed", node, {"rate_flops": 1.0, "wrong_elements": 0}) for node in nodes(3)])
    page = page_of(replace(found, unreadable=(UnreadableLine("r000003.jsonl", '{"k'),)))
    assert "NOT JUDGED" in page.sections["verdict"]
    assert "Never reported: node3" in page.sections["verdict"]
    assert "1 line(s) of the records cannot be read." in page.sections["verdict"]
    assert "the node never reported" in page.sections["findings"]


def test_coverage_that_is_not_whole_is_never_shown_as_whole() -> None:
    found = big_run(2000, 2, 3)
    assert "99.9 %" in Page(html.render(judged_run(found))).sections["verdict"]


def test_a_run_of_which_nothing_is_known_has_a_page() -> None:
    page = page_of(evidence([], names=(), rank_starts=()))
    assert "NOT JUDGED" in page.sections["verdict"]
    assert page.data["nodes"]["name"] == []
    assert "nothing was measured" in page.sections["checks"]


def test_more_bad_subjects_than_anybody_reads_share_a_card() -> None:
    count = CARDS + 20
    found = evidence(
        [record("speed", f"node{i}", {"rate_flops": 100.0, "wrong_elements": i + 1}) for i in range(count)],
        plan(nodes=count),
    )
    page = page_of(found)
    assert len(page.all("article", "card")) == CARDS + 1
    assert "node[0-19]20 findings" in page.sections["findings"]


def test_every_finding_stands_once_in_the_card_of_its_subject(big: Page) -> None:
    found = big_run(12, pairs=True)
    bad = judged_run(found, past_of(found)).summary.bad
    assert len(bad) > 40
    for reason in {verdict.reason for verdict in bad if verdict.value is not None}:
        assert big.sections["findings"].count(reason) == sum(verdict.reason == reason for verdict in bad)
    assert len(big.all("article", "card")) == len({verdict.subject for verdict in bad})
    assert "18 more, of other variants" in big.sections["findings"]


def test_names_lead_to_what_they_mean(big: Page) -> None:
    ids = {attributes["id"] for _, attributes in big.elements if "id" in attributes}
    links = {a["href"] for a in big.all("a") if a["href"].startswith("#")}
    assert {"#metric-matmul.rate_flops", "#code-peers-slow", "#code-node-silent"} <= links
    assert {link[1:] for link in links} <= ids
    assert "False alarms:" in big.sections["names"]


def test_a_unit_that_is_faster_than_its_past_has_no_colour_of_a_fault() -> None:
    found = big_run(12)
    past = past_of(found)
    before = replace(past, values={key: value * 0.5 for key, value in past.values.items()})
    faster, slower = (Page(html.render(judged_run(found, of))) for of in (before, past))
    assert faster.all("circle", "now")
    assert not faster.all("circle", "mark")
    assert slower.all("circle", "mark")
    assert not slower.all("circle", "now")


def test_the_head_says_where_by_whom_and_with_what() -> None:
    found = fleet([100.0] * 4)
    started = Event("started", AT, nodes=found.nodes, job="4711", user="alice", cluster="alps")
    page = page_of(replace(found, events=(started,), job_id="4711"))
    words = page.sections["verdict"]
    for text in ("Clusteralps", "Run byalice", "Job4711", "When2026-11-22 01:00:00 UTC", "Tested4 nodes"):
        assert text in words


# --- plots, tables, matrices ------------------------------------------------------------------------------------------


def test_every_bad_subject_has_its_plots_among_its_like_and_over_its_runs(big: Page) -> None:
    titles = [a["aria-label"] for a in big.all("svg", "dist")]
    assert any("GPU to GPU copy (0→7)" in title and "lowest of 11" in title for title in titles)
    assert any("over runs: median of 11 earlier runs" in a["aria-label"] for a in big.all("svg", "past"))
    symbols = {a["id"] for a in big.all("symbol")}
    assert {a["href"] for a in big.all("use")} <= {f"#{ident}" for ident in symbols}
    assert "12.3 %" not in big.sections["verdict"]


def test_every_value_of_every_device_is_in_the_page_and_comes_back(big: Page) -> None:
    found = big_run(12, pairs=True)
    values = {v.key: v for v in judged_run(found).values}
    metrics = {m["key"]: m for m in big.data["metrics"]}
    assert len(metrics) >= 30
    for key, metric in metrics.items():
        known = columns.decoded(metric)
        np.testing.assert_allclose(known[np.isfinite(known)], values[key].value, rtol=1e-12, atol=metric["step"])


def test_columns_that_are_the_same_everywhere_or_cells_of_a_matrix_are_no_columns(big: Page) -> None:
    keys = [metric["key"] for metric in big.data["metrics"]]
    assert not any("→" in key or "wrong_words" in key or "exchange_bytes" in key for key in keys)
    assert "transfers.wrong_elements" not in keys
    assert "0 elements everywhere" in big.sections["checks"]


def test_a_node_has_its_verdict_its_coverage_and_how_near_it_is_to_its_limit(big: Page) -> None:
    data = big.data
    place = {name: i for i, name in enumerate(data["nodes"]["name"])}
    outcome = {name: data["outcomes"][int(data["nodes"]["outcome"][i])] for name, i in place.items()}
    assert {name for name, word in outcome.items() if word == "FAIL"} == {names(12)[i] for i in (0, 1, 2, 3)}
    assert outcome["gpu00011"] == "ERROR"
    assert data["nodes"]["judged"][place["gpu00011"]] == 0
    assert data["nodes"]["judged"][place["gpu00005"]] == data["nodes"]["checks"] == 5
    used = columns.decoded(data["nodes"]["used"])
    assert used[place["gpu00001"]] > 1 > used[place["gpu00005"]] > 0
    assert data["keys"][data["nodes"]["by"][place["gpu00001"]]] == "peer_to_peer.bandwidth_bytes[0→7]"
    assert "never reported" in data["nodes"]["note"][str(place["gpu00011"])]


def test_a_slow_device_is_bad_and_its_neighbours_are_not(big: Page) -> None:
    devices = big.data["devices"]
    outcome = [big.data["outcomes"][int(code)] for code in devices["outcome"]]
    # All of node 2 are slow with their partners.
    assert [i for i, word in enumerate(outcome) if word == "FAIL"] == [5, *range(16, 24), 24, 25]
    assert devices["id"][24].startswith("GPU-00000003-0000")


def test_matrices_show_pairs_of_nodes_and_of_gpus_with_the_bad_cell_marked(big: Page) -> None:
    words = big.sections["matrices"]
    for title in (
        "exchange with …",
        "GPU to GPU copy: the worst of 11 nodes",
        "GPU to GPU copy: gpu00001",
    ):
        assert title in words
    assert "0 → 7" in words
    assert len(big.all("path", "bad")) == 2


def test_a_matrix_of_many_nodes_is_merged_and_keeps_the_worst_pair() -> None:
    count = 250
    rows = [
        record("pairs", f"node{i}", {f"exchange_bytes[node{(i + 1) % count}]": 100.0 - 60 * (i == 77)})
        for i in range(count)
    ]
    from hpcaccept import checks

    found = evidence(rows, plan(suite("pairs"), nodes=count), catalogue=checks.catalogue(["pairs"]))
    (one,) = matrix.matrices(values_of(found.samples, checks.catalogue(["pairs"])), found.nodes, {})
    assert one.merged == 3
    assert one.value.shape == (84, 84)
    assert one.value[25, 26] == 40.0
    drawn = matrix.heat_map(one)
    assert "node75 …" in drawn
    assert len(drawn) < 100_000


def test_less_is_better_in_a_matrix_of_latencies() -> None:
    one = matrix.Matrix(
        "m", "s", False, ("a", "b"), ("a", "b"), np.array([[1.0, 1.0], [1.0, 4.0]]), np.zeros((2, 2), bool)
    )
    assert matrix.shares(one)[1, 1] == 0.25
    assert "b → b" in matrix.heat_map(one)


@pytest.mark.parametrize(
    ("check", "sample", "cell"),
    [
        ("peer_to_peer", "bandwidth_bytes[0→3]", True),
        ("peer_to_peer", "bandwidth_bytes[1↔2]", True),
        ("nvbandwidth", "rate_bytes[test/gpu3→gpu5]", True),
        ("nvbandwidth", "rate_bytes[test/gpu3]", False),
        ("pairs", "exchange_bytes[node7]", True),
        ("pairs", "link_share[node1 – node2]", False),
        ("matmul", "rate_flops[node7]", False),
    ],
)
def test_a_metric_says_whether_its_variants_are_cells(check: str, sample: str, cell: bool) -> None:
    from hpcaccept import checks

    catalogue = checks.catalogue([check])
    found = evidence([record(check, "node7", {sample: 1.0})], plan(suite(check)), catalogue=catalogue)
    (column,) = values_of(found.samples, catalogue)
    assert matrix.is_cell(column, frozenset({"node7"})) is cell


def test_what_does_not_fit_is_left_out_and_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(columns, "MOST_VALUES", 12 * 8 * 4)
    monkeypatch.setattr(columns, "MOST_IDS", 10)
    page = Page(html.render(judged_run(big_run(12))))
    assert len(page.data["metrics"]) == 4
    assert page.data["devices"]["id"] == []
    assert "Not on this page" in page.sections["about"]
    assert "the values of" in page.sections["about"]
    assert "the ids of 88 devices" in page.sections["about"]
    assert "GPU-00000003-0000" in page.sections["findings"]


def test_what_is_the_same_everywhere_is_one_line_and_side_figures_are_folded() -> None:
    page = Page(html.render(judged_run(big_run(4, 2, 6, healthy=True))))
    words = page.sections["checks"]
    first, _, folded = words.partition("Other numbers")
    assert "GPU to GPU copy, wrong results 2 variants at most 0 elements" in first
    assert "GPU to GPU copy of 2 pairs, as maps below" in first
    assert "BF16-0 matrix multiply" in first
    assert "spread" not in first
    assert "spread" in folded


def test_a_bad_number_is_never_folded_away() -> None:
    page = Page(html.render(judged_run(big_run(4, 2, 6))))
    first = page.sections["checks"].partition("Other numbers")[0]
    assert "3 elements" in first


# --- numbers ----------------------------------------------------------------------------------------------------------

FLOATS = st.floats(allow_nan=True, allow_infinity=False)


@given(arrays(np.float64, st.integers(0, 400), elements=FLOATS))
def test_a_column_survives_its_journey(values: Any) -> None:
    column = json.loads(json.dumps(columns.encoded(values), allow_nan=False))
    back = columns.decoded(column)
    assert (np.isnan(back) == np.isnan(values)).all()
    known = np.isfinite(values)
    with np.errstate(over="ignore"):
        assert (np.abs(back[known] / 4 - values[known] / 4) <= column["step"] / 4 + np.abs(values[known]) * 1e-15).all()


def test_one_step_of_a_column_is_below_the_noise_even_beside_a_dead_subject() -> None:
    values = 100 + np.random.default_rng(1).standard_normal(10_000)
    values[17] = 0.0
    column = columns.encoded(values)
    assert column["step"] < 0.01
    assert [17, 0.0] in column["far"]


@given(
    arrays(np.float64, st.integers(1, 50), elements=st.floats(allow_nan=False, allow_infinity=False)), FLOATS, FLOATS
)
def test_any_numbers_can_be_drawn(values: Any, value: float, limit: float) -> None:
    marks = () if np.isnan(limit) else (limit,)
    scale = plots.scale_of(values, marks)
    assert scale.low < scale.high
    assert "nan" not in plots.symbol("d0", values, scale)
    if not np.isnan(value):
        drawn = plots.distribution("d0", scale, value, (marks[0] if marks else None, None), float(values[0]), None, "l")
        assert "nan" not in drawn
        assert "nan" not in plots.over_runs([*values.tolist(), float("nan")], value, [1], "l", worse=True)


def test_a_far_value_is_an_arrow_at_the_edge_and_does_not_squeeze_the_others() -> None:
    values = np.append(np.random.default_rng(1).normal(100, 1, 1000), 0.0)
    scale = plots.scale_of(values, (95.0,))
    assert 80 < scale.low < 95
    assert scale.x(0.0) == 0


# --- no text acts -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_names_are_shown_and_do_nothing(text: str) -> None:
    names_ = (text, "node1", "node2", "node3")
    records = [
        record("speed", name, {"rate_flops": 100.0 - 60 * (name == text), "wrong_elements": 0}) for name in names_
    ]
    records.append(record("identity", text, cause=f"broken {text}", remedy=text))
    page = page_of(evidence(records, plan(suite("speed", "identity")), names=names_, rank_starts=()))
    shown = re.sub(r"[\x00-\x1f\x7f-\x9f\u202e]", "\ufffd", text)
    assert shown in page.sections["findings"]
    assert f"broken {shown}" in page.sections["findings"]
    assert page.data["nodes"]["name"][0] == shown
    assert not page.all("img")
    assert len(page.all("script")) == 2
    assert not any(key.startswith("on") or key == "style" for _, attributes in page.elements for key in attributes)
    assert "\x1b" not in page.text
    assert "\u202e" not in page.text


@given(st.text())
def test_text_stays_text_in_elements_and_attributes(text: str) -> None:
    seen = Page(tag("p", text, title=text).encode("utf-8", "replace").decode())
    assert [kind for kind, _ in seen.elements] == ["p"]


@given(
    st.recursive(
        st.text() | st.integers() | st.none(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
    )
)
def test_data_comes_back_and_cannot_end_its_element(content: Any) -> None:
    block = data_block("data", content)
    inside = block.removeprefix('<script type="application/json" id="data">').removesuffix("</script>")
    assert "<" not in inside
    assert json.dumps(json.loads(inside)) == json.dumps(
        json.loads(json.dumps(content, ensure_ascii=False).encode("utf-8", "replace"))
    )


def test_data_that_is_no_number_is_refused() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        data_block("data", [float("nan")])


def test_only_markup_is_left_as_it_is() -> None:
    assert tag("b", "<i>", Markup("<i></i>")) == "<b>&lt;i&gt;<i></i></b>"
    assert (
        tag("input", checked=True, class_="x", aria_label='"', hidden=False, title=None)
        == '<input checked class="x" aria-label="&quot;">'
    )


def test_code_that_would_end_its_element_is_refused() -> None:
    with pytest.raises(ValueError, match="cannot stand in <script>"):
        verbatim("script", "x = '</Script>'")


def test_the_policy_allows_this_style_and_this_script_and_nothing_else(big: Page) -> None:
    policy = next(a["content"] for a in big.all("meta") if a.get("http-equiv") == "Content-Security-Policy")
    for kind, block in (("style-src", "style:"), ("script-src", "script:")):
        digest = base64.b64encode(hashlib.sha256(big.blocks[block].encode()).digest()).decode()
        assert f"{kind} 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'")
    assert "unsafe" not in policy


def test_nothing_is_loaded_from_anywhere(big: Page) -> None:
    places = [a[key] for _, a in big.elements for key in ("src", "href", "action", "data", "poster") if key in a]
    assert places
    assert all(place.startswith("#") or place == "data:," for place in places)
    for name in ("fetch(", "XMLHttpRequest", "import(", "eval(", "innerHTML", "document.write", "localStorage"):
        assert name not in big.blocks["script:"]
    assert "url(" not in big.blocks["style:"]
    assert "@import" not in big.blocks["style:"]


def test_every_table_and_drawing_can_be_read_aloud(big: Page) -> None:
    assert big.elements[0] == ("html", {"lang": "en"})
    assert all(a.get("aria-label") or a.get("aria-hidden") for a in big.all("svg"))
    assert all("scope" in a for a in big.all("th"))
    headings = [int(kind[1]) for kind, _ in big.elements if re.fullmatch(r"h\d", kind)]
    assert headings[0] == 1
    assert all(b - a <= 1 for a, b in itertools.pairwise(headings))
    assert "needs JavaScript" in big.sections["nodes"]
    labels = {a["aria-labelledby"] for a in big.all("section") if "aria-labelledby" in a}
    assert labels <= {a["id"] for _, a in big.elements if "id" in a}
