"""The use case ``submit``: settings → suite → plan → run folder → launcher; then wait, collect, judge, report."""

from __future__ import annotations

import os
import shlex
import sys
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

from hpcaccept import __version__, launch
from hpcaccept.app.commit import commit
from hpcaccept.app.run.image_digest import identified, runtime_of
from hpcaccept.app.run.known import leave_known
from hpcaccept.config.settings import LINE_ENDS
from hpcaccept.config.suites import read_suite
from hpcaccept.errors import LaunchError, StoreError, UsageError
from hpcaccept.plan.make import image_of, make_plan, request_of
from hpcaccept.plan.override import only_these
from hpcaccept.plan.resolve import resolve_suite
from hpcaccept.store.folder import RunFolder
from hpcaccept.units import show

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hpcaccept.config.settings import Settings
    from hpcaccept.config.suites import SuiteText
    from hpcaccept.model.job import JobRef
    from hpcaccept.model.plan import Plan
    from hpcaccept.model.suite import Suite


def plan_run(
    settings: Settings,
    overrides: Sequence[SuiteText] = (),
    *,
    only: Sequence[str] = (),
    to_show: bool = False,
    suite: Suite | None = None,
) -> tuple[Plan, RunFolder]:
    """The plan and its folder, not yet made. Nothing is written or started.

    Args:
        settings: what is asked for.
        overrides: what the site and the command line change in the suite.
        only: checks of the suite that are wanted (and ``identity``, to which results are bound); none: all of them.
        to_show: the plan is shown and not submitted: a launcher that is named need not answer.
        suite: that is run; None: the one that the settings name.

    Raises:
        UsageError: settings or suite are wrong, or the launcher cannot be used here.
        LaunchError: the scheduler does not answer.
    """
    away = to_show and settings.launcher != "auto" and bool(launch.load(settings.launcher).available())
    launcher = settings.launcher if away else launch.choose(settings.launcher, schedulers_words(settings))
    place = launch.load(launcher)
    if settings.gpus_per_node < 0:
        settings = replace(settings, gpus_per_node=0 if away else place.default_gpus(settings.partition))
    if settings.mpi == "auto" and not away:
        settings = replace(settings, mpi=place.default_mpi())
    plan = plan_of(settings, overrides, launcher, only=only, suite=suite)
    return plan, RunFolder(_one_line(Path(settings.runs_dir).absolute()) / plan.run_id)


def _one_line(runs_dir: Path) -> Path:
    """A path that can stand in a script: settings have no line ends, and the folder that hpcaccept is typed in may have."""
    if LINE_ENDS.search(str(runs_dir)):
        raise UsageError(
            f"{str(runs_dir)!r} cannot stand in a script: it contains a line break or control character.",
            "Choose another place with --runs-dir.",
        )
    return runs_dir


def schedulers_words(settings: Settings) -> tuple[str, ...]:
    """Options that are given and mean nothing without a scheduler."""
    named = {
        "--partition": settings.partition,
        "--account": settings.account,
        "--nodelist": settings.nodelist,
        "--exclude": settings.exclude,
        "--slurm": settings.slurm,
        "a type in --gpus-per-node": settings.gpu_type,
    }
    return tuple(name for name, value in named.items() if value)


def plan_of(
    settings: Settings,
    overrides: Sequence[SuiteText],
    launcher: str,
    run_id: str = "",
    only: Sequence[str] = (),
    suite: Suite | None = None,
) -> Plan:
    """The plan for settings in which the GPUs per node and the type of MPI are decided.

    Args:
        settings: what is asked for.
        overrides: see ``plan_run``.
        launcher: module name in hpcaccept.launch.
        run_id: of the run; empty: a new one.
        only: see ``plan_run``.
        suite: that is run; None: the one that the settings name.

    Raises:
        UsageError: settings or suite are wrong.
    """
    gpus = settings.gpus_per_node
    name = settings.suite if settings.suite != "auto" else ("quick" if gpus else "cpu")
    if suite is None:
        text = read_suite(name)
        suite = resolve_suite(text, (*overrides, *only_these(text, only)))
    _must_be_reachable(suite)
    request = request_of(settings, gpus)
    now = datetime.now(timezone.utc)
    image = identified(image_of(settings, sys.executable, runtime_of(launcher, settings.container_image)))
    launch.refuse_unfit(launcher, request, image.runtime)
    return make_plan(
        settings,
        suite,
        request,
        image,
        launcher=launcher,
        run_id=run_id or f"{now:%Y%m%d-%H%M%S}-{suite.name}-{request.nodes}n-{os.urandom(2).hex()}",
        now=now.isoformat(timespec="seconds"),
        version=__version__,
        commit=commit(),
    )


def _must_be_reachable(suite: Suite) -> None:
    """Refuse a limit that no GPU of any known model could meet.

    Raises:
        UsageError: with the limit, its place, and the highest peak there is.
    """
    rates = {key: limit for key, limit in suite.limits.items() if limit.lower and limit.unit in ("FLOP/s", "B/s")}
    if not rates:
        return
    from hpcaccept.model.baseline import stands_for
    from hpcaccept.store.baseline_file import SHIPPED, read_generations

    peaks = [peak for file in SHIPPED.glob("*.h5") for one in read_generations(file) for peak in one.peaks]
    for key, limit in rates.items():
        # A limit without a variant is one of every variant.
        known = [p for p in peaks if stands_for(p.key, key) or p.key.partition("[")[0] == key]
        most = max(known, key=lambda peak: peak.ceiling, default=None)
        if most is not None and limit.lower is not None and limit.lower > most.ceiling:
            raise UsageError(
                f"{limit.source or suite.source}: {key} must be at least {show(limit.lower, limit.unit)}, and no known GPU reaches "
                f"more than {show(most.ceiling, limit.unit)}.",
                f"Write it in {limit.unit}, without a prefix.",
            )


def nothing_else(folder: RunFolder) -> None:
    """A job needs nothing else in its folder."""


def start(
    plan: Plan, folder: RunFolder, settings: Settings, prepare: Callable[[RunFolder], None] = nothing_else
) -> JobRef:
    """Make the run folder and start the job; when the launcher refuses, the folder is removed again.

    Args:
        plan: of the run.
        folder: that is made.
        settings: where history and baselines are, of which the job gets what it needs.
        prepare: writes into the folder what else the job needs.

    Raises:
        RunError: the folder cannot be made.
        LaunchError: the scheduler refused.
        StoreError: the history is damaged.
    """
    folder.create()
    try:
        folder.write_plan(plan)
        leave_known(plan, folder, settings)
        prepare(folder)
        job = launch.load(plan.launcher).submit(plan, folder)
    except (LaunchError, StoreError, OSError) as fault:
        import shutil

        shutil.rmtree(folder.path, ignore_errors=True)
        if isinstance(fault, OSError):
            raise folder.refused(fault) from fault
        raise
    folder.write_job(job)
    return job


def dry_run(plan: Plan, folder: RunFolder) -> str:
    """Every file and command that a submission would write and run."""
    rendered = launch.load(plan.launcher).render(plan, folder)
    parts = ["# Dry run: nothing is written and nothing is started."]
    for path, text in rendered.files.items():
        parts += [f"\n# ---- file {path}", text.rstrip()]
    for comment, command in rendered.commands:
        parts += [f"\n# ---- command: {comment}", shlex.join(command)]
    return "\n".join(parts)


def is_terminal() -> bool:
    """True when a person is watching standard error."""
    return sys.stderr.isatty() and os.environ.get("TERM", "") != "dumb"
