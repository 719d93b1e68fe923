"""A site changes suites with one file; every value knows whose it is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from hpcaccept.cli import main
from hpcaccept.cli.options import suite_options
from hpcaccept.config import settings as settings_module
from hpcaccept.config.suites import SuiteText
from hpcaccept.errors import UsageError
from hpcaccept.plan.override import overridden
from hpcaccept.plan.resolve import resolve_suite

SUITE = SuiteText(
    Path("base.toml"),
    {
        "checks": {"burn": {"duration_s": 9}, "burn:long": {"duration_s": 99}, "matmul": {}},
        "limits": {"matmul.rate_flops": {"lower": 1e12, "unit": "FLOP/s"}},
    },
)


def site(**tables: Any) -> SuiteText:
    return SuiteText(Path("site.toml"), tables)


def params(*overrides: SuiteText) -> dict[str, dict[str, Any]]:
    return {spec.name: spec.params for spec in resolve_suite(SUITE, overrides).checks}


def test_a_plain_name_changes_every_label_and_a_labelled_one_only_itself() -> None:
    assert params(site(checks={"burn": {"duration_s": 60}})) == {
        "burn": {"duration_s": 60},
        "burn:long": {"duration_s": 60},
        "matmul": {},
    }
    assert params(site(checks={"burn:long": {"duration_s": 60}}))["burn"] == {"duration_s": 9}


def test_later_overrides_win_and_each_value_names_its_place() -> None:
    last = SuiteText(Path("command line"), {"checks": {"burn": {"dtype": "bf16"}}})
    _, origins = overridden(SUITE, [site(checks={"burn": {"duration_s": 60, "dtype": "fp16"}}), last])
    assert origins["checks", "burn", "duration_s"] == "site.toml"
    assert origins["checks", "burn", "dtype"] == "command line"
    assert origins["limits", "matmul.rate_flops", "lower"] == "base.toml"


def test_a_check_that_is_switched_off_takes_its_limits_with_it() -> None:
    suite = resolve_suite(SUITE, [site(checks={"matmul": {"enabled": False}})])
    assert [spec.name for spec in suite.checks] == ["burn", "burn:long"]
    assert suite.limits == {}


def test_a_limit_of_the_site_replaces_the_whole_limit_of_the_suite() -> None:
    (limit,) = resolve_suite(
        SUITE, [site(limits={"matmul.rate_flops": {"upper": 2.0, "unit": "FLOP/s"}})]
    ).limits.values()
    assert (limit.lower, limit.upper) == (None, 2.0)


def test_what_a_suite_does_not_have_is_not_added_to_it() -> None:
    changes = site(
        checks={"os_noise": {"duration_s": 3}}, limits={"os_noise.lost_share": {"upper": 0.1, "unit": "share"}}
    )
    suite = resolve_suite(SUITE, [changes])
    assert "os_noise" not in {spec.name for spec in suite.checks}
    assert list(suite.limits) == ["matmul.rate_flops"]


def test_peers_are_changed_key_by_key() -> None:
    assert resolve_suite(SUITE, [site(peers={"retests": 0})]).peers.retests == 0


@pytest.mark.parametrize(
    ("tables", "words"),
    [
        ({"checks": {"brun": {}}}, ["site.toml: [checks.brun]", "Did you mean 'burn'?"]),
        ({"checks": {"os_noise": {"duraton_s": 1}}}, ["site.toml: [checks.os_noise]", "'duration_s'"]),
        ({"checks": {"os_noise": {"duration_s": 120}}}, ["would cut short", "--set os_noise.deadline_s=444"]),
        ({"checks": {"burn": {"enabled": 1}}}, ["site.toml", "enabled is 1, expected true or false"]),
        ({"checks": {"burn": 5}}, ["site.toml: [checks.burn] is 5, expected a table"]),
        ({"limits": {"os_noise.lost": {"upper": 1.0, "unit": "share"}}}, ["site.toml", "os_noise.lost_share"]),
        ({"limits": {"os_nois.lost": {"upper": 1.0, "unit": "share"}}}, ["site.toml", "no check 'os_nois'"]),
        ({"limits": {"os_noise.lost_share": {"upper": 1.0, "unit": "s"}}}, ["site.toml", "unit is 's'", "'share'"]),
        ({"peers": {"retest": 1}}, ["site.toml: [peers]", "'retests'"]),
    ],
)
def test_a_mistake_is_told_with_its_file_even_where_the_suite_has_no_such_check(tables: Any, words: list[str]) -> None:
    with pytest.raises(UsageError) as fault:
        resolve_suite(SUITE, [site(**tables)])
    assert all(word in str(fault.value) for word in words), str(fault.value)


def test_switches_of_the_command_line_become_tables() -> None:
    assert suite_options(("burn",), ('matmul.dtypes=["fp32"]', "burn:long.dtype=bf16"), search=True) == {
        "burn": {"enabled": False},
        "matmul": {"search": True, "deadline_s": 1200, "dtypes": ["fp32"]},
        "burn:long": {"dtype": "bf16"},
    }


@pytest.mark.parametrize("text", ["burn", "burn.duration_s", "=5", "burn=5"])
def test_a_change_that_is_none_is_told_how_to_write_it(text: str) -> None:
    with pytest.raises(UsageError, match=r"expected CHECK\.PARAMETER=VALUE"):
        suite_options((), (text,), search=False)


def test_config_shows_a_suite_with_every_value_and_whose_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(settings_module, "SYSTEM_FILE", tmp_path / "system.toml")
    (tmp_path / "hpcaccept.toml").write_text(
        '[checks.burn]\nduration_s = 60\n[checks.train]\nenabled = false\n[limits."burn.passes"]\nlower = 5\nunit = "passes"\n'
    )
    assert main(["config", "--suite", "full", "--json"]) == 0
    tables = json.loads(capsys.readouterr().out)
    assert tables["checks.burn"]["duration_s"] == {"value": 60, "origin": "hpcaccept.toml"}
    assert tables["checks.burn"]["deadline_s"]["origin"].endswith("full.toml")
    assert tables["checks.burn"]["dtype"] == {"value": "fp16", "origin": "default"}
    assert tables["checks.train"]["enabled"] == {"value": False, "origin": "hpcaccept.toml"}
    assert tables['limits."burn.passes"']["lower"] == {"value": 5.0, "origin": "hpcaccept.toml"}
    assert tables["peers"]["retests"]["origin"] == "default"
    assert main(["config", "--suite", "full"]) == 0
    text = capsys.readouterr().out
    assert "[checks.burn]" in text
    assert "hpcaccept.toml" in text
