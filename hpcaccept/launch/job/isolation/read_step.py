"""A step of a run folder as the test of a group: its journals and logs → an outcome, for rounds and for runs that came before."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from hpcaccept.bounded import end_of
from hpcaccept.launch.job.isolation.outcome_of_step import StepEnd, outcome_of_step, value_of
from hpcaccept.launch.job.rank_logs import rank_logs_of
from hpcaccept.model.record import ModuleImported, RankStarted, Record
from hpcaccept.store.journal import read_all

if TYPE_CHECKING:
    from collections.abc import Callable

    from hpcaccept.model.isolation_order import EndedTest
    from hpcaccept.model.plan import Plan, Step
    from hpcaccept.store.folder import RunFolder

#: Bytes of a launcher's output that are looked through.
_MOST_OF_A_LOG = 256 * 1024


def read_step(
    plan: Plan, folder: RunFolder, step: Step, test: EndedTest, check: str, metric: str, *,
    late: bool, gone: Callable[[], dict[str, str]],
) -> tuple[EndedTest, str]:  # fmt: skip
    """The test with what the step shows, and the key of the number that it has been compared by.

    Args:
        plan: of the run.
        folder: of the run.
        step: that has ended.
        test: with what its launcher tells.
        check: name of the check.
        metric: key of the number, ``auto`` or empty (``value_of``).
        late: True when its time was over.
        gone: asked where ranks have not finished: node → why it cannot be reached.
    """
    logs = rank_logs_of(folder, step, measured=True)
    stderr = end_of(folder.logs / f"step-{step.id}.err", _MOST_OF_A_LOG)
    lost = {} if len(logs.finished) == step.ranks else gone()
    found = outcome_of_step(test, StepEnd(step, logs, stderr, test.code, late), check, plan.suite.limits, lost)
    found = _with_times(found, folder, step, check)
    valued = value_of(logs.records, check, metric) if metric and found.kind == "passed" else None
    if valued is None:
        return found, metric
    key, value, noise = valued
    return replace(found, value=value, noise=round(noise, 4)), key


def _with_times(test: EndedTest, folder: RunFolder, step: Step, check: str) -> EndedTest:
    """What the ranks measured and imported, and whether their nodes are parts of one machine."""
    measured_s, imports_s, kernels, nodes = 0.0, 0.0, set[str](), set[str]()
    for words in read_all(folder.records(step.id)).values():
        imports_s = max(imports_s, sum(word.seconds for word in words if isinstance(word, ModuleImported)))
        for word in words:
            if isinstance(word, RankStarted):
                kernels.add(word.boot_id)
                nodes.add(word.node)
            elif isinstance(word, Record) and word.check == check:
                measured_s = max(measured_s, word.duration_s)
    shared = len(nodes) > len(kernels) and "" not in kernels
    return replace(test, measured_s=round(measured_s, 3), imports_s=round(imports_s, 3), shared_kernel=shared)
