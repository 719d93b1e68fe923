"""What a site may not add to a job, and what is no value of a setting."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hpcaccept.config.settings import load_settings
from hpcaccept.config.slurm_options import OWN
from hpcaccept.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("name", sorted(OWN))
def test_what_hpcaccept_decides_is_refused_before_a_job_exists(name: str) -> None:
    with pytest.raises(UsageError, match=r"command line: slurm option .*hpcaccept sets it itself") as refused:
        load_settings({"slurm": {name: "1"}}, {})
    assert refused.value.remedy


def test_a_file_is_named_and_dashes_are_understood(tmp_path: Path) -> None:
    (tmp_path / "hpcaccept.toml").write_text('[slurm]\nntasks-per-node = "2"\n')
    with pytest.raises(UsageError, match=r"hpcaccept\.toml: slurm option 'ntasks-per-node'"):
        load_settings({}, {})


def test_what_sites_need_is_passed_on() -> None:
    asked = {"qos": "high", "reservation": "night", "hold": "", "gres": "nvme:1", "constraint": "ib", "comment": "x"}
    assert load_settings({"slurm": asked}, {}).settings.slurm == asked


@pytest.mark.parametrize("text", ["gpu\nrm -rf", "a\0b", "\x1b[31m", "x" * 5000])
def test_a_value_is_one_line(text: str) -> None:
    for options in ({"partition": text}, {"slurm": {"qos": text}}, {"container_env": {"A": text}}):
        with pytest.raises(UsageError, match="expected one line"):
            load_settings(options, {})


@pytest.mark.parametrize("text", ["-oProxyCommand=sh", "node1,-oProxyCommand=sh", "node1, -l root"])
def test_no_node_is_an_option(text: str) -> None:
    with pytest.raises(UsageError, match="begins with '-'"):
        load_settings({"nodelist": text}, {})
