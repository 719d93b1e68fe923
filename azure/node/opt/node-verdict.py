#!/usr/bin/env python3
"""What does a log of a node's health tools prove? Prints passed, failed or unknown; the reason goes to standard error.

    node-verdict.py aznhc|dcgmi|healthagent LOG EXIT_STATUS

passed needs a whole run that says so; what is not understood is unknown. Says of each log what hpcaccept says of it (its parsers aznhc, dcgm
and healthagent; a test holds them together). Runs with the Python of the image, 3.6 and newer, and needs nothing else.
"""

import datetime as dt
import json
import pathlib
import re
import sys

#: Longest log in bytes: a run with everything that it can print has about a tenth of it.
LONGEST = 8 * 1024 * 1024


class NotUnderstood(ValueError):
    """What is read is no such output."""


def plain(content):
    """The text of a log. Bytes that are no text come from a torn disk or another encoding."""
    if len(content) > LONGEST:
        raise NotUnderstood(f"the log is longer than {LONGEST} bytes")
    if b"\0" in content:
        raise NotUnderstood("the log holds NUL bytes, the first at byte {}".format(content.index(b"\0")))
    text = content.decode("utf-8")
    if "\ufffd" in text:
        raise NotUnderstood("the log holds characters that somebody could not decode")
    return text


# --- AzNHC ------------------------------------------------------------------------------------------------------------

_BLOCK = re.compile(r"^\s*------ VM Meta Data ------\s*$", re.M)
_STAMP = re.compile(r"^\[\d+\] - ")
_SKU = re.compile(r"^\s*VM SKU:[ \t]*(.*)$")
_UNSUPPORTED = re.compile(r"The vm SKU '(?:standard_)?([^']*)' is currently not supported")
_RUNNING = re.compile(r'^Running check:\s+"(.*)"\s*$')
_ERROR = re.compile(r"^ERROR:\s+\w+:\s+Health check failed:\s+(?:-e )?(?:\\t\s*)?(.*)$")
_COUNT = re.compile(r"^ERROR:\s+\w+:\s+(\d{1,9}) health checks? failed")
_OTHER_ERROR = re.compile(r"^ERROR:\s+\w+:\s+(.*)$")
_WARNING = re.compile(r"^WARNING:\s+\w+:\s+(?:Nearing a failure threshold:\s+)?(.*)$")
_MARK = re.compile(r"^(?:ERROR|SUCCESS|WARNING|DEBUG|Running check|Node Health|Health checks completed|nhc\b)")
_CODE = re.compile(r"\b[Ff]aul\w?e?[Cc]ode:\s*(NHC\w+)")
_END = re.compile(r"^Health checks completed with exit code: (-?\d{1,9})\.")
_ENDED = re.compile(r"timed out|[Ww]atchdog|Terminated by signal")
_SKIPPED = re.compile(
    r"(Skipping GPU Xid error test|IB Link flapping test skipped|throttle check test failed to run|NVLINK is not enabled)"
)
_OF_BASH = re.compile(r"^/\S+: line \d+: (.*)$")
_NO_TOOL = re.compile(r"^/\S*/scripts/\S+\.nhc: line \d+: (\S+: command not found)$")
_OLD_XID = re.compile(r"^Xid older than \d+ hours")
_SEEN_BEFORE = re.compile(r"This XID has been reported before:")
_THROTTLED = re.compile(r"GPU (\d+) throttled, reason=(0x[0-9a-fA-F]+)")
_FIGURE = re.compile(r"^DEBUG:\s+(\w+):\s+(?:\d+\.?\d*|\.\d+)\s+(GB/s|Gbps|MB/s)\s*$")
_RATES = ("GB/s", "MB/s", "Gbps")
#: Slow-down by the hardware, by its heat, by the power brake.
HARD_THROTTLE = 0x8 | 0x40 | 0x80
#: Figures that a check prints which measures; without one it has not.
MEASURES = {
    "check_gpu_bw": ("H2D_", "D2H_", "P2P_"),
    "check_nccl_allreduce": ("nccl_all_red",),
    "check_nccl_allreduce_ib_loopback": ("nccl_all_red_lb",),
    "check_ib_bw_gdr": ("ib_write_lb_",),
    "check_ib_bw_non_gdr": ("ib_write_lb_",),
}
#: Size, error: limits that the size can never meet. https://github.com/Azure/azurehpc-health-checks/issues/162
WRONG_LIMITS = (
    (r"nc\d+ad\w+_h100_v5", r"check_gpu_bw: P2P .* is less than 335\b"),
    (r"nc\d+ad\w+_h100_v5", r"check_nvlink_status: .*nvlinks inactive"),
)


class _Check:
    def __init__(self, name):
        self.name, self.faults, self.skipped, self.warned = name, [], "", False


class _Aznhc:
    """The last run of a log, line by line; an error stays open, because it may go on in the next line."""

    def __init__(self):
        self.checks, self.figures, self.troubles, self.open = [], [], [], []
        self.size, self.exit_code, self.failed, self.after = "", None, None, ""
        self.verbose = self.debug = False

    def add(self, line):
        if line and self.exit_code is not None:
            self.after = line
        begin = line.find("] - ") + 4 if line.startswith("[") else 0
        if line.startswith("DEBUG:", begin) and not line.endswith(_RATES):
            self.debug = True
            self.close()
            return
        stamp = _STAMP.match(line)
        text = line[stamp.end() :] if stamp else line
        if text.startswith("/") and _OF_BASH.match(text):
            lacks = _NO_TOOL.match(text)
            if lacks and self.checks:
                self.checks[-1].skipped = lacks.group(1)
        elif self.open and text and not stamp and not _MARK.match(text):
            self.open.append(text)
        elif text:
            self.close()
            self.line(text)

    def line(self, text):
        figure, running, error, count, other, end, sku = (
            pattern.match(text) for pattern in (_FIGURE, _RUNNING, _ERROR, _COUNT, _OTHER_ERROR, _END, _SKU)
        )
        if figure:
            self.debug = True
            self.figures.append(figure.group(1))
        elif text.startswith("Node Health Check starting."):
            self.verbose = True
        elif running:
            self.verbose = True
            self.checks.append(_Check(running.group(1)))
        elif error:
            self.open = [error.group(1)]
        elif count:
            self.failed = int(count.group(1))
        elif other:
            self.troubles.append(other.group(1))
        elif end:
            self.exit_code = int(end.group(1))
        elif sku and not self.checks:
            self.size = sku.group(1).strip().lower().replace("standard_", "")
        else:
            self.remark(text)

    def remark(self, text):
        """What AzNHC logs and does not fail."""
        throttled, warning = _THROTTLED.search(text), _WARNING.match(text)
        if _SKIPPED.search(text):
            self.current(text).skipped = text
        elif _SEEN_BEFORE.search(text):
            self.current("check_gpu_xid").faults.append((text, "NHC2001", False))
        elif throttled:
            check = self.current("check_gpu_clock_throttling")
            if int(throttled.group(2), 16) & HARD_THROTTLE:
                check.faults.append((text, "", False))
            else:
                check.warned = True
        elif _OLD_XID.match(text):
            self.current("check_gpu_xid").warned = True
        elif warning:
            self.current(warning.group(1)).warned = True

    def close(self):
        """An error is whole."""
        if self.open:
            text = " ".join(" ".join(self.open).split())
            code = _CODE.search(text)
            if _ENDED.search(text):
                self.current(text).skipped = text
                self.troubles.append(text)
            else:
                self.current(text).faults.append((text, code.group(1) if code else "", True))
            self.open = []

    def current(self, text):
        """The check that runs; without -v a new one, by the name that the line begins with."""
        if not self.verbose or not self.checks:
            self.checks.append(_Check(text.partition(":")[0].strip() or "unnamed"))
        return self.checks[-1]

    def blame(self, fault):
        """Whom a fault speaks of: the node, the set-up of a check, a limit that this size can never meet."""
        text, code, _ = fault
        if code == "NHCNA":
            return "setup"
        return "limit" if any(re.search(s, self.size) and re.search(t, text) for s, t in WRONG_LIMITS) else "node"

    def unproven(self):
        """Why checks that did not fail have not looked either."""
        for check in self.checks:
            begins = MEASURES.get(check.name.partition(" ")[0])
            measured = any(figure.startswith(begins) for figure in self.figures) if begins else True
            if check.skipped:
                yield check.name + ": " + check.skipped
            elif check.faults:
                yield check.name + ": a limit that this size can never meet"
            elif self.debug and not measured and not check.warned:
                yield check.name + ": its tool printed no figure"

    def contradictions(self):
        """Why its silence, its count or its end cannot be trusted."""
        errors = sum(counted for check in self.checks for _, _, counted in check.faults)
        if self.exit_code is None:
            yield "the run did not end"
        elif not 0 <= self.exit_code < 128:
            yield f"the run was ended by a signal or its watchdog ({self.exit_code})"
        elif self.exit_code and not errors:
            yield f"exit status {self.exit_code}, and no check says why"
        if self.after:
            yield "the log goes on after its end: " + self.after
        if not self.verbose:
            yield "it was run without -v: nothing says that a check ran"
        elif not self.checks:
            yield "its configuration has no check for this host"
        if self.failed is not None and self.failed > errors:
            yield f"it counts {self.failed} failed checks, its lines tell of {errors}"


def aznhc(text, status):
    """AzNHC: the last run in its log."""
    starts = [match.end() for match in _BLOCK.finditer(text)]
    last = text[starts[-1] :] if starts else text
    if _UNSUPPORTED.search(last):
        return "unknown", "AzNHC does not support this size"
    if not starts:
        raise NotUnderstood("there is no run of AzNHC in the log")
    run = _Aznhc()
    for line in last.splitlines():
        run.add(line.rstrip())
    run.close()
    faults = [fault for check in run.checks for fault in check.faults]
    blamed = [fault[0] for fault in faults if run.blame(fault) == "node"]
    if blamed:
        return "failed", blamed[0]
    troubles = run.troubles + [fault[0] for fault in faults if run.blame(fault) == "setup"]
    troubles += list(run.contradictions()) + list(run.unproven())
    if run.exit_code is not None and status != run.exit_code:
        troubles.append(f"the script ended with {status}, the checks with {run.exit_code}")
    return ("unknown", troubles[0]) if troubles else ("passed", f"{len(run.checks)} checks")


# --- dcgmi ------------------------------------------------------------------------------------------------------------

_STATUSES = ("Pass", "Skip", "Warn", "Fail", "Not Run")
_TOP = ("DCGM Diagnostic", "DCGM GPU Diagnostic")
_EXIT = re.compile(r"\nexit status: (\d{1,3})\n\Z")
_INABILITY = re.compile(
    r"(could ?n[o']t|cannot|unable to|failed to)\s+(be\s+)?(allocat|run|test|execut|start|launch)", re.I
)
_BEGINS = re.compile(r'\{\s*"')
#: Numbers of dcgm_errors.h; what they are stands in hpcaccept/parse/dcgm.py.
COULD_NOT_TEST = {21, 22, 24, 26, 27, 32, 37, 44, 47, 48, 49, 53, 56, 60, 67, 68, 73, 78, 82}
COULD_NOT_TEST |= {89, 90, 91, 92, 93, 94, 96, 97, 117, 124, 130}
WRONG_SETUP = {18, 20, 23, 25, 28, 29, 55, 72, 108, 112, 122}
HARDWARE_ALL_THE_SAME = {46}
CONFIG, GRAVE = 5, {2, 6}
SETUP_CATEGORIES, TOOL_CATEGORIES = {3, 4}, {6, 7, 8, 16}
HOST_TESTS = {"Denylist", "NVML Library", "CUDA Main Library", "CUDA Toolkit Library", "Permissions and OS Blocks"}
HOST_TESTS |= {"Persistence Mode", "Environment Variables", "Graphics Processes"}
#: The PCI devices of this machine.
PCI = "/sys/bus/pci/devices"


class _Result:
    """What one test says of one device, or of none in particular."""

    def __init__(self, test, category, entry):
        if not isinstance(entry, dict):
            raise NotUnderstood(f"a result of {test} is no object")
        self.status = entry.get("status")
        if not isinstance(self.status, str) or self.status not in _STATUSES:
            raise NotUnderstood(f"the status of {test} is {self.status!r}")
        group = entry.get("entity_group") or ("GPU" if "gpu_id" in entry else "")
        number = entry.get("entity_id", entry.get("gpu_id"))
        info = entry.get("info")
        self.test, self.is_deployment = test, category == "Deployment"
        self.is_software = self.is_deployment or test == "software" or test in HOST_TESTS
        self.device = f"{group}{number}".lower() if group else ""
        self.findings = [_finding(item) for item in _listed(entry, "warnings") if item is not None]
        self.info = [str(each) for each in info] if isinstance(info, list) else [str(info)] if info else []

    @property
    def is_of_gpu(self):
        return bool(re.match(r"gpu\d+$", self.device))

    @property
    def said(self):
        return " ".join([self.test, self.device, self.status] + [f[0] for f in self.findings] + self.info)

    def meaning(self):
        if self.status in ("Skip", "Not Run"):
            return "skipped"
        if self.status == "Warn":
            return "warned"
        blames = [self.blame(*finding) for finding in self.findings]
        if self.status == "Pass":
            contradicted = any(finding[3] in GRAVE for finding in self.findings) or "untested" in blames
            return "untested" if contradicted or any(_INABILITY.search(text) for text in self.info) else "passed"
        return next((kind for kind in ("failed", "untested", "setup") if kind in blames), "failed")

    def blame(self, text, number, category, severity):
        if number in COULD_NOT_TEST:
            return "untested"
        if number in WRONG_SETUP or (severity == CONFIG and number not in HARDWARE_ALL_THE_SAME):
            return "setup"
        if severity not in GRAVE:
            if category in SETUP_CATEGORIES:
                return "setup"
            if category in TOOL_CATEGORIES or (number is None and _INABILITY.search(text)):
                return "untested"
            if number is None and self.test in HOST_TESTS:
                return "setup"
        return "failed"


def _finding(item):
    if not isinstance(item, dict):
        return str(item), None, None, None
    numbers = [item.get(key) for key in ("error_id", "error_category", "error_severity")]
    text = str(item.get("warning", item.get("warnings", "")))
    return tuple([text] + [number if type(number) is int else None for number in numbers])


def _list_in(table, key):
    found = table.get(key) if isinstance(table, dict) else None
    if not isinstance(found, list):
        raise NotUnderstood(f"there is no list of {key}")
    return found


def _listed(table, key):
    return [] if table.get(key) is None else _list_in(table, key)


def _document(text):
    """The one diagnostic in it. What lies inside of a torn one is never all of it."""
    at, found = 0, []
    begin = _BEGINS.search(text)
    while begin:
        table, at = json.JSONDecoder().raw_decode(text, begin.start())
        if any(key in table for key in [*_TOP, "iterations"]):
            found.append(table)
        begin = _BEGINS.search(text, at)
    if len(found) != 1:
        raise NotUnderstood(f"{len(found)} diagnostics in the log, expected one")
    return found[0]


def _of_test(category, test):
    name = test.get("name") if isinstance(test, dict) else None
    if not isinstance(name, str) or not name:
        raise NotUnderstood("a test has no name")
    summary = test.get("test_summary")
    mine = [_Result(name, category, entry) for entry in _listed(test, "results") if entry is not None]
    overall = None if summary is None else _Result(name, category, summary)
    if overall is None:
        return mine or [_Result(name, category, {"status": "Not Run"})]
    if overall.status != "Pass" and overall.status not in [result.status for result in mine]:
        return [*mine, overall]
    if not mine:
        overall.info.append("the test could not test anything: it passed on no device")
        return [overall]
    known = [finding for result in mine for finding in result.findings]
    overall.findings = [finding for finding in overall.findings if finding not in known]
    overall.info = []
    return [*mine, overall] if overall.findings else mine


def _round(document):
    """Results of one round, its error, and how many GPUs it names."""
    top = next((key for key in _TOP if isinstance(document, dict) and isinstance(document.get(key), dict)), None)
    if top is None:
        raise NotUnderstood("there is no diagnostic in the JSON")
    error = " ".join(str(document[top].get("runtime_error", "")).split())
    if document[top].get("test_categories") is None and error:
        return [], error
    results = []
    for category in _list_in(document[top], "test_categories"):
        tests = _list_in(category, "tests")
        if not isinstance(category.get("category"), str) or not category["category"]:
            raise NotUnderstood("a category of tests has no name")
        for test in tests:
            results += _of_test(category["category"], test)
    return results, error


def gpus_here():
    """How many GPUs of NVIDIA the PCI bus has: display and 3D controllers."""
    count = 0
    for device in pathlib.Path(PCI).glob("*"):
        try:
            vendor, kind = ((device / name).read_text().strip() for name in ("vendor", "class"))
        except OSError:
            continue
        count += vendor == "0x10de" and kind[:6] in ("0x0300", "0x0302")
    return count


def _uncovered(results, asked):
    """Tests that speak of fewer GPUs than there are, and GPUs whose hardware nothing has tested."""
    seen = {}
    for result in results:
        if (not result.is_deployment or result.test == "software") and (
            result.is_of_gpu or (not result.device and result.status == "Pass")
        ):
            seen.setdefault(result.test, set()).update([result.device] if result.is_of_gpu else [])
    for test, gpus in seen.items():
        if len(gpus) < asked:
            yield f"{test} speaks of {len(gpus)} GPUs of {asked}"
    ran = [r for r in results if not r.is_software and r.meaning() in ("passed", "failed")]
    tested = {r.device for r in ran if r.is_of_gpu}
    if ran and len(tested) < asked:
        yield f"the hardware of {len(tested)} GPUs of {asked} was tested"


def dcgmi(text, status):
    """Dcgmi diag -j, of DCGM 3 and 4."""
    ended = _EXIT.search(text)
    if not ended:
        raise NotUnderstood("the run of dcgmi did not end: its log has no exit status")
    if int(ended.group(1)) != status:
        raise NotUnderstood(f"dcgmi ended with {status}, its log says {ended.group(1)}")
    said = text[: ended.start()]
    if "dcgmi is not installed" in said or (status and '"DCGM' not in said):
        return "unknown", f"dcgmi tested nothing (status {status}): {said.strip()[-200:]}"
    document = _document(said)
    troubles, failed, passed = [], [], []
    rounds = document.get("iterations", [document])
    if not isinstance(rounds, list) or not rounds:
        raise NotUnderstood("there are no iterations in the JSON")
    parts = [_round(each) for each in rounds]
    # Where a GPU is missing in all of it, the bus still knows it.
    asked = max(gpus_here(), len({r.device for results, _ in parts for r in results if r.is_of_gpu}), 1)
    for results, error in parts:
        troubles += [error] if error else []
        said_by = {}
        for result in results:
            said_by.setdefault(result.meaning(), []).append(result)
        failed += said_by.get("failed", [])
        troubles += [r.said for word in ("untested", "setup", "warned") for r in said_by.get(word, [])]
        troubles += _uncovered(results, asked)
        # What level 1 looks at is software and counters: it is no test of the hardware.
        passed += [r for r in said_by.get("passed", []) if not r.is_software]
    if failed:
        return "failed", failed[0].said
    if status and not troubles:
        troubles = [f"dcgmi ended with {status}, and no test says why"]
    if troubles or not passed:
        return "unknown", troubles[0] if troubles else "no test of the hardware ran"
    return "passed", f"{len(passed)} results"


# --- healthagent ------------------------------------------------------------------------------------------------------

MODULES = {"gpu", "systemd", "kmsg", "network", "proc"}
AGENT_STATUSES = ("NA", "OK", "Warning", "Error")
PERIODIC = {"GpuCountCheck", "GpuHealthCheck", "NetworkInterfaceCheck", "ProcessStateCheck"}
OF_GPUS = ("GpuCountCheck", "GpuHealthCheck")
OLDEST_S = 600.0


def _object(value, name):
    if not isinstance(value, dict):
        raise NotUnderstood(f"{name} is no object")
    return value


def _agent_checks(document):
    """Module, name, status and time of each check."""
    if not _object(document, "the JSON"):
        raise NotUnderstood("there are no modules in the JSON")
    strange = sorted(set(document) - MODULES)
    if strange:
        raise NotUnderstood(f"the module {strange[0]!r} is unknown")
    for module, reports in document.items():
        for name, entry in _object(reports, module).items():
            status, when = _object(entry, name).get("status"), entry.get("last_update")
            if status not in AGENT_STATUSES:
                raise NotUnderstood(f"the status of {name} is {status!r}")
            updated = dt.datetime.strptime(when, "%Y-%m-%dT%H:%M:%S UTC").replace(tzinfo=dt.timezone.utc)
            yield module, name, status, updated


def healthagent(text, status):
    """Health -s."""
    checks = list(_agent_checks(json.loads(text)))
    failed = [name for module, name, word, _ in checks if word == "Error" and module != "systemd"]
    if failed:
        return "failed", ", ".join(failed)
    troubles = [name + " is not OK" for _, name, word, _ in checks if word != "OK"]
    there = [name for module, name, _, _ in checks if module == "gpu"]
    troubles += [name + " has not reported" for name in OF_GPUS if name not in there]
    now = dt.datetime.now(dt.timezone.utc)
    for _, name, _, updated in checks:
        if name in PERIODIC and abs((now - updated).total_seconds()) > OLDEST_S:
            troubles.append(f"{name} last reported at {updated:%H:%M} UTC")
    if status:
        troubles.append(f"health ended with {status}")
    return ("unknown", troubles[0]) if troubles else ("passed", f"{len(checks)} checks")


def main(kind, path, status):
    """The word, and why."""
    try:
        with pathlib.Path(path).open("rb") as stream:
            text = plain(stream.read(LONGEST + 1))
        word, why = {"aznhc": aznhc, "dcgmi": dcgmi, "healthagent": healthagent}[kind](text, int(status))
    # What cannot be read proves nothing, whatever the reason.
    except Exception as fault:  # noqa: BLE001
        word, why = "unknown", f"{type(fault).__name__}: {fault}"
    # A log is not ours: what it says to a terminal stays in the log.
    sys.stderr.write(f"{kind}: {ascii(why)[1:-1][:300]}\n")
    sys.stdout.write(word + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
