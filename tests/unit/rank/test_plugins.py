"""Checks of packages are looked for on every rank before any is begun; those of hpcaccept cost no question."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from support.site_packages import CHECK, install

from hpcaccept.errors import ToolError
from hpcaccept.measure.ranks import mpi
from hpcaccept.model.check import Unavailable
from hpcaccept.model.suite import CheckSpec
from hpcaccept.rank.plugins import missing_plugins

if TYPE_CHECKING:
    from pathlib import Path


def missing(monkeypatch: pytest.MonkeyPatch, elsewhere: dict[str, str], *specs: CheckSpec) -> dict[str, Exception]:
    """What rank 0 finds; rank 1 on ``node1`` says ``elsewhere``."""
    monkeypatch.setattr(mpi, "allgather", lambda _, mine: [mine, ("node1", elsewhere)])
    rank: Any = SimpleNamespace(node="node0", step=SimpleNamespace(checks=specs))
    comm: Any = None
    return missing_plugins(rank, comm)


def test_checks_of_hpcaccept_are_not_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mpi, "allgather", lambda *_: pytest.fail("somebody was asked"))
    rank: Any = SimpleNamespace(step=SimpleNamespace(checks=(CheckSpec("identity"),)))
    comm: Any = None
    assert missing_plugins(rank, comm) == {}


def test_a_package_that_is_not_installed_is_not_run_and_names_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    found = missing(monkeypatch, {}, CheckSpec("fan:slow", origin="site-checks 1.2"))["fan:slow"]
    assert isinstance(found, Unavailable)
    assert "'fan:slow' comes from site-checks 1.2, which is not installed in" in found.cause
    assert found.remedy.endswith("pip install site-checks")


def test_a_check_that_another_rank_lacks_is_measured_by_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    install(tmp_path, "site-elsewhere", "hpcaccept.checks", "fan", CHECK.format(name="fan"))
    spec = CheckSpec("fan", origin="site-elsewhere 1.0")
    assert missing(monkeypatch, {}, spec) == {}
    found = missing(monkeypatch, {"fan": "it is not there"}, spec)["fan"]
    assert isinstance(found, Unavailable)
    assert found.cause == "rank 1 on node1 cannot take part: it is not there"


def test_another_version_without_a_parameter_of_the_plan_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    install(tmp_path, "site-older", "hpcaccept.checks", "fan", CHECK.format(name="fan"), version="1.0")
    found = missing(monkeypatch, {}, CheckSpec("fan", {"steps": 3}, origin="site-older 1.1"))["fan"]
    assert isinstance(found, ToolError)
    assert "has no parameter 'steps'. The plan was made with site-older 1.1, found site-older 1.0." in found.message
