"""The scripts of azure/node/opt, run as root on a node in namespaces (tests/support/azure_node.py)."""

from __future__ import annotations

import datetime as dt
import json
import os
import re
import signal
import subprocess
import time
from typing import TYPE_CHECKING

import pytest
from support.azure_node import azure_node, why_not
from support.stand_ins import DATA

from hpcaccept.app.azure.node_health import gather_command, judge_nodes, unpack
from hpcaccept.model.verdict import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from support.azure_node import AzureNode

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(why_not()), reason=why_not() or "-"),
]

#: run-health-checks.sh: takes the options that the real one takes, appends a recorded run to its log and ends as that one did.
AZNHC = r"""
while getopts "hac:o:e:t:d:v" option; do case $option in
  a) all=1 ;; v) verbose=1 ;; t) [[ $OPTARG =~ ^[0-9]+$ ]] || exit 1 ;; o) log=$OPTARG ;; *) exit 1 ;;
esac; done
[[ -n $all && -n $verbose && -n $log ]] || { echo "options -a, -v and -o were expected" >&2; exit 1; }
[[ -z $AZNHC_WAITS ]] || sleep "$AZNHC_WAITS"
cat "$AZNHC_LOG" >>"$log"
exit "$AZNHC_STATUS"
"""
DCGMI = r"""
[[ $# == 4 && $1 == diag && $2 == -r && $3 =~ ^[1-4]$ && $4 == -j ]] || { echo "PARSE ERROR: Argument: $*" >&2; exit 255; }
[[ -z $DCGMI_WAITS ]] || sleep "$DCGMI_WAITS"
cat "$DCGMI_OUT"
exit "$DCGMI_STATUS"
"""
#: The real health prints with these, and nothing else is asked for.
HEALTH = '[[ $* == -s ]] || exit 2\ncat "$HEALTH_OUT"\n'
RAN = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ (passed|failed|unknown|healthy|unhealthy)$")


@pytest.fixture
def node(tmp_path: Path) -> Iterator[AzureNode]:
    with azure_node(tmp_path) as made:
        made.stand_in("run-health-checks.sh", AZNHC)
        made.stand_in("dcgmi", DCGMI)
        yield made


def aznhc(node: AzureNode, name: str, status: int = 0, **more: str) -> int:
    log = DATA / "aznhc" / f"{name}.log"
    program = str(node.bin / "run-health-checks.sh")
    return node.run("/opt/run-aznhc.sh", AZNHC=program, AZNHC_LOG=str(log), AZNHC_STATUS=str(status), **more).returncode


def dcgmi(node: AzureNode, name: str, status: int = 0, level: str = "2", **more: str) -> int:
    out = DATA / "dcgm" / name
    return node.run("/opt/run-dcgmi.sh", level, DCGMI_OUT=str(out), DCGMI_STATUS=str(status), **more).returncode


def set_status(node: AzureNode, name: str, word: str, age_s: float = 0.0) -> None:
    when = dt.datetime.now(dt.timezone.utc) - dt.timedelta(seconds=age_s)
    (node.log / f"{name}.status").write_text(f"{when:%Y-%m-%dT%H:%M:%SZ} {word}\n")


# --- run-aznhc.sh -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "status", "word"),
    [
        ("recorded/healthy", 0, "passed"),
        ("recorded/failing", 5, "failed"),
        ("recorded/first_failure", 1, "failed"),
        ("recorded/ib_slow", 0, "failed"),
        ("recorded/xid_again", 0, "failed"),
        ("recorded/unsupported", 0, "unknown"),
        ("recorded/silent_pass", 0, "unknown"),
        ("recorded/no_check_for_this_host", 0, "unknown"),
        ("recorded/measured_nothing", 0, "unknown"),
        ("recorded/timed_out", 142, "unknown"),
        ("recorded/container_not_pulled", 125, "unknown"),
        ("recorded/healthy", 1, "unknown"),
    ],
)
def test_the_status_is_what_the_log_proves(node: AzureNode, name: str, status: int, word: str) -> None:
    ended = aznhc(node, name, status)
    assert node.words("aznhc-health.log") == ["unknown", word]
    assert ended == {"passed": 0, "failed": 1, "unknown": 3}[word]
    for line in (node.log / "aznhc-health.log.status").read_text().splitlines():
        assert RAN.match(line)


def test_the_last_line_of_the_status_counts_and_the_log_holds_one_run(node: AzureNode) -> None:
    aznhc(node, "recorded/healthy")
    aznhc(node, "recorded/failing", 5)
    assert node.words("aznhc-health.log") == ["unknown", "passed", "unknown", "failed"]
    assert (node.log / "aznhc-health.log").read_text().count("VM Meta Data") == 1
    assert "exit code: 0." in (node.log / "aznhc-health.log.1").read_text()


def test_a_tool_that_is_not_installed_does_not_keep_an_older_pass(node: AzureNode) -> None:
    aznhc(node, "recorded/healthy")
    done = node.run("/opt/run-aznhc.sh", AZNHC="/opt/nowhere/run-health-checks.sh")
    assert done.returncode == 3
    assert node.words("aznhc-health.log")[-1] == "unknown"
    assert "is not installed" in (node.log / "aznhc-health.log").read_text()


def test_a_run_that_is_killed_leaves_unknown(node: AzureNode) -> None:
    aznhc(node, "recorded/healthy")
    environment = {"AZNHC": str(node.bin / "run-health-checks.sh"), "AZNHC_LOG": "/dev/null", "AZNHC_STATUS": "0"}
    running = node.start("/opt/run-aznhc.sh", AZNHC_WAITS="30", **environment)
    until = time.monotonic() + 20
    while node.words("aznhc-health.log") != ["unknown", "passed", "unknown"] and time.monotonic() < until:
        time.sleep(0.02)
    second = node.run("/opt/run-aznhc.sh", **environment)
    os.killpg(running.pid, signal.SIGKILL)
    running.wait()
    assert second.returncode == 3
    assert "another run is writing it" in second.stderr
    assert node.words("aznhc-health.log") == ["unknown", "passed", "unknown"]


def test_a_run_that_hangs_is_ended(node: AzureNode) -> None:
    assert aznhc(node, "recorded/healthy", AZNHC_WAITS="30", AZNHC_LIMIT_S="1") == 3
    assert node.words("aznhc-health.log")[-1] == "unknown"


# --- run-dcgmi.sh -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "status", "word"),
    [
        ("v4_r2_healthy.json", 0, "passed"),
        ("v3_r2_healthy.json", 0, "passed"),
        ("v4_r2_faulty_memory.json", 205, "failed"),
        ("v3_r1_row_remap_pending.json", 226, "failed"),
        ("v4_r1_persistence_off.json", 226, "unknown"),
        ("v4_r2_allocation_error_yet_pass.json", 0, "unknown"),
        ("v4_all_skipped.json", 0, "unknown"),
        ("v3_r3_all_but_deployment_skipped.json", 0, "unknown"),
        ("v4_already_running.json", 217, "unknown"),
        ("no_host_engine.txt", 235, "unknown"),
        ("mig.txt", 1, "unknown"),
        ("v4_r2_healthy.json", 226, "unknown"),
    ],
)
def test_the_status_of_dcgmi_is_what_its_json_proves(node: AzureNode, name: str, status: int, word: str) -> None:
    dcgmi(node, name, status)
    assert node.words("dcgmi-diag.log") == ["unknown", word]
    assert (node.log / "dcgmi-diag.log").read_text().endswith(f"\nexit status: {status}\n")


def test_the_level_of_dcgmi_is_two_unless_it_is_given(node: AzureNode) -> None:
    node.run("/opt/run-dcgmi.sh", DCGMI_OUT=str(DATA / "dcgm" / "v4_r2_healthy.json"), DCGMI_STATUS="0")
    assert (node.log / "dcgmi-diag.log").read_text().startswith("dcgmi diag -r 2 -j\n")
    dcgmi(node, "v4_r2_healthy.json", level="1")
    assert (node.log / "dcgmi-diag.log").read_text().startswith("dcgmi diag -r 1 -j\n")
    assert dcgmi(node, "v4_r2_healthy.json", level="5") == 2


def test_without_dcgmi_or_its_end_nothing_is_known(node: AzureNode) -> None:
    assert dcgmi(node, "v4_r2_healthy.json", DCGMI_WAITS="30", DCGMI_LIMIT_S="1") == 3
    (node.bin / "dcgmi").unlink()
    assert dcgmi(node, "v4_r2_healthy.json") == 3
    assert node.words("dcgmi-diag.log")[-1] == "unknown"


# --- run-healthagent.sh -----------------------------------------------------------------------------------------------


def healthagent(node: AzureNode, name: str, seconds_ago: float) -> str:
    """Its answer with the recorded times moved to now."""
    node.stand_in("health", HEALTH)
    recorded = dt.datetime(2026, 11, 29, 14, 0, tzinfo=dt.timezone.utc)
    shift = dt.datetime.now(dt.timezone.utc) - dt.timedelta(seconds=seconds_ago) - recorded

    def moved(match: re.Match[str]) -> str:
        when = dt.datetime.strptime(match[0], "%Y-%m-%dT%H:%M:%S UTC").replace(tzinfo=dt.timezone.utc)
        return f"{when + shift:%Y-%m-%dT%H:%M:%S UTC}"

    text = (DATA / "healthagent" / f"{name}.json").read_text()
    (node.place / "answer").write_text(re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d UTC", moved, text))
    node.run("/opt/run-healthagent.sh", HEALTH_OUT=str(node.place / "answer"))
    return node.words("healthagent.json")[-1]


@pytest.mark.parametrize(
    ("name", "seconds_ago", "word"),
    [
        ("healthy", 0, "passed"),
        ("healthy", 3600, "unknown"),
        ("xid_and_missing_gpu", 0, "failed"),
        ("network_and_service", 0, "failed"),
        ("no_gpu_module", 0, "unknown"),
        ("dcgm_lost", 0, "unknown"),
        ("diagnostic_not_performed", 0, "unknown"),
    ],
)
def test_the_status_of_healthagent_is_what_its_json_proves(
    node: AzureNode, name: str, seconds_ago: float, word: str
) -> None:
    assert healthagent(node, name, seconds_ago) == word


def test_without_healthagent_nothing_is_known(node: AzureNode) -> None:
    assert node.run("/opt/run-healthagent.sh").returncode == 3
    assert node.words("healthagent.json")[-1] == "unknown"


# --- check-node-health.sh ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("aznhc_says", "healthagent_says", "dcgmi_says", "word"),
    [
        ("passed", None, "passed", "healthy"),
        ("unknown", "passed", "passed", "healthy"),
        ("passed", "failed", "passed", "unhealthy"),
        ("failed", None, "passed", "unhealthy"),
        ("passed", None, "failed", "unhealthy"),
        ("unknown", None, "failed", "unhealthy"),
        ("passed", None, "unknown", "unknown"),
        ("unknown", "unknown", "passed", "unknown"),
        (None, None, "passed", "unknown"),
        ("passed", None, None, "unknown"),
        (None, None, None, "unknown"),
    ],
)
def test_a_node_is_healthy_when_both_tools_have_passed(
    node: AzureNode, aznhc_says: str | None, healthagent_says: str | None, dcgmi_says: str | None, word: str
) -> None:
    said = {"aznhc-health.log": aznhc_says, "healthagent.json": healthagent_says, "dcgmi-diag.log": dcgmi_says}
    for name, says in said.items():
        if says:
            set_status(node, name, says)
    done = node.run("/opt/check-node-health.sh")
    assert node.words("node-health.log") == ["unknown", word]
    assert done.returncode == {"healthy": 0, "unhealthy": 1, "unknown": 3}[word]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{now} passed", "the last line .* is torn"),
        ("{now} passed\n{now} pas\n", "is no status"),
        ("{now} ok\n", "is no status"),
        ("passed\n", "is no status"),
        ("", "is no status"),
        ("2026-13-45T00:00:00Z passed\n", "has the time"),
        ("2001-01-01T00:00:00Z passed\n", "before the last start"),
        ("2101-01-01T00:00:00Z passed\n", "from the future"),
    ],
)
def test_a_status_that_proves_nothing_is_unknown(node: AzureNode, text: str, why: str) -> None:
    set_status(node, "dcgmi-diag.log", "passed")
    now = f"{dt.datetime.now(dt.timezone.utc):%Y-%m-%dT%H:%M:%SZ}"
    (node.log / "aznhc-health.log.status").write_text(text.replace("{now}", now))
    assert node.run("/opt/check-node-health.sh").returncode == 3
    assert re.search(f"aznhc: unknown: .*{why}", (node.log / "node-health.log").read_text())


def now() -> str:
    return f"{dt.datetime.now(dt.timezone.utc):%Y-%m-%dT%H:%M:%SZ}"


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (lambda: f"{now()} pas\0sed\n".encode(), "holds 1 bytes that are no text"),
        (lambda: f"{now()} passed\0".encode(), "holds 1 bytes that are no text"),
        (lambda: b"\0" * 4096 + f"{now()} passed\n".encode(), "holds 4096 bytes that are no text"),
        (lambda: f"{now()} passed\n".encode("utf-16"), "bytes that are no text"),
        (lambda: f"Gerät\n{now()} passed\n".encode("latin-1"), "holds 1 bytes that are no text"),
        (lambda: f"{now()} passed\r\n".encode(), "holds 1 bytes that are no text"),
        (lambda: b"2026-11-29T13:59:20Z failed\n" * 400_000 + f"{now()} passed\n".encode(), "bytes, expected at most 1048576"),
        (lambda: b"x" * 10_000_000, "10000000 bytes, expected at most 1048576"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("log", ["aznhc-health.log", "dcgmi-diag.log"])
def test_a_status_that_is_no_text_is_unknown(node: AzureNode, log: str, content: Callable[[], bytes], why: str) -> None:
    for name in ("aznhc-health.log", "dcgmi-diag.log"):
        set_status(node, name, "passed")
    (node.log / f"{log}.status").write_bytes(content())
    done = node.run("/opt/check-node-health.sh")
    assert done.returncode == 3
    assert node.words("node-health.log") == ["unknown", "unknown"]
    assert re.search(f"unknown: .*{log}.status .*{why}", (node.log / "node-health.log").read_text())
    assert "warning" not in done.stderr


def test_a_folder_or_a_pipe_in_the_place_of_a_status_is_unknown(node: AzureNode) -> None:
    set_status(node, "dcgmi-diag.log", "passed")
    (node.log / "aznhc-health.log.status").mkdir()
    os.mkfifo(node.log / "healthagent.json.status")
    assert node.run("/opt/check-node-health.sh").returncode == 3
    assert (node.log / "node-health.log").read_text().count("cannot be read") == 2


@pytest.mark.parametrize(
    ("stat", "ended", "why"),
    [
        ("btime {before}\n", 0, "aznhc: passed"),
        ("btime {after}\n", 3, "before the last start"),
        ("cpu 0 0\n", 3, "does not say when"),
        ("btime \n", 3, "does not say when"),
    ],
)
def test_a_status_from_before_the_last_start_is_unknown(node: AzureNode, stat: str, ended: int, why: str) -> None:
    for name in ("aznhc-health.log", "dcgmi-diag.log"):
        set_status(node, name, "passed", age_s=60)
    seconds = int(time.time())
    (node.place / "stat").write_text(stat.format(before=seconds - 3600, after=seconds - 10))
    assert node.run("mount", "--bind", str(node.place / "stat"), "/proc/stat").returncode == 0
    assert node.run("/opt/check-node-health.sh").returncode == ended
    assert why in (node.log / "node-health.log").read_text()


def test_a_start_of_the_machine_takes_every_word_back(node: AzureNode) -> None:
    assert node.run("/opt/forget-health.sh").returncode == 0
    assert not list(node.log.iterdir()), "what has never run has nothing to forget"
    for name in ("aznhc-health.log", "dcgmi-diag.log"):
        set_status(node, name, "passed")
    assert node.run("/opt/check-node-health.sh").returncode == 0
    assert node.run("/opt/forget-health.sh").returncode == 0
    for name, words in (
        ("aznhc-health.log", ["passed", "unknown"]),
        ("node-health.log", ["unknown", "healthy", "unknown"]),
    ):
        assert node.words(name) == words
    assert node.run("/opt/check-node-health.sh").returncode == 3


def test_a_disk_that_is_full_keeps_no_older_pass(node: AzureNode) -> None:
    """Where the word cannot be taken back nothing is run, and nothing says that it passed."""
    aznhc(node, "recorded/healthy")
    full = node.log / "aznhc-health.log.status"
    full.unlink()
    full.symlink_to("/dev/full")
    on_node = node.run("bash", "-c", "mknod -m 666 /dev/full c 1 7")
    assert on_node.returncode == 0, on_node.stderr
    log = str(DATA / "aznhc/recorded/healthy.log")
    done = node.run("/opt/run-aznhc.sh", AZNHC=str(node.bin / "run-health-checks.sh"), AZNHC_LOG=log, AZNHC_STATUS="0")
    assert done.returncode == 3
    assert "cannot be written: what it says is of an earlier run" in done.stderr
    assert "passed" not in done.stdout
    assert not (node.log / "aznhc-health.log").read_text(), "nothing was started"


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b"\0" * 5000, 0),
        (b"\xff\xfe" + "------ VM Meta Data ------\n".encode("utf-16-le"), 0),
        (b"Ger\xe4t\n", 0),
        (b"x" * 10_000_000, 0),
        (b"------ VM Meta Data ------\n" * 400_000, 0),
    ],
    ids=["zeros", "utf-16", "latin-1", "ten megabytes", "ten megabytes of beginnings"],
)
def test_a_log_that_is_no_text_is_unknown_and_the_script_says_why(node: AzureNode, content: bytes, status: int) -> None:
    for word in (b"", (DATA / "aznhc/recorded/healthy.log").read_bytes()):
        (node.place / "odd").write_bytes(content + word)
        done = node.run(
            "/opt/run-aznhc.sh", AZNHC=str(node.bin / "run-health-checks.sh"), AZNHC_LOG=str(node.place / "odd"), AZNHC_STATUS=str(status)
        )  # fmt: skip
        assert done.returncode == 3
        assert node.words("aznhc-health.log")[-1] == "unknown"
        assert re.search(r"aznhc: \w+: ", done.stderr)
        assert "Traceback" not in done.stderr


def test_an_old_status_is_unknown(node: AzureNode) -> None:
    for name in ("aznhc-health.log", "dcgmi-diag.log"):
        set_status(node, name, "passed", age_s=5)
    assert node.run("/opt/check-node-health.sh", OLDEST_S="60").returncode == 0
    assert node.run("/opt/check-node-health.sh", OLDEST_S="1").returncode == 3
    assert "0 h old" in (node.log / "node-health.log").read_text()


# --- all together -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "status", "word", "ended"),
    [("recorded/healthy", 0, "healthy", 0), ("recorded/ib_slow", 0, "unhealthy", 1)],
)
def test_everything_is_run_whatever_one_of_them_says(
    node: AzureNode, name: str, status: int, word: str, ended: int
) -> None:
    done = node.run(
        "/opt/run-health-checks.sh",
        AZNHC=str(node.bin / "run-health-checks.sh"),
        AZNHC_LOG=str(DATA / "aznhc" / f"{name}.log"),
        AZNHC_STATUS=str(status),
        DCGMI_OUT=str(DATA / "dcgm" / "v4_r2_healthy.json"),
        DCGMI_STATUS="0",
    )
    assert done.returncode == ended, done.stdout + done.stderr
    assert node.words("node-health.log")[-1] == word
    assert (node.log / "node-info.log").read_text().startswith("node7 ")
    assert node.words("dcgmi-diag.log")[-1] == "passed"


#: systemctl that writes its words down, and whose unit named in FAILS fails.
SYSTEMCTL = 'echo "$*" >>"$CALLS"\n[[ -z $FAILS || $* != *"$FAILS"* ]]\n'


@pytest.mark.parametrize(
    ("name", "status", "word", "fails", "ended"),
    [
        ("recorded/healthy", 0, "healthy", "", 0),
        ("recorded/ib_slow", 0, "unhealthy", "", 0),
        ("recorded/unsupported", 0, "unknown", "", 0),
        ("recorded/healthy", 0, "healthy", "hpcaccept-nvme", 1),
    ],
)
def test_a_node_is_set_up_whatever_its_health_is_and_a_unit_that_fails_is_told(
    node: AzureNode, name: str, status: int, word: str, fails: str, ended: int
) -> None:
    """cloud-init calls a node failed whose last command failed: a sick node is set up, and ``health`` judges it."""
    node.stand_in("systemctl", SYSTEMCTL)
    calls = node.place / "calls"
    done = node.run(
        "/opt/first-start.sh",
        CALLS=str(calls),
        FAILS=fails,
        AZNHC=str(node.bin / "run-health-checks.sh"),
        AZNHC_LOG=str(DATA / "aznhc" / f"{name}.log"),
        AZNHC_STATUS=str(status),
        DCGMI_OUT=str(DATA / "dcgm" / "v4_r2_healthy.json"),
        DCGMI_STATUS="0",
    )
    assert done.returncode == ended, done.stdout + done.stderr
    assert node.words("node-health.log")[-1] == word
    assert (f"{fails}.service failed" in done.stderr) == bool(fails)
    assert calls.read_text().splitlines() == [
        "daemon-reload",
        *(f"enable --now hpcaccept-{unit}.service" for unit in ("forget", "nvme", "persistence")),
    ]


def test_what_the_scripts_leave_is_gathered_and_judged(node: AzureNode) -> None:
    node.run(
        "/opt/run-health-checks.sh",
        AZNHC=str(node.bin / "run-health-checks.sh"),
        AZNHC_LOG=str(DATA / "aznhc/recorded/healthy.log"),
        AZNHC_STATUS="0",
        DCGMI_OUT=str(DATA / "dcgm" / "v4_r2_healthy.json"),
        DCGMI_STATUS="0",
    )
    packed = subprocess.run(node.command("sh", "-c", gather_command()), capture_output=True, check=True, timeout=60)
    row = judge_nodes({"node7": unpack(packed.stdout)}, gpus=8, now=dt.datetime.now(dt.timezone.utc)).rows[0]
    assert row.verdict.outcome is Outcome.PASS, row.verdict.reason
    assert row.info is not None
    assert row.info.host == "node7"
    assert row.healthagent.reason == "healthagent is not installed, or does not run"


def pool(**values: str) -> bytes:
    """A pool of Hyper-V's key-value exchange."""
    return b"".join(k.encode().ljust(512, b"\0") + v.encode().ljust(2048, b"\0") for k, v in values.items())


@pytest.mark.parametrize(
    ("content", "host"),
    [
        (pool(HostName="HV1", PhysicalHostName="ABC123456789", VirtualMachineName="x"), "ABC123456789"),
        (pool(HostName="HV1"), "unknown"),
        (pool(PhysicalHostName="ABC 1; rm -r /"), "unknown"),
        (pool(PhysicalHostName="ABC123456789")[:-1], "unknown"),
        (b"", "unknown"),
        (b"x" * 2560, "unknown"),
        # What stands after the NUL is what an older, longer value has left.
        (b"PhysicalHostName\0rest".ljust(512, b"\0") + b"ABC\0DEF".ljust(2048, b"\0"), "ABC"),
    ],
)
def test_who_it_is_stands_in_one_line(node: AzureNode, content: bytes, host: str) -> None:
    (node.place / "pool").write_bytes(content)
    assert node.run("/opt/node-info.sh", KVP_POOL=str(node.place / "pool")).returncode == 0
    name, ip, found = (node.log / "node-info.log").read_text().removesuffix("\n").split(" ")
    assert (name, found) == ("node7", host)
    assert ip == "unknown" or re.fullmatch(r"\d+\.\d+\.\d+\.\d+", ip)


@pytest.mark.parametrize(
    "script", ["run-aznhc.sh", "run-dcgmi.sh", "run-healthagent.sh", "check-node-health.sh", "run-health-checks.sh"]
)
def test_without_root_nothing_is_known_and_nobody_is_blamed(node: AzureNode, script: str) -> None:
    done = node.run("setpriv", "--reuid=65534", "--clear-groups", f"/opt/{script}")
    assert done.returncode == 3
    assert "this needs root" in done.stderr
    assert not list(node.log.iterdir())


# --- persistence-mode.sh ----------------------------------------------------------------------------------------------

SMI = r"""
case "$*" in
"-pm 1") echo "Enabled persistence mode for GPU 00000001:00:00.0." ;;
"--query-gpu=index,persistence_mode --format=csv,noheader") printf '0, Enabled\n1, %s\n' "$SECOND" ;;
*) echo "Invalid combination of input arguments." >&2; exit 2 ;;
esac
"""


def test_persistence_mode_is_set_and_looked_at(node: AzureNode) -> None:
    assert "nothing to do" in node.run("/opt/persistence-mode.sh").stdout
    node.stand_in("nvidia-smi", SMI)
    assert node.run("/opt/persistence-mode.sh", SECOND="Enabled").returncode == 0
    off = node.run("/opt/persistence-mode.sh", SECOND="Disabled")
    assert off.returncode == 1
    assert "not on: 1, Disabled" in off.stderr


def test_what_the_node_says_is_json_where_it_says_so(node: AzureNode) -> None:
    healthagent(node, "healthy", 0)
    assert set(json.loads((node.log / "healthagent.json").read_text())) == {"gpu", "systemd", "kmsg", "network", "proc"}
