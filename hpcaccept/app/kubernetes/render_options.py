"""Turns the options of ``k8s render`` into what the manifests ask for, and into how long the run may take."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpcaccept import __version__, launch
from hpcaccept.app.kubernetes.manifest import Asked, suite_path, toleration
from hpcaccept.config.settings import Settings
from hpcaccept.config.suites import SuiteText, read_suite
from hpcaccept.errors import UsageError
from hpcaccept.launch.job.driver import time_limit_s
from hpcaccept.model.plan import Image
from hpcaccept.plan.make import make_plan, request_of
from hpcaccept.plan.resolve import resolve_suite

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def asked_of(
    options: Mapping[str, Any],
    skip: Sequence[str],
    changes: Sequence[str],
    suite_options: Mapping[str, Mapping[str, Any]],
    search: bool,
) -> Asked:
    """The manifests that the options ask for. What the settings files of this machine say is not in the pods.

    Args:
        options: of the command line, by name.
        skip: checks to be left out, as typed.
        changes: CHECK.PARAM=VALUE, as typed.
        suite_options: both as tables of checks.
        search: whether matmul looks for its best shapes.

    Raises:
        UsageError: an option or the suite is wrong.
    """
    gpus = options["gpus_per_node"]
    suite = options["suite"] or ("quick" if gpus else "cpu")
    text = read_suite(suite)
    own = (text.file.name, text.file.read_text("utf-8")) if suite.endswith(".toml") else None
    start = {"start_timeout_s": options["start_timeout_s"]} if options["start_timeout_s"] else {}
    settings = Settings(nodes=options["nodes"], **start)
    overrides = (SuiteText(Path("command line"), {"checks": suite_options}),) if suite_options else ()
    plan = make_plan(
        settings,
        resolve_suite(text, overrides),
        request_of(settings, gpus),
        Image(),
        launcher=launch.providing("one machine")[0],
        run_id="",
        now="",
        version=__version__,
        commit="",
    )
    return Asked(
        name=options["name"],
        nodes=options["nodes"],
        image=options["image"],
        submit=_submit_words(suite_path(own[0]) if own else suite, skip, changes, search, options["start_timeout_s"]),
        estimate_s=math.ceil(time_limit_s(plan)),
        pods_timeout_s=options["pods_timeout"],
        gpus_per_node=gpus,
        pvc=options["pvc"] or "",
        suite_file=own,
        secret=options["secret"],
        namespace=options["namespace"],
        service_account=options["service_account"],
        image_pull_secrets=tuple(options["image_pull_secret"]),
        gpu_resource=options["gpu_resource"],
        rdma_resource=options["rdma_resource"],
        cpu=options["cpu"],
        memory=options["memory"],
        shm=options["shm"],
        node_selector=dict(_label(text) for text in options["node_selector"]),
        tolerations=tuple(toleration(text) for text in options["toleration"]),
        user=options["run_as"],
        keep_s=options["keep"],
        kube=_minor(options["kube_version"]),
    )


def _submit_words(
    suite: str, skip: Sequence[str], changes: Sequence[str], search: bool, start_timeout_s: float | None
) -> tuple[str, ...]:
    """What the pod that submits is told: the options that differ from submit's own defaults, and the suite."""
    words = ["--suite", suite]
    for name in skip:
        words += ["--skip", name]
    for change in changes:
        words += ["--set", change]
    if search:
        words.append("--search")
    if start_timeout_s:
        words += ["--start-timeout", f"{start_timeout_s:g}"]
    return tuple(words)


def _label(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals:
        raise UsageError(f"--node-selector is {text!r}, expected KEY=VALUE.", "For example: node-pool=h100.")
    return key, value


def _minor(text: str) -> int:
    match = re.fullmatch(r"v?1\.(\d{1,3})(\..*)?", text)
    if not match:
        raise UsageError(f"--kube-version is {text!r}, expected 1.N.", "'kubectl version' shows that of the server.")
    return int(match[1])
