"""Two real certificates, one of them changed in one place: the change is found, by topic, and whether less is said."""

from __future__ import annotations

import copy
import json
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import pytest
from support.finished_runs import gpu_run

from hpcaccept.app.certificate import issue
from hpcaccept.app.certificate_diff import Change, difference
from hpcaccept.cli import main
from hpcaccept.errors import StoreError
from hpcaccept.store.signing import canonical, make_key, read_private_key, sign

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

NOW = datetime(2026, 11, 23, tzinfo=timezone.utc)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A good run and one with a wrong result, a certificate of each, and a key."""
    folder = tmp_path_factory.mktemp("site")
    make_key(folder / "key")
    for name, wrong in (("run1", ""), ("run2", "node2")):
        run = gpu_run(folder, name, wrong=wrong)
        issue([run], folder / "none", folder / "key", timedelta(days=90), folder / f"{name}.json", NOW)
    return folder


def statement(place: Path, name: str = "run1") -> dict[str, Any]:
    found: dict[str, Any] = json.loads((place / f"{name}.json").read_bytes())["certificate"]
    return found


def changed(place: Path, change: Callable[[dict[str, Any]], object]) -> tuple[list[Change], int]:
    """What differs after a change of the certificate, and the exit code."""
    before = statement(place)
    after = copy.deepcopy(before)
    change(after)
    found = difference(before, after)
    return list(found.changes), found.exit_code


def limit(said: dict[str, Any], key: str = "matmul.wrong_elements[bf16]") -> dict[str, Any]:
    return next(each for each in said["runs"][0]["limits"] if (each["key"], each["question"]) == (key, "limits"))


def test_a_certificate_says_what_it_says(place: Path) -> None:
    assert changed(place, lambda _: None) == ([], 0)


def test_a_node_that_failed_since_is_named_with_its_reason(place: Path) -> None:
    found = difference(statement(place), statement(place, "run2"))
    (node,) = (each for each in found.changes if each.topic == "nodes")
    assert (node.what, node.before, node.less, node.failed) == ("node2", "certified", True, True)
    assert node.after.startswith("failed: ")
    assert "wrong_elements" in node.after
    assert found.exit_code == 1
    back = difference(statement(place, "run2"), statement(place))
    assert ("nodes", "node2", "failed", "certified") in {(e.topic, e.what, e.before, e.after) for e in back.changes}
    assert back.exit_code == 0, "more than before is not less"


@pytest.mark.parametrize(
    ("change", "topic", "what", "code"),
    [
        (lambda s: s["nodes"].pop(), "nodes", "node3", 3),
        (lambda s: s["nodes"][0]["units"][0].update(uuid="GPU-9"), "nodes", "node0 cuda:0", 0),
        (lambda s: s["runs"][0]["checks"].pop(), "scope", "check memory_bandwidth", 3),
        (lambda s: s["runs"][0]["checks"][1].update(params={"size": 4}), "scope", "check matmul", 0),
        (lambda s: s["runs"][0]["coverage"].update(judged=6), "scope", "coverage", 3),
        (lambda s: s["reservations"].append("run1: allreduce: not run"), "scope", "reservation", 3),
        (lambda s: limit(s).update(upper=[0.0, 5.0]), "limits", "matmul.wrong_elements[bf16] (limits)", 3),
        (lambda s: limit(s).update(upper=[-1.0, -1.0]), "limits", "matmul.wrong_elements[bf16] (limits)", 0),
        (lambda s: limit(s).update(unit="rows"), "limits", "matmul.wrong_elements[bf16] (limits)", 3),
        (lambda s: s["runs"][0]["limits"].remove(limit(s)), "limits", "matmul.wrong_elements[bf16] (limits)", 3),
        (lambda s: s["runs"][0]["files"].update({"plan.json": "0"}), "evidence", "run run1", 3),
        (lambda s: s["runs"][0]["files"].update({"run.h5": "0"}), "evidence", "run run1", 0),
        (lambda s: s["runs"][0].update(run="run7"), "evidence", "run run7", 0),
        (lambda s: s["runs"][0]["environment"].update(driver="600.1"), "environment", "driver", 0),
        (lambda s: s["hpcaccept"].update(commit="new"), "environment", "judged by hpcaccept commit", 0),
        (lambda s: s.update(expires_at="2026-12-01T00:00:00+00:00"), "expiry", "expires", 3),
        (lambda s: s.update(expires_at="2027-12-01T00:00:00+00:00"), "expiry", "expires", 0),
    ],
)  # fmt: skip
def test_each_kind_of_change_is_found(
    place: Path, change: Callable[[dict[str, Any]], object], topic: str, what: str, code: int
) -> None:
    found, exit_code = changed(place, change)
    assert (topic, what) in {(each.topic, each.what) for each in found}
    assert {each.topic for each in found} == {topic}
    assert exit_code == code


def test_bounds_that_a_run_makes_itself_are_no_change(place: Path) -> None:
    def move(said: dict[str, Any]) -> None:
        (peers,) = (
            x for x in said["runs"][0]["limits"] if x["key"] == "matmul.rate_flops[bf16]" and x["question"] == "peers"
        )
        peers["lower"] = [bound * 0.99 for bound in peers["lower"]]

    assert changed(place, move) == ([], 0)


def test_what_is_signed_and_no_certificate_is_refused(place: Path) -> None:
    with pytest.raises(StoreError, match="not of this version"):
        changed(place, lambda said: said.pop("nodes"))


def test_command(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = str(place / "run1.json"), str(place / "run2.json")
    assert main(["certificate", "diff", first, second, "--public-key", str(place / "key.pub")]) == 1
    out = capsys.readouterr().out
    assert "nodes\n! ~ node2: certified → failed: " in out
    assert "evidence\n  - run run1: " in out
    assert "says less than" in out.splitlines()[-1]
    assert main(["certificate", "diff", first, first]) == 0
    assert capsys.readouterr().out == f"{first} says what {first} says.\n"
    assert main(["certificate", "diff", first, second, "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["exit_code"] == 1
    assert {"topic", "what", "before", "after", "less", "failed"} == found["changes"][0].keys()


def test_a_signature_that_does_not_hold_is_no_certificate(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = place / "run1.json"
    forged = json.loads(first.read_bytes())
    forged["certificate"]["nodes"].pop()
    (tmp_path / "forged.json").write_bytes(canonical(forged))
    assert main(["certificate", "diff", str(first), str(tmp_path / "forged.json")]) == 3
    assert "signature does not fit" in capsys.readouterr().err
    make_key(tmp_path / "other")
    forged["signature"] = sign(forged["certificate"], read_private_key(tmp_path / "other"))
    (tmp_path / "forged.json").write_bytes(canonical(forged))
    words = ["certificate", "diff", str(first), str(tmp_path / "forged.json"), "--public-key", str(place / "key.pub")]
    assert main(words) == 3
    assert "not by the one in" in capsys.readouterr().err
