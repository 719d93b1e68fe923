"""The node's own short verdict is that of hpcaccept's parsers: over every log of tests/data, and over systematic changes of each."""

from __future__ import annotations

import ast
import copy
import datetime as dt
import importlib.util
import itertools
import json
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.stand_ins import DATA

from hpcaccept.app.azure.node_health import AZNHC, DCGMI, HEALTHAGENT, judge_nodes
from hpcaccept.model.verdict import Outcome
from hpcaccept.parse import aznhc as aznhc_parser
from hpcaccept.parse import dcgm as dcgm_parser
from hpcaccept.parse import healthagent as healthagent_parser
from hpcaccept.parse.plain_text import LONGEST

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

PROGRAM = Path(__file__).parents[3] / "azure/node/opt/node-verdict.py"
NOW = dt.datetime(2026, 11, 29, 14, 0, tzinfo=dt.timezone.utc)
AZNHC_LOGS = sorted((DATA / "aznhc").rglob("*.log"))
DCGM_LOGS = sorted(path for path in (DATA / "dcgm").iterdir() if path.suffix in (".json", ".txt"))
AGENT_LOGS = sorted(path for path in (DATA / "healthagent").iterdir() if path.suffix in (".json", ".err"))
#: Path on the node → the word of its program.
PATHS = {"aznhc": AZNHC, "dcgmi": DCGMI, "healthagent": HEALTHAGENT}
WORDS = {Outcome.PASS: "passed", Outcome.FAIL: "failed"}
#: Exit status of the recorded runs of dcgmi that did not end with 0.
STATUS = {
    "v4_r2_faulty_memory": 205, "v4_r1_persistence_off": 226, "v4_already_running": 217, "no_host_engine": 235, "mig": 1,
    "v3_r1_row_remap_pending": 226,
}  # fmt: skip


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("node_verdict", PROGRAM)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    class Clock(dt.datetime):
        @classmethod
        def now(cls, tz: dt.tzinfo | None = None) -> dt.datetime:  # type: ignore[override]
            return NOW

    class Dates:
        datetime, timezone = Clock, dt.timezone

    monkeypatch.setattr(module, "dt", Dates)
    monkeypatch.setattr(module, "PCI", str(tmp_path / "no-pci"))
    return module


def short(program: ModuleType, kind: str, content: bytes, status: int = 0) -> str:
    """Its word, without the detour over a file."""
    tool = {"aznhc": program.aznhc, "dcgmi": program.dcgmi, "healthagent": program.healthagent}[kind]
    try:
        return str(tool(program.plain(content), status)[0])
    except Exception:  # noqa: BLE001 (as the program does)
        return "unknown"


def whole(kind: str, content: bytes, gpus: int = 1) -> str:
    """The judgement of hpcaccept, of a log whose status says passed."""
    path = PATHS[kind]
    given = {path: content, f"{path}.status": b"2026-11-29T14:00:00Z passed\n"}
    row = judge_nodes({"node7": given}, gpus=gpus, now=NOW).rows[0]
    outcome = {AZNHC: row.aznhc, HEALTHAGENT: row.healthagent, DCGMI: row.dcgmi}[path].outcome
    return WORDS.get(outcome, "unknown")


def said_status(kind: str, content: bytes) -> int:
    """The exit status that a log itself has."""
    pattern = rb"exit code: (\d+)\.\s*\Z" if kind == "aznhc" else rb"exit status: (\d{1,3})\n\Z"
    found = re.search(pattern, content)
    return int(found[1]) if found else 0


def gpus_named(content: bytes) -> int:
    """How many GPUs results of dcgmi name."""
    try:
        results = dcgm_parser.parse_diag(content.decode("utf-8", "replace")).results
    except Exception:  # noqa: BLE001 (what is not understood names none)
        return 1
    return max(1, len({result.device for result in results if result.is_of_gpu}))


def both(program: ModuleType, kind: str, content: bytes) -> tuple[str, str]:
    gpus = gpus_named(content) if kind == "dcgmi" else 1
    return short(program, kind, content, said_status(kind, content)), whole(kind, content, gpus)


def agree(program: ModuleType, kind: str, variants: Iterator[tuple[str, bytes]]) -> dict[str, int]:
    """Asserts that both say the same of each, and counts their words."""
    counts = dict.fromkeys(("passed", "failed", "unknown"), 0)
    differ = []
    for what, content in variants:
        node, client = both(program, kind, content)
        counts[node] += 1
        if node != client:
            differ.append(f"{what}: the node says {node}, hpcaccept {client}")
    assert not differ, "\n".join(differ[:20])
    assert sum(counts.values())
    return counts


# --- any bytes --------------------------------------------------------------------------------------------------------


def broken(content: bytes) -> Iterator[tuple[str, bytes]]:
    """Half, empty, of another encoding, with NUL bytes, too long."""
    text = content.decode("utf-8")
    for share in range(30):
        at = len(content) * share // 30
        yield f"cut at {at}", content[:at]
        yield f"NUL bytes at {at}", content[:at] + b"\0" * 8 + content[at + 8 :]
    for encoding in ("utf-16", "utf-16-le", "utf-32"):
        yield encoding, text.encode(encoding)
    yield "latin-1 before it", "Gerät\n".encode("latin-1") + content
    yield "undecodable before it", "\ufffd\n".encode() + content
    yield "UTF-8 before it", "Gerät\n".encode() + content
    yield "a mark of its order", b"\xef\xbb\xbf" + content
    yield "ended by carriage returns", content.replace(b"\n", b"\r\n")
    yield "too long", b"\n" * LONGEST + content
    yield "zeros only", b"\0" * len(content)


def logs_of(kind: str) -> list[Path]:
    return {"aznhc": AZNHC_LOGS, "dcgmi": DCGM_LOGS, "healthagent": AGENT_LOGS}[kind]


def content_of(kind: str, log: Path) -> bytes:
    """A file as it lies on the node."""
    tail = f"\nexit status: {STATUS.get(log.stem, 0)}\n" if kind == "dcgmi" else ""
    return log.read_bytes() + tail.encode()


ALL = [(kind, log) for kind in PATHS for log in logs_of(kind)]


@pytest.mark.parametrize(("kind", "log"), ALL, ids=[f"{kind}-{log.stem}" for kind, log in ALL])
def test_recorded_and_broken_logs(program: ModuleType, kind: str, log: Path) -> None:
    content = content_of(kind, log)
    node, client = both(program, kind, content)
    assert node == client
    agree(program, kind, broken(content))


@pytest.mark.parametrize(
    ("kind", "name"), [("aznhc", "recorded/healthy.log"), ("dcgmi", "v4_r2_healthy.json"), ("healthagent", "healthy.json")]
)  # fmt: skip
def test_what_is_torn_never_passes(program: ModuleType, kind: str, name: str) -> None:
    folder = DATA / {"dcgmi": "dcgm"}.get(kind, kind)
    content = content_of(kind, folder / name)
    assert both(program, kind, content) == ("passed", "passed")
    harmless = ("UTF-8 before it", "a mark of its order", "ended by carriage returns")
    for what, changed in broken(content.rstrip(b"\n") if kind != "dcgmi" else content):
        if what not in harmless:
            assert short(program, kind, changed, 0) == "unknown", what


@pytest.mark.parametrize("kind", list(PATHS))
@pytest.mark.parametrize(
    "content",
    [
        b"", b"\n", b"\xff\xfe", b"{}", b"[]", b"null", b"3", b'{"gpu": 3}', b'{"DCGM Diagnostic": []}', b"[" * 100_000,
        b'{"gpu": ' + b"9" * 5000 + b"}",
        b'{"DCGM Diagnostic": {"test_categories": ' + b"9" * 5000 + b"}}\nexit status: 0\n",
        b"{" * 200_000 + b"\nexit status: 0\n",
        b'{"DCGM Diagnostic":' * 100_000 + b"\nexit status: 0\n",
    ],
)  # fmt: skip
def test_what_is_no_log_at_all_is_unknown(program: ModuleType, kind: str, content: bytes) -> None:
    assert both(program, kind, content) == ("unknown", "unknown")


# --- AzNHC ------------------------------------------------------------------------------------------------------------

#: Lines that change a verdict, as AzNHC, NHC and bash print them.
LINES = (
    "ERROR:  nhc:  Health check failed:  -e check_gpu_count: Expected to see 8 but found 7. FaultCode: NHC2009",
    "ERROR:  nhc:  Health check failed:  check_hw_topology: all_reduce_perf not found. FaultCode: NHCNA",
    "ERROR:  nhc:  Health check failed:  check_hw_eth:  Ethernet device ib0 not detected.",
    "ERROR:  nhc:  Health check failed:  check_gpu_bw: P2P test from GPU 0 to 1 failed. Bandwidth 256 is less than 335. FaultCode: NHC2020",
    'ERROR:  nhc:  Health check failed:  Script timed out while executing "check_x".',
    "ERROR:  nhc:  Could not lock the file",
    "ERROR:  nhc:  2 health checks failed.",
    "ERROR:  nhc:  99999999999999999999 health checks failed.",
    "WARNING:  nhc:  Nearing a failure threshold:  check_gpu_bw: near",
    "SUCCESS:  nhc:  Health check passed:  check_gpu_bw",
    "This XID has been reported before: 79",
    "Xid older than 24 hours",
    "GPU 5 throttled, reason=0x48",
    "GPU 5 throttled, reason=0x4",
    "/var/log/syslog not found. Skipping GPU Xid error test.",
    "IB Link flapping test skipped",
    "/etc/nhc/scripts/azure_x.nhc: line 3: lstopo-no-graphics: command not found",
    "/etc/nhc/scripts/azure_x.nhc: line 3: [: too many arguments",
    "The vm SKU 'standard_nd128isr_gb300_v6' is currently not supported by Azure health checks.",
    "DEBUG:  nccl_all_red: 1.2.3 GB/s",
    "DEBUG:  nccl_all_red: -nan GB/s",
    'Running check:  "check_nccl_allreduce 460.0 1 16G"',
    "Node Health Check starting.",
    "Health checks completed with exit code: 0.",
    "Health checks completed with exit code: 1.",
    "Health checks completed with exit code: 143.",
    "Health checks completed with exit code: 99999999999999999999.",
    "------ VM Meta Data ------",
    "VM SKU: Standard_NC80adis_H100_v5",
    "anything else",
)


def first_of_a_kind(lines: list[str]) -> list[int]:
    """Lines that differ by more than their numbers: of thousands of debugging lines a few."""
    kinds: dict[str, int] = {}
    for at, line in enumerate(lines):
        kinds.setdefault(re.sub(r"[\d\W]+", " ", line)[:24], at)
    found = sorted(kinds.values())
    return found[:: max(1, len(found) // 50)]


def changed_logs(text: str) -> Iterator[tuple[str, bytes]]:
    lines = text.splitlines(keepends=True)
    at_all = first_of_a_kind(lines)
    for at in at_all:
        yield f"without line {at + 1}", "".join(lines[:at] + lines[at + 1 :]).encode()
        yield f"line {at + 1} twice", "".join(lines[: at + 1] + lines[at:]).encode()
        yield f"half of line {at + 1}", ("".join(lines[:at]) + lines[at][: len(lines[at]) // 2]).encode()
    places = {0, at_all[len(at_all) // 3], at_all[len(at_all) * 2 // 3], len(lines) - 1, len(lines)}
    for line, stamp, at in itertools.product(LINES, ("", "[1795902352] - "), sorted(places)):
        yield f"{stamp}{line} at {at}", "".join([*lines[:at], f"{stamp}{line}\n", *lines[at:]]).encode()


@pytest.mark.parametrize("log", AZNHC_LOGS, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_changed_logs_of_aznhc(program: ModuleType, log: Path) -> None:
    agree(program, "aznhc", changed_logs(log.read_text("utf-8")))


def test_two_logs_of_aznhc_in_one_file(program: ModuleType) -> None:
    pairs = itertools.product(AZNHC_LOGS[::3], AZNHC_LOGS)
    agree(program, "aznhc", ((f"{a.stem}, {b.stem}", a.read_bytes() + b.read_bytes()) for a, b in pairs))


# --- JSON -------------------------------------------------------------------------------------------------------------


def places(document: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to everything in it; of a list its first and last."""
    if path:
        yield path
    if isinstance(document, dict):
        for key, value in document.items():
            yield from places(value, (*path, key))
    elif isinstance(document, list):
        for at in sorted({0, len(document) - 1} & set(range(len(document)))):
            yield from places(document[at], (*path, at))


def replaced(document: Any, path: tuple[Any, ...], *value: Any) -> bytes:
    """Its text with another value there; without one, without what stands there."""
    table = document
    for key in path[:-1]:
        table = table[key]
    kept = copy.copy(table)
    if value:
        table[path[-1]] = value[0]
    else:
        del table[path[-1]]
    text = json.dumps(document).encode()
    # In its order again.
    table.clear()
    table.update(kept) if isinstance(table, dict) else table.extend(kept)
    return text


DCGM_WORDS: tuple[Any, ...] = ("Pass", "Skip", "Warn", "Fail", "Not Run", "", "pass", None, 1, [])
AGENT_WORDS: tuple[Any, ...] = ("NA", "OK", "Warning", "Error", "", "ok", None, 1, [])
FINDINGS: tuple[Any, ...] = (
    [], [None], ["could not allocate"], [{"warning": "x", "error_id": 56, "error_category": 8, "error_severity": 4}],
    [{"warning": "x", "error_id": 29, "error_category": 8, "error_severity": 5}], [{"warnings": "x", "error_severity": 2}],
    [{"warning": "x", "error_id": 85, "error_category": 10, "error_severity": 6}], [{}], "text", 3, {},
)  # fmt: skip
OTHERS: tuple[Any, ...] = (None, "", "x", 0, True, [], {}, [None], [{}])


def changed_documents(document: Any, words: tuple[Any, ...]) -> Iterator[tuple[str, bytes]]:
    for path in list(places(document)):
        yield f"without {path}", replaced(document, path)
        key = path[-1]
        for value in (words if key == "status" else FINDINGS if key == "warnings" else OTHERS):  # fmt: skip
            yield f"{path} = {value!r}", replaced(document, path, value)


def dcgm_document(log: Path) -> Any:
    text = log.read_text("utf-8")
    return json.loads(text[text.index("{\n") :])


DCGM_DOCUMENTS = [log for log in DCGM_LOGS if log.suffix == ".json"]


def with_status(variants: Iterator[tuple[str, bytes]]) -> Iterator[tuple[str, bytes]]:
    """Most of them as after a run that ended with 0, every seventh after one that did not."""
    for number, (what, text) in enumerate(variants):
        status = 0 if number % 7 else 226
        yield f"{what}, status {status}", text + f"\nexit status: {status}\n".encode()


@pytest.mark.parametrize("log", DCGM_DOCUMENTS, ids=lambda path: path.stem)
def test_changed_documents_of_dcgmi(program: ModuleType, log: Path) -> None:
    agree(program, "dcgmi", with_status(changed_documents(dcgm_document(log), DCGM_WORDS)))


def hardware_of(document: Any) -> list[dict[str, Any]]:
    (top,) = (key for key in document if key.startswith("DCGM"))
    categories = [c for c in document[top]["test_categories"] if c["category"] != "Deployment"]
    return [result for c in categories for test in c["tests"] for result in test["results"]]


@pytest.mark.parametrize("name", ["v4_r2_healthy", "v3_r2_healthy"])
def test_every_mixture_of_words(program: ModuleType, name: str) -> None:
    """Of all GPUs, of one, of none: a GPU whose hardware nothing has tested is never passed."""

    def mixtures() -> Iterator[tuple[str, bytes]]:
        original = dcgm_document(DATA / "dcgm" / f"{name}.json")
        for first, rest in itertools.product(("Pass", "Skip", "Warn", "Fail", "Not Run"), repeat=2):
            document = copy.deepcopy(original)
            for at, result in enumerate(hardware_of(document)):
                result["status"] = rest if at % 8 else first
            yield f"{first}, {rest}", f"{json.dumps(document)}\nexit status: 0\n".encode()

    counts = agree(program, "dcgmi", mixtures())
    assert counts["passed"] == 1


def test_what_lies_around_the_document_of_dcgmi(program: ModuleType) -> None:
    healthy, faulty, software = (
        json.dumps(dcgm_document(DATA / "dcgm" / f"{name}.json"))
        for name in ("v4_r2_healthy", "v4_r2_faulty_memory", "v4_r1_persistence_off")
    )
    texts = [
        f"Loading {{modules}}\n{healthy}", f"{'{x} ' * 70}{healthy}", f"{healthy}{faulty}", f"{faulty}{healthy}",
        f"{software}{healthy}", f"[{healthy}]", healthy[: len(healthy) // 2] + healthy, f"{healthy}\nexit status: 0\nmore",
        f'{{"iterations": [{healthy}, {faulty}]}}', f'{{"iterations": [{healthy}, {{}}]}}', f'{{"iterations": [{healthy}, 3]}}',
        f'{{"iterations": [{healthy}, {software}]}}', f'{{"iterations": {healthy}}}', healthy.replace('"Pass"', "NaN"),
        "dcgmi is not installed", "", healthy.replace("gpu", "mig"),
    ]  # fmt: skip
    ends = (
        "\nexit status: 0\n",
        "\nexit status: 226\n",
        "\nexit status: 0",
        "",
        "\nexit status: 0\n\n",
        "\nexit status: \n",
    )
    agree(program, "dcgmi", ((f"{text[:40]} … {end!r}", (text + end).encode()) for text in texts for end in ends))


def test_a_round_of_a_torn_document_and_one_of_two_documents_never_pass(program: ModuleType) -> None:
    healthy = (DATA / "dcgm/v4_r2_healthy.json").read_text("utf-8")
    end = "\nexit status: 0\n"
    for text in (f'{{"iterations": [{healthy}, ', healthy[:-200] + healthy, healthy * 2, f"{healthy}{healthy[:300]}"):
        assert both(program, "dcgmi", (text + end).encode()) == ("unknown", "unknown")
    assert both(program, "dcgmi", (f"{{a}} {{}} {healthy} {{b}}" + end).encode()) == ("passed", "passed")


#: What users of DCGM have published: issue → recorded or built like it, what dcgmi ended with, the word.
PUBLISHED = {
    "DCGM#55: level 3, all but level 1 skipped": ("v3_r3_all_but_deployment_skipped", {}, 0, "unknown"),
    "DCGM#139: the same on a T400": ("v3_r3_all_but_deployment_skipped", {}, 0, "unknown"),
    "DCGM#284: memory could not be allocated, Pass": ("v4_r2_allocation_error_yet_pass", {}, 0, "unknown"),
    "DCGM#70, #94: MIG": ("mig", {}, 1, "unknown"),
    "autopilot#68: PCIe failed, whatever the exit status": ("v4_r2_healthy", {"pcie": "Fail"}, 0, "failed"),
    "DCGM#145: one GPU failed, the next was not tested": ("v4_r2_healthy", {"memory": "Skip", "pcie": "Skip"}, 0, "unknown"),
    "wanted: 3 sub-tests skipped of all": ("v4_all_skipped", {}, 0, "unknown"),
    "4.2.3 on a GB10: persistence mode": ("v4_r1_persistence_off", {}, 226, "unknown"),
}  # fmt: skip


@pytest.mark.parametrize("issue", PUBLISHED)
def test_published_defects(program: ModuleType, issue: str) -> None:
    name, words, status, word = PUBLISHED[issue]
    log = next(log for log in DCGM_LOGS if log.stem == name)
    text = log.read_text("utf-8")
    if words:
        document = json.loads(text)
        for category in document["DCGM Diagnostic"]["test_categories"]:
            for test in category["tests"]:
                if test["name"] in words:
                    test["results"][3]["status"] = words[test["name"]]
                    test.pop("test_summary", None)
        text = json.dumps(document)
    assert both(program, "dcgmi", f"{text}\nexit status: {status}\n".encode()) == (word, word)


def test_a_look_at_the_software_alone_is_never_passed(program: ModuleType) -> None:
    document = dcgm_document(DATA / "dcgm/v4_r2_healthy.json")
    body = document["DCGM Diagnostic"]
    body["test_categories"] = [c for c in body["test_categories"] if c["category"] == "Deployment"]
    content = f"{json.dumps(document)}\nexit status: 0\n".encode()
    assert both(program, "dcgmi", content) == ("unknown", "unknown")


def test_a_gpu_that_dcgm_does_not_see_is_known_from_the_bus(
    program: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    kinds = [("0x10de", "0x030200")] * 9 + [("0x10de", "0x068000"), ("0x15b3", "0x020700"), ("0x1414", "0x030000")]
    for number, (vendor, kind) in enumerate(kinds):
        device = tmp_path / f"{number:04}:00:00.0"
        device.mkdir()
        (device / "vendor").write_text(f"{vendor}\n")
        (device / "class").write_text(f"{kind}\n")
    (tmp_path / "gone").mkdir()
    monkeypatch.setattr(program, "PCI", str(tmp_path))
    assert program.gpus_here() == 9
    content = content_of("dcgmi", DATA / "dcgm/v4_r2_healthy.json")
    assert short(program, "dcgmi", content) == "unknown"
    assert whole("dcgmi", content, 9) == "unknown"


@pytest.mark.parametrize("log", [log for log in AGENT_LOGS if log.suffix == ".json"], ids=lambda path: path.stem)
def test_changed_documents_of_healthagent(program: ModuleType, log: Path) -> None:
    def variants() -> Iterator[tuple[str, bytes]]:
        document = json.loads(log.read_text("utf-8"))
        yield from changed_documents(document, AGENT_WORDS)
        times = (
            "2026-11-29T14:00:00 UTC",
            "2026-11-29T13:49:59 UTC",
            "2026-11-29T14:10:01 UTC",
            "2026-11-29 14:00:00",
            "now",
        )
        for path, when in itertools.product([p for p in places(document) if p[-1] == "last_update"], times):
            yield f"{path} = {when}", replaced(document, path, when)
        for module in ("gpu", "systemd", "kmsg", "network", "proc", "disk"):
            yield f"an empty {module}", json.dumps({**document, module: {}}).encode()

    agree(program, "healthagent", variants())


# --- the program itself -----------------------------------------------------------------------------------------------


def test_its_tables_are_those_of_the_parsers(program: ModuleType) -> None:
    assert program.COULD_NOT_TEST == dcgm_parser.COULD_NOT_TEST
    assert program.WRONG_SETUP == dcgm_parser.WRONG_SETUP
    assert program.HARDWARE_ALL_THE_SAME == dcgm_parser._HARDWARE_ALL_THE_SAME
    assert (program.CONFIG, program.GRAVE) == (dcgm_parser._CONFIG, dcgm_parser._GRAVE)
    assert program.SETUP_CATEGORIES == dcgm_parser._SETUP_CATEGORIES
    assert program.TOOL_CATEGORIES == dcgm_parser._TOOL_CATEGORIES
    assert program.HOST_TESTS == dcgm_parser._HOST_TESTS
    assert tuple((limit.size, limit.text) for limit in aznhc_parser.WRONG_LIMITS) == program.WRONG_LIMITS
    assert program.MEASURES == aznhc_parser._MEASURES
    assert program.HARD_THROTTLE == aznhc_parser._HARD_THROTTLE
    assert (program.MODULES, program.PERIODIC) == (healthagent_parser._MODULES, healthagent_parser._PERIODIC)
    assert program.AGENT_STATUSES == healthagent_parser._STATUSES
    assert (program.OF_GPUS, program.OLDEST_S) == (healthagent_parser._OF_GPUS, healthagent_parser.OLDEST_S)
    assert program.LONGEST == LONGEST


def test_the_python_of_older_images_can_read_it() -> None:
    ast.parse(PROGRAM.read_text("utf-8"), feature_version=(3, 6))


def asked(
    program: ModuleType, capsys: pytest.CaptureFixture[str], kind: str, log: Path, status: int
) -> tuple[str, str]:
    program.main(kind, str(log), str(status))
    said = capsys.readouterr()
    return said.out.strip(), said.err


def test_it_prints_one_word_and_a_reason(
    program: ModuleType, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    log = tmp_path / "log"
    log.write_bytes(content_of("dcgmi", DATA / "dcgm/v4_r2_healthy.json"))
    assert asked(program, capsys, "dcgmi", log, 0) == ("passed", "dcgmi: 16 results\n")
    assert asked(program, capsys, "dcgmi", log, 205)[0] == "unknown"
    assert asked(program, capsys, "aznhc", DATA / "aznhc/recorded/healthy.log", 0)[0] == "passed"
    assert asked(program, capsys, "aznhc", DATA / "aznhc/recorded/healthy.log", 1)[0] == "unknown"
    assert asked(program, capsys, "healthagent", DATA / "healthagent/healthy.json", 0)[0] == "passed"
    assert asked(program, capsys, "healthagent", DATA / "healthagent/healthy.json", 1)[0] == "unknown"


@pytest.mark.parametrize("kind", list(PATHS))
def test_what_it_cannot_read_is_unknown_and_it_says_why(
    program: ModuleType, capsys: pytest.CaptureFixture[str], tmp_path: Path, kind: str
) -> None:
    log = tmp_path / "log"
    for content, why in (
        (b"\0" * 100, "NUL bytes, the first at byte 0"),
        (b"Ger\xe4t", "can't decode byte 0xe4"),
        (b"x" * (10 * 1024 * 1024), "longer than 8388608 bytes"),
        (b"\x1b[2J\xc3\xa4", ""),
    ):
        log.write_bytes(content)
        word, reason = asked(program, capsys, kind, log, 0)
        assert word == "unknown"
        assert why in reason
        assert reason.isprintable() or reason[:-1].isprintable(), "a terminal sees no control characters"
        assert reason.isascii()
    assert asked(program, capsys, kind, tmp_path / "absent", 0)[0] == "unknown"
    assert asked(program, capsys, kind, tmp_path, 0)[0] == "unknown"


def test_a_reason_out_of_a_log_is_printed_without_its_control_characters(
    program: ModuleType, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    log = tmp_path / "log"
    text = (
        (DATA / "aznhc/recorded/failing.log")
        .read_text("utf-8")
        .replace("Expected to see", "\x1b]0;x\x07 Expected to see")
    )
    log.write_text(text)
    word, reason = asked(program, capsys, "aznhc", log, 5)
    assert word == "failed"
    assert reason[:-1].isprintable()


def test_a_torn_document_of_megabytes_is_unknown_in_little_time(program: ModuleType) -> None:
    healthy = (DATA / "dcgm/v4_r2_healthy.json").read_text("utf-8")
    documents = ",".join([healthy] * (LONGEST // len(healthy) - 1))
    torn = f'{{"iterations": [{documents}\nexit status: 0\n'.encode()
    started = time.monotonic()
    assert both(program, "dcgmi", torn) == ("unknown", "unknown")
    assert time.monotonic() - started < 60
