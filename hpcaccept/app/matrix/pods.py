"""Cells as Jobs of Kubernetes: manifests are written and nothing else is done, as with ``hpcaccept k8s``. Somebody submits them; the next client reads what they left.

A Job's pod has the cell's image, its machine's node selector, and the claim that holds the runs' folder, mounted where that is here.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import shlex
import time
from typing import TYPE_CHECKING, Any

from hpcaccept.app.matrix import said
from hpcaccept.app.matrix.order import INSIDE, order_in
from hpcaccept.errors import LaunchError
from hpcaccept.model.job import JobRef, JobStatus
from hpcaccept.store.replaced_files import replace_file

if TYPE_CHECKING:
    from pathlib import Path

    from hpcaccept.model.matrix.matrix import Cell

MANIFEST = "job.json"
#: Seconds that a Job has beyond its cell's limit: to be scheduled and to pull its image.
_PULL_S = 1800.0
#: A pod that has written nothing for its cell's limit and this much more has died.
_SILENCE_S = 120.0


class Pods:
    """See ``Place``."""

    by_hand = True
    provides = frozenset({INSIDE})

    def __init__(self, root: Path) -> None:
        """Args: the runs' folder, which the claim holds."""
        self._root = root

    def no_machine(self, cell: Cell) -> str:
        """Nobody is asked."""
        return ""

    def start(self, cell: Cell, folder: Path, word: str) -> JobRef:
        """Write the manifest."""
        try:
            replace_file(folder / MANIFEST, json.dumps(manifest(cell, folder, self._root, word), indent=1))
        except OSError as fault:
            raise LaunchError(f"Cannot write {folder / MANIFEST}: {fault.strerror}.") from None
        return JobRef("", str(folder))

    def find(self, folder: Path, word: str) -> JobRef | None:
        """Nothing: the cluster is not asked."""
        return None

    def status(self, job: JobRef) -> JobStatus:
        """By what it has written last."""
        from pathlib import Path

        folder = Path(job.id)
        silent_s = time.time() - (folder / said.RESULTS).stat().st_mtime
        late = silent_s > order_in(folder).limit_s + _SILENCE_S
        return JobStatus("lost", f"its pod has written nothing for {silent_s:.0f} s") if late else JobStatus("running")

    def cancel(self, job: JobRef) -> None:
        """Nothing: who has submitted it deletes it."""


def by_hand(folder: Path) -> str:
    """What somebody has to type."""
    return f"kubectl create -f {shlex.quote(str(folder / MANIFEST))}"


def manifest(cell: Cell, folder: Path, root: Path, word: str) -> dict[str, Any]:
    """The Job of an attempt. One pod, started once."""
    machine, order = cell.machine, order_in(folder)
    gpus = {"nvidia.com/gpu": str(machine.gpus)} if machine.gpus else {}
    labels = {"app.kubernetes.io/name": "hpcaccept", "app.kubernetes.io/component": "matrix"}
    container = {
        "name": "cell",
        "image": cell.image.container.removeprefix("docker://"),
        "command": list(order.command),
        "env": [{"name": name, "value": value} for name, value in sorted(order.env.items())],
        "resources": {"limits": gpus, "requests": gpus},
        "volumeMounts": [{"name": "runs", "mountPath": str(root)}],
    }
    pod = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "nodeSelector": dict(machine.node_selector),
        "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}] if gpus else [],
        "containers": [container],
        "volumes": [{"name": "runs", "persistentVolumeClaim": {"claimName": machine.pvc}}],
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": name_of(word),
            "labels": labels,
            **({"namespace": machine.namespace} if machine.namespace else {}),
        },
        "spec": {
            "backoffLimit": 0,
            "completions": 1,
            "parallelism": 1,
            "activeDeadlineSeconds": math.ceil(cell.limit_s + _PULL_S),
            "template": {"metadata": {"labels": labels}, "spec": pod},
        },
    }


def name_of(word: str) -> str:
    """A name that Kubernetes takes, another for each attempt."""
    plain = re.sub(r"[^a-z0-9]+", "-", word.lower()).strip("-")
    return f"{plain[:46].rstrip('-')}-{hashlib.sha256(word.encode()).hexdigest()[:8]}"
