"""What hpcaccept brings keeps the promises that the packages of a site are held to, and what breaks one is named."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

import pytest
from support.site_packages import CHECK, install

from hpcaccept import container, launch
from hpcaccept.testing import (
    assert_check_contract,
    assert_container_contract,
    assert_format_contract,
    assert_launcher_contract,
)

if TYPE_CHECKING:
    from pathlib import Path
    from types import ModuleType

FORMAT = "ABOUT = 'Nothing.'\n\n\ndef render(judged: object) -> str:\n    return ''\n"


@pytest.fixture
def module(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A module with the text that the test asks for."""
    package, group, text = request.param
    monkeypatch.syspath_prepend(tmp_path)
    return importlib.import_module(install(tmp_path, package, group, "fan", text))


@pytest.mark.parametrize("name", launch.KIND.built_in())
def test_every_launcher_keeps_its_promise(name: str) -> None:
    assert_launcher_contract(launch.KIND.load(name))


@pytest.mark.parametrize("name", container.KIND.built_in())
def test_every_runtime_keeps_its_promise(name: str) -> None:
    assert_container_contract(container.KIND.load(name))


@pytest.mark.parametrize("module", [("contract-right", "hpcaccept.checks", CHECK.format(name="fan"))], indirect=True)
def test_a_check_of_a_site_that_keeps_every_promise_passes(module: ModuleType) -> None:
    assert_check_contract(module)


@pytest.mark.parametrize("module", [("contract-format", "hpcaccept.formats", FORMAT)], indirect=True)
def test_a_format_of_a_site_gives_text(module: ModuleType) -> None:
    assert_format_contract(module)
    del module.render
    with pytest.raises(AssertionError, match="has no function 'render'"):
        assert_format_contract(module)


def broken(number: int, before: str, after: str, name: str = "fan") -> tuple[str, str, str]:
    text = CHECK.format(name=name)
    assert before in text
    return f"contract-{number}", "hpcaccept.checks", text.replace(before, after)


#: A shorter form, up to its arguments.
_SHORTER = "shorter: ClassVar = (__import__('hpcaccept.model.check', fromlist=['Shorter']).Shorter"


@pytest.mark.parametrize(
    ("module", "words"),
    [
        (broken(1, "", "", name="other"), r"holds the check 'other', expected \('fan',\)"),
        (broken(2, "nothing.", "nothing"), "expected one sentence with its full stop"),
        (broken(3, "revision: ClassVar = 3", "revision: ClassVar = 0"), "revision is 0, expected at least 1"),
        (broken(4, ", at_least=1, at_most=9", ""), r"fan\.blocks is a number without bounds"),
        (broken(5, "blocks: how often", "often"), r"fan\.blocks is not in the manual"),
        (broken(6, '"fans", "ours"', '"GPUs", "ours"'), r"fan\.stopped is in 'fans', its limit in 'GPUs'"),
        (broken(7, ', limit=at_most(0, "fans", "ours")', ", peer_floor=0.6"), r"peer_floor is 0\.6"),
        (broken(8, ', limit=at_most(0, "fans", "ours")', ""), "no metric has a limit or a peer_floor"),
        (
            broken(
                10,
                "revision: ClassVar = 3",
                f"{_SHORTER}({{'blocks': 99}}, 0.5, 'the rest'),)\n    revision: ClassVar = 3",
            ),
            r"blocks = 99, expected a parameter of the check within its bounds",
        ),
        (
            broken(
                11,
                "revision: ClassVar = 3",
                f"{_SHORTER}({{'blocks': 1}}, 1.5, 'the rest'),)\n    revision: ClassVar = 3",
            ),
            r"share is 1\.5, expected above 0, below 1",
        ),
        (broken(9, "from typing", "import mpi4py\nfrom typing"), "imports mpi4py, expected that inside a function"),
    ],
    indirect=["module"],
)
def test_what_breaks_a_promise_is_named(module: ModuleType, words: str) -> None:
    with pytest.raises(AssertionError, match=words):
        assert_check_contract(module)


def test_a_launcher_that_lacks_a_function_or_takes_other_things_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    text = "from hpcaccept.launch.local import *\n"
    module = importlib.import_module(install(tmp_path, "contract-launcher", "hpcaccept.launchers", "mine", text))
    assert_launcher_contract(module)
    monkeypatch.setattr(module, "cancel", lambda: None)
    with pytest.raises(AssertionError, match=r"cancel takes \[\], expected \['job'\]"):
        assert_launcher_contract(module)
    monkeypatch.delattr(module, "cancel")
    with pytest.raises(AssertionError, match="has no function 'cancel', expected one as in Launcher"):
        assert_launcher_contract(module)
