"""Command lines, variables and TOML that nobody careful wrote: refused in a sentence, or done; nothing is started by accident."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import click
import pytest
from hypothesis import given
from support.hostile import FEW, SEEDS, TEXTS, Site, harmed_bytes, typed

from hpcaccept.cli import group
from hpcaccept.config.nightly import NightlySettings
from hpcaccept.config.settings import Settings
from hpcaccept.config.suites import built_in

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Commands that may be given anything; behind each what makes it harmless, or quick.
COMMANDS: dict[tuple[str, ...], tuple[str, ...]] = {
    ("submit",): ("--dry-run", "--launcher", "local"),
    ("submit", "--launcher", "slurm"): ("--dry-run",),
    ("submit", "--launcher", "hosts", "-g", "0"): ("--dry-run",),
    ("report",): (),
    ("collect",): (),
    ("status",): (),
    ("runs",): (),
    ("checks",): (),
    ("checks", "explain"): (),
    ("config",): (),
    ("files",): (),
    ("compare", "run1"): (),
    ("bundle", "run1"): ("--out", "b.tgz"),
    ("baseline", "show"): (),
    ("baseline", "learn"): (),
    ("baseline", "approve"): (),
    ("baseline", "retire"): (),
    ("baseline", "diff"): (),
    ("baseline", "check"): (),
    ("baseline", "import"): (),
    ("baseline", "upgrade"): (),
    ("history", "show"): (),
    ("history", "trend"): (),
    ("history", "subjects"): (),
    ("history", "add"): (),
    ("history", "prune"): (),
    ("certificate", "verify"): (),
    ("nightly", "status"): (),
    ("campaign", "status"): (),
    ("campaign", "report"): (),
    ("campaign", "start"): ("--dry-run",),
    ("nightly", "run"): ("--dry-run",),
    ("nightly", "install"): (),
    ("k8s", "render", "--image", "reg/a@sha256:" + "0" * 64, "-g", "8", "--log"): (),
    ("k8s", "render", "--image", "reg/a@sha256:" + "0" * 64, "-g", "8", "--pvc", "runs", "-N", "4"): (),
}
#: Options that would write where the test does not look, or wait for input or a command.
LEFT_OUT = {
    "--help",
    "--output",
    "--yes",
    "--systemd",
    "--cron",
    "--runs-dir",
    "--history",
    "--baselines-dir",
    "--search",
}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with Site.made(tmp_path_factory.mktemp("site")) as made:
        yield made


def options_of(words: tuple[str, ...]) -> list[click.Option]:
    command: click.Command | None = group
    context = click.Context(group)
    for word in words:
        if not isinstance(command, click.Group):
            break
        command = command.get_command(context, word)
    assert command is not None
    return [
        one
        for one in command.params
        if isinstance(one, click.Option) and not LEFT_OUT & set(one.opts) and not one.is_eager
    ]


def a_line(dice: random.Random) -> list[str]:
    """A command with up to three options and arguments, most of them odd."""
    words = dice.choice(list(COMMANDS))
    line = list(words)
    known = options_of(words)
    for _ in range(dice.randint(0, 3)):
        if known and dice.random() < 0.8:
            option = dice.choice(known)
            line += (
                [dice.choice(option.opts)] if option.is_flag else [dice.choice(option.opts) + "=" + dice.choice(TEXTS)]
            )
            if not option.is_flag and not line[-1].startswith("--"):
                line[-1:] = [line[-1].partition("=")[0], dice.choice(TEXTS)]
        else:
            line.append(dice.choice(TEXTS))
    return [*line, *COMMANDS[words]]


@FEW
@given(seed=SEEDS)
def test_any_words(site: Site, seed: int) -> None:
    dice = random.Random(seed)
    line = a_line(dice)
    typed(*line)
    site.must_be_clean()


@FEW
@given(seed=SEEDS)
def test_any_variable(site: Site, seed: int) -> None:
    dice = random.Random(seed)
    from dataclasses import fields

    names = [f"HPCACCEPT_{f.name.upper()}" for f in fields(Settings)] + [
        f"HPCACCEPT_NIGHTLY_{f.name.upper()}" for f in fields(NightlySettings)
    ]
    texts = [text for text in TEXTS if "\0" not in text]
    env = {dice.choice(names): dice.choice(texts) for _ in range(dice.randint(1, 3))}
    typed("config", env=env)
    if not {"HPCACCEPT_RUNS_DIR", "HPCACCEPT_LAUNCHER"} & set(env):
        typed("submit", "--dry-run", "--launcher", dice.choice(["local", "slurm"]), env=env)
    site.must_be_clean()


#: A settings file in which everything is set, and a suite with every table.
SETTINGS = b"""
nodes = 4
nodelist = "node[1-4]"
suite = "cpu"
time = "01:00:00"
container_image = ""
slurm = {qos = "high"}
start_timeout_s = 300.0
runs_dir = "runs"
[checks.matmul]
blocks = 5
dtypes = ["fp32"]
[limits."matmul.rate_flops[fp32]"]
lower = 1e9
unit = "FLOP/s"
[peers]
floor = 0.05
[nightly]
window = "22:00-05:00"
max_share = 0.25
mail_to = "ops@example.org"
"""
VALUES = (
    "nan", "inf", "-inf", "-0.0", "1e400", "9" * 400, "9" * 5000, "0x" + "f" * 400, "true", "[]", "{}", '""', '"x"', '"a\\nb"', '"\\u0000"', "'" + "x" * 5000 + "'",
    "[" * 2000, "{a=" * 2000, "1979-05-27T07:32:00Z", "[1, 'a', [2]]", "{a = {b = 1}}", "-1", "99999999999", '"node[0-99999999999]"', '"-oProxyCommand=touch planted"',
)  # fmt: skip


def changed_toml(dice: random.Random, text: bytes) -> bytes:
    lines = text.splitlines()
    at = dice.choice([i for i, line in enumerate(lines) if b" = " in line])
    key = lines[at].partition(b" = ")[0]
    how = dice.choice(["value", "value", "value", "twice", "header", "bytes", "key"])
    if how == "value":
        lines[at] = key + b" = " + dice.choice(VALUES).encode()
    elif how == "twice":
        lines.insert(at, lines[at])
    elif how == "header":
        lines.insert(
            at,
            dice.choice(
                [
                    b"[checks]",
                    b"[checks.nothing]",
                    b"[limits]",
                    b"[[checks]]",
                    b"[checks.matmul.blocks]",
                    b"[a." + b"b." * 500 + b"c]",
                    b"[peers.x]",
                    b'[limits.""]',
                ]
            ),
        )
    elif how == "key":
        lines[at] = dice.choice([b'""', b"x" * 5000, b'"\\u001b[31m"', b"a.b.c", b'"a\\nb"']) + b" = 1"
    else:
        return harmed_bytes(dice, text)
    return b"\n".join(lines) + b"\n"


@FEW
@given(seed=SEEDS)
def test_any_settings_file(site: Site, seed: int) -> None:
    dice = random.Random(seed)
    file = site.place / "hpcaccept.toml"
    file.write_bytes(changed_toml(dice, SETTINGS))
    try:
        typed(
            *dice.choice(
                [
                    ["config", "--suite", "cpu"],
                    ["submit", "--dry-run", "--launcher", "local"],
                    ["nightly", "run", "--dry-run"],
                    ["config", "--json"],
                ]
            )
        )
    finally:
        file.unlink()
    site.must_be_clean()


@FEW
@given(seed=SEEDS)
def test_any_suite(site: Site, seed: int) -> None:
    dice = random.Random(seed)
    file = site.made_here / "mine.toml"
    file.write_bytes(changed_toml(dice, dice.choice(list(built_in().values())).read_bytes()))
    try:
        typed("submit", "--suite", str(file), "--dry-run", "--launcher", "local", "-g", dice.choice("08"))
    finally:
        file.unlink()
    site.must_be_clean()
