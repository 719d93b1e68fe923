"""Checks are found by the names of their files; what they declare must make sense to the judge."""

from __future__ import annotations

import importlib
import re

import pytest

from hpcaccept import checks, testing
from hpcaccept.checks.identity import Identity
from hpcaccept.checks.matmul import Matmul
from hpcaccept.errors import UsageError
from hpcaccept.model.check import Check
from hpcaccept.model.parameter import parameters

#: Last part of a parameter's name → its unit.
UNITS = {"s": "s", "bytes": "B", "share": "share"}
#: Texts that only the site can know: paths, and names of its devices.
OF_THE_SITE = {
    "aznhc.conf", "aznhc.log", "aznhc.script", "gpu_burn.kernel", "gpudirect.root", "ib_links.ports", "ib_links.root", "ib_write_bw.root", "kernel_log.root",
    "kernel_log.kmsg", "requirements.disk_path", "roce.root", "storage.local_path", "storage.shared_path", "topology.root",
}  # fmt: skip

every_check = pytest.mark.parametrize("name", checks.built_in())


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
        ({"dtypes": "fp32"}, "is 'fp32', expected list of str"),
        ({"dtypes": 5}, "is 5, expected list of str"),
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
def test_a_check_is_called_like_its_file_and_keeps_what_every_check_promises(name: str) -> None:
    assert checks.load(name).name == name
    testing.assert_check_contract(importlib.import_module(f"hpcaccept.checks.{name}"))


@every_check
def test_a_size_a_time_and_a_share_have_their_unit(name: str) -> None:
    for parameter in parameters(checks.load(name)).values():
        suffix = parameter.name.rpartition("_")[2]
        unit = UNITS.get(suffix, parameter.bounds.unit)
        assert parameter.bounds.unit == unit, f"write {name}.{parameter.name} = param(…, unit={unit!r})"


@every_check
def test_a_text_is_one_of_its_choices_has_a_form_or_is_a_name_of_the_site(name: str) -> None:
    for parameter in parameters(checks.load(name)).values():
        if parameter.kind is str:
            told = bool(parameter.bounds.one_of or parameter.bounds.matching)
            assert told != (f"{name}.{parameter.name}" in OF_THE_SITE), f"{name}.{parameter.name}"


def test_every_name_of_the_site_is_a_parameter() -> None:
    known = {f"{name}.{key}" for name in checks.built_in() for key in parameters(checks.load(name))}
    assert known >= OF_THE_SITE


@every_check
def test_what_is_out_of_bounds_is_refused_when_the_check_is_built(name: str) -> None:
    for parameter in parameters(checks.load(name)).values():
        for value in testing.beyond(parameter):
            with pytest.raises(UsageError, match=rf"^here: parameter '{parameter.name}' of check '{name}' (is|has) "):
                checks.build(name, {parameter.name: value}, "here")


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


@every_check
def test_the_manual_of_a_check_describes_each_parameter(name: str) -> None:
    kind = checks.load(name)
    manual = (kind.__doc__ or "").partition("Parameters:")[2]
    missing = [key for key in parameters(kind) if not re.search(rf"^\s+(\w+, )*{key}(, \w+)*:", manual, re.MULTILINE)]
    assert not missing, f"add to 'Parameters:' in the docstring of {kind.__name__}: {', '.join(missing)}"
