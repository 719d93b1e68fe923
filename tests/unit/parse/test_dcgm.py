"""dcgmi diag -j, of both layouts (tests/data/dcgm)."""

from __future__ import annotations

import json
from typing import Any

import pytest
from support.stand_ins import DATA

from hpcaccept.errors import NotUnderstood
from hpcaccept.parse.dcgm import COULD_NOT_TEST, RETURN_CODES, WRONG_SETUP, Finding, Result, parse_diag, return_code

DCGM = DATA / "dcgm"


def recorded(name: str) -> str:
    return (DCGM / f"{name}.json").read_text("utf-8")


def changed(name: str, test: str, index: int, **change: Any) -> str:
    """A recorded output with one result of one test changed."""
    document = json.loads(recorded(name))
    (top,) = (key for key in document if key.startswith("DCGM"))
    (found,) = (t for c in document[top]["test_categories"] for t in c["tests"] if t["name"] == test)
    found["results"][index].update(change)
    return json.dumps(document)


def meanings(text: str) -> dict[str, str]:
    return {result.name: result.meaning for result in parse_diag(text).results}


def test_a_healthy_node_of_4_x() -> None:
    diag = parse_diag(recorded("v4_r2_healthy"))
    assert (diag.version, diag.driver, diag.runtime_error) == ("4.6.0", "580.95.05", "")
    assert diag.serials["gpu7"] == "1653223000007"
    assert meanings(recorded("v4_r2_healthy")) == {
        f"{test}/gpu{gpu}": "passed" for test in ("software", "memory", "pcie") for gpu in range(8)
    }


def test_a_healthy_node_of_3_x() -> None:
    diag = parse_diag(recorded("v3_r2_healthy"))
    assert (diag.version, diag.driver) == ("3.3.9", "535.161.08")
    assert diag.serials["gpu7"] == "1653223000007"
    assert len(diag.results) == 9 + 8 + 8
    assert {r.meaning for r in diag.results} == {"passed"}
    assert diag.results[0].name == "Denylist"
    assert diag.results[-1].name == "GPU Memory/gpu7"


def test_a_fault_names_its_gpu_with_number_category_and_severity() -> None:
    diag = parse_diag(recorded("v4_r2_faulty_memory"))
    (fault,) = (r for r in diag.results if r.meaning != "passed")
    assert (fault.name, fault.meaning) == ("memory/gpu3", "failed")
    assert fault.findings[0].error_id == 52
    assert fault.said.endswith("(error 52; memory; isolate: cannot work)")


def test_a_deployment_test_of_3_x_has_its_text_under_another_key_and_a_number_as_gpu() -> None:
    diag = parse_diag(recorded("v3_r1_row_remap_pending"), software_is_enough=True)
    (fault,) = (r for r in diag.results if r.meaning != "passed")
    assert fault.name == "Page Retirement/Row Remap/gpu6"
    assert fault.meaning == "failed"
    assert "row remappings are pending" in fault.said


def test_text_before_and_after_the_json_is_passed_over_even_with_braces_in_it() -> None:
    text = "Loading {modules}\n" + recorded("v4_r2_healthy") + "\nbye }"
    assert len(parse_diag(text).results) == 24


def test_an_allocation_error_beside_a_pass_is_no_pass() -> None:
    assert meanings(recorded("v4_r2_allocation_error_yet_pass"))["memory/gpu5"] == "untested"


@pytest.mark.parametrize(
    ("entry", "meaning"),
    [
        ({"info": ["Couldn't allocate enough memory"]}, "untested"),
        ({"info": ["Unable to run this test"]}, "untested"),
        ({"warnings": [{"warning": "could not allocate"}]}, "untested"),
        ({"warnings": [{"warning": "x", "error_id": 4, "error_category": 10, "error_severity": 2}]}, "untested"),
        ({"warnings": [{"warning": "x", "error_id": 77, "error_category": 8, "error_severity": 4}]}, "untested"),
        ({"info": ["SRAM Threshold checking was skipped"]}, "passed"),
        ({"info": "Allocated 84 GB (98.1%)"}, "passed"),
    ],
)
def test_what_makes_a_pass_worthless(entry: dict[str, Any], meaning: str) -> None:
    assert meanings(changed("v4_r2_healthy", "memory", 2, **entry))["memory/gpu2"] == meaning


def test_a_setting_is_no_fault_of_the_hardware() -> None:
    diag = parse_diag(recorded("v4_r1_persistence_off"))
    assert [(r.name, r.meaning) for r in diag.results] == [("software/gpu0", "setup")]
    assert diag.serials == {}, "<<<NOT_SUPPORTED>>> is no serial number"


@pytest.mark.parametrize(
    ("finding", "test", "blame"),
    [
        (Finding("row remap", 85, 10, 6), "x", "failed"),
        (Finding("PCIe width", 46, 13, 5), "x", "failed"),
        (Finding("EUD failed", 95, 7, 2), "x", "failed"),
        (Finding("Xid", 101, 5, 4), "x", "failed"),
        (Finding("stress level", 50, 1, 4), "x", "failed"),
        (Finding("no words of weight"), "GPU Memory", "failed"),
        (Finding("persistence", 29, 8, 5), "x", "setup"),
        (Finding("nouveau", 23, 3, 5), "x", "setup"),
        (Finding("power limit", 72, 14, 5), "x", "setup"),
        (Finding("fabric manager", 108, 6, 1), "x", "setup"),
        (Finding("graphics processes", 25, 8, 6), "x", "setup"),
        (Finding("IMEX daemon status is -3, idle GB300 (aicr issue 2641)", 122, 8, 2), "x", "setup"),
        (Finding("a future setting", 999, 3, 4), "x", "setup"),
        (Finding("is disabled"), "Persistence Mode", "setup"),
        (Finding("allocation", 56), "GPU Memory", "untested"),
        (Finding("allocation", 56, 8, 4), "x", "untested"),
        (Finding("ECC is not supported", 60, 10, 5), "x", "untested"),
        (Finding("EUD not root", 90, 7, 4), "x", "untested"),
        (Finding("cuCtxCreate: busy", 66, 6, 4), "x", "untested"),
        (Finding("internal", 44, 16, 4), "x", "untested"),
        (Finding("GPU 1 couldn't be tested"), "GPU Memory", "untested"),
    ],
)
def test_whom_an_error_blames(finding: Finding, test: str, blame: str) -> None:
    assert Result(test, "", "gpu0", "Fail", (finding,)).meaning == blame


def test_one_error_about_hardware_among_others_is_enough() -> None:
    findings = (Finding("persistence", 29, 8, 5), Finding("DBE", 4, 10, 2))
    assert Result("software", "", "gpu0", "Fail", findings).meaning == "failed"


def test_a_fail_without_a_word_is_a_fail() -> None:
    assert Result("memory", "", "gpu0", "Fail").meaning == "failed"


#: ``DCGM_FR_…`` of NVIDIA's dcgm_errors.h that say nothing of the hardware, copied by hand: number → what it says.
UNTESTED = {
    21: "bad parameter", 22: "a library cannot be opened", 24: "functions of NVML are missing", 26: "no host engine",
    27: "a field cannot be queried", 32: "no such field", 37: "type of a field", 44: "internal", 47: "aborted by a signal",
    48: "disabled for this GPU", 49: "no telemetry", 53: "no field watches", 56: "no memory of the GPU to be had",
    60: "ECC is not supported", 67: "an error of DCGM's API", 68: "several GPUs are needed", 73: "no memory of the host",
    78: "the L1 test is not supported", 82: "no GPUs were given", 89: "EUD: permissions", 90: "EUD: not root",
    91: "EUD: not started", 92: "EUD: time", 93: "EUD: still running", 94: "EUD: exit code", 96: "a file cannot be created",
    97: "pause or resume", 117: "skipped", 124: "permissions", 130: "a retest is asked for",
}  # fmt: skip
SETUP = {
    18: "a file cannot be read", 20: "/dev against NVML", 23: "nouveau", 25: "graphics processes", 28: "environment of CUDA",
    29: "persistence mode", 55: "ECC is off", 72: "enforced power limit", 108: "fabric manager", 112: "fabric manager",
    122: "IMEX",
}  # fmt: skip


@pytest.mark.parametrize("number", range(1, 136))
def test_the_number_of_an_error_says_whom_it_blames(number: int) -> None:
    """Category and severity of a grave fault of memory, so that the number alone decides."""
    blame = "untested" if number in UNTESTED else "setup" if number in SETUP else "failed"
    assert Result("x", "", "gpu0", "Fail", (Finding("text", number, 10, 2),)).meaning == blame


def test_no_error_is_both_a_setting_and_untested() -> None:
    assert frozenset(UNTESTED) == COULD_NOT_TEST
    assert frozenset(SETUP) == WRONG_SETUP
    assert not COULD_NOT_TEST & WRONG_SETUP


#: Low byte of a ``dcgmReturn_t`` of NVIDIA's dcgm_structs.h (-1 is 255) → whether nothing could be asked (NOT_RUN rather than ERROR).
STATUSES = {
    198: True, 199: False, 200: True, 202: False, 203: False, 204: True, 205: False, 206: False, 207: False, 212: True,
    213: False, 215: False, 216: False, 217: False, 221: True, 222: False, 223: True, 226: False, 227: True, 234: True,
    235: True, 238: False, 239: True, 242: False, 245: False, 248: False, 249: True, 250: True, 253: False, 255: False,
}  # fmt: skip


def test_every_exit_status_is_not_run_or_an_error_as_its_name_says() -> None:
    assert {status: code.absent for status, code in RETURN_CODES.items()} == STATUSES
    assert len({code.name for code in RETURN_CODES.values()}) == len(STATUSES)


def test_skipped_tests_are_skipped_and_null_is_a_device_that_did_not_run() -> None:
    found = meanings(recorded("v3_r3_all_but_deployment_skipped"))
    assert found["GPU Memory/gpu0"] == "skipped"
    assert found["EUD Test/gpu1"] == "skipped"
    assert "EUD Test/gpu0" not in found
    assert set(meanings(recorded("v4_all_skipped")).values()) == {"skipped"}
    assert meanings(recorded("v4_all_skipped"))["eud"] == "skipped", "a name without results did not run"


def test_a_look_at_the_software_counts_beside_a_test_of_the_hardware_only() -> None:
    text = recorded("v3_r3_all_but_deployment_skipped")
    diag = parse_diag(text)
    assert {r.meaning for r in diag.results} == {"skipped"}
    (denylist,) = (r for r in diag.results if r.test == "Denylist")
    assert (denylist.status, denylist.is_moot, denylist.said) == ("Pass", True, "no test of the hardware ran beside it")
    asked = parse_diag(text, software_is_enough=True)
    assert {r.meaning for r in asked.results if r.category == "Deployment"} == {"passed"}
    # Faults that level 1 finds stay what they are.
    fault = parse_diag(recorded("v3_r1_row_remap_pending")).results
    assert [r.name for r in fault if r.meaning == "failed"] == ["Page Retirement/Row Remap/gpu6"]


def test_a_gpu_that_every_test_of_the_hardware_skipped_is_not_covered() -> None:
    document = json.loads(recorded("v4_r2_healthy"))
    for category in document["DCGM Diagnostic"]["test_categories"][1:]:
        for test in category["tests"]:
            test["results"][3]["status"] = "Skip"
    assert parse_diag(json.dumps(document)).uncovered(8) == [
        "the hardware of 7 GPUs was tested, 8 were asked for (gpu0, gpu1, gpu2, gpu4, gpu5, gpu6, gpu7)"
    ]
    assert parse_diag(recorded("v4_r2_healthy")).uncovered(8) == []


def test_passes_that_name_no_gpu_cover_none() -> None:
    document = json.loads(recorded("v4_r2_healthy"))
    for result in document["DCGM Diagnostic"]["test_categories"][1]["tests"][0]["results"]:
        del result["entity_group"]
    assert "memory speaks of 0 GPUs, 8 were asked for ()" in parse_diag(json.dumps(document)).uncovered(8)


def test_a_round_of_a_torn_output_is_not_taken_for_all_of_it() -> None:
    one = recorded("v4_r2_healthy")
    with pytest.raises(NotUnderstood, match="no diagnostic that can be read"):
        parse_diag(f'{{"iterations": [{one}, ')
    with pytest.raises(NotUnderstood, match="2 documents, expected one"):
        parse_diag(one + one)


def test_a_number_of_thousands_of_digits_is_not_understood() -> None:
    with pytest.raises(NotUnderstood):
        parse_diag('{"DCGM Diagnostic": ' + "9" * 5000 + "}")


@pytest.mark.parametrize("sign", ["\0", "\ufffd"])
def test_what_is_no_text_proves_nothing(sign: str) -> None:
    with pytest.raises(NotUnderstood, match=r"in line 1, expected text"):
        parse_diag(sign + recorded("v4_r2_healthy"))


@pytest.mark.parametrize("word", ["", "pass", "PASS", "Passed", None, 1])
def test_an_unknown_status_is_not_understood(word: object) -> None:
    with pytest.raises(NotUnderstood, match=r"the status of memory is .*, expected one of Pass"):
        parse_diag(changed("v4_r2_healthy", "memory", 2, status=word))


def test_a_summary_that_failed_while_no_device_did_is_told() -> None:
    document = json.loads(recorded("v4_r2_healthy"))
    test = document["DCGM Diagnostic"]["test_categories"][1]["tests"][0]
    test["test_summary"] = {
        "status": "Fail",
        "warnings": [{"warning": "NVSwitch", "error_id": 15, "error_severity": 2}],
    }
    assert meanings(json.dumps(document))["memory"] == "failed"


def test_a_summary_that_failed_without_a_word_is_told() -> None:
    document = json.loads(recorded("v4_r2_healthy"))
    document["DCGM Diagnostic"]["test_categories"][1]["tests"][0]["test_summary"] = {"status": "Fail"}
    found = meanings(json.dumps(document))
    assert (found["memory"], found["memory/gpu0"]) == ("failed", "passed")


def test_an_error_of_no_device_stands_in_the_summary_only_and_is_kept() -> None:
    document = json.loads(recorded("v4_r2_faulty_memory"))
    test = document["DCGM Diagnostic"]["test_categories"][1]["tests"][0]
    test["test_summary"]["warnings"].append({"warning": "and a link", "error_id": 14, "error_severity": 4})
    found = {r.name: r for r in parse_diag(json.dumps(document)).results}
    assert found["memory/gpu3"].meaning == "failed"
    assert (found["memory"].meaning, found["memory"].findings[0].error_id) == ("failed", 14)


def test_a_pass_on_no_device_tested_nothing() -> None:
    document = json.loads(recorded("v4_r2_healthy"))
    document["DCGM Diagnostic"]["test_categories"][1]["tests"][0]["results"] = []
    assert meanings(json.dumps(document))["memory"] == "untested"


def test_iterations_are_kept_apart() -> None:
    diag = parse_diag(recorded("v4_iterations"))
    assert [r.iteration for r in diag.results] == [0] * 24 + [1] * 24


def test_an_error_before_any_test_is_kept() -> None:
    diag = parse_diag(recorded("v4_already_running"))
    assert diag.results == ()
    assert diag.version == "4.6.0"
    assert "already running" in diag.runtime_error


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Successfully ran diagnostic for group.",
        recorded("v4_r2_healthy")[:4000],
        '{"DCGM Diagnostic": {}}',
        '{"DCGM Diagnostic": null}',
        '{"DCGM Diagnostic": {"test_categories": {}}}',
        '{"DCGM Diagnostic": {"test_categories": [{"category": "x"}]}}',
        '{"DCGM Diagnostic": {"test_categories": [{"category": "x", "tests": [{"results": []}]}]}}',
        '{"DCGM Diagnostic": {"test_categories": [{"tests": [{"name": "x", "results": ["Pass"]}]}]}}',
        '{"iterations": []}',
        '{"iterations": [{}]}',
        '{"something": "else"}',
    ],
)
def test_anything_else_is_not_understood(text: str) -> None:
    with pytest.raises(NotUnderstood):
        parse_diag(text)


@pytest.mark.parametrize(
    ("status", "text", "name", "absent"),
    [
        (205, "", "NVVS_ISOLATE_ERROR", False),
        (226, "", "NVVS_ERROR", False),
        (235, "", "CONNECTION_NOT_VALID", True),
        (217, "", "DIAG_ALREADY_RUNNING", False),
        (1, (DCGM / "mig.txt").read_text("utf-8"), "MIG", True),
        (1, (DCGM / "no_host_engine.txt").read_text("utf-8"), "CONNECTION_NOT_VALID", True),
        (77, "", "status 77", False),
    ],
)
def test_what_an_exit_status_means(status: int, text: str, name: str, absent: bool) -> None:
    code = return_code(status, text)
    assert (code.name, code.absent) == (name, absent)
    assert code.remedy or not absent


def test_json_that_is_too_deep_is_not_understood() -> None:
    with pytest.raises(NotUnderstood, match="no diagnostic that can be read"):
        parse_diag('{"DCGM Diagnostic":' * 100_000)
