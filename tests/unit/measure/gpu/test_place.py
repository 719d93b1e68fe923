"""Which GPU a rank gets where one of them is lost: by its place and its UUID, never by its number among those that are left."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from support.nvml.build import build, describe, environment, h100

from hpcaccept.checks import gpu_burn, nvbandwidth
from hpcaccept.parse.gpu_burn import Burnt

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow

#: ``argv``: the rank's place.
PLACE = """
import json, os, sys
from hpcaccept.measure.gpu import driver
local = int(sys.argv[1])
device = driver.place_rank(local)
try:
    mine = driver.identity_of(device).uuid
except Exception as why:
    mine = str(why)
own = driver.own_gpus()
print(json.dumps({
    "device": device, "uuid": mine, "visible": os.environ.get("CUDA_VISIBLE_DEVICES"), "wanted": driver.installed().wanted(),
    "places": [driver.place_of(n) for n in range(4)],
    "mine": [own[local].index, own[local].state, own[local].uuid],
}))
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("nvml"))


@pytest.fixture
def placed(library: Path, tmp_path: Path) -> Any:
    def place(gpus: list[dict[str, str]], local: int, visible: str | None = None) -> Any:
        node = describe(tmp_path / "node", gpus)
        inherited = {key: text for key, text in os.environ.items() if key != "CUDA_VISIBLE_DEVICES"}
        given = {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}
        done = subprocess.run(
            [sys.executable, "-c", PLACE, str(local)],
            check=True,
            capture_output=True,
            text=True,
            env={**inherited, **environment(library, node), **given},
        )
        return json.loads(done.stdout)

    return place


def uuid(index: int) -> str:
    return f"GPU-{index:08x}-aaaa-bbbb-cccc-{index:012x}"


def four(lost: int = -1, state: str = "lost") -> list[dict[str, str]]:
    return [h100(n, **({"state": state} if n == lost else {})) for n in range(4)]


def test_on_a_whole_node_nothing_is_changed(placed: Any) -> None:
    said = placed(four(), 3)
    assert (said["device"], said["uuid"], said["visible"]) == ("cuda:3", uuid(3), None)
    assert said["places"] == [0, 1, 2, 3]


@pytest.mark.parametrize(("local", "device"), [(0, "cuda:0"), (1, "cuda:1"), (3, "cuda:2")])
def test_beside_a_lost_gpu_every_rank_measures_its_own(placed: Any, local: int, device: str) -> None:
    said = placed(four(lost=2), local)
    assert (said["device"], said["uuid"]) == (device, uuid(local))
    assert said["mine"] == [local, "ok", uuid(local)]
    assert said["visible"] == ",".join(uuid(n) for n in (0, 1, 3))
    assert said["wanted"] is None
    assert said["places"][:3] == [0, 1, 3], "tools that this rank starts number the GPUs as torch does"


@pytest.mark.parametrize("state", ["lost", "!reset_required"])
def test_the_rank_of_the_lost_gpu_has_none(placed: Any, state: str) -> None:
    said = placed(four(lost=2, state=state), 2)
    assert said["mine"][0] == 2
    assert said["mine"][1] != "ok"


def test_what_the_job_was_given_is_remembered_and_still_applies(placed: Any) -> None:
    said = placed(four(lost=1), 2, visible="3,1,0")
    assert said["wanted"] == "3,1,0"
    assert said["visible"] == f"{uuid(3)},{uuid(0)}"
    assert (said["device"], said["uuid"]) == ("cuda:1", uuid(0))


def test_what_tools_say_of_the_gpus_that_are_left_is_filed_at_their_places(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HPCACCEPT_DEVICES_PLACES", "0,1,3")
    assert nvbandwidth._placed("gpu2→gpu0") == "gpu3→gpu0"
    assert nvbandwidth._placed("cpu→gpu1") == "cpu→gpu1"
    burnt = Burnt(index=2, said="OK", products=1, errors=0, temperature=None, rates_flops=(), stopped=False)
    assert gpu_burn._named(burnt) == "gpu3"
