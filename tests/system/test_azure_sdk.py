"""The real SDK of Azure and hpcaccept ask the same server, and are told the same."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from support import azure_sdk
from support.arm_server import SUBSCRIPTION, TOKEN, ArmServer
from support.azure_fixtures import CPU_SIZE, config_text

from hpcaccept.cli import main

pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(azure_sdk.why_not()), reason=azure_sdk.why_not())]


@pytest.fixture
def azure(logged_in: ArmServer) -> ArmServer:
    Path("c.toml").write_text(config_text())
    return logged_in


def sdk(server: ArmServer, *words: str) -> Any:
    command = [str(azure_sdk.PYTHON), "-c", azure_sdk.CLIENT, server.url, TOKEN, SUBSCRIPTION, *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, cwd="/")
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


def group(server: ArmServer) -> None:
    """As ``az group create`` of the line that render prints."""
    path = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/hpcaccept-t1"
    tags = {"hpcaccept-run": "t1", "hpcaccept-expires": "2099-01-01T00:00:00Z"}
    made = {"location": "eastus2", "tags": tags, "properties": {"provisioningState": "Succeeded"}}
    server.groups["hpcaccept-t1"] = {"id": path, "name": "hpcaccept-t1", **made}


def test_the_sdk_deploys_what_render_writes_and_hpcaccept_finds_it(azure: ArmServer, tmp_path: Path) -> None:
    key = Path("key.pub")
    key.write_text("ssh-ed25519 AAAA me\n")
    Path("c.toml").write_text(config_text(cluster='ssh_public_key = "key.pub"'))
    assert main(["azure", "render", "c.toml", "-o", "out"]) == 0
    group(azure)
    files = (str(tmp_path / "out/template.json"), str(tmp_path / "out/parameters.json"))
    assert sdk(azure, "deploy", "hpcaccept-t1", *files) == {"state": "Succeeded"}
    assert sdk(azure, "vms", "hpcaccept-t1", "t1") == ["vm-000000", "vm-000001"]
    assert main(["azure", "down", "c.toml", "--yes"]) == 0
    assert azure.billed() == []


def test_the_sdk_finds_what_up_has_made(azure: ArmServer) -> None:
    assert main(["azure", "up", "c.toml", "--max-hours", "1", "--no-wait", "--yes"]) == 0
    assert sdk(azure, "vms", "hpcaccept-t1", "t1") == ["vm-000000", "vm-000001"]


def test_the_sdk_and_hpcaccept_send_the_same_deployment(
    azure: ArmServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bodies: list[Any] = []
    expand = azure._expanded

    def written_down(path: str, body: Any) -> list[dict[str, Any]]:
        bodies.append(body)
        return expand(path, body)

    monkeypatch.setattr(azure, "_expanded", written_down)
    assert main(["azure", "up", "c.toml", "--max-hours", "1", "--no-wait", "--yes"]) == 0
    files = (str(tmp_path / "t1/template.json"), str(tmp_path / "t1/parameters.json"))
    assert sdk(azure, "deploy", "hpcaccept-t1", *files) == {"state": "Succeeded"}
    ours, theirs = bodies
    assert ours == theirs
    paths = [each for each in azure.requests if each.startswith("PUT") and "deployments" in each]
    assert len({each.lower() for each in paths}) == 1


def test_a_failed_allocation_is_the_same_for_both(
    azure: ArmServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    azure.allocatable = 1
    assert main(["azure", "up", "c.toml", "--max-hours", "1", "--no-wait", "--yes"]) == 3
    assert "AllocationFailed" in capsys.readouterr().err
    files = (str(tmp_path / "t1/template.json"), str(tmp_path / "t1/parameters.json"))
    assert sdk(azure, "deploy", "hpcaccept-t1", *files) == {"refused": "DeploymentFailed"}


def test_the_sdk_and_hpcaccept_ask_a_vm_for_the_same(azure: ArmServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Scripts of Azure's agent and evictions: paths and bodies. Versions of the API are pinned by either."""
    asked: list[tuple[str, Any]] = []
    route = azure._route

    def noted(method: str, path: str, query: dict[str, str], body: Any) -> Any:
        if method == "POST" and path.lower().endswith(("/runcommand", "/simulateeviction")):
            asked.append((path.lower(), body))
        return route(method, path, query, body)

    monkeypatch.setattr(azure, "_route", noted)
    Path("c.toml").write_text(config_text(CPU_SIZE, more="[spot]\nenabled = true\n"))
    assert main(["azure", "up", "c.toml", "--max-hours", "1", "--no-wait", "--yes"]) == 0
    assert main(["azure", "hosts", "c.toml"]) == 3, "no agent answers here"
    path, ours = asked[0]
    asked.clear()
    sdk(azure, "run", "hpcaccept-t1", "t1", path.split("/")[-2], *ours["script"])
    assert asked == [(path, ours)]
    asked.clear()
    assert main(["azure", "simulate-eviction", "c.toml", "vm-000001", "--yes"]) == 0
    sdk(azure, "evict", "hpcaccept-t1", "t1", "0")
    mine, theirs = asked
    assert mine[0].replace("/1/simulate", "/0/simulate") == theirs[0]
    assert not mine[1]
    assert not theirs[1]
