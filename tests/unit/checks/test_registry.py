"""Checks are found by the names of their files; what they declare must make sense to the judge."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import subprocess
import sys

import pytest

from hpcaccept import checks
from hpcaccept.checks.identity import Identity
from hpcaccept.checks.matmul import Matmul
from hpcaccept.errors import UsageError
from hpcaccept.model.check import Check
from hpcaccept.model.metric_key import MetricKey

every_check = pytest.mark.parametrize("name", checks.names())


def test_identity_and_matmul_are_there() -> None:
    assert {"identity", "matmul"} <= set(checks.names())


def test_a_check_is_loaded_by_its_file_name_and_under_a_label() -> None:
    assert checks.load("matmul") is Matmul
    assert checks.load("matmul:small") is Matmul


def test_an_unknown_check_is_told_with_the_nearest_name() -> None:
    with pytest.raises(UsageError, match=r"There is no check 'identiti'(?s:.*)Did you mean 'identity'\?"):
        checks.load("identiti")


def test_a_check_is_built_with_its_parameters() -> None:
    assert checks.build("matmul", {"size": 64, "dtypes": ["fp32"], "block_s": 1}) == Matmul(
        size=64, dtypes=("fp32",), block_s=1.0
    )
    assert checks.build("identity", {}) == Identity()


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"szie": 1}, r"suite\.toml: check 'matmul' has no parameter 'szie'(?s:.*)Did you mean 'size'\?"),
        ({"size": "big"}, "parameter 'size' of check 'matmul' is 'big', expected int like 0"),
        ({"size": True}, "is True, expected int"),
        ({"block_s": "1"}, "is '1', expected float"),
        ({"dtypes": "fp32"}, "is 'fp32', expected tuple"),
        ({"dtypes": 5}, "is 5, expected tuple"),
    ],
)
def test_a_wrong_parameter_is_told_with_its_place(params: dict[str, object], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        checks.build("matmul", params, "suite.toml")


def test_the_catalogue_has_the_metrics_of_the_checks_of_a_suite() -> None:
    found = checks.catalogue(["matmul", "matmul:small"])
    assert set(found) == {"matmul", "matmul:small"}
    assert found["matmul:small"]["rate_flops"].unit == "FLOP/s"


# --- what every check promises ----------------------------------------------------------------------------------------


@every_check
def test_a_check_says_what_it_is(name: str) -> None:
    kind = checks.load(name)
    assert kind.name == name
    assert kind.revision >= 1
    assert kind.about.endswith(".")
    assert len(kind.about) <= 110
    assert "\n" not in kind.about
    assert inspect.getdoc(kind) != inspect.getdoc(Check)
    assert kind.scope in ("device", "world")


@every_check
def test_the_parameters_have_defaults_of_plain_kinds_and_are_explained(name: str) -> None:
    kind = checks.load(name)
    manual = inspect.getdoc(kind) or ""
    for field in dataclasses.fields(kind):
        assert isinstance(field.default, (int, float, str, bool, tuple)), field.name
        assert field.name in manual, f"{name}: parameter {field.name} is not in the manual"


@every_check
def test_the_metrics_of_a_check_have_one_name_each_and_keys_that_come_apart(name: str) -> None:
    kind = checks.load(name)
    names = [metric.name for metric in kind.metrics]
    assert len(set(names)) == len(names)
    for metric in kind.metrics:
        assert MetricKey.parse(f"{name}.{metric.name}[x]") == MetricKey(name, "", metric.name, "x")
        assert metric.help.endswith(".")
        assert metric.unit


@every_check
def test_a_limit_is_in_the_unit_of_its_metric_and_says_where_it_comes_from(name: str) -> None:
    for metric in checks.load(name).metrics:
        if metric.limit:
            assert metric.limit.unit == metric.unit, metric.name
            assert metric.limit.origin == "built-in"
            assert metric.limit.source
            assert metric.statistic != "best" or metric.name == "lost_share", f"{metric.name}: the worst repeat counts"


@every_check
def test_what_is_judged_against_peers_is_a_rate_of_a_device_or_node(name: str) -> None:
    for metric in checks.load(name).metrics:
        if metric.peer_floor is not None:
            assert metric.is_rate, metric.name
            assert metric.scope != "world", metric.name
            assert 0 < metric.peer_floor < 0.5, metric.name


@every_check
def test_something_of_every_check_can_be_judged(name: str) -> None:
    # A check of numbers that nothing judges could only ever be shown.
    kind = checks.load(name)
    assert any(m.limit or m.peer_floor is not None or (m.is_rate and m.scope == "world") for m in kind.metrics)


@every_check
def test_importing_a_check_imports_nothing_heavy(name: str) -> None:
    program = f"import sys, hpcaccept.checks.{name}; print(sorted({{'torch', 'mpi4py', 'pynvml'}} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_a_file_with_two_checks_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    module = importlib.import_module("hpcaccept.checks.identity")
    second = type("Second", (Check,), {"__module__": module.__name__, "measure": lambda *_: None})
    monkeypatch.setattr(module, "Second", second, raising=False)
    with pytest.raises(TypeError, match="exactly one Check, it holds 2"):
        checks.load("identity")


@every_check
def test_a_manual_page_fits_a_terminal_and_loses_no_word(name: str) -> None:
    from hpcaccept.cli.checks import explanation, reflowed

    page = explanation(name, checks.load(name))
    shown = reflowed(page, 79)
    assert shown.split() == page.split()
    assert all(len(line) <= 79 or " " not in line.strip() for line in shown.splitlines())
    parameters = [line for line in page.splitlines() if line.startswith("  ") and " = " in line and line[2] != " "]
    assert [line for line in parameters if line not in shown.splitlines() and len(line) <= 79] == []
