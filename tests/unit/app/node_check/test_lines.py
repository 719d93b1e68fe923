"""The lines of a verdict under the rules of who reads them, NHC and the node problem detector: both were tried by hand (docs/explanation/proven.md)."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from hpcaccept.app.node_check.lines import lines_of
from hpcaccept.model.node_check import EXIT_CODES, Gate, Item, Verdict

HOW = (Path(__file__).parents[4] / "docs/how-to/fleet.md").read_text("utf-8")
HOT = Item(
    "gpus", "temperature", "FAIL", "throttled", "95 °C → too hot: Müller's rack", "Cool it → now.", 95, "°C", None, 85
)


def gate(*items: Item, verdict: Verdict = "NOT_FIT") -> Gate:
    reason = "; ".join(f"{item.code}: {item.reason}" for item in items)
    return Gate(
        "n1", "b", "2026-11-30T06:00:00+00:00", "health", "", verdict, 1, 0.5, reason, items, moved={"x": (1, 2)}
    )


def detector(*words: str, most: int) -> tuple[str, str]:
    """State and message as the node problem detector makes them of a custom plugin."""
    done = subprocess.run([sys.executable, "-m", "hpcaccept", *words], capture_output=True, timeout=120, check=False)
    message = done.stdout[:4096].strip()[:most].decode("utf-8")
    return {0: "False", 1: "True"}.get(done.returncode, "Unknown"), message


def test_a_verdict_is_text_wherever_it_is_cut() -> None:
    whole = "\n".join(lines_of(gate(HOT))).encode()
    assert all(whole[:length].decode("utf-8") for length in range(1, len(whole)))
    assert "\n  -> Cool it -> now.\n" in whole.decode()


@pytest.mark.parametrize(
    ("text", "state", "begins"),
    [
        ("gpus = 0\nclock = false\n", "False", "hpcaccept FIT"),
        ("gpus = 8\nclock = false\n", "True", "hpcaccept NOT FIT: gpu-missing: "),
        ("gpus = 0\nclock = false\ndeep = true\n", "Unknown", "hpcaccept UNKNOWN: deep-stale: "),
    ],
)
def test_each_verdict_is_a_condition_of_the_node_problem_detector(
    tmp_path: Path, text: str, state: str, begins: str
) -> None:
    (tmp_path / "c.toml").write_text(text)
    words = [
        "node-check",
        "--nhc",
        "--deadline",
        "60",
        "--config",
        str(tmp_path / "c.toml"),
        "--state-dir",
        str(tmp_path),
    ]
    found, message = detector(*words, most=80)
    assert found == state
    assert message.startswith(begins)


def test_the_line_for_nhc_finds_a_node_that_is_not_fit_and_no_other() -> None:
    (line,) = re.findall(r"^ *(\* \|\| check_cmd_output .*)$", HOW, re.MULTILINE)
    (pattern,) = re.findall(r"-m '!/(.*?)/'", line)
    first = {verdict: next(lines_of(gate(HOT, verdict=verdict))) for verdict in EXIT_CODES}
    assert [verdict for verdict, said in first.items() if re.search(pattern, said)] == ["NOT_FIT"]
