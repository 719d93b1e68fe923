"""What the schemas of Kubernetes do not say: enumerations, quantities, and what must fit together. Read from its API reference."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Key → what may stand there, wherever it stands in our objects.
ENUMS: dict[str, set[str]] = {
    "restartPolicy": {"Never", "OnFailure"},
    "completionMode": {"Indexed", "NonIndexed"},
    "action": {"FailJob", "FailIndex", "Ignore", "Count"},
    "effect": {"NoSchedule", "PreferNoSchedule", "NoExecute"},
    "medium": {"", "Memory"},
    "clusterIP": {"None"},
    "terminationMessagePolicy": {"File", "FallbackToLogsOnError"},
    "fsGroupChangePolicy": {"OnRootMismatch", "Always"},
}
OPERATORS = {"onExitCodes": {"In", "NotIn"}, "tolerations": {"Exists", "Equal"}}
CAPABILITIES = {"ALL", "IPC_LOCK"}
CONDITIONS = {"DisruptionTarget"}
QUANTITY = re.compile(r"[0-9]+(\.[0-9]+)?(m|k|M|G|T|P|E|[KMGTPE]i)?")
KINDS = {("v1", "Service"), ("v1", "ConfigMap"), ("batch/v1", "Job")}


def faults(documents: list[dict[str, Any]]) -> list[str]:
    """Everything that is wrong, one sentence each."""
    found = []
    for document in documents:
        if (document.get("apiVersion"), document.get("kind")) not in KINDS:
            found.append(f"unknown kind {document.get('apiVersion')} {document.get('kind')}")
        found += _enums(document)
    jobs = [d for d in documents if d.get("kind") == "Job"]
    if len(jobs) != 1:
        return [*found, f"{len(jobs)} Jobs"]
    return [*found, *_job(jobs[0], documents)]


def _enums(thing: Any, under: str = "") -> Iterator[str]:
    if isinstance(thing, dict):
        for key, value in thing.items():
            if key in ENUMS and value not in ENUMS[key]:
                yield f"{key} is {value!r}"
            if key == "operator" and value not in OPERATORS[under]:
                yield f"operator of {under} is {value!r}"
            if key in ("limits", "requests"):
                yield from (f"{key}: {name} is {q!r}" for name, q in value.items() if not QUANTITY.fullmatch(str(q)))
                yield from (
                    f"{key}: {name} is no whole number"
                    for name, q in value.items()
                    if "/" in name and type(q) is not int
                )
            if key == "sizeLimit" and not QUANTITY.fullmatch(str(value)):
                yield f"sizeLimit is {value!r}"
            if key in ("add", "drop") and set(value) - CAPABILITIES:
                yield f"{key}: {value}"
            if key == "onPodConditions":
                yield from (f"condition {c}" for c in value if c["type"] not in CONDITIONS or c["status"] != "True")
            yield from _enums(value, key)
    elif isinstance(thing, list):
        for each in thing:
            yield from _enums(each, under)


def _job(job: dict[str, Any], documents: list[dict[str, Any]]) -> Iterator[str]:
    spec, pod = job["spec"], job["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    labels = job["spec"]["template"]["metadata"]["labels"]
    if pod.get("restartPolicy") != "Never":
        yield "a podFailurePolicy needs restartPolicy Never"
    if not spec.get("activeDeadlineSeconds", 0) > 0:
        yield "nothing ends the Job"
    mounted, there = {m["name"] for m in container["volumeMounts"]}, {v["name"] for v in pod["volumes"]}
    if mounted != there:
        yield f"volumes {sorted(there)}, mounted are {sorted(mounted)}"
    for name in set(container.get("resources", {}).get("requests", {})):
        if "/" in name:
            yield f"{name} belongs under limits only"
    for rule in spec.get("podFailurePolicy", {}).get("rules", ()):
        if rule["action"] == "FailIndex" and "backoffLimitPerIndex" not in spec:
            yield "FailIndex needs backoffLimitPerIndex"
        codes = rule.get("onExitCodes", {})
        if codes and (codes["containerName"] != container["name"] or 0 in codes["values"]):
            yield f"exit codes {codes}"
    if "backoffLimitPerIndex" in spec:
        if spec.get("completionMode") != "Indexed":
            yield "backoffLimitPerIndex needs completionMode Indexed"
        if spec.get("maxFailedIndexes", 0) < spec["completions"]:
            yield "one bad node would end the others"
        if spec["completions"] != spec["parallelism"]:
            yield "ranks of all nodes must run at once"
    elif spec.get("backoffLimit") != 0:
        yield "a failed test would be repeated until it passes"
    if spec.get("completions", 1) > 1:
        services = [d for d in documents if d["kind"] == "Service"]
        if [s["metadata"]["name"] for s in services] != [pod.get("subdomain")]:
            yield "subdomain and Service have different names"
        if any(s["spec"]["selector"].items() - labels.items() for s in services):
            yield "the Service selects other pods"
    if job["metadata"].get("namespace") != documents[0]["metadata"].get("namespace"):
        yield "different namespaces"
