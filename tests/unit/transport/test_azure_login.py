"""A token of the user's own az, where the SDK of Azure is not installed; it is kept out of sight and renewed."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from hpcaccept.errors import LaunchError, UsageError
from hpcaccept.transport import azure_login

if TYPE_CHECKING:
    from pathlib import Path

AZ = """\
#!/bin/sh
echo "$*" >>"$CALLS"
{answer}
"""


@pytest.fixture
def az(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of an az; no SDK."""
    monkeypatch.setitem(sys.modules, "azure.identity", None)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setenv("CALLS", str(tmp_path / "calls"))
    return tmp_path


def answers(folder: Path, answer: str) -> None:
    program = folder / "az"
    program.write_text(AZ.format(answer=answer))
    program.chmod(0o755)


def test_az_is_asked_for_this_cloud_once(az: Path) -> None:
    answers(az, """echo '{"accessToken": "secret", "expiresOn": "2026-11-29 12:00:00"}'""")
    token = azure_login.token_source("https://management.azure.com")
    assert [token(), token()] == ["secret", "secret"]
    calls = (az / "calls").read_text().splitlines()
    assert calls == ["account get-access-token --resource https://management.azure.com --output json"]


def test_a_token_is_renewed(az: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answers(az, """echo '{"accessToken": "secret"}'""")
    monkeypatch.setattr(azure_login, "_KEPT_S", -1.0)
    token = azure_login.token_source("https://management.azure.com")
    assert [token(), token()] == ["secret", "secret"]
    assert len((az / "calls").read_text().splitlines()) == 2


def test_nobody_logged_in_is_told_in_azs_words(az: Path) -> None:
    answers(az, "echo 'ERROR: Please run az login' >&2; exit 1")
    with pytest.raises(LaunchError, match="Please run az login"):
        azure_login.token_source("https://management.azure.com")()


@pytest.mark.parametrize("answer", ["echo '{}'", "echo no", "echo '[1]'"])
def test_another_answer_is_no_token_and_not_shown(az: Path, answer: str) -> None:
    answers(az, answer)
    with pytest.raises(LaunchError, match="its answer is not understood"):
        azure_login.token_source("https://management.azure.com")()


def test_without_either_it_says_what_to_install(az: Path) -> None:
    with pytest.raises(UsageError, match=r"neither azure-identity nor az is installed(.|\n)*\[azure\]"):
        azure_login.token_source("https://management.azure.com")
