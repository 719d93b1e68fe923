"""What the suite's report of a rented machine is worth: its PASS is a claim; its FAIL is believed, since nobody accuses himself falsely.

What nobody judged verifies no machine: a rate without a limit, floor, peer or baseline leaves it open, and so does a check of the suite that is not in
the report as PASS, whatever the report itself concludes.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from hpcaccept.report.printable import safe
from hpcaccept.serial import loads

if TYPE_CHECKING:
    from hpcaccept.model.suite import Suite

#: Metric of the check ``requirements`` → code.
_REQUIREMENTS = {
    "free_memory_share": "memory-taken",
    "memory_share": "ram-short",
    "cores_per_gpu": "cores-short",
    "disk_free_bytes": "disk-full",
}
_CHECKS = {
    "resnet": "resnet-failed",
    "train": "resnet-failed",
    "memory_pattern": "ecc-failed",
    "allreduce": "nccl-failed",
    "peer_to_peer": "nccl-failed",
    "collectives": "nccl-failed",
}
#: Finding codes of a burn that computed wrongly; whatever else it finds is lost speed, a lost GPU or heat.
_WRONG = ("result-wrong", "replica-differs", "processor-wrong")
#: Checks that a suite makes optional because one GPU cannot do them; of several GPUs they are demanded.
_OF_SEVERAL = ("allreduce", "collectives", "ddp_train", "llm", "peer_to_peer")
_MOST_TEXT = 300


def demanded(suite: Suite, gpus: int) -> tuple[str, ...]:
    """Checks of a suite that a machine with so many GPUs must have passed."""
    return tuple(
        spec.name for spec in suite.checks if spec.required or (gpus > 1 and spec.name.partition(":")[0] in _OF_SEVERAL)
    )


def code_of_report(raw: bytes, expected: Collection[str] = ()) -> tuple[str, str, dict[str, Any]]:
    """A code, what was found, and what the machine says of itself.

    Args:
        raw: ``report.json`` as it came, from somebody who may send anything.
        expected: names of checks that must be PASS in it (``demanded``).
    """
    try:
        plain = loads(raw)
    except ValueError as fault:
        return "tester-form", f"the suite's report is not JSON: {fault}"[:_MOST_TEXT], {}
    if not isinstance(plain, Mapping) or not isinstance(plain.get("verdicts"), list):
        return "tester-form", "the suite's report has no verdicts", {}
    verdicts = [each for each in plain["verdicts"] if isinstance(each, Mapping)]
    failed = [each for each in verdicts if each.get("outcome") == "FAIL"]
    claimed = _claimed(plain)
    if failed:
        return _code_of(failed[0]), _words_of(failed[0], len(failed)), claimed
    conclusion = plain.get("conclusion")
    word = conclusion.get("word") if isinstance(conclusion, Mapping) else conclusion
    passed = any(each.get("outcome") == "PASS" for each in verdicts)
    if plain.get("exit_code") == 0 and passed:
        if lacking := _lacking(plain.get("checks"), expected):
            return "not-judged", f"the report has no PASS of {', '.join(lacking)}"[:_MOST_TEXT], claimed
        return "verified", f"the suite says {safe(str(word))[:40]}", claimed
    open_ = [each for each in verdicts if each.get("outcome") not in ("PASS", "FAIL")]
    # An error says more than what merely has nothing to be judged by.
    open_.sort(key=lambda each: (each.get("required") is False, each.get("outcome") == "NO_BASELINE"))
    if plain.get("exit_code") == 1:
        return "test-failed", "the suite says that it failed, and not where", claimed
    return "not-judged", _words_of(open_[0], len(open_)) if open_ else "the suite was not judged", claimed


def _lacking(rows: Any, expected: Collection[str]) -> list[str]:
    """Checks that should be PASS and are not, with what they are."""
    outcomes = {
        str(row.get("name")): safe(str(row.get("outcome")))[:20]
        for row in (rows if isinstance(rows, list) else ())
        if isinstance(row, Mapping)
    }
    return [f"{name} ({outcomes.get(name, 'missing')})" for name in expected if outcomes.get(name) != "PASS"]


def _code_of(verdict: Mapping[str, Any]) -> str:
    check, metric, code = (str(verdict.get(name) or "") for name in ("check", "metric", "code"))
    if code == "gpu-missing" or (metric == "gpu_models" and verdict.get("value") == 0):
        return "gpus-missing"
    if check == "requirements":
        return "gpus-differ" if metric == "gpu_models" else _REQUIREMENTS.get(metric, "test-failed")
    if check in ("burn", "gpu_burn"):
        return "burn-failed" if code in _WRONG else "stress-failed"
    return _CHECKS.get(check.partition(":")[0], "test-failed")


def _words_of(verdict: Mapping[str, Any], count: int) -> str:
    where = ".".join(str(verdict.get(name)) for name in ("check", "metric") if verdict.get(name))
    device = f" on {verdict['device']}" if verdict.get("device") else ""
    more = f" (and {count - 1} more)" if count > 1 else ""
    return safe(f"{where}{device}: {verdict.get('outcome')}: {verdict.get('reason') or ''}")[:_MOST_TEXT] + more


def _claimed(plain: Mapping[str, Any]) -> dict[str, Any]:
    software = plain.get("software")
    found = {}
    for name, versions in software.items() if isinstance(software, Mapping) else ():
        if isinstance(versions, Mapping) and versions:
            found[safe(str(name))[:30]] = safe(str(next(iter(versions))))[:80]
    return found
