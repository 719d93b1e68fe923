"""The dashboard and the alerts ask for numbers that hpcaccept writes, by their labels; Grafana would load the file."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from support.builders import fleet, judged_run_of
from support.metric_files import Samples, samples_of

from hpcaccept.app.files import shipped_as
from hpcaccept.app.node_check.metrics import metrics_of
from hpcaccept.model.node_check import Gate, Item
from hpcaccept.report.campaign_metrics import campaign_metrics
from hpcaccept.report.formats import render
from hpcaccept.report.openmetrics import Family, exposition

if TYPE_CHECKING:
    from collections.abc import Iterator

FOLDER = shipped_as("monitoring").path
AT = "2026-11-30T06:00:00+00:00"
#: A metric with its selector, ``{…}``.
_METRIC = re.compile(r"\b(hpcaccept_\w+)(?:\{([^}]*)\})?")
_BY = re.compile(r"\bby \(([^)]*)\)")
#: Panels of Grafana itself: https://grafana.com/docs/grafana/latest/panels-visualizations/visualizations/
_PANELS = {"row", "stat", "table", "timeseries", "state-timeline", "bargauge"}


@pytest.fixture(scope="module")
def exported() -> Samples:
    """What the three writers write."""
    item = Item("gpus", "gpu_count", "FAIL", "gpu-missing", "7 of 8", "Look.", 7, "GPUs", 8, 8)
    gate = Gate("n1", "b", AT, "health", "", "NOT_FIT", 1, 0.5, "", (item,), {"deep_at": AT})
    campaign = campaign_metrics("weekly", {"n1": ("PASS", AT, "run1")}, {"done": 1}, AT)
    # Rates in bytes per second: the format makes a family of whatever unit a check has.
    labels = dict.fromkeys(("suite", "check", "metric", "variant", "stat"), "x")
    transfers = exposition([Family("figure_bytes_per_second", "X.", [(labels, 1)], "bytes_per_second")])
    texts = (render("prometheus", judged_run_of(fleet([100.0, 50.0, 100.0]))), metrics_of(gate), campaign, transfers)
    return {name: samples for text in texts for name, samples in samples_of(text).items()}


def dashboard() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((FOLDER / "grafana-dashboard.json").read_text("utf-8"))
    return found


def rules() -> list[dict[str, Any]]:
    (group,) = yaml.safe_load((FOLDER / "prometheus-rules.yml").read_text("utf-8"))["groups"]
    found: list[dict[str, Any]] = group["rules"]
    return found


def queries() -> Iterator[str]:
    for panel in dashboard()["panels"]:
        yield from (target["expr"] for target in panel.get("targets", ()))
    yield from (rule["expr"] for rule in rules())


def test_every_query_asks_for_what_is_exported_by_labels_that_it_has(exported: Samples) -> None:
    asked = set()
    for query in queries():
        (metric, selector), *more = _METRIC.findall(query)
        assert not more, query
        labels = exported[metric][0][0].keys()
        by = {word.strip() for found in _BY.findall(query) for word in found.split(",")}
        assert by | set(re.findall(r"(\w+)\s*=~?", selector)) <= labels, query
        asked.add(metric)
    assert len(asked) >= 12


def test_variables_are_filled_from_what_is_exported_and_every_one_is_used(exported: Samples) -> None:
    names = set()
    for variable in dashboard()["templating"]["list"]:
        names.add(variable["name"])
        if variable["type"] == "datasource":
            assert variable["query"] == "prometheus"
            continue
        series, label = re.fullmatch(r"label_values\((.*), (\w+)\)", variable["query"]).groups()  # type: ignore[union-attr]
        selected = re.search(r'=~"(.*)"', series)
        metrics = [name for name in exported if re.fullmatch(selected[1] if selected else series, name)]
        assert metrics
        assert all(label in exported[name][0][0] for name in metrics)
    assert names == set(re.findall(r"\$\{?(\w+)", json.dumps(dashboard()["panels"]))) - {"labels"}


def test_panels_have_identities_places_and_kinds_of_grafana(exported: Samples) -> None:
    panels = dashboard()["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels) > 15
    assert {panel["type"] for panel in panels} <= _PANELS
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, f"{panel['title']} lies on another panel"
        assert place["x"] + place["w"] <= 24
        taken |= cells
        assert all(target["datasource"]["uid"] == "${datasource}" for target in panel.get("targets", ()))
        assert len({target["refId"] for target in panel.get("targets", ())}) == len(panel.get("targets", ()))


def test_alerts_name_labels_that_their_numbers_have(exported: Samples) -> None:
    assert len({rule["alert"] for rule in rules()}) == len(rules())
    for rule in rules():
        labels = exported[_METRIC.findall(rule["expr"])[0][0]][0][0].keys()
        said = re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"])
        assert said
        assert set(said) <= labels
