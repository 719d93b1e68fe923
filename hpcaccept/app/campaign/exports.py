"""The report of a campaign for monitoring (OpenMetrics) and for build servers (JUnit). Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

from hpcaccept.app.campaign.report import headline
from hpcaccept.report.campaign_metrics import campaign_metrics
from hpcaccept.report.junit_parts import sum_up, xml_text

if TYPE_CHECKING:
    from datetime import datetime

    from hpcaccept.app.campaign.report import CampaignReport, NodeRow


def as_openmetrics(report: CampaignReport, now: datetime) -> str:
    """A file ``NAME.prom`` for node_exporter's textfile collector.

    Args:
        report: of the campaign.
        now: when it stood so.
    """
    nodes = {row.node: (row.outcome, _accepted_at(row), row.run) for row in report.nodes}
    return campaign_metrics(report.campaign, nodes, report.counts, now.isoformat())


def _accepted_at(row: NodeRow) -> str:
    return row.tested_at if row.outcome == "PASS" else row.accepted_before


def as_junit(report: CampaignReport) -> str:
    """A test case per node, and one for the whole: it fails or errs where the exit code is not 0, because skipped passes for good."""
    root = ET.Element("testsuites", name=xml_text(f"hpcaccept campaign {report.campaign}"))
    suite = ET.SubElement(root, "testsuite", name=xml_text(report.campaign), timestamp=report.began[:19])
    whole = _case(suite, "hpcaccept.campaign", report.campaign)
    if report.exit_code:
        kind = "failure" if report.exit_code == 1 else "error"
        ET.SubElement(whole, kind, type=report.state, message=xml_text(headline(report)))
    for row in report.nodes:
        case = _case(suite, f"hpcaccept.campaign.{report.campaign}", row.node)
        if row.outcome != "PASS":
            kind = "failure" if row.outcome == "FAIL" else "error" if row.outcome else "skipped"
            ET.SubElement(case, kind, type=row.outcome or row.state, message=xml_text(row.reason or row.state))
    sum_up(suite)
    sum_up(root)
    ET.indent(root, " ")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ET.tostring(root, encoding="unicode")}\n'


def _case(suite: ET.Element, group: str, name: str) -> ET.Element:
    return ET.SubElement(suite, "testcase", classname=xml_text(group), name=xml_text(name), time="0.000")
