"""What healthagent's own writer printed (tests/data/healthagent)."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.stand_ins import DATA

from hpcaccept.errors import NotUnderstood
from hpcaccept.parse.healthagent import AgentCheck, AgentReport, parse_healthagent

NOW = dt.datetime(2026, 11, 29, 14, 0, tzinfo=dt.timezone.utc)


def text(name: str) -> str:
    return (DATA / "healthagent" / f"{name}.json").read_text("utf-8")


def recorded(name: str) -> AgentReport:
    return parse_healthagent(text(name))


def meanings(report: AgentReport, *left_out: str) -> dict[str, str]:
    return {check.name: check.meaning for check in report.checks if check.meaning not in left_out}


def check(report: AgentReport, name: str) -> AgentCheck:
    return next(each for each in report.checks if each.name == name)


def test_a_healthy_node_has_all_of_its_checks() -> None:
    report = recorded("healthy")
    assert set(meanings(report)) == {
        *("GpuCountCheck", "GpuHealthCheck", "GpuMemoryCheck", "GpuDiagnosticCheck"),
        *("NetworkInterfaceCheck", "ProcessStateCheck"),
    }
    assert not meanings(report, "passed")
    assert not report.unreported()
    assert not any(each.is_stale(NOW) for each in report.checks)


def test_what_it_found_is_quoted_with_its_category() -> None:
    report = recorded("xid_and_missing_gpu")
    assert meanings(report, "passed") == {"GpuHealthCheck": "failed", "GpuCountCheck": "failed"}
    health = check(report, "GpuHealthCheck")
    assert "GPU_3: [GPU_3] XID 79 at 2026-11-29T13:41:07 UTC; GPU_3: GPU 3 temperature 94" in health.said
    assert health.category == "Resource.Hpc.Unhealthy.XID79FallenOffBus"


def test_a_test_that_was_not_performed_is_no_warning_of_the_node() -> None:
    assert meanings(recorded("diagnostic_not_performed"), "passed") == {
        "GpuMemoryCheck": "untested",
        "GpuDiagnosticCheck": "untested",
    }


def test_an_epilog_has_the_checks_that_ran() -> None:
    report = recorded("epilog_failed")
    assert meanings(report, "passed") == {"GpuDiagnosticCheck": "failed"}
    assert "GPU_5: Detected 3 uncorrectable ECC errors on GPU 5." in check(report, "GpuDiagnosticCheck").said


def test_a_service_that_failed_is_a_setting_and_a_port_that_is_down_the_node() -> None:
    report = recorded("network_and_service")
    assert meanings(report, "passed") == {"NetworkInterfaceCheck": "failed", "SystemdServiceCheck": "setup"}
    assert "nvidia-dcgm.service: Main process exited" in check(report, "SystemdServiceCheck").said


def test_a_module_that_could_not_start_is_noticed() -> None:
    report = recorded("no_gpu_module")
    assert report.modules == ("kmsg", "network", "proc")
    assert report.unreported() == ("GpuCountCheck", "GpuHealthCheck")
    assert recorded("prolog_of_nothing").checks == ()


def test_a_background_check_that_stopped_reporting_is_stale() -> None:
    assert [each.name for each in recorded("dcgm_lost").checks if each.is_stale(NOW)] == ["GpuHealthCheck"]


def test_a_report_of_the_future_is_stale_too() -> None:
    assert check(recorded("healthy"), "GpuHealthCheck").is_stale(NOW - dt.timedelta(hours=1))


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ("", "no JSON"),
        ("null", "no modules"),
        ("{}", "no modules"),
        ('"2.0.2"', "no modules"),
        ('{"gpus": {}}', "has the module 'gpus'"),
        ('{"gpu": []}', "gpu in healthagent's JSON is \\[\\], expected an object"),
        ('{"gpu": {"GpuHealthCheck": "OK"}}', "expected an object"),
        ('{"gpu": {"GpuHealthCheck": {"status": "ok"}}}', "has the status 'ok'"),
        ('{"gpu": {"GpuHealthCheck": {"status": "OK"}}}', "has last_update None"),
        ('{"gpu": {"GpuHealthCheck": {"status": "OK", "last_update": "today"}}}', "has last_update 'today'"),
    ],
)
def test_what_is_foreign_is_not_understood(document: str, words: str) -> None:
    with pytest.raises(NotUnderstood, match=words):
        parse_healthagent(document)


def test_json_that_is_too_deep_is_not_understood() -> None:
    with pytest.raises(NotUnderstood, match="no JSON"):
        parse_healthagent('{"gpu":' * 100_000)


def test_the_client_without_its_daemon_is_not_understood() -> None:
    with pytest.raises(NotUnderstood, match="no JSON"):
        parse_healthagent((DATA / "healthagent" / "not_running.err").read_text("utf-8"))


def test_a_torn_answer_is_not_understood() -> None:
    whole = text("healthy").strip()
    for at in range(0, len(whole), 97):
        with pytest.raises(NotUnderstood):
            parse_healthagent(whole[:at])


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.sampled_from(["OK", "Error"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["gpu", "status", "last_update", "errors", "GPU_0"]) | st.text(max_size=4),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(_JSON)
def test_any_json_is_read_or_refused(document: Any) -> None:
    with contextlib.suppress(NotUnderstood):
        parse_healthagent(json.dumps(document))
