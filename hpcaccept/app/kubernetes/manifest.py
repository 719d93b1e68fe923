"""Manifests for Kubernetes with which a test runs on whole nodes and its verdict is the exit code of a pod.

One node is a Job. Several are an Indexed Job (https://kubernetes.io/docs/concepts/workloads/controllers/job/) with a headless
Service: each index is one node, and fails or succeeds as its node does. Everything is a pure function of what was asked.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from hpcaccept import __version__, launch
from hpcaccept.errors import UsageError, install_hint

#: Where things are inside the pods.
RUNS = "/runs"
KEYS = "/etc/hpcaccept/ssh"
#: The key of a Secret of type kubernetes.io/ssh-auth.
KEY_NAME = "ssh-privatekey"
SUITES = "/etc/hpcaccept/suite"
PORT = 2222
CONTAINER = "hpcaccept"
#: Minor versions of Kubernetes 1 that are known here: the schemas of all of them have been tried.
VERSIONS = range(25, 38)
#: Since when, by default, an index may fail without ending the others, and rules tell disruptions from failures.
_PER_INDEX = 29
_EXIT_CODES = [1, 2, 3]
_LABEL = r"[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
_DOMAIN = r"[a-z0-9](?:[-a-z0-9.]{0,251}[a-z0-9])?"
_EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")


@dataclass(frozen=True)
class Asked:
    """What the manifests are to say.

    Attributes:
        name: of the Job, and of what belongs to it.
        nodes: how many; each is one pod.
        image: with hpcaccept and its ``[rank]`` extra.
        submit: options of ``hpcaccept submit`` that say what is tested, for every pod alike.
        estimate_s: how long the run may take once all its pods are there.
        pods_timeout_s: how long they may take until then: scheduling and pulling.
        pvc: claim that keeps the runs; empty: one pod's run goes to its log.
        suite_file: name and text of a suite that is none of the built-in ones.
        secret: with the ssh key of the pods of several nodes.
        kube: minor version of Kubernetes 1.
    """

    name: str
    nodes: int
    image: str
    submit: tuple[str, ...]
    estimate_s: float
    pods_timeout_s: float
    gpus_per_node: int = 0
    pvc: str = ""
    suite_file: tuple[str, str] | None = None
    secret: str = "hpcaccept-ssh"
    namespace: str = ""
    service_account: str = ""
    image_pull_secrets: tuple[str, ...] = ()
    gpu_resource: str = "nvidia.com/gpu"
    rdma_resource: str = ""
    cpu: str = ""
    memory: str = ""
    shm: str = "8Gi"
    node_selector: dict[str, str] = field(default_factory=dict)
    tolerations: tuple[dict[str, str], ...] = ()
    user: int = 10001
    keep_s: int = 86400
    kube: int = 34


def documents(asked: Asked) -> list[dict[str, Any]]:
    """The objects, in the order in which they are applied.

    Raises:
        UsageError: a name, a quantity or a combination that Kubernetes or hpcaccept cannot take.
    """
    _check(asked)
    found = []
    if asked.suite_file:
        file, text = asked.suite_file
        found.append({"apiVersion": "v1", "kind": "ConfigMap", "metadata": _meta(asked), "data": {file: text}})
    if asked.nodes > 1:
        ports = [{"name": "ssh", "port": PORT}]
        # Ranks meet before any pod is "ready", and headless: each pod has a name of its own.
        spec = {"clusterIP": "None", "publishNotReadyAddresses": True, "selector": _ours(asked), "ports": ports}
        found.append({"apiVersion": "v1", "kind": "Service", "metadata": _meta(asked), "spec": spec})
    found.append({"apiVersion": "batch/v1", "kind": "Job", "metadata": _meta(asked), "spec": _job(asked)})
    return found


def render(asked: Asked) -> str:
    """The objects as YAML, with what a person has to know before applying them.

    Raises:
        UsageError: see ``documents``; or PyYAML is missing.
    """
    try:
        import yaml
    except ImportError:
        raise UsageError("Manifests need the package PyYAML.", install_hint("k8s")) from None
    parts = [yaml.safe_dump(each, sort_keys=False, width=120) for each in documents(asked)]
    return "".join(f"# {line}\n" for line in _notes(asked)) + "---\n".join(["", *parts])


def _notes(asked: Asked) -> list[str]:
    where = f" -n {asked.namespace}" if asked.namespace else ""
    lines = [
        f"hpcaccept {__version__}: {asked.nodes} node(s) on Kubernetes 1.{asked.kube} or newer. Apply: kubectl apply{where} -f FILE"
    ]
    if asked.nodes > 1:
        create = f"kubectl create secret generic {asked.secret}{where} --type=kubernetes.io/ssh-auth"
        lines += [
            "Before the first time, a key that only these pods have:",
            f"  ssh-keygen -q -t ed25519 -N '' -f key && {create} --from-file={KEY_NAME}=key && rm key key.pub",
            "Index 0 exits with the verdict of the run, every other index with that of its node.",
        ]
    if not asked.pvc:
        lines.append(f"The run comes back with: kubectl logs{where} job/{asked.name} | hpcaccept k8s collect")
    if not re.search(r"@sha256:[0-9a-f]{64}$", asked.image):
        lines.append("The image is named by a tag, which may mean another image tomorrow: IMAGE@sha256:… would not.")
    if asked.rdma_resource and asked.user:
        lines.append(
            "IPC_LOCK has no effect for a user that is not root: locked memory is limited as the container runtime says."
        )
    return lines


def _meta(asked: Asked) -> dict[str, Any]:
    where = {"namespace": asked.namespace} if asked.namespace else {}
    return {"name": asked.name, **where, "labels": _labels(asked)}


def _ours(asked: Asked) -> dict[str, str]:
    return {"app.kubernetes.io/name": CONTAINER, "app.kubernetes.io/instance": asked.name}


def _labels(asked: Asked) -> dict[str, str]:
    return {**_ours(asked), "app.kubernetes.io/version": __version__.replace("+", "_")}


def _job(asked: Asked) -> dict[str, Any]:
    several = asked.nodes > 1
    spec: dict[str, Any] = {}
    if several:
        spec |= {"completionMode": "Indexed", "completions": asked.nodes, "parallelism": asked.nodes}
        # A bad node must not end the others before they are judged.
        spec |= {"backoffLimitPerIndex": 0, "maxFailedIndexes": asked.nodes}
    else:
        spec["backoffLimit"] = 0
    spec["activeDeadlineSeconds"] = int(asked.pods_timeout_s + asked.estimate_s + 0.999)
    spec["ttlSecondsAfterFinished"] = asked.keep_s
    if asked.kube >= _PER_INDEX:
        verdict = {"containerName": CONTAINER, "operator": "In", "values": _EXIT_CODES}
        spec["podFailurePolicy"] = {
            "rules": [
                # Drained, preempted, evicted: no word about the hardware. The first rule that fits decides.
                {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
                {"action": "FailIndex" if several else "FailJob", "onExitCodes": verdict},
            ]
        }
    spec["template"] = {"metadata": {"labels": _labels(asked)}, "spec": _pod(asked)}
    return spec


def _pod(asked: Asked) -> dict[str, Any]:
    gpu_taint = {"key": f"{asked.gpu_resource.partition('/')[0]}/gpu", "operator": "Exists", "effect": "NoSchedule"}
    alone = {"matchLabels": {"app.kubernetes.io/name": CONTAINER}}
    spec: dict[str, Any] = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        # Whatever a check leaves behind has a parent, and a signal ends what it is sent to.
        "shareProcessNamespace": True,
        "securityContext": {
            "runAsNonRoot": asked.user > 0,
            "runAsUser": asked.user,
            "runAsGroup": asked.user,
            "fsGroup": asked.user,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "affinity": {
            "podAntiAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": [
                    {"labelSelector": alone, "topologyKey": "kubernetes.io/hostname"}
                ]
            }
        },
        "tolerations": [*([gpu_taint] if asked.gpus_per_node else []), *asked.tolerations],
        "containers": [_container(asked)],
        "volumes": _volumes(asked),
    }
    if asked.nodes > 1:
        spec["subdomain"] = asked.name
    if asked.service_account:
        spec["serviceAccountName"] = asked.service_account
    if asked.image_pull_secrets:
        spec["imagePullSecrets"] = [{"name": name} for name in asked.image_pull_secrets]
    if asked.node_selector:
        spec["nodeSelector"] = dict(asked.node_selector)
    return spec


def _container(asked: Asked) -> dict[str, Any]:
    limits: dict[str, Any] = {asked.gpu_resource: asked.gpus_per_node} if asked.gpus_per_node else {}
    requests: dict[str, Any] = {}
    if asked.rdma_resource:
        limits[asked.rdma_resource] = 1
    if asked.memory:
        limits["memory"] = requests["memory"] = asked.memory
    if asked.cpu:
        # No limit: throttled by a quota, a node would look slow.
        requests["cpu"] = asked.cpu
    env: list[dict[str, Any]] = [
        {"name": "NODE_NAME", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
        # Every record says in which image it was made.
        {"name": "HPCACCEPT_IMAGE", "value": asked.image},
        {"name": "HPCACCEPT_IMAGE_DIGEST", "value": asked.image.partition("@")[2]},
    ]
    if asked.nodes > 1:
        uid = "metadata.labels['batch.kubernetes.io/controller-uid']"
        env.append({"name": "JOB_UID", "valueFrom": {"fieldRef": {"fieldPath": uid}}})
    mounts: list[dict[str, Any]] = [{"name": "shm", "mountPath": "/dev/shm"}, {"name": "runs", "mountPath": RUNS}]
    if asked.suite_file:
        mounts.append({"name": "suite", "mountPath": SUITES, "readOnly": True})
    if asked.nodes > 1:
        mounts.append({"name": "ssh", "mountPath": KEYS, "readOnly": True})
    security: dict[str, Any] = {"allowPrivilegeEscalation": False}
    # Root keeps those that a container has anyway: its sshd gives them up itself.
    wanted = {"drop": ["ALL"] if asked.user else [], "add": ["IPC_LOCK"] if asked.rdma_resource else []}
    if asked.user or asked.rdma_resource:
        security["capabilities"] = {key: value for key, value in wanted.items() if value}
    found: dict[str, Any] = {
        "name": CONTAINER,
        "image": asked.image,
        "command": ["python3", "-m", "hpcaccept"],
        "args": _arguments(asked),
        "env": env,
    }
    if asked.nodes > 1:
        found["ports"] = [{"name": "ssh", "containerPort": PORT}]
    found["resources"] = {key: value for key, value in (("limits", limits), ("requests", requests)) if value}
    found["volumeMounts"] = mounts
    found["terminationMessagePolicy"] = "FallbackToLogsOnError"
    found["securityContext"] = security
    return found


def _arguments(asked: Asked) -> list[str]:
    # $( is Kubernetes' own sign for a variable; what the user has typed is no such thing.
    tested = [word.replace("$(", "$$(") for word in asked.submit]
    tested += ["--gpus-per-node", str(asked.gpus_per_node), "--runs-dir", RUNS]
    here = launch.providing("one machine")[0]
    if asked.nodes == 1 and asked.pvc:
        return ["submit", "--nodes", "1", "--nodelist", "$(NODE_NAME)", "--launcher", here, *tested]
    if asked.nodes == 1:
        return ["k8s", "pod", "--log", *tested]
    timeout = ["--pods-timeout", f"{asked.pods_timeout_s:g}"]
    return ["k8s", "pod", "--nodes", str(asked.nodes), "--job", asked.name, *timeout, *tested]


def _volumes(asked: Asked) -> list[dict[str, Any]]:
    kept = {"persistentVolumeClaim": {"claimName": asked.pvc}} if asked.pvc else {"emptyDir": {}}
    found: list[dict[str, Any]] = [
        {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": asked.shm}},
        {"name": "runs", **kept},
    ]
    if asked.suite_file:
        found.append({"name": "suite", "configMap": {"name": asked.name}})
    if asked.nodes > 1:
        found.append({"name": "ssh", "secret": {"secretName": asked.secret, "defaultMode": 0o400}})
    return found


# --- what was asked, held against what Kubernetes takes ---------------------------------------------------------------


def _check(asked: Asked) -> None:
    if asked.kube not in VERSIONS:
        known = f"1.{VERSIONS[0]} to 1.{VERSIONS[-1]}"
        raise UsageError(
            f"--kube-version is 1.{asked.kube}, known are {known}.", "Take the nearest one that is not newer."
        )
    if asked.nodes < 1:
        raise UsageError(f"--nodes is {asked.nodes}, expected at least 1.")
    if asked.nodes > 1 and asked.kube < _PER_INDEX:
        raise UsageError(
            f"Kubernetes 1.{asked.kube} ends all pods of a Job when one fails: a bad node would leave the others unjudged.",
            f"Several nodes need 1.{_PER_INDEX} or newer (--kube-version); one node works with any.",
        )
    if asked.nodes > 1 and not asked.pvc:
        raise UsageError(
            "Several nodes share their runs folder, and have none.",
            "Name a claim that all of them may write (ReadWriteMany): --pvc NAME. A run of one node may go to the log.",
        )
    # The name of a Service, and with an index the name of a host: 63 characters.
    _fits(
        "--name",
        asked.name,
        r"[a-z]([-a-z0-9]{0,50}[a-z0-9])?",
        "at most 52 of a-z, 0-9 and -, beginning with a letter",
    )
    for option, name in (
        ("--namespace", asked.namespace),
        ("--pvc", asked.pvc),
        ("--secret", asked.secret),
        ("--service-account", asked.service_account),
        *(("--image-pull-secret", name) for name in asked.image_pull_secrets),
    ):
        if name:
            _fits(option, name, _DOMAIN, "a-z, 0-9, - and dots")
    _fits("--image", asked.image, r"[^\s@]+(@sha256:[0-9a-f]{64})?", "REGISTRY/PATH@sha256:… or REGISTRY/PATH:TAG")
    for option, name in (("--gpu-resource", asked.gpu_resource), ("--rdma-resource", asked.rdma_resource)):
        if name:
            _fits(option, name, rf"{_DOMAIN}/{_LABEL}", "DOMAIN/NAME, like nvidia.com/gpu")
    for option, quantity in (("--cpu", asked.cpu), ("--memory", asked.memory), ("--shm", asked.shm)):
        if quantity:
            _fits(option, quantity, r"[0-9]+(\.[0-9]+)?(m|[kMGTP]|[KMGTP]i)?", "a quantity like 16, 500m or 64Gi")
    for key, value in asked.node_selector.items():
        _fits("--node-selector", key, rf"({_DOMAIN}/)?{_LABEL}", "a label's KEY=VALUE")
        _fits("--node-selector", value, rf"({_LABEL})?", "a label's KEY=VALUE")
    if asked.suite_file:
        file, text = asked.suite_file
        _fits("--suite", file, r"[-._a-zA-Z0-9]{1,253}", "a file whose name has only letters, digits, -, _ and dots")
        if len(text.encode()) > 1_000_000:
            raise UsageError(f"--suite: {file} has {len(text.encode())} bytes, a ConfigMap takes 1 MB.")
    for number in (asked.user, asked.gpus_per_node):
        if number < 0:
            raise UsageError(f"Found {number}, expected no less than 0.")


def _fits(option: str, found: str, pattern: str, expected: str) -> None:
    if not re.fullmatch(pattern, found):
        raise UsageError(f"{option} is {found!r}, expected {expected}.")


def toleration(text: str) -> dict[str, str]:
    """``KEY``, ``KEY=VALUE``, either with ``:EFFECT``, as Kubernetes writes it.

    Raises:
        UsageError: it is none of these.
    """
    rest, _, effect = text.partition(":")
    key, equals, value = rest.partition("=")
    fits = re.fullmatch(rf"({_DOMAIN}/)?{_LABEL}", key) and re.fullmatch(rf"({_LABEL})?", value)
    if not fits or effect not in ("", *_EFFECTS):
        raise UsageError(
            f"--toleration is {text!r}, expected KEY[=VALUE][:EFFECT].",
            f"EFFECT is {', '.join(_EFFECTS)}, or left out for all.",
        )
    found = {"key": key, "operator": "Equal", "value": value} if equals else {"key": key, "operator": "Exists"}
    return {**found, **({"effect": effect} if effect else {})}


def suite_path(file: str) -> str:
    """Where a suite file is inside the pods."""
    return str(PurePosixPath(SUITES) / file)
