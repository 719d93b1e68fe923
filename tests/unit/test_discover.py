"""What hpcaccept brings is found without looking at installed packages; what they add is found with its origin."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.site_packages import CHECK, install

from hpcaccept import __version__, checks, container, launch
from hpcaccept.cli import main
from hpcaccept.config.suites import SuiteText
from hpcaccept.errors import PluginError, UsageError
from hpcaccept.plan.resolve import resolve_suite
from hpcaccept.report import formats

if TYPE_CHECKING:
    from hpcaccept.discover import Kind

ROOT = Path(__file__).parents[2]
GROUP = "hpcaccept.checks"


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of installed packages."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    return folder


def test_a_check_of_an_installed_package_is_one_among_the_others(site: Path) -> None:
    install(site, "site-checks", GROUP, "fan", CHECK.format(name="fan"), version="1.2")
    assert checks.load("fan:slow").revision == 3
    assert checks.exists("fan")
    assert "fan" in checks.names()
    assert "fan" not in checks.built_in()
    assert checks.origin("fan") == "site-checks 1.2"
    assert checks.origin("matmul") == ""
    with pytest.raises(UsageError, match="'blocks' of check 'fan' is 0, expected from 1 to 9"):
        checks.build("fan", {"blocks": 0})


def test_a_suite_keeps_from_which_package_its_checks_come(site: Path) -> None:
    install(site, "site-origins", GROUP, "fan_two", CHECK.format(name="fan_two"), version="2.0")
    suite = resolve_suite(SuiteText(Path("mine.toml"), {"checks": {"fan_two": {"blocks": 2}, "identity": {}}}))
    assert [(spec.name, spec.origin) for spec in suite.checks] == [("fan_two", "site-origins 2.0"), ("identity", "")]


@pytest.mark.parametrize("kind", [checks.KIND, formats.KIND, container.KIND, launch.KIND], ids=lambda kind: kind.noun)
def test_each_kind_has_its_own_group(site: Path, kind: Kind) -> None:
    name = f"mine_{kind.group.rpartition('.')[2]}"
    install(site, f"site-{name}", kind.group, name, CHECK.format(name=name) + "\nrender = print\n")
    assert kind.load(name).__name__ == f"site_{name}_{name}"
    assert kind.origin(name) == f"site-{name} 1.0"
    assert [k.noun for k in (checks.KIND, formats.KIND, container.KIND, launch.KIND) if k.exists(name)] == [kind.noun]


def test_a_name_that_hpcaccept_has_is_refused_with_both_origins_and_ours_is_used(
    site: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    install(site, "site-clash", GROUP, "matmul", CHECK.format(name="matmul"))
    assert checks.load("matmul").__module__ == "hpcaccept.checks.matmul"
    (fault,) = checks.KIND.faults()
    assert fault.message == (
        f"The check 'matmul' of the package site-clash 1.0 is refused: hpcaccept {__version__} has one of that name."
    )
    assert main(["checks"]) == 0
    shown = capsys.readouterr().out
    assert f"ERROR {fault.message}" in shown
    assert "pip uninstall site-clash" in shown


def test_two_packages_with_the_same_name_are_refused_until_one_is_gone(site: Path) -> None:
    install(site, "site-one", GROUP, "fan", CHECK.format(name="fan"))
    install(site, "site-two", GROUP, "fan", CHECK.format(name="fan"), version="7")
    with pytest.raises(PluginError, match=r"of the package site-one 1\.0 is refused: site-two 7 has one of that name"):
        checks.load("fan")
    assert checks.find("fan") is None


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("import no_such_module", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("raise RuntimeError('half installed')", "RuntimeError: half installed"),
        ("import sys; sys.exit(1)", "SystemExit: 1"),
        ("def (", "SyntaxError"),
        ("", "TypeError: .* must hold exactly one Check, it holds 0"),
    ],
)
def test_a_package_that_cannot_be_used_breaks_only_what_needs_it(
    site: Path, capsys: pytest.CaptureFixture[str], text: str, why: str
) -> None:
    module = install(site, "site-broken", GROUP, "fan", text)
    sys.modules.pop(module, None)
    with pytest.raises(PluginError, match=rf"check 'fan' of the package site-broken 1\.0 cannot be used: {why}"):
        checks.load("fan")
    with pytest.raises(UsageError, match="site-broken"):
        resolve_suite(SuiteText(Path("mine.toml"), {"checks": {"fan": {}}}))
    assert resolve_suite(SuiteText(Path("mine.toml"), {"checks": {"identity": {}}})).checks
    assert main(["checks"]) == 0
    shown = capsys.readouterr().out
    assert "\n  identity " in shown
    assert "ERROR The check 'fan' of the package site-broken 1.0 cannot be used" in shown
    assert "pip uninstall site-broken" in shown
    assert main(["checks", "explain", "fan"]) == 2
    assert "site-broken 1.0" in capsys.readouterr().err


def test_an_entry_point_that_names_no_module_is_refused(site: Path) -> None:
    install(site, "site-object", GROUP, "fan", CHECK.format(name="fan"))
    (site / "site_object-1.0.dist-info/entry_points.txt").write_text(f"[{GROUP}]\nfan = site_object_fan:Fan\n")
    with pytest.raises(PluginError, match=r"'fan = site_object_fan:Fan', expected NAME = PACKAGE\.MODULE"):
        checks.load("fan")


def test_an_unknown_name_is_told_with_the_nearest_one_of_a_package_too(site: Path) -> None:
    install(site, "site-near", GROUP, "fan_speed", CHECK.format(name="fan_speed"))
    with pytest.raises(UsageError, match=r"There is no check 'fan_sped'(?s:.*)Did you mean 'fan_speed'\?"):
        checks.load("fan_sped")
    with pytest.raises(UsageError, match=r"There is no launcher 'aut'(?s:.*)Did you mean 'auto'\?"):
        launch.load("aut")


@pytest.mark.parametrize(
    "words",
    [
        ["--help"],
        ["report", "--help"],
        ["submit", "--help"],
        ["checks", "explain", "matmul"],
        ["config", "--suite", "cpu"],
    ],
)
def test_installed_packages_are_not_looked_through_where_our_own_names_do(words: list[str]) -> None:
    program = f"import sys\nfrom hpcaccept.cli import main\nmain({words!r})\nprint('importlib.metadata' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.endswith("\nFalse\n")
