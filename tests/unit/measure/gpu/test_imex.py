from __future__ import annotations

from typing import TYPE_CHECKING

from hpcaccept.measure.gpu.drivers.nvidia import imex

if TYPE_CHECKING:
    from pathlib import Path


def test_channels_and_members_of_an_imex_domain_are_told(tmp_path: Path) -> None:
    channels, nodes = tmp_path / "channels", tmp_path / "nodes_config.cfg"
    assert imex(channels, nodes) == ""
    channels.mkdir()
    (channels / "channel0").touch()
    assert imex(channels, nodes) == "1 channel"
    nodes.write_text("# tray by tray\n10.0.0.1\n10.0.0.2 \n\n")
    (channels / "channel1").touch()
    assert imex(channels, nodes).startswith("2 channels, domain of 2 nodes (")


def test_nodes_of_one_domain_say_the_same_and_others_do_not(tmp_path: Path) -> None:
    said = []
    for number, text in enumerate(("a\nb\n", "a \n\nb", "a\nc\n")):
        nodes = tmp_path / str(number)
        nodes.write_text(text)
        said.append(imex(tmp_path / "none", nodes))
    assert said[0] == said[1] != said[2]
