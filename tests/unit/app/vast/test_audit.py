from __future__ import annotations

import json
import socket
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner
from support.lying_testers import LazyRows, Machine, connected

from hpcaccept.app.tester.examine import Claim, Plan, examine
from hpcaccept.app.vast.audit import audit
from hpcaccept.cli.vast_audit import audit as command
from hpcaccept.errors import StoreError, UsageError
from hpcaccept.proof.challenge import Challenge
from hpcaccept.proof.transcript import dumps

if TYPE_CHECKING:
    from pathlib import Path

SMALL = Challenge("0" * 64, 64, 64, 16, 4)
PLAN = Plan(
    challenge=SMALL, openings=16, groups=0, transfer_bytes=1 << 16, floor_ops=SMALL.ops / 20, peak_ops=SMALL.ops * 1e6
)


def written(folder: Path, kind: type[Machine] = Machine, gpu: str = "H100 SXM \x1b[31m") -> Path:
    with connected(folder / "machine", kind) as tester:
        found = examine(tester, Claim("machine 7", gpu, 1), PLAN)
    file = folder / "transcript.json"
    file.write_text(dumps(found), "utf-8")
    return file


def test_an_honest_one_is_verified_without_account_machine_or_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = written(tmp_path)

    def refuse(*_: Any, **__: Any) -> Any:
        raise AssertionError("an audit asks nobody")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.delenv("VAST_API_KEY", raising=False)
    done = CliRunner().invoke(command, [str(file)], standalone_mode=False)
    assert done.return_value == 0, done.output
    assert "machine 7" in done.output
    assert "gpu 0: verified" in done.output
    assert "no other machine did the work" in done.output
    assert "\x1b" not in done.output


def test_what_the_host_claims_stands_under_its_own_heading(tmp_path: Path) -> None:
    done = CliRunner().invoke(command, [str(written(tmp_path))], standalone_mode=False)
    measured, _, claimed = done.output.partition("Claimed by the host, not measured:")
    assert "H100 SXM" in claimed
    assert "H100" not in measured


def test_a_refuted_machine_is_exit_code_one(tmp_path: Path) -> None:
    done = CliRunner().invoke(command, [str(written(tmp_path, LazyRows)), "--json"], standalone_mode=False)
    assert done.return_value == 1
    assert json.loads(done.output)["verdicts"][0]["reason"] == "wrong-result"


def test_a_verdict_that_does_not_follow_from_its_evidence_is_told(tmp_path: Path) -> None:
    file = written(tmp_path, LazyRows)
    plain = json.loads(file.read_text("utf-8"))
    plain["verdicts"][0].update(outcome="verified", reason="")
    file.write_text(json.dumps(plain), "utf-8")
    with pytest.raises(
        StoreError, match=r"changed after it was written.*gpu 0: verified.*gpu 0: refuted \(wrong-result\)"
    ):
        audit(file)


def test_a_verdict_that_was_left_out_is_told(tmp_path: Path) -> None:
    file = written(tmp_path)
    plain = json.loads(file.read_text("utf-8"))
    plain["verdicts"] *= 2
    file.write_text(json.dumps(plain), "utf-8")
    with pytest.raises(StoreError, match="expected 'nothing'"):
        audit(file)


@pytest.mark.parametrize("name", ["absent.json", "."])
def test_a_file_that_cannot_be_read_is_a_usage_error(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="Cannot read"):
        audit(tmp_path / name)


def test_a_file_that_never_ends_is_not_read() -> None:
    from pathlib import Path

    with pytest.raises(UsageError, match="regular file"):
        audit(Path("/dev/zero"))


def test_a_huge_file_is_not_read(tmp_path: Path) -> None:
    file = tmp_path / "huge.json"
    with file.open("wb") as out:
        out.truncate(1 << 40)
    with pytest.raises(UsageError, match="expected at most"):
        audit(file)
