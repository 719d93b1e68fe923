"""The user's own ``az`` deploys what ``render`` has written, by the very lines that it printed, and hpcaccept finds and removes it."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support import azure_az
from support.arm_server import arm_server
from support.azure_fixtures import config_text, log_in
from support.golden_text import assert_golden

from hpcaccept.cli import main

if TYPE_CHECKING:
    from support.arm_server import ArmServer

pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(azure_az.why_not()), reason=azure_az.why_not())]


def spoken(server: ArmServer, first: int) -> str:
    """What az has asked of Azure since a request, looks at an operation once."""
    lines = [
        f"{request} {version}\n"
        for request, version in zip(server.requests[first:], server.versions[first:], strict=True)
        if "/operations/" not in request and "/subscriptions/" in request
    ]
    return "".join(dict.fromkeys(lines))


def test_az_deploys_what_render_has_written_by_the_lines_that_it_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    trusted = azure_az.certificate(tmp_path)
    Path("c.toml").write_text(config_text(cluster='ssh_public_key = "key.pub"'))
    Path("key.pub").write_text("ssh-ed25519 AAAA me\n")
    assert main(["azure", "render", "c.toml"]) == 0
    lines = capsys.readouterr().out.partition("your own az:\n")[2]
    with arm_server(trusted) as server:
        env = azure_az.environment(tmp_path, trusted)
        script = f"set -eu\n{azure_az.log_in(server.url)}\necho LOGGED IN >&2\n"
        done = subprocess.run(["sh", "-c", script], env=env, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stderr[-3000:]
        first = len(server.requests)
        done = subprocess.run(["sh", "-euc", lines], env=env, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stderr[-3000:]
        assert_golden("azure_az_requests.txt", spoken(server, first))
        (scale_set,) = server.of_type("Microsoft.Compute/virtualMachineScaleSets")
        assert len(scale_set["_vms"]) == 2
        log_in(server.url, monkeypatch)
        monkeypatch.setenv("SSL_CERT_FILE", str(trusted))
        assert main(["azure", "status"]) == 0
        assert "t1  Succeeded  2 nodes" in capsys.readouterr().out
        assert main(["azure", "down", "c.toml", "--yes"]) == 0
        assert server.billed() == []
