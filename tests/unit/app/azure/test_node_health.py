"""Files of nodes in, verdicts out. Logs are recorded ones (tests/data)."""

from __future__ import annotations

import datetime as dt
import io
import tarfile
from functools import cache
from typing import TYPE_CHECKING

import pytest
from support.stand_ins import DATA

from hpcaccept.app.azure import node_health
from hpcaccept.app.azure.node_health import (
    AZNHC,
    DCGMI,
    HEALTHAGENT,
    INFO,
    NODE,
    PATHS,
    NodeHealth,
    as_table,
    gather_command,
    judge_nodes,
    unpack,
)
from hpcaccept.model.verdict import Outcome

if TYPE_CHECKING:
    from collections.abc import Mapping

NOW = dt.datetime(2026, 11, 29, 14, 5, tzinfo=dt.timezone.utc)
WRITTEN = "2026-11-29T14:00:00Z"
#: Exit status of the recorded runs of dcgmi that did not end with 0.
STATUS = {
    "v4_r2_faulty_memory.json": 205,
    "v4_r1_persistence_off.json": 226,
    "v4_already_running.json": 217,
    "no_host_engine.txt": 235,
    "mig.txt": 1,
    "v3_r1_row_remap_pending.json": 226,
}
Files = dict[str, "bytes | str"]


@cache
def read(*name: str) -> bytes:
    return DATA.joinpath(*name).read_bytes()


def said(word: str, when: str = WRITTEN) -> bytes:
    return f"{when} {word}\n".encode()


def diagnostic(name: str) -> bytes:
    return b"dcgmi diag -r 2 -j\n" + read("dcgm", name) + f"\nexit status: {STATUS.get(name, 0)}\n".encode()


def files(
    aznhc: str = "healthy", aznhc_word: str = "passed", dcgmi: str = "v4_r2_healthy.json", dcgmi_word: str = "passed",
    healthagent: str = "", healthagent_word: str = "unknown", node: str = "healthy",
) -> Files:  # fmt: skip
    return {
        AZNHC: read("aznhc", "recorded", f"{aznhc}.log"),
        f"{AZNHC}.status": said("failed", "2026-11-28T14:00:00Z") + said(aznhc_word),
        HEALTHAGENT: read("healthagent", f"{healthagent}.json") if healthagent else b"",
        f"{HEALTHAGENT}.status": said(healthagent_word),
        DCGMI: diagnostic(dcgmi),
        f"{DCGMI}.status": said(dcgmi_word),
        f"{NODE}.status": said(node),
        INFO: b"node7 10.0.0.4 ABC123456789\n",
    }


def judged(given: Mapping[str, bytes | str], gpus: int = 8) -> NodeHealth:
    return judge_nodes({"node7": given}, gpus=gpus, now=NOW).rows[0]


def outcomes(row: NodeHealth) -> tuple[Outcome, ...]:
    return row.aznhc.outcome, row.healthagent.outcome, row.dcgmi.outcome, row.verdict.outcome


def test_a_healthy_node_passes_without_healthagent() -> None:
    row = judged(files())
    assert outcomes(row) == (Outcome.PASS, Outcome.NOT_RUN, Outcome.PASS, Outcome.PASS)
    assert not row.healthagent.required
    assert row.info is not None
    assert row.info.physical_host == "ABC123456789"
    assert row.aznhc.reason == "33 checks passed"


def test_a_size_that_aznhc_does_not_know_passes_by_healthagent() -> None:
    row = judged(files(aznhc="unsupported", aznhc_word="unknown", healthagent="healthy", healthagent_word="passed"))
    assert outcomes(row) == (Outcome.NOT_RUN, Outcome.PASS, Outcome.PASS, Outcome.PASS)
    assert not row.aznhc.required
    alone = judged(files(aznhc="unsupported", aznhc_word="passed", node="healthy"))
    assert alone.verdict.outcome is Outcome.NOT_RUN
    assert "does not support the size nd128isr_gb300_v6" in alone.verdict.reason


@pytest.mark.parametrize(
    ("name", "outcome", "words"),
    [
        ("failing", Outcome.FAIL, "Expected to see 8 but found 7"),
        ("first_failure", Outcome.FAIL, "NHC2009"),
        ("ib_slow", Outcome.FAIL, "measured 201.37 Gbps"),
        ("xid_again", Outcome.FAIL, "reported before"),
        ("tool_missing", Outcome.FAIL, "GPU 5 throttled"),
        ("no_ib", Outcome.FAIL, "check_hw_ib"),
        ("smi_fails", Outcome.FAIL, "found 1"),
        ("silent_pass", Outcome.ERROR, "without -v"),
        ("no_check_for_this_host", Outcome.ERROR, "no check for this host"),
        ("timed_out", Outcome.ERROR, "timed out"),
        ("no_ib_device", Outcome.ERROR, "timed out"),
        ("container_not_pulled", Outcome.ERROR, "did not end"),
        ("measured_nothing", Outcome.NOT_RUN, "its tool printed no figure"),
        ("unsupported", Outcome.NOT_RUN, "does not support"),
    ],
)
def test_a_log_of_aznhc_is_judged_whatever_its_status_says(name: str, outcome: Outcome, words: str) -> None:
    row = judged(files(aznhc=name, aznhc_word="passed"))
    assert row.aznhc.outcome is outcome
    assert words in row.aznhc.reason
    assert row.verdict.outcome is outcome
    assert "aznhc: " in row.verdict.reason


@pytest.mark.parametrize(
    ("name", "outcome", "words"),
    [
        ("v4_r2_faulty_memory.json", Outcome.FAIL, "memory"),
        ("v3_r1_row_remap_pending.json", Outcome.FAIL, "row remappings are pending"),
        ("v4_r1_persistence_off.json", Outcome.ERROR, "Persistence Mode"),
        ("v4_r2_allocation_error_yet_pass.json", Outcome.ERROR, ""),
        ("v4_already_running.json", Outcome.ERROR, "another diagnostic is running"),
        ("v4_all_skipped.json", Outcome.NOT_RUN, "skipped every sub-test"),
        ("v3_r3_all_but_deployment_skipped.json", Outcome.NOT_RUN, "looked at the software only"),
        ("no_host_engine.txt", Outcome.NOT_RUN, "no host engine answers"),
        ("mig.txt", Outcome.NOT_RUN, "MIG"),
    ],
)
def test_a_log_of_dcgmi_is_judged_whatever_its_status_says(name: str, outcome: Outcome, words: str) -> None:
    row = judged(files(dcgmi=name), gpus=1)
    assert row.dcgmi.outcome is outcome
    assert words in row.dcgmi.reason
    assert row.verdict.outcome is outcome


def test_fewer_gpus_than_the_size_has_are_no_pass() -> None:
    row = judged(files(), gpus=16)
    assert row.dcgmi.outcome is Outcome.ERROR
    assert "16 were asked for" in row.dcgmi.reason


@pytest.mark.parametrize(
    ("name", "outcome", "words"),
    [
        ("xid_and_missing_gpu", Outcome.FAIL, "XID 79"),
        ("network_and_service", Outcome.FAIL, "ib3"),
        ("no_gpu_module", Outcome.ERROR, "GpuCountCheck has not reported"),
        ("dcgm_lost", Outcome.ERROR, "GpuHealthCheck last reported at 12:12 UTC"),
        ("diagnostic_not_performed", Outcome.NOT_RUN, "Active Tests not performed"),
    ],
)
def test_what_healthagent_found_counts_beside_a_pass_of_aznhc(name: str, outcome: Outcome, words: str) -> None:
    given = files(healthagent=name, healthagent_word="passed")
    if name == "dcgm_lost":
        given[HEALTHAGENT] = read("healthagent", "dcgm_lost.json").replace(b"T11:12:00", b"T12:12:00")
    row = judged(given)
    assert row.healthagent.outcome is outcome
    assert words in row.healthagent.reason
    assert row.verdict.outcome is (Outcome.PASS if outcome is Outcome.NOT_RUN else outcome)


def test_faults_have_the_names_that_azures_health_reporting_takes() -> None:
    def categories(given: Files) -> set[str]:
        return {name.removeprefix("Resource.Hpc.Unhealthy.") for name in judged(given).categories}

    assert categories(files()) == set()
    assert categories(files(aznhc="failing")) == {
        "HpcMissingGpu",
        "HpcRowRemapFailure",
        "ManualInvestigation",
        "NvLink",
    }
    assert categories(files(dcgmi="v4_r2_faulty_memory.json")) == {"HpcGpuDcgmDiagFailure"}
    found = categories(files(healthagent="xid_and_missing_gpu", healthagent_word="failed"))
    assert found == {"XID79FallenOffBus", "HpcMissingGpu"}
    assert categories(files(aznhc="timed_out")) == set(), "what proves nothing is reported to nobody"


# --- files that prove nothing -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [path for path in PATHS if path not in (INFO, HEALTHAGENT, f"{HEALTHAGENT}.status")])
@pytest.mark.parametrize("content", ["No such file or directory", b"", b"\0\0\0", b"passed\n", b"{}\n", None])
def test_a_file_that_is_absent_or_foreign_is_no_pass(path: str, content: bytes | str | None) -> None:
    given = files()
    if content is None:
        del given[path]
    else:
        given[path] = content
    verdict = judged(given).verdict
    assert verdict.outcome in (Outcome.NOT_RUN, Outcome.ERROR)
    assert verdict.reason


@pytest.mark.parametrize("name", ["healthagent.json", "healthagent.json.status", "node-info.log"])
def test_what_a_node_can_do_without_is_missed_by_nobody(name: str) -> None:
    given = files()
    given[f"/var/log/{name}"] = "No such file or directory"
    assert judged(given).verdict.outcome is Outcome.PASS


@pytest.mark.parametrize("log", [AZNHC, DCGMI])
def test_a_log_that_is_cut_anywhere_is_no_pass(log: str) -> None:
    given = files()
    whole = given[log]
    assert isinstance(whole, bytes)
    for at in range(0, len(whole) - 1, max(1, len(whole) // 60)):
        assert judged({**given, log: whole[:at]}).verdict.outcome is not Outcome.PASS


def test_a_log_of_another_machine_is_no_pass() -> None:
    row = judged({**files(), INFO: b"node8 10.0.0.5 ABC123456789\n"})
    assert row.aznhc.outcome is Outcome.ERROR
    assert "of the machine 'node7', this is 'node8'" in row.verdict.reason


def test_a_status_that_is_old_or_of_the_future_is_no_pass() -> None:
    for name in (AZNHC, DCGMI, NODE):
        word = "healthy" if name == NODE else "passed"
        old = judged({**files(), f"{name}.status": said(word, "2026-11-28T14:00:00Z")})
        assert old.verdict.outcome is Outcome.NOT_RUN
        assert "24 h old, at most 24 h" in old.verdict.reason
        ahead = judged({**files(), f"{name}.status": said(word, "2026-11-29T15:05:00Z")})
        assert ahead.verdict.outcome is Outcome.ERROR
        assert "60 min from now" in ahead.verdict.reason


@pytest.mark.parametrize("word", ["failed", "unknown"])
def test_a_status_that_denies_its_log_is_no_pass(word: str) -> None:
    for given in (files(aznhc_word=word), files(dcgmi_word=word)):
        verdict = judged(given).verdict
        assert verdict.outcome is Outcome.ERROR
        assert f"says {word}" in verdict.reason


@pytest.mark.parametrize("word", ["unhealthy", "unknown"])
def test_a_node_that_denies_its_health_is_no_pass(word: str) -> None:
    verdict = judged(files(node=word)).verdict
    assert verdict.outcome is Outcome.ERROR
    assert f"calls itself {word}" in verdict.reason


def test_a_node_that_cannot_be_reached_is_in_the_table_by_name() -> None:
    silent: Files = dict.fromkeys(PATHS, "ssh: connect to host: Connection timed out")
    health = judge_nodes({"node7": files(), "node8": silent, "node9": {}}, gpus=8, now=NOW)
    assert [row.verdict.outcome for row in health.rows] == [Outcome.PASS, Outcome.ERROR, Outcome.ERROR]
    assert health.rows[1].verdict.reason == "nothing could be gathered: ssh: connect to host: Connection timed out"
    assert health.exit_code == 3
    assert "node8" in as_table(health)
    assert as_table(health).endswith("3 nodes: 1 PASS, 2 ERROR")


def test_a_size_without_gpus_needs_no_dcgmi() -> None:
    given = files()
    for path in (DCGMI, f"{DCGMI}.status", f"{NODE}.status"):
        given[path] = "No such file or directory"
    row = judged(given, gpus=0)
    assert row.verdict.outcome is Outcome.PASS
    assert not row.dcgmi.required


def test_the_exit_code_is_that_of_every_command() -> None:
    def code(*given: Files) -> int:
        return judge_nodes({str(n): each for n, each in enumerate(given)}, gpus=8, now=NOW).exit_code

    assert code(files()) == 0
    assert code(files(), files(aznhc="failing")) == 1
    assert code(files(), files(aznhc="unsupported")) == 3
    assert code() == 3


def test_what_a_log_says_cannot_steer_a_terminal() -> None:
    given = files(aznhc="failing")
    log = given[AZNHC]
    assert isinstance(log, bytes)
    given[AZNHC] = log.replace(b"Expected to see 8", b"\x1b[2J\x1b]0;title\x07")
    table = as_table(judge_nodes({"node7": given}, gpus=8, now=NOW))
    assert "\x1b" not in table
    assert "\x07" not in table


def test_the_table_says_why() -> None:
    health = judge_nodes(
        {"vm-0": files(), "vm-1": files(aznhc="ib_slow", aznhc_word="failed", node="unhealthy")}, gpus=8, now=NOW
    )
    head, first, second, last = as_table(health).splitlines()
    assert head.split() == ["node", "physical", "host", "AzNHC", "healthagent", "dcgmi", "node", "health", "why"]
    assert first.split() == ["vm-0", "ABC123456789", "PASS", "NOT_RUN", "PASS", "PASS"]
    assert second.startswith("vm-1  ABC123456789   FAIL   NOT_RUN      PASS   FAIL")
    assert "NHC2003" in second
    assert last == "2 nodes: 1 PASS, 1 FAIL"


def test_a_thousand_nodes_are_all_accounted_for() -> None:
    """Sick, silent, unknown and old ones among healthy ones: each is called what it is, and nobody is left out."""
    kinds: dict[int, tuple[Mapping[str, bytes | str], Outcome]] = {
        7: (files(aznhc="failing"), Outcome.FAIL),
        11: (unpack(b"", "did not end within 60 s"), Outcome.ERROR),
        13: (files(aznhc="unsupported", aznhc_word="unknown"), Outcome.NOT_RUN),
        17: (files(node="unknown"), Outcome.ERROR),
    }
    healthy = (files(), Outcome.PASS)
    chosen = {f"vm-{n}": kinds.get(n % 100, healthy) for n in range(1000)}
    health = judge_nodes({node: given for node, (given, _) in chosen.items()}, gpus=8, now=NOW)
    assert {row.node: row.verdict.outcome for row in health.rows} == {node: kind for node, (_, kind) in chosen.items()}
    assert health.counts == {Outcome.PASS: 960, Outcome.FAIL: 10, Outcome.ERROR: 20, Outcome.NOT_RUN: 10}


# --- what a node sends ------------------------------------------------------------------------------------------------


def archive(given: Files) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as opened:
        for path, content in given.items():
            if isinstance(content, bytes):
                member = tarfile.TarInfo(path.lstrip("/"))
                member.size = len(content)
                opened.addfile(member, io.BytesIO(content))
    return packed.getvalue()


def test_what_was_packed_is_judged() -> None:
    given = files()
    assert unpack(archive(given)) == given
    del given[DCGMI]
    row = judged(unpack(archive(given)))
    assert row.verdict.outcome is Outcome.NOT_RUN
    assert "dcgmi-diag.log: there is no such file on the node" in row.verdict.reason


def test_a_command_that_failed_says_so_for_the_node() -> None:
    row = judged(unpack(b"", "did not end within 60 s"))
    assert row.verdict.reason == "nothing could be gathered: did not end within 60 s"


def test_an_archive_that_is_cut_or_foreign_is_no_pass() -> None:
    whole = archive(files())
    for at in range(0, len(whole) - 10240, 1999):
        assert judged(unpack(whole[:at])).verdict.outcome is not Outcome.PASS
    for foreign in (b"x" * 2000, b"\x1f\x8b" + b"y" * 600):
        assert "not an archive" in judged(unpack(foreign)).verdict.reason


def test_links_and_strange_names_of_an_archive_are_not_read() -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as opened:
        link = tarfile.TarInfo(AZNHC.lstrip("/"))
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        opened.addfile(link)
        other = tarfile.TarInfo("../../etc/passwd")
        other.size = 1
        opened.addfile(other, io.BytesIO(b"x"))
    found = unpack(packed.getvalue())
    assert set(found) == set(PATHS)
    assert all(isinstance(content, str) for content in found.values())


def test_every_path_that_is_judged_is_gathered() -> None:
    assert set(files()) == set(PATHS)
    assert all(path.lstrip("/") in gather_command().split() for path in PATHS)
    assert node_health.OLDEST_S == 86400
