"""The pods of one Job test their nodes together, and each exits with its own node's verdict.

Each pod is one node, and lets the others in by ssh (``transport.sshd``). What they tell each other stands in a folder that they
share, on the claim that keeps the runs:

::

    RUNS/.pods/<uid of the Job>/
      pod-3.json     index 3 is there, on this node, and can be reached
      alive          changes while index 0 is at work
      verdicts.json  the exit code of each index: the last word

Index 0 waits for the others, tests all nodes with the launcher ``hosts``, and tells. Who waits for a word waits as long as
something changes; nobody waits for ever.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpcaccept.app.kubernetes.manifest import KEY_NAME, KEYS, PORT
from hpcaccept.bounded import read_text
from hpcaccept.config.private_variables import names_in, without_secrets
from hpcaccept.config.settings import load_settings
from hpcaccept.errors import LaunchError, RunError, UsageError
from hpcaccept.model.verdict import Outcome
from hpcaccept.serial import loads
from hpcaccept.store.replaced_files import replace_file
from hpcaccept.transport.process import ask
from hpcaccept.transport.sshd import client_config, sshd

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

#: Where the manifest mounts the Secret.
KEY = Path(KEYS) / KEY_NAME
LOOK_S = 1.0
BEAT_S = 5.0
#: Without a beat for so long, index 0 is gone. Shared file systems show a change within a minute.
SILENCE_S = 180.0
#: A name of a pod that has just started may be unknown for a while.
SETTLE_S = 60.0
NOT_JUDGED = 3
_CODES = {Outcome.PASS.value: 0, Outcome.FAIL.value: 1}
#: A termination message is cut from the end of the log: https://kubernetes.io/docs/tasks/debug/debug-application/determine-reason-pod-failure/
_MOST_CHARACTERS = 1800


@dataclass(frozen=True)
class Pod:
    """Who this pod is.

    Attributes:
        index: of its Job.
        nodes: how many pods the Job has.
        job: its name, and that of its Service.
        uid: that no other Job ever has.
        node: that the pod runs on, as Kubernetes calls it.
        runs: folder that all pods share.
    """

    index: int
    nodes: int
    job: str
    uid: str
    node: str
    runs: Path

    @property
    def shared(self) -> Path:
        """Where the pods of the Job tell each other something."""
        return self.runs / ".pods" / self.uid

    def host(self, index: int) -> str:
        """Under which name a pod of the Job is found."""
        return f"{self.job}-{index}.{self.job}"


def pod_of(environ: Mapping[str, str], job: str, nodes: int, runs: Path) -> Pod:
    """Who this is, by what the manifest has put into the environment.

    Raises:
        UsageError: this is not a pod of such a Job.
    """
    index, uid, node = (environ.get(name, "") for name in ("JOB_COMPLETION_INDEX", "JOB_UID", "NODE_NAME"))
    if not (index.isdecimal() and int(index) < nodes and uid and node and job):
        raise UsageError(
            f"This is not a pod of a Job of {nodes} nodes: JOB_COMPLETION_INDEX is {index!r}, JOB_UID {uid!r}, NODE_NAME {node!r}.",
            "Start it with a manifest of 'hpcaccept k8s render'.",
        )
    return Pod(int(index), nodes, job, uid, node, runs)


@contextlib.contextmanager
def open_door(pod: Pod, place: Path, key: Path) -> Iterator[None]:
    """Let the others in, and tell them, while open.

    Args:
        pod: this one.
        place: folder of this pod alone.
        key: of all pods of the Job.

    Raises:
        LaunchError: there is no sshd, or no key.
        RunError: the shared folder takes no writing.
    """
    keep = names_in(load_settings({}).settings.keep_variables)
    with sshd(place, key, PORT, without_secrets(os.environ, keep)):
        announce(pod)
        yield


def door_to(pod: Pod, place: Path, names: Mapping[int, str]) -> dict[str, str]:
    """Variables with which the launcher ``hosts`` reaches the nodes by these names, once they can be reached.

    Raises:
        LaunchError: see ``client_config``.
    """
    config = client_config(place, PORT, {name: pod.host(index) for index, name in names.items()})
    ssh = f"ssh -F {config}"
    settle(names, pod, ssh)
    return {"OMPI_MCA_plm_rsh_agent": ssh}


def announce(pod: Pod) -> None:
    """Say that this pod is there and can be reached.

    Raises:
        RunError: the shared folder takes no writing.
    """
    try:
        pod.shared.mkdir(parents=True, exist_ok=True)
        replace_file(pod.shared / f"pod-{pod.index}.json", json.dumps({"node": pod.node}))
    except OSError as fault:
        raise RunError(
            f"Cannot write under {pod.shared}: {fault.strerror}.", "Is the claim writable by all pods (ReadWriteMany)?"
        ) from fault


@contextlib.contextmanager
def alive(pod: Pod) -> Iterator[None]:
    """Index 0 is at work, while open."""
    over = threading.Event()

    def beat() -> None:
        number = 0
        while not over.wait(BEAT_S if number else 0.0):
            number += 1
            with contextlib.suppress(OSError):
                (pod.shared / "alive").write_text(f"{time.time_ns()} {number}")

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def gather(pod: Pod, timeout_s: float) -> dict[int, str]:
    """Index → name of its node, once all are there or the time is over: who is not there is called by its host's name.

    Raises:
        RunError: two pods are on one node: neither would be measured as it is.
    """
    until = time.monotonic() + timeout_s
    while True:
        there = {index: node for index in range(pod.nodes) if (node := _announced(pod, index))}
        if len(there) == pod.nodes or time.monotonic() > until:
            break
        time.sleep(LOOK_S)
    twice = sorted({node for node in there.values() if list(there.values()).count(node) > 1})
    if twice:
        raise RunError(
            f"Two pods are on {', '.join(twice)}: each has half of it.", "Keep the anti-affinity of the manifest."
        )
    return {index: there.get(index, pod.host(index)) for index in range(pod.nodes)}


def _announced(pod: Pod, index: int) -> str:
    try:
        said = loads(read_text(pod.shared / f"pod-{index}.json"))
        node = str(said["node"])
        # It becomes a word of ssh's configuration.
        return node if re.fullmatch(r"[a-z0-9][-a-z0-9.]{0,252}", node) else ""
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def settle(names: Mapping[int, str], pod: Pod, ssh: str) -> None:
    """Until every pod that is there can be reached by name, but not for long: who cannot be is told by the launcher."""
    until = time.monotonic() + SETTLE_S
    missing = [name for index, name in names.items() if name != pod.host(index)]

    def refuses(name: str) -> bool:
        try:
            return not ask([*ssh.split(), "-o", "BatchMode=yes", "-o", "ConnectTimeout=5", "--", name, "true"]).ok
        except LaunchError:
            return True

    with ThreadPoolExecutor(32) as pool:
        while missing and time.monotonic() < until:
            missing = [name for name, late in zip(missing, pool.map(refuses, missing), strict=True) if late]
            if missing:
                time.sleep(LOOK_S)


def tell(pod: Pod, names: Mapping[int, str], report: Mapping[str, Any], why: str) -> None:
    """The last word of index 0: every other index learns the verdict of its node.

    Args:
        pod: index 0.
        names: of the nodes, by index.
        report: of the run (``report.json``); empty when there is none.
        why: it has none.
    """
    codes = {index: code_of(report, name) for index, name in names.items()}
    outcomes = report.get("nodes", {})
    words = {index: rank_logs_of(report, name) or outcomes.get(name, why) for index, name in names.items()}
    replace_file(
        pod.shared / "verdicts.json", json.dumps({"run": report.get("run", ""), "codes": codes, "words": words})
    )


def code_of(report: Mapping[str, Any], node: str) -> int:
    """The exit code of one node: what was not judged is never 0."""
    return _CODES.get(report.get("nodes", {}).get(node, ""), NOT_JUDGED)


def rank_logs_of(report: Mapping[str, Any], node: str = "") -> str:
    """What is the matter with a node (or with any), the worst first, in as many characters as a termination message has."""
    told = sorted(report.get("verdicts", ()), key=lambda v: bool(v["outcome"] != "FAIL"))
    bad = [
        f"{v['outcome']} {v['node'] or 'all nodes'} {v['device']} {v['check']}: {v['reason']}"
        for v in told
        if v["outcome"] in ("FAIL", "ERROR") and node in ("", v["node"])
    ]
    return "\n".join(bad)[:_MOST_CHARACTERS]


def await_verdict(pod: Pod, timeout_s: float) -> tuple[int, str]:
    """Exit code and words for this pod, once index 0 has spoken; ERROR when it never comes, or says nothing for long.

    Args:
        pod: any index but 0.
        timeout_s: for index 0 to come.
    """
    beat, changed = "", time.monotonic()
    while True:
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            told = loads(read_text(pod.shared / "verdicts.json"))
            return int(told["codes"][str(pod.index)]), f"run {told['run']}: {told['words'][str(pod.index)]}"
        with contextlib.suppress(OSError):
            now = read_text(pod.shared / "alive", most=4096)
            if now != beat:
                beat, changed = now, time.monotonic()
        limit_s = SILENCE_S if beat else timeout_s
        if time.monotonic() - changed > limit_s:
            what = "says nothing any more" if beat else "never came"
            return (
                NOT_JUDGED,
                f"index 0 ({pod.host(0)}) {what}: this node was not judged. See 'kubectl describe pod' and its log.",
            )
        time.sleep(LOOK_S)
