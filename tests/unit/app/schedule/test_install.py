from __future__ import annotations

import shlex
import sys
from pathlib import Path

import pytest

from hpcaccept.app.nightly import install as nightly
from hpcaccept.app.schedule import install
from hpcaccept.errors import RunError

TOP = Path("/home/ann/a tree")
ENVIRON = {"PATH": "/usr/bin:/bin", "VAST_API_KEY": "planted", "SLURM_CONF": "/etc/slurm.conf", "HF_TOKEN": "planted"}


@pytest.fixture
def crontab(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    kept = [b"# mine\n0 1 * * * backup\n"]

    def write(before: bytes, after: bytes) -> None:
        assert before == kept[0]
        kept[0] = after

    monkeypatch.setattr(nightly, "read_crontab", lambda: kept[0])
    monkeypatch.setattr(nightly, "write_crontab", write)
    monkeypatch.setattr("shutil.which", lambda name, path=None: f"/usr/bin/{name}")
    return kept


def test_the_line_runs_every_minute_from_the_tree_and_has_no_secret() -> None:
    block = install.cron_block(TOP, ENVIRON).decode()
    line = block.splitlines()[2]
    assert line.startswith("* * * * * cd '/home/ann/a tree' && exec /usr/bin/env PATH=")
    assert "SLURM_CONF=/etc/slurm.conf" in line
    assert "planted" not in block
    assert f"{shlex.quote(sys.executable)} -m hpcaccept schedule run-once >>" in line
    assert install.left_behind(ENVIRON) == ["VAST_API_KEY"]


def test_lines_of_others_stay_as_they_are(crontab: list[bytes]) -> None:
    before = crontab[0]
    install.install_cron(TOP, ENVIRON)
    install.install_cron(TOP, ENVIRON)
    assert crontab[0] == before + install.cron_block(TOP, ENVIRON)
    install.install_cron(Path("/other"), ENVIRON)
    assert install.uninstall_cron(TOP)
    assert crontab[0] == before + install.cron_block(Path("/other"), ENVIRON)
    assert not install.uninstall_cron(TOP)


def test_half_a_block_is_touched_by_nobody(crontab: list[bytes]) -> None:
    crontab[0] += install.marks(TOP)[0] + b"\n"
    with pytest.raises(RunError, match="END line"):
        install.install_cron(TOP, ENVIRON)


def test_the_units_leave_what_was_started_alone() -> None:
    service, timer = install.units(TOP, ENVIRON).values()
    assert "KillMode=process" in service
    assert "WorkingDirectory=/home/ann/a tree" in service
    assert "planted" not in service
    assert "OnUnitInactiveSec=1min" in timer
    assert "OnBootSec=1min" in timer
