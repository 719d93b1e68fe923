from __future__ import annotations

import gc
import sys
from typing import TYPE_CHECKING

import pytest

from hpcaccept.rank.importing import import_for_good

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NAME = "imported_for_good"


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path / f"{NAME}.py"
    sys.modules.pop(NAME, None)


def test_the_collector_rests_during_the_import_and_works_afterwards(module: Path) -> None:
    module.write_text("import gc\nRESTED = not gc.isenabled()\n")
    assert import_for_good(NAME).RESTED
    assert gc.isenabled()


def test_what_was_imported_is_never_looked_through_again(module: Path) -> None:
    module.write_text("THINGS = [[] for _ in range(1000)]\n")
    before = gc.get_freeze_count()
    things = import_for_good(NAME).THINGS
    assert gc.get_freeze_count() > before + 1000
    assert not any(tracked is things for tracked in gc.get_objects())


def test_what_is_garbage_already_is_not_kept(module: Path) -> None:
    module.write_text("")

    class Marked:
        gone = False

        def __del__(self) -> None:
            Marked.gone = True

    cycle = Marked()
    cycle.itself = cycle  # type: ignore[attr-defined]
    del cycle
    import_for_good(NAME)
    assert Marked.gone


def test_the_collector_works_after_an_import_that_fails(module: Path) -> None:
    module.write_text("raise ImportError('half installed')\n")
    with pytest.raises(ImportError, match="half installed"):
        import_for_good(NAME)
    assert gc.isenabled()


def test_a_collector_that_is_off_stays_off(module: Path) -> None:
    module.write_text("")
    gc.disable()
    try:
        import_for_good(NAME)
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_a_module_that_is_there_costs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gc, "collect", pytest.fail)
    assert import_for_good("sys") is sys
