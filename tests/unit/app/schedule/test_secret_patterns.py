from __future__ import annotations

import pytest

from hpcaccept.app.schedule.secret_patterns import by_content, by_name


@pytest.mark.parametrize(
    "name", [".env", "a/.env.production", "id_ed25519", "keys/server.pem", ".netrc", "kaggle.json", ".git-credentials"]
)
def test_files_that_tools_keep_secrets_in_are_found_by_name(name: str) -> None:
    assert by_name(name)


@pytest.mark.parametrize(
    "name", ["train.py", "id_ed25519.pub", ".env.example", "environment.yml", "keyboard.py", "monkey.txt"]
)
def test_others_are_not(name: str) -> None:
    assert by_name(name) is None


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a\n-----BEGIN OPENSSH PRIVATE KEY-----\nb", 2),
        ("x = 'ghp_0123456789abcdefghijABCDEFGHIJ'", 1),
        ("\n\nWANDB_API_KEY=0123456789abcdef0123456789abcdef01234567", 3),
        ('"hf_token": "hf_abcdefghijklmnopqrst"', 1),
    ],
)
def test_a_secret_is_found_by_its_form_and_shown_by_its_place_alone(text: str, line: int) -> None:
    found = by_content("train.py", text.encode())
    assert found
    assert found.line == line
    assert "0123456789" not in str(found)
    assert "abcdefgh" not in str(found)


@pytest.mark.parametrize(
    "text", ["import torch\n", "token = os.environ['HF_TOKEN']", "wandb_api_key = getpass()", "PRIVATE KEY"]
)
def test_code_that_speaks_of_secrets_holds_none(text: str) -> None:
    assert by_content("train.py", text.encode()) is None
