"""Files for monitoring, read by both of Prometheus' own parsers: of OpenMetrics, and of the text format that node_exporter takes."""

from __future__ import annotations

from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_metrics
from prometheus_client.parser import text_string_to_metric_families as plain_text

Samples = dict[str, list[tuple[dict[str, str], float]]]


def samples_of(text: str) -> Samples:
    """Name → (labels, value) of every sample; both parsers agree, and every family is what the textfile collector takes."""
    assert text.endswith("# EOF\n")
    first, second = ({family.name: family for family in read(text)} for read in (open_metrics, plain_text))
    assert first.keys() == second.keys()
    found: Samples = {}
    for name, family in first.items():
        assert family.type == second[name].type == "gauge"
        assert family.documentation.endswith(".")
        assert family.documentation == second[name].documentation
        assert all(sample.timestamp is None for sample in family.samples)
        found[name] = [(dict(sample.labels), sample.value) for sample in family.samples]
        assert found[name] == [(dict(sample.labels), sample.value) for sample in second[name].samples]
        assert len({tuple(sorted(labels.items())) for labels, _ in found[name]}) == len(found[name]), f"{name} twice"
    return found
