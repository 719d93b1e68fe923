"""What ``dcgmi diag -j`` found: JSON of DCGM 3.x and 4.x in, one ``Result`` per test and device out.

Layouts (``dcgmi/Diag.cpp`` of NVIDIA/DCGM, tags v3.3.9 and v4.6.0, read 2026-11-22):

* 3.x: top key ``DCGM GPU Diagnostic``; versions at the root beside it; ``gpu_id`` is a text, in Deployment tests a
  number that is there only with an error, whose text stands under ``warnings`` again. Devices that did not run leave
  ``null``.
* 4.x: top key ``DCGM Diagnostic``; versions in ``metadata``; results have an entity; each test has a ``test_summary``,
  which alone holds the errors of no device in particular. A test that did not run is a name without results.
* both: text may stand before the JSON; an error before any test is a ``runtime_error``; ``--iterations`` wraps
  documents.

The node's own short verdict (azure/node/opt/node-verdict.py) decides by the same rules; a test holds the two together.

Traps: a test can say Pass beside an error that says it could not test (NVIDIA/DCGM#284); an unknown result is printed
as an empty status; all tests skipped is exit status 0; so is everything skipped but level 1, which looks at software and
counters only (NVIDIA/DCGM#55, #139).
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from dataclasses import dataclass, replace
from typing import Any, Literal

from hpcaccept.errors import NotUnderstood
from hpcaccept.parse.plain_text import LONGEST, plain

Status = Literal["Pass", "Skip", "Warn", "Fail", "Not Run"]
#: What a result says of the device: it was tested and is well, it is faulty, the test could not be done, a setting is
#: wrong.
Meaning = Literal["passed", "failed", "untested", "setup", "warned", "skipped"]

_STATUSES: dict[str, Status] = {"Pass": "Pass", "Skip": "Skip", "Warn": "Warn", "Fail": "Fail", "Not Run": "Not Run"}
_TOP = ("DCGM Diagnostic", "DCGM GPU Diagnostic")

#: ``dcgmErrorSeverity_t``. https://github.com/NVIDIA/DCGM/blob/v4.6.0/dcgmlib/dcgm_errors.h (read 2026-11-22, the same
#: in 3.3.9)
SEVERITIES = {
    0: "none",
    1: "monitor: can work, watch it",
    2: "isolate: cannot work",
    3: "unknown",
    4: "triage",
    5: "configuration",
    6: "drain and reset the GPU",
}
_CONFIG, _GRAVE = 5, frozenset({2, 6})

#: ``dcgmErrorCategory_t``, the same file; the same numbers in 3.3.9.
CATEGORIES = {
    0: "none",
    1: "performance threshold",
    2: "performance violation",
    3: "software configuration",
    4: "software library",
    5: "Xid",
    6: "CUDA",
    7: "extended utility diagnostic",
    8: "software",
    9: "thermal",
    10: "memory",
    11: "NVLink",
    12: "NVSwitch",
    13: "PCIe",
    14: "power",
    15: "hardware",
    16: "internal to DCGM",
}
_SETUP_CATEGORIES = frozenset({3, 4})
_TOOL_CATEGORIES = frozenset({6, 7, 8, 16})

#: ``DCGM_FR_…`` that say "the test could not be done", whatever category they have there (dcgm_errors.h of v4.6.0,
#: 2026-11-22): bad parameter 21, library 22 24, host engine 26, field 27 32 37, internal 44, aborted 47, disabled 48,
#: no telemetry 49, watches 53, allocation on GPU 56 and host 73, ECC or L1 tag unsupported 60 78, DCGM call 67, needs
#: several GPUs 68, no GPU given 82, EUD not permitted, not started or in time-out 89–94, file 96, pause 97, skipped
#: 117, permissions 124, retest asked for 130.
COULD_NOT_TEST = frozenset(
    {21, 22, 24, 26, 27, 32, 37, 44, 47, 48, 49, 53, 56, 60, 67, 68, 73, 78, 82}
    | {89, 90, 91, 92, 93, 94, 96, 97, 117, 124, 130}
)
#: … that say "a setting or service of this host is wrong": file access 18, /dev against NVML 20, nouveau 23, graphics
#: processes 25, CUDA environment 28, persistence 29, ECC off 55, power limit 72, fabric manager 108 112, IMEX 122.
WRONG_SETUP = frozenset({18, 20, 23, 25, 28, 29, 55, 72, 108, 112, 122})
#: PCIe width too low (46) has severity "configuration" there; no setting makes lanes vanish.
_HARDWARE_ALL_THE_SAME = frozenset({46})
#: Deployment tests of 3.x about the host, for findings without a number.
_HOST_TESTS = frozenset(
    {
        "Denylist",
        "NVML Library",
        "CUDA Main Library",
        "CUDA Toolkit Library",
        "Permissions and OS Blocks",
        "Persistence Mode",
        "Environment Variables",
        "Graphics Processes",
    }
)
#: How JSON begins; a brace in a banner is followed by something else.
_BEGINS = re.compile(r'\{\s*"')
_GPU = re.compile(r"gpu\d+")
_NO_HARDWARE = "no test of the hardware ran beside it"
#: Words of a finding without a number, or of an info, that make a Pass worthless.
_INABILITY = re.compile(
    r"(could ?n[o']t|cannot|unable to|failed to)\s+(be\s+)?(allocat|run|test|execut|start|launch)", re.I
)


@dataclass(frozen=True)
class ReturnCode:
    """One value of ``dcgmReturn_t``; the exit status of ``dcgmi`` is its low byte.

    Attributes:
        name: without ``DCGM_ST_``.
        meaning: in a few words.
        remedy: what to do; empty where the tests say it.
        absent: True when nothing could be asked: NOT_RUN rather than ERROR.
    """

    name: str
    meaning: str
    remedy: str = ""
    absent: bool = False


_SERVICE = (
    "Start the host engine on the node: systemctl start nvidia-dcgm (or nv-hostengine); in a container, on the host."
)
_MIG = "DCGM cannot test a GPU that is cut into MIG instances: nvidia-smi -mig 0, or leave dcgm_diag out of the suite."
#: Exit status → meaning. https://github.com/NVIDIA/DCGM/blob/v4.6.0/dcgmlib/dcgm_structs.h (read 2026-11-22; 3.3.9 has
#: the same values where it has them).
RETURN_CODES = {
    198: ReturnCode("NVVS_NO_AVAILABLE_TEST", "no such test on this GPU", "Lower 'level'.", absent=True),
    199: ReturnCode("NVML_DRIVER_TIMEOUT", "the driver does not answer", "Look for Xids: dmesg | grep -i xid."),
    200: ReturnCode("NVML_NOT_LOADED", "the host engine has no NVML", "Install the driver, restart nvidia-dcgm.", absent=True),
    202: ReturnCode("PAUSED", "the host engine is paused", "dcgmi modules --resume"),
    203: ReturnCode("NVVS_KILLED", "the diagnostic was killed by a signal", "See the host engine's log; is memory short?"),
    204: ReturnCode("NVVS_BINARY_NOT_FOUND", "the diagnostic is not installed", "Install datacenter-gpu-manager-4-cuda…", absent=True),
    205: ReturnCode("NVVS_ISOLATE_ERROR", "an error that asks for the GPU to be isolated"),
    206: ReturnCode("PLUGIN_EXCEPTION", "a test of DCGM broke down", "See nvvs.log on the node."),
    207: ReturnCode("INSUFFICIENT_RESOURCES", "not enough resources", "End what else runs on the node."),
    212: ReturnCode("INSUFFICIENT_DRIVER_VERSION", "the driver is too old for this DCGM", "Update one of them.", absent=True),
    213: ReturnCode("DIAG_THRESHOLD_EXCEEDED", "a field passed its error threshold"),
    215: ReturnCode("DIAG_BAD_LAUNCH", "the diagnostic could not be launched", "See the host engine's log."),
    216: ReturnCode("DIAG_BAD_JSON", "the diagnostic's own output could not be read", "See nvvs.log on the node."),
    217: ReturnCode("DIAG_ALREADY_RUNNING", "another diagnostic is running on this node", "Wait for it to end."),
    221: ReturnCode("GROUP_IS_EMPTY", "there is not a GPU to test", _MIG, absent=True),
    222: ReturnCode("IN_USE", "something else uses the GPU", "End what else runs on the node."),
    223: ReturnCode("MODULE_NOT_LOADED", "the diagnostic module is not loaded", "dcgmi modules --list", absent=True),
    226: ReturnCode("NVVS_ERROR", "the diagnostic ran and reported an error"),
    227: ReturnCode("REQUIRES_ROOT", "the host engine does not run as root", "Run nv-hostengine as root.", absent=True),
    234: ReturnCode("GPU_NOT_SUPPORTED", "DCGM does not support this GPU", "Leave dcgm_diag out of the suite.", absent=True),
    235: ReturnCode("CONNECTION_NOT_VALID", "no host engine answers", _SERVICE, absent=True),
    238: ReturnCode("GPU_IS_LOST", "a GPU does not answer its driver", "dmesg | grep -i xid; reset or reboot."),
    239: ReturnCode("NO_PERMISSION", "not permitted", "Run it as a user that may.", absent=True),
    242: ReturnCode("NO_DATA", "no data", "Are there GPUs? nvidia-smi -L"),
    245: ReturnCode("TIMEOUT", "the diagnostic did not end in time", "Raise 'timeout_s', lower 'level'."),
    248: ReturnCode("NVML_ERROR", "NVML returned an error", "nvidia-smi -q says more."),
    249: ReturnCode("INIT_ERROR", "DCGM could not start", _SERVICE, absent=True),
    250: ReturnCode("NOT_SUPPORTED", "not supported here", "Leave dcgm_diag out of the suite.", absent=True),
    253: ReturnCode("GENERIC_ERROR", "an unspecified error", "See the host engine's log."),
    255: ReturnCode("BADPARAM", "a parameter that this version does not know", "dcgmi diag --help"),
}  # fmt: skip
_WORDS = (
    (
        re.compile(r"MIG (configuration|mode)", re.I),
        ReturnCode("MIG", "a GPU is cut into MIG instances", _MIG, absent=True),
    ),
    (re.compile(r"establish a connection|host engine", re.I), RETURN_CODES[235]),
)


@dataclass(frozen=True)
class Finding:
    """One error or warning beside a result. None: this version did not say.

    Attributes:
        text: DCGM's words.
        error_id: ``DCGM_FR_…``.
        category: ``CATEGORIES``.
        severity: ``SEVERITIES``.
    """

    text: str
    error_id: int | None = None
    category: int | None = None
    severity: int | None = None

    def __str__(self) -> str:
        parts = [] if self.error_id is None else [f"error {self.error_id}"]
        parts += [
            table[key] for table, key in ((CATEGORIES, self.category), (SEVERITIES, self.severity)) if key in table
        ]
        return f"{self.text} ({'; '.join(parts)})" if parts else self.text


@dataclass(frozen=True)
class Result:
    """What one test says of one device.

    Attributes:
        test: name of the sub-test (``memory``, ``Persistence Mode``).
        category: ``Deployment``, ``Hardware``, ``Integration``, ``Stress``.
        device: ``gpu3``, ``cpu0``; empty where the result is of no device in particular.
        status: DCGM's word.
        findings: errors and warnings.
        info: remarks.
        iteration: 0, 1 … with ``--iterations``.
        is_moot: it passed, and proves nothing: no test of the hardware ran beside this look at the software.
    """

    test: str
    category: str
    device: str
    status: Status
    findings: tuple[Finding, ...] = ()
    info: tuple[str, ...] = ()
    iteration: int = 0
    is_moot: bool = False

    @property
    def is_software(self) -> bool:
        """True for what level 1 runs: it looks at software and counters, and nothing computes."""
        return self.category == "Deployment" or self.test == "software" or self.test in _HOST_TESTS

    @property
    def is_of_gpu(self) -> bool:
        """True where it names its GPU."""
        return bool(_GPU.fullmatch(self.device))

    @property
    def name(self) -> str:
        """``memory/gpu3``."""
        return f"{self.test}/{self.device}" if self.device else self.test

    @property
    def said(self) -> str:
        """All of its words in one line."""
        return " ".join(" ".join([*map(str, self.findings), *self.info]).split())

    @property
    def meaning(self) -> Meaning:
        """What follows from it. A Pass beside an error that forbids one is ``untested``."""
        if self.status in ("Skip", "Not Run"):
            return "skipped"
        if self.status == "Warn":
            return "warned"
        blames = {self.blame(finding) for finding in self.findings}
        if self.status == "Pass":
            contradicted = any(f.severity in _GRAVE for f in self.findings) or "untested" in blames
            if contradicted or any(_INABILITY.search(text) for text in self.info):
                return "untested"
            return "skipped" if self.is_moot else "passed"
        for kind in ("failed", "untested", "setup"):
            if kind in blames:
                return kind
        return "failed"

    def blame(self, finding: Finding) -> Literal["failed", "untested", "setup"]:
        """Whether a finding speaks of the hardware, of a test that could not be done, or of a setting."""
        if finding.error_id in COULD_NOT_TEST:
            return "untested"
        if finding.error_id in WRONG_SETUP:
            return "setup"
        if finding.severity == _CONFIG and finding.error_id not in _HARDWARE_ALL_THE_SAME:
            return "setup"
        if finding.severity not in _GRAVE:
            if finding.category in _SETUP_CATEGORIES:
                return "setup"
            if finding.category in _TOOL_CATEGORIES or (finding.error_id is None and _INABILITY.search(finding.text)):
                return "untested"
            if finding.error_id is None and self.test in _HOST_TESTS:
                return "setup"
        return "failed"


@dataclass(frozen=True)
class Diag:
    """One output of ``dcgmi diag -j``.

    Attributes:
        version: of DCGM.
        driver: version of the driver it found.
        results: in the order of the output.
        serials: device → serial number, where DCGM knows one.
        runtime_error: why no test was run; empty otherwise.
    """

    version: str
    driver: str
    results: tuple[Result, ...]
    serials: dict[str, str]
    runtime_error: str = ""

    def uncovered(self, asked: int) -> list[str]:
        """Sub-tests that speak of fewer GPUs than were asked for, and rounds that tested the hardware of fewer."""
        devices: dict[tuple[int, str], set[str]] = defaultdict(set)
        tested: dict[int, set[str]] = defaultdict(set)
        for result in self.results:
            # Level 1 of 3.x (not the test "software" of 4.x) speaks of the node, and of a GPU only in an error.
            speaks_of_all = result.category != "Deployment" or result.test == "software"
            mine = {result.device} if result.is_of_gpu else set()
            # A Pass of no device in particular names no GPU.
            if speaks_of_all and (mine or (not result.device and result.status == "Pass")):
                devices[result.iteration, result.test] |= mine
            if not result.is_software and result.meaning in ("passed", "failed"):
                tested[result.iteration] |= mine
        found = [
            f"{test} speaks of {len(seen)} GPUs, {asked} were asked for ({', '.join(sorted(seen))})"
            for (_, test), seen in devices.items()
            if len(seen) < asked
        ]
        # A test that skipped a GPU speaks of it all the same.
        found += [
            f"the hardware of {len(seen)} GPUs was tested, {asked} were asked for ({', '.join(sorted(seen))})"
            for seen in tested.values()
            if len(seen) < asked
        ]
        return list(dict.fromkeys(found))


def return_code(status: int, text: str = "") -> ReturnCode:
    """What an exit status of ``dcgmi`` means; where it has no word for it, what its text says.

    Args:
        status: 0 to 255.
        text: of an error, for versions that exit with something else.
    """
    for pattern, code in _WORDS:
        if pattern.search(text):
            return code
    return RETURN_CODES.get(status, ReturnCode(f"status {status}", "a status that is unknown here"))


def parse_diag(text: str, *, software_is_enough: bool = False, iterations: int = 1) -> Diag:
    """The standard output of ``dcgmi diag -j``; what stands before and after the JSON is passed over.

    Args:
        text: of the tool.
        software_is_enough: level 1 was asked for, so that a pass of its looks at the software counts. Otherwise such a pass is
            ``skipped`` in a round in which no test of the hardware ran.
        iterations: that were asked for: so many times as long may the text be.

    Raises:
        NotUnderstood: there is no such JSON, it is torn, or it holds a status that is unknown.
    """
    document = _document(plain(text, "dcgmi's output", longest=LONGEST * iterations))
    rounds = document.get("iterations", [document])
    if not isinstance(rounds, list) or not rounds:
        raise NotUnderstood("dcgmi's JSON has no iterations in it")
    results: list[Result] = []
    first = _Round(rounds[0])
    errors = []
    for number, each in enumerate(rounds):
        one = _Round(each)
        errors.append(one.runtime_error)
        mine = one.results(number)
        results += mine if software_is_enough else _without_moot(mine)
    return Diag(first.version, first.driver, tuple(results), first.serials, next(filter(None, errors), ""))


def _without_moot(results: list[Result]) -> list[Result]:
    """Passes of the software count where the hardware was tested too."""
    if any(not result.is_software and result.meaning in ("passed", "failed") for result in results):
        return results
    return [
        replace(result, is_moot=True, info=(*result.info, _NO_HARDWARE)) if result.meaning == "passed" else result
        for result in results
    ]


def _document(text: str) -> dict[str, Any]:
    """The one diagnostic in it. What lies inside of a torn one is a round of it or a test, and never all."""
    decoder, at = json.JSONDecoder(), 0
    found: list[dict[str, Any]] = []
    while begin := _BEGINS.search(text, at):
        try:
            table, at = decoder.raw_decode(text, begin.start())
        # ValueError without more: a number of thousands of digits.
        except (ValueError, RecursionError) as fault:
            where = f"{fault.msg} in line {fault.lineno}" if isinstance(fault, json.JSONDecodeError) else str(fault)
            raise NotUnderstood(
                f"dcgmi printed no diagnostic that can be read: {where}", "Its output is in the run folder."
            ) from None
        if any(key in table for key in (*_TOP, "iterations")):
            found.append(table)
    if len(found) != 1:
        raise NotUnderstood(
            f"dcgmi printed no diagnostic that can be read: {len(found)} documents, expected one",
            "Its output is in the run folder.",
        )
    return found[0]


class _Round:
    """One document, of either layout."""

    def __init__(self, document: Any) -> None:
        top = next((key for key in _TOP if isinstance(document, dict) and isinstance(document.get(key), dict)), None)
        if top is None:
            raise NotUnderstood(f"dcgmi's JSON has none of {', '.join(_TOP)} in it")
        self._root: dict[str, Any] = document
        self._body: dict[str, Any] = document[top]
        self._is_new = top == _TOP[0]
        self.runtime_error = " ".join(str(self._body.get("runtime_error", "")).split())
        about = document.get("metadata", document)
        about = about if isinstance(about, dict) else {}
        self.version = str(about.get("version", self._body.get("version", "")))
        self.driver = str(about.get("Driver Version Detected", ""))
        self.serials = self._serials()

    def _serials(self) -> dict[str, str]:
        if not self._is_new:
            old = self._root.get("GPU Device Serials")
            return {f"gpu{index}": str(serial) for index, serial in old.items()} if isinstance(old, dict) else {}
        return {
            _device(group.get("entity_group"), entity.get("entity_id")): str(entity["serial_num"])
            for group in _objects(self._root.get("entity_groups"))
            for entity in _objects(group.get("entities"))
            # "<<<NOT_SUPPORTED>>>" is no serial number.
            if entity.get("serial_num") and not str(entity["serial_num"]).startswith("<<<")
        }

    def results(self, iteration: int) -> list[Result]:
        categories = self._body.get("test_categories")
        if categories is None and self.runtime_error:
            return []
        if not isinstance(categories, list):
            raise NotUnderstood("dcgmi's JSON has no test_categories and no runtime_error in it")
        found: list[Result] = []
        for category in categories:
            tests = _list_in(category, "tests")
            name = category.get("category")
            if not isinstance(name, str) or not name:
                raise NotUnderstood("a category of tests in dcgmi's JSON has no name")
            for test in tests:
                found += self._of_test(name, test, iteration)
        return found

    def _of_test(self, category: str, test: Any, iteration: int) -> list[Result]:
        name = test.get("name") if isinstance(test, dict) else None
        if not isinstance(name, str) or not name:
            raise NotUnderstood("a test in dcgmi's JSON has no name")
        summary = test.get("test_summary")
        # Devices that did not run leave null behind in 3.x.
        mine = [_result(name, category, entry, iteration) for entry in _listed(test, "results") if entry is not None]
        overall = None if summary is None else _result(name, category, summary, iteration)
        if not mine and overall is None:
            return [Result(name, category, "", "Not Run", iteration=iteration)]
        if overall and overall.status != "Pass" and not any(r.status == overall.status for r in mine):
            return [*mine, overall]
        if overall and not mine:
            nothing = "the test passed on no device at all: it could not test anything"
            return [Result(name, category, "", "Pass", overall.findings, (*overall.info, nothing), iteration)]
        known = {f for r in mine for f in r.findings}
        stray = tuple(f for f in overall.findings if f not in known) if overall else ()
        if overall and stray:
            return [*mine, Result(name, category, "", overall.status, stray, (), iteration)]
        return mine


def _list_in(table: Any, key: str) -> list[Any]:
    found = table.get(key) if isinstance(table, dict) else None
    if not isinstance(found, list):
        raise NotUnderstood(f"dcgmi's JSON has no list of {key} where one is expected")
    return found


def _result(test: str, category: str, entry: Any, iteration: int) -> Result:
    if not isinstance(entry, dict):
        raise NotUnderstood(f"a result of {test} in dcgmi's JSON is {entry!r}, expected an object")
    word = entry.get("status")
    if not isinstance(word, str) or word not in _STATUSES:
        raise NotUnderstood(f"the status of {test} is {word!r}, expected one of {', '.join(_STATUSES)}")
    group = entry.get("entity_group") or ("GPU" if "gpu_id" in entry else "")
    number = entry.get("entity_id", entry.get("gpu_id"))
    info = entry.get("info")
    return Result(
        test=test,
        category=category,
        device=_device(group, number) if group else "",
        status=_STATUSES[word],
        findings=tuple(_finding(item) for item in _listed(entry, "warnings") if item is not None),
        info=tuple(map(str, info)) if isinstance(info, list) else (str(info),) if info else (),
        iteration=iteration,
    )


def _finding(item: Any) -> Finding:
    if not isinstance(item, dict):
        return Finding(str(item))
    # 3.x puts the text of Deployment tests under the key of the list.
    text = item.get("warning", item.get("warnings", ""))
    numbers = (item.get(key) for key in ("error_id", "error_category", "error_severity"))
    return Finding(str(text), *(number if type(number) is int else None for number in numbers))


def _listed(table: dict[str, Any], key: str) -> list[Any]:
    """What stands under a key that may be absent. Raises NotUnderstood where it is anything but a list."""
    return [] if table.get(key) is None else _list_in(table, key)


def _objects(thing: Any) -> list[dict[str, Any]]:
    """The objects of a list; what is none is of no use where nothing is judged by it."""
    return [item for item in thing if isinstance(item, dict)] if isinstance(thing, list) else []


def _device(group: Any, number: Any) -> str:
    return f"{str(group).lower()}{number}"
