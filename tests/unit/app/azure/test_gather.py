"""What ``hpcaccept azure gather`` refuses before it reaches for a node."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hpcaccept.cli import main

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["c.toml"],
        ["--hostfile", "hostfile"],
        ["--file", "/x"],
        ["c.toml", "--file", "/x", "--", "hostname"],
        ["--hostfile", "hostfile", "--file", "/x", "--", "hostname"],
    ],
)
def test_gather_needs_one_source_and_one_thing(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["azure", "gather", *words]) == 2
    assert "gather needs one source and one thing" in capsys.readouterr().err


def test_a_host_file_that_is_not_there_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["azure", "gather", "--hostfile", str(tmp_path / "none"), "--", "hostname"]) == 2
    assert "Cannot read" in capsys.readouterr().err


def test_a_network_that_is_no_table_is_refused_by_its_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "c.toml"
    config.write_text(
        'network = 5\n[cluster]\nname = "t1"\nlocation = "eastus2"\nsize = "Standard_D2s_v5"\nnodes = 1\n'
    )
    assert main(["azure", "render", str(config), "--allow-ssh-from", "203.0.113.7/32"]) == 2
    assert "[network]: found 5, expected a table" in capsys.readouterr().err
