"""What README shows is what hpcaccept prints; lines may be left out, none may be made up."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.builders import AT, DATA, H100, record
from support.finished_runs import FACTS, finished_ranks

from hpcaccept.cli import main
from hpcaccept.model.event import Event

if TYPE_CHECKING:
    from hpcaccept.model.record import Record
    from hpcaccept.store.folder import RunFolder

ROOT = Path(__file__).parents[2]
LOST = "rank 18 on node2 was lost during matmul: the launcher reports 'signal 9 (Killed)'"


def shown(page: str, beginning: str) -> list[str]:
    """The lines of the block of a page that begins with this text."""
    blocks = (ROOT / page).read_text("utf-8").split("```text\n")[1:]
    (block,) = (block for block in blocks if block.startswith(beginning))
    return [line.rstrip() for line in block.partition("```")[0].splitlines() if line.strip()]


def printed(capsys: pytest.CaptureFixture[str], place: Path, run: str) -> list[str]:
    main(["report", run, "--runs-dir", str(place)])
    return [line.rstrip() for line in capsys.readouterr().out.splitlines()]


def made_up(lines: list[str], output: list[str]) -> list[str]:
    """Lines that the output has not, or not in this order."""
    found, at = [], 0
    for line in lines:
        if line in output[at:]:
            at += output[at:].index(line) + 1
        else:
            found.append(line)
    return found


@pytest.fixture(autouse=True)
def terminal(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Eighty columns, and no settings or history of whoever runs this."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)


def test_readme_shows_a_run_as_it_is_printed(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    run = "20261129-003102-cpu-4n-ce0d"
    shutil.copytree(DATA / "printed_run", tmp_path / "runs" / run)
    output = printed(capsys, tmp_path / "runs", run)
    assert made_up(shown("README.md", "ACCEPTED: "), output) == [], "\n".join(output)


def broken_run(place: Path) -> RunFolder:
    """Six nodes with eight GPUs each: rank 18 is killed in ``matmul``, which node2 then misses; node5 has lost a GPU."""
    names = [f"node{number}" for number in range(6)]
    said: dict[int, list[Record]] = {}
    for rank in range(48):
        node, gpu = names[rank // 8], rank % 8
        who = {"rank": rank, "device": f"cuda:{gpu}", "device_model": H100, "device_id": f"GPU-{rank}"}
        about: dict[str, float | list[float]] = {
            "gpu_count": 7 if node == "node5" else 8, "gpu_models": 1, "cores": 64, "memory_bytes": 1e12
        }  # fmt: skip
        of_gpu: dict[str, float | list[float]] = {"gpu_memory_bytes": 8.55e10}
        rates: dict[str, float | list[float]] = {
            "rate_flops[bf16]": [7.9e14], "wrong_elements[bf16]": 0.0, "spread[bf16]": 0.01
        }  # fmt: skip
        said[rank] = [record("identity", node, {**of_gpu, **(about if gpu == 0 else {})}, facts=FACTS, **who)]
        if node != "node2" and (node, gpu) != ("node5", 7):
            said[rank].append(record("matmul", node, rates, **{**who, "revision": 2}))
    tables = {"baseline": "optional", "checks": {"identity": {}, "matmul": {}}}
    death = Event(
        "death", AT, step="00", nodes=("node2",), ranks=(18,), check="matmul", detail=LOST,
        remedy="See logs/step-00.err and the node's own log (dmesg, journalctl)",
    )  # fmt: skip
    return finished_ranks(place, "broken", tables, names, said, events=(death,), gpus_per_node=8)


def test_the_page_of_budgets_shows_a_plan_as_it_is_printed(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    shutil.copytree(DATA / "printed_run", tmp_path / "runs" / "20261129-003102-cpu-4n-ce0d")
    words = [
        "plan",
        "-l",
        "local",
        "-g",
        "0",
        "-N",
        "4",
        "-s",
        "cpu",
        "--budget",
        "2m",
        "--runs-dir",
        str(tmp_path / "runs"),
    ]
    assert main(words) == 0
    output = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert made_up(shown("docs/how-to/budget.md", "Budget 2m: "), output) == [], "\n".join(output)


def test_readme_shows_faults_as_they_are_printed(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    broken_run(tmp_path)
    output = printed(capsys, tmp_path / "runs", "broken")
    assert made_up(shown("README.md", "NOT ACCEPTED: "), output) == [], "\n".join(output)


def test_the_tutorial_lists_the_files_of_a_run(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    run = "20261129-003102-cpu-4n-ce0d"
    shutil.copytree(DATA / "printed_run", tmp_path / "runs" / run)
    printed(capsys, tmp_path / "runs", run)
    listing = (ROOT / "docs/tutorial/first-run.md").read_text("utf-8").partition(f"    runs/{run}/\n")[2]
    names = [line.split()[0] for line in listing.partition("\n\n")[0].splitlines()]
    assert {"plan.json", "run.h5", "report.json", "report.html"} <= set(names)
    made_while_it_runs = {"logs/"}
    absent = [name for name in names if not (tmp_path / "runs" / run / name).exists()]
    assert set(absent) <= made_while_it_runs
