"""What the driver holds values against: an excerpt of the history and the site's baselines, in the run folder.

The job may run where neither can be read, and for as long as both are written to. What is left in the folder decides what is launched again,
and nothing else (``launch.job.known``): the judgement is made here, with the history and the baselines themselves.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from hpcaccept import checks
from hpcaccept.launch.job.retest import has_timed_rates

if TYPE_CHECKING:
    from hpcaccept.config.settings import Settings
    from hpcaccept.model.plan import Plan
    from hpcaccept.store.folder import RunFolder

#: Baselines of more models than any site has, and files larger than any of them, are left where they are.
_MOST_FILES, _LARGEST_BYTES = 256, 4 * 1024 * 1024


def leave_known(plan: Plan, folder: RunFolder, settings: Settings) -> None:
    """Leave what is known in a run folder, for the owner alone (0600), where the plan has retests and anything to launch again.

    Args:
        plan: of the run.
        folder: that is there.
        settings: where history and baselines are.

    Raises:
        StoreError: a segment of the history is damaged.
        OSError: no space or no permission.
    """
    rule = plan.suite.peers
    if not rule.enabled or not rule.retests or not has_timed_rates(plan):
        return
    _leave_baselines(Path(settings.baselines_dir).absolute(), folder)
    if settings.history_folder.is_dir():
        from hpcaccept.store.history_file import write_excerpt

        nodes = _nodes(plan.request.nodelist)
        keys = _compared(plan)
        write_excerpt(settings.history_folder, folder.known_history, keys, nodes=nodes, before=plan.created_at)


def _compared(plan: Plan) -> frozenset[str]:
    """Metrics that are compared with the past, as ``check.metric``."""
    catalogue = checks.catalogue(spec.name for spec in plan.suite.checks)
    return frozenset(
        f"{name}.{metric.name}"
        for name, metrics in catalogue.items()
        for metric in metrics.values()
        if metric.is_rate and metric.past_floor is not None and metric.noise == "timed"
    )


def _nodes(nodelist: str) -> frozenset[str] | None:
    """The nodes that the job will have; None where the scheduler chooses."""
    if not nodelist:
        return None
    from hpcaccept.plan.node_names import nodes_named

    return frozenset(nodes_named(nodelist, "--nodelist"))


def _leave_baselines(baselines: Path, folder: RunFolder) -> None:
    """Copies of the site's files, as they are: who reads them looks whether they are whole."""
    files = sorted(file for file in baselines.glob("*.h5") if file.is_file())[:_MOST_FILES]
    for file in files:
        if file.stat().st_size > _LARGEST_BYTES:
            continue
        folder.known_baselines.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(folder.known_baselines / file.name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "wb") as copy:
            copy.write(file.read_bytes())
