"""Every command that the docs, --help and the actions of findings print exists, and those that need no cluster work as printed."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click
import pytest
from support.builders import H100
from support.finished_runs import gpu_run

from hpcaccept.cli import group, main
from hpcaccept.model.finding_code import FindingCode

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[3]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "azure/README.md", *sorted((ROOT / "docs").rglob("*.md"))]
#: What stands before a command: nothing, another program's output, variables, an interpreter.
_COMMAND = re.compile(
    r"(?:^|[|&(`]\s*|\$ )(?:[A-Z_]+=\S+ )*(?:(?:\S*/)?python3? -m )?hpcaccept(?= |$)(?P<words>[^|&`]*)"
)


def blocks(page: Path) -> Iterator[str]:
    """Lines that are shown as something to type: fenced, or indented by four."""
    fenced = False
    for line in page.read_text("utf-8").splitlines():
        if line.lstrip().startswith("```"):
            fenced = not fenced
        elif fenced or line.startswith("    "):
            yield line.strip()


def commands_in(line: str) -> Iterator[tuple[str, ...]]:
    """The words after ``hpcaccept`` of each command of a line, without comments, redirections and what encloses it."""
    for found in _COMMAND.finditer(line):
        text = found["words"]
        if line[found.start()] == "(":
            text = text.partition(")")[0]
        text = re.sub(r"\s[0-9]?>.*|\s#.*|;.*", "", text)
        yield tuple(shlex.split(text))


def variants(words: tuple[str, ...]) -> list[tuple[str, ...]]:
    """With and without what stands in brackets; ``RUN…`` and ``RUN...`` are one run, an ellipsis alone stands for more words."""
    whole: list[str] = []
    least: list[str] = []
    optional = False
    for word in words:
        optional = optional or word.startswith("[")
        plain = (word.strip("[]") if optional else word).removesuffix("...").removesuffix("…")
        if plain:
            whole.append(plain)
            least += [] if optional else [plain]
        optional = optional and not word.endswith("]")
    return list(dict.fromkeys((tuple(whole), tuple(least))))


def faults(words: tuple[str, ...]) -> str:
    """Why click would refuse these words; empty when it takes them. Nothing is run, and no file is looked at."""
    command: click.Command = group
    context = click.Context(group, info_name="hpcaccept")
    rest = list(words)
    while isinstance(command, click.Group) and rest and not rest[0].startswith("-"):
        name = rest.pop(0)
        below = command.get_command(context, name)
        if below is None:
            return f"there is no command {name!r}"
        command, context = below, click.Context(below, info_name=name, parent=context)
    try:
        given, left, _ = command.make_parser(context).parse_args(rest)
        if left:
            return f"too many words: {left}"
        for parameter in command.params:
            value = given.get(parameter.name or "")
            # What is not given has a mark of click's own in some versions, and none in others.
            value = value if isinstance(value, (str, bool, int, list, tuple)) else None
            if parameter.required and not value:
                return f"{parameter.name} is missing"
            if value and not isinstance(parameter.type, click.Path) and not parameter.is_eager:
                parameter.type_cast_value(context, value)
    except click.UsageError as fault:
        return fault.format_message()
    return ""


PRINTED = [
    (f"{page.relative_to(ROOT)}: {' '.join(words)}", words)
    for page in PAGES
    for line in blocks(page)
    for words in commands_in(line)
]


def test_commands_are_found_in_the_docs_at_all() -> None:
    assert len(PRINTED) > 70
    assert ("report", "RUN", "--format", "html", "--output", "gpu.html") in [words for _, words in PRINTED]
    assert ("report", "--format", "nodes-bad") in [words for _, words in PRINTED]


@pytest.mark.parametrize(("where", "words"), PRINTED, ids=[where for where, _ in PRINTED])
def test_a_command_of_the_docs_is_taken_by_the_command_line(where: str, words: tuple[str, ...]) -> None:
    for tried in variants(words):
        assert not (why := faults(filled_in(tried))), f"{where}: {why}"


def test_the_parser_refuses_what_it_should() -> None:
    assert "no command" in faults(("raport",))
    assert "--fromat" in faults(("report", "--fromat", "csv"))
    assert "too many" in faults(("baseline", "diff", "a", "b", "c"))
    assert "missing" in faults(("baseline", "approve", "h100"))
    assert "missing" in faults(("certificate", "create", "--key", "k"))
    assert "expected a number, all or idle" in faults(("submit", "--nodes", "many"))
    assert list(variants(("show", "[h100]", "RUN..."))) == [("show", "h100", "RUN"), ("show", "RUN")]


def helps(command: click.Command, name: str) -> Iterator[tuple[str, str]]:
    """Help and epilog of a command and of all below it."""
    yield name, f"{command.help or ''}\n{command.epilog or ''}"
    if isinstance(command, click.Group):
        for below in command.list_commands(click.Context(command)):
            found = command.get_command(click.Context(command), below)
            assert found is not None
            yield from helps(found, f"{name} {below}".strip())


IN_HELP = [
    (name, words)
    for name, text in helps(group, "")
    for line in text.splitlines()
    for words in commands_in(re.sub(r"\s{3,}.*", "", line.strip()))
]


@pytest.mark.parametrize(("name", "words"), IN_HELP, ids=[" ".join(words) for _, words in IN_HELP])
def test_a_command_of_the_help_is_taken_by_the_command_line(name: str, words: tuple[str, ...]) -> None:
    for tried in variants(words):
        assert not (why := faults(tried)), f"hpcaccept {name} --help shows 'hpcaccept {' '.join(tried)}': {why}"


#: A command in a sentence: subcommands, then options with their values, up to a sign that ends it.
_IN_PROSE = re.compile(r"hpcaccept((?: (?:--[a-z-]+|[A-Z]{2,}(?:,…)?|[a-z0-9-]+))+)")
#: Words that follow a command in a sentence.
_PROSE = (
    "shows",
    "says",
    "asks",
    "lists",
    "packs",
    "waits",
    "for",
    "the",
    "what",
    "each",
    "every",
    "node",
    "rule",
    "is",
    "in",
    "then",
)


def test_what_a_finding_tells_to_type_exists() -> None:
    tried = 0
    for code in FindingCode:
        for found in _IN_PROSE.finditer(code.about.action):
            words = found[1].split()
            end = next((at for at, word in enumerate(words) if word in _PROSE and at), len(words))
            shown = tuple(word.removesuffix(",…") for word in words[:end])
            assert not (why := faults(shown)), f"{code}: 'hpcaccept {' '.join(shown)}': {why}"
            tried += 1
    assert tried > 20


# --- as printed, for real ---------------------------------------------------------------------------------------------

#: Pages whose commands work on runs, baselines, keys and histories, and need no cluster.
RUN_PAGES = (
    "README.md",
    "docs/tutorial/first-run.md",
    "docs/how-to/baselines.md",
    "docs/how-to/bundle.md",
    "docs/how-to/certificate.md",
    "docs/how-to/extend.md",
    "docs/how-to/history.md",
    "docs/how-to/kubernetes.md",
    "docs/how-to/reports.md",
    "docs/how-to/suites-and-settings.md",
)
#: What waits for nodes, judges or marks them, leaves this machine, needs a git working tree (test_schedule.py), or reads a page's own example
#: from its standard input.
_NEEDS_MORE = {
    ("doctor",),
    ("isolate",),
    ("k8s", "collect"),
    ("nightly", "install"),
    ("campaign",),
    ("baseline", "build"),
    ("azure",),
    ("vast",),
    ("matrix", "run"),
    ("matrix", "diff"),
    ("node-check",),
    ("nodes",),
    ("schedule",),
}
#: Names of the pages → what the test has made.
_MADE = {
    "RUN": "run1", "RUN_A": "run1", "RUN_B": "run2", "LAST_WEEK": "run1", "TONIGHT": "run2", "NODE": "node0", "FILE": "here.key",
    "NODE:gpu3": "node0:gpu0", "BUNDLE": "bundle.tgz", "OLD": "old.json", "NEW": "new.json", "key.pub": "here.key.pub",
    "/var/lib/node_exporter/textfile/hpcaccept.prom": "hpcaccept.prom", "/tmp/runs": "runs",
    "REGISTRY/hpcaccept@sha256:": f"registry.example/hpcaccept@sha256:{'0' * 64}", "REG/hpcaccept@sha256:": f"registry.example/hpcaccept@sha256:{'0' * 64}",
}  # fmt: skip


def filled_in(words: tuple[str, ...], home: str = "~") -> tuple[str, ...]:
    """The words with what the test has made in the place of what the pages call RUN, NODE, FILE …"""
    made = [_MADE.get(word, word.replace("runs/RUN/", "runs/run1/").replace("~/", f"{home}/")) for word in words]
    return tuple(
        "markdown" if word == "NAME" and before == "--format" else word
        for before, word in zip(("", *made), made, strict=False)
    )


def runnable(words: tuple[str, ...]) -> bool:
    """False for what starts a job."""
    if words[:1] == ("submit",):
        # Container runtimes are not on every machine.
        return "--dry-run" in words and "--container-runtime" not in words
    return bool(words) and words[:2] not in _NEEDS_MORE and words[:1] not in _NEEDS_MORE


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with two runs, a baseline with two generations, a history, a key, and files of others."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    cards = ["GPU-5f0a", "GPU-61", "GPU-62", "GPU-63"]
    # Before both a run in which the first of them failed: its loss is what a person may accept.
    gpu_run(tmp_path, "run0", (4e14, 7.91e14, 7.89e14, 7.92e14), gpus=cards, at="2026-11-22T01:00:00.000+00:00")
    for name, day in (("run1", "23"), ("run2", "24")):
        gpu_run(tmp_path, name, gpus=cards, at=f"2026-11-{day}T01:00:00.000+00:00")
    (tmp_path / "my.toml").write_text("[checks.identity]\n")
    (tmp_path / "runtimes.toml").write_text("[images.a]\n[machines.b]\n[tests.c]\nimports = ['json']\n")
    for source, name in (
        ("aznhc_conf/eight_gpus.conf", "site.conf"),
        ("superbench/results.jsonl", "results.jsonl"),
        ("superbench/baseline.json", "superbench.json"),
    ):
        (tmp_path / name).write_bytes((ROOT / "tests/data" / source).read_bytes())
    (tmp_path / "table.csv").write_text("key,lower,unit,source\nmatmul.rate_flops[bf16],6e14,FLOP/s,contract\n")
    for words in (
        ("report", "run1"),
        ("report", "run2"),
        ("history", "add", "run0", "run1", "run2"),
        ("baseline", "learn", "run1"),
        ("baseline", "learn", "run2"),
        ("certificate", "keygen", "--key", "here.key"),
        ("certificate", "create", "run1", "--key", "here.key", "--output", "old.json"),
        ("certificate", "create", "run2", "--key", "here.key", "--output", "new.json"),
        ("bundle", "run1", "--node", "node0", "--key", "here.key", "--out", "bundle.tgz"),
    ):
        assert main(words) in (0, 3), words
    return tmp_path


@pytest.mark.parametrize("page", RUN_PAGES)
def test_the_commands_of_a_page_work_as_they_are_printed(
    page: str, site: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tried = 0
    for line in blocks(ROOT / page):
        for words in commands_in(line):
            for variant in variants(words):
                filled = filled_in(variant, str(site / "home"))
                if not runnable(filled):
                    continue
                capsys.readouterr()
                code = main(filled)
                said = capsys.readouterr()
                assert "Error" not in said.err, f"{page}: hpcaccept {' '.join(filled)}\n{said.err}"
                assert code in (0, 1, 3), f"{page}: hpcaccept {' '.join(filled)} ended with {code}"
                tried += 1
    assert tried, f"{page} has no command that was run: take it out of RUN_PAGES"


def test_the_model_of_the_pages_is_the_one_that_the_test_has_made() -> None:
    assert "h100" in H100.lower()
