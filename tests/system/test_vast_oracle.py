"""The official client of Vast.ai against the server of the tests: both are kept honest. ``make vast-oracle`` installs it and runs this."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

import pytest
from support import vast_recordings, vastai_client
from support.vast_server import Behaviour, vast_server

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(vastai_client.why_not()), reason=vastai_client.why_not())]


def test_the_recordings_are_what_the_official_client_sends(tmp_path: Path) -> None:
    text = vast_recordings.as_text(vast_recordings.record(tmp_path))
    if os.environ.get("HPCACCEPT_ACCEPT"):
        vast_recordings.FILE.write_text(text, "utf-8")
    assert text == vast_recordings.FILE.read_text("utf-8"), "HPCACCEPT_ACCEPT=1 records them again"


def test_the_official_client_searches_creates_shows_and_destroys(tmp_path: Path) -> None:
    with vast_server() as server:
        server.offer(11, verification="verified", verified=True)
        found = vastai_client.run(server.url, tmp_path, "search", "offers", "gpu_ram>7")
        assert "7000011" in found.stdout
        made = vastai_client.run(
            server.url, tmp_path, "create", "instance", "7000011", "--image", "me/image:1", "--ssh", "--direct", "--env", "-p 5000:5000", "--raw"
        )  # fmt: skip
        identity = re.search(r'"new_contract": (\d+)', made.stdout)
        assert identity, made.stdout + made.stderr
        assert "RTX 4090" in vastai_client.run(server.url, tmp_path, "show", "instances", "--raw").stdout
        assert "a line of the log" in vastai_client.run(server.url, tmp_path, "logs", identity[1]).stdout
        done = vastai_client.run(server.url, tmp_path, "destroy", "instance", identity[1], "-y")
        assert "destroying" in done.stdout.lower(), done.stdout + done.stderr
        assert server.instances == {}
        # What it sends otherwise than the document, and we do not.
        assert {"env is an object", "type=on-demand"} <= server.deviations


def test_the_official_self_test_rents_and_destroys_here(tmp_path: Path) -> None:
    with vast_server() as server:
        server.offer(11, verification="unverified")
        server.behaviours[11] = Behaviour(status="offline", message="the host has gone")
        done = vastai_client.run(server.url, tmp_path, "self-test", "machine", "11", timeout_s=240)
        assert any(each.startswith("PUT /api/v0/asks/7000011/") for each in server.requests), done.stdout + done.stderr
        assert any(each.startswith("DELETE /api/v0/instances/") for each in server.requests)
        assert server.instances == {}
