"""The use case ``doctor``: checks the path from the login node to a measured number, before any time is spent on it.

First what this machine can see (``login``), then one small job that asks every node (``probing``, ``nodes``). What was seen are plain
dataclasses; judging them is pure. One more thing to look at is one more file.
"""

from __future__ import annotations

import importlib
import pkgutil
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

from hpcaccept import launch
from hpcaccept.app.doctor import login, nodes
from hpcaccept.app.doctor.case import Case
from hpcaccept.app.doctor.probe_nodes import Patience, probe, probe_here
from hpcaccept.app.run.image_digest import runtime_of
from hpcaccept.app.run.submit import plan_run
from hpcaccept.errors import HpcacceptError, LaunchError, UsageError
from hpcaccept.model.doctor.finding import Finding
from hpcaccept.model.doctor.probe import ProbeResult
from hpcaccept.model.plan import Image, Request
from hpcaccept.plan.make import image_of, request_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence
    from types import ModuleType

    from hpcaccept.config.settings import Settings
    from hpcaccept.config.suites import SuiteText

#: Seconds that the job of the doctor waits in the queue, where nobody says otherwise.
QUEUE_S = 120.0


class LoginLook(Protocol):
    """A module of ``login``."""

    PLACE: int
    NEEDS: Collection[str]

    def ask(self, case: Case) -> Any:
        """What is seen from here. Raises LaunchError or OSError when it cannot be looked at."""

    def judge(self, case: Case, seen: Any) -> list[Finding]:
        """What that means. Pure."""


class NodeLook(Protocol):
    """A module of ``nodes``."""

    PLACE: int

    def judge(self, case: Case, heard: ProbeResult) -> list[Finding]:
        """What the nodes' words mean. Pure."""


@dataclass(frozen=True)
class Diagnosis:
    """Everything that was found.

    Attributes:
        case: that was looked at.
        here: findings of this machine.
        there: findings of the nodes.
        heard: the nodes' own words; None when no job was started.
    """

    case: Case
    here: tuple[Finding, ...]
    there: tuple[Finding, ...] = ()
    heard: ProbeResult | None = None

    @property
    def findings(self) -> tuple[Finding, ...]:
        """From the login node to the number."""
        return (*self.here, *self.there)

    @property
    def exit_code(self) -> int:
        """3 when something is wrong, or could not be looked at: what was not seen is not well."""
        return 3 if any(finding.mark in ("wrong", "unknown") for finding in self.findings) else 0


def examine(
    settings: Settings, overrides: Sequence[SuiteText] = (), *, quick: bool = False, say: Callable[[str], None] = print
) -> Diagnosis:
    """The whole path, or as far as it goes.

    Args:
        settings: those of a submission.
        overrides: what the site changes in suites.
        quick: only what this machine can see.
        say: told before the job is started.

    Raises:
        UsageError: what is asked for makes no sense anywhere.
    """
    chosen, before = _launcher(settings)
    settings = replace(settings, launcher=chosen)
    case, unplanned = _case(settings, overrides, quick)
    seen: dict[str, Any] = {}
    here = [*before, *unplanned, *_look(case, seen)]
    here += _unavailable(case, here)
    if quick:
        return Diagnosis(case, tuple(here))
    blocking = list(dict.fromkeys(finding.look for finding in here if finding.stops))
    if blocking or case.plan is None:
        if case.traits.virtual:
            alone = examine_node(case.request.gpus_per_node)
            return Diagnosis(case, tuple(here), alone.there, alone.heard)
        why = f"could not look: no job is started before this is mended: {', '.join(blocking)}"
        return Diagnosis(case, tuple(here), (Finding("nodes seen", "unknown", why),))
    patience = Patience(settings.queue_timeout_s or QUEUE_S, settings.start_timeout_s)
    say(
        f"Asking {'the node itself' if case.request.nodes == 1 else f'{case.request.nodes:,} nodes themselves'}; Ctrl-C ends that, too."
    )
    try:
        heard = probe(case, patience, _most_s(case, seen))
    except HpcacceptError as fault:
        return Diagnosis(case, tuple(here), (Finding("job", "wrong", fault.message, remedy=fault.remedy),))
    return Diagnosis(case, tuple(here), judged(case, heard), heard)


def examine_node(gpus: int) -> Diagnosis:
    """What this node can say by itself, started by whatever started this process."""
    case = Case("", Request(1, gpus_per_node=max(0, gpus)), Image(), Path())
    heard = probe_here(max(0, gpus))
    return Diagnosis(case, (), judged(case, heard), heard)


def judged(case: Case, heard: ProbeResult) -> tuple[Finding, ...]:
    """What the nodes' words mean, in the order of the page. Pure."""
    looks = cast("list[NodeLook]", modules(nodes))
    return tuple(finding for look in looks for finding in look.judge(case, heard))


def modules(package: ModuleType) -> list[Any]:
    """Every look of a package, in the order of the page."""
    found = [importlib.import_module(f"{package.__name__}.{m.name}") for m in pkgutil.iter_modules(package.__path__)]
    return sorted(found, key=lambda module: int(module.PLACE))


def _launcher(settings: Settings) -> tuple[str, list[Finding]]:
    """Which launcher a submission would use, and whether that is what one would think."""
    if settings.launcher != "auto":
        launch.load(settings.launcher)
        return settings.launcher, []
    passed_over = launch.choose_unattended("auto")
    why_not = launch.load(passed_over).available()
    expected, _ = launch.load(passed_over).missing_words() if why_not else ("", "")
    if not why_not or expected:
        # One that does not answer stops a submission, and the looks at it say why.
        return passed_over, []
    chosen = next(name for name in launch.auto_order() if launch.load(name).TRAITS.virtual)
    # What follows the colon are the scheduler's own words, which its command says again.
    why = why_not.partition(":")[0].rstrip(".")
    return chosen, [Finding("launcher", "ok", f"{chosen}, this machine alone: {why}")]


def _case(settings: Settings, overrides: Sequence[SuiteText], quick: bool) -> tuple[Case, list[Finding]]:
    """What a submission would ask for, with its plan where one can be made."""
    runs = Path(settings.runs_dir).absolute()
    broken = bool(launch.load(settings.launcher).available())
    gpus = settings.gpus_per_node
    if gpus < 0 and not broken:
        gpus = launch.load(settings.launcher).default_gpus(settings.partition)
    request = request_of(settings, max(0, gpus))
    image = image_of(settings, sys.executable, runtime_of(settings.launcher, settings.container_image))
    case = Case(settings.launcher, request, image, runs, None, quick)
    if broken or _no_image(case):
        return case, []  # the looks say why
    try:
        plan, _ = plan_run(settings, overrides)
    except UsageError:
        raise
    except HpcacceptError as fault:
        return case, [Finding("plan", "wrong", fault.message, remedy=fault.remedy, stops=True)]
    return replace(case, request=plan.request, image=plan.image, plan=plan), []


def _unavailable(case: Case, here: Sequence[Finding]) -> list[Finding]:
    """Why the launcher cannot be used, where no look of its own has said that."""
    if case.plan is not None or any(finding.stops for finding in here):
        return []
    why_not = launch.load(case.launcher).available()
    return [Finding("launcher", "wrong", why_not.rstrip("."), case.launcher, stops=True)] if why_not else []


def _no_image(case: Case) -> bool:
    """True where the image's file is not what a plan could be made for."""
    from hpcaccept.app.doctor.login import image

    return any(finding.stops for finding in image.judge(case, image.ask(case)))


def _look(case: Case, seen: dict[str, Any]) -> Iterable[Finding]:
    """Everything that this machine can see. Without a scheduler that answers that is little."""
    provided = case.traits.provides
    looks = [look for look in cast("list[LoginLook]", modules(login)) if provided.issuperset(look.NEEDS)]
    for number, look in enumerate(looks):
        name = _name(look)
        try:
            seen[name] = look.ask(case)
        except (LaunchError, OSError) as fault:
            why = fault.message if isinstance(fault, LaunchError) else str(fault)
            yield Finding(name, "unknown", f"could not look: {why}", remedy=getattr(fault, "remedy", ""))
            continue
        findings = look.judge(case, seen[name])
        yield from findings
        if number == 0 and case.traits.names_nodes_late and any(finding.stops for finding in findings):
            yield Finding("the rest", "unknown", f"could not look: {findings[0].found}")
            return


def _name(look: LoginLook) -> str:
    return str(cast("Any", look).__name__).rpartition(".")[2].replace("_", " ")


def _most_s(case: Case, seen: dict[str, Any]) -> float | None:
    """Longest job that the partition allows."""
    from hpcaccept.app.doctor import fitting

    found = seen.get("partition")
    if found is None:
        return None
    return min((p.most_s for p in fitting.chosen(case.request, found) if p.most_s is not None), default=None)
