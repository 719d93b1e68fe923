"""The samples of runs for a notebook: one pandas table (the [report] extra).

::

    from hpcaccept.app.frames import frame_of
    frame = frame_of("runs/20261122-014743-cpu-4n-f7ae")
    frame[frame.metric == "rate_flops"].groupby(["variant", "node"], observed=True).value.median()
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from hpcaccept.app.run.conclude import evidence_of
from hpcaccept.errors import UsageError, install_hint
from hpcaccept.model.metric_key import MetricKey
from hpcaccept.store.folder import RunFolder

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from hpcaccept.model.evidence import Evidence


def frame_of(*runs: Path | str) -> pd.DataFrame:
    """Every sample of one or several runs, a row each.

    Args:
        runs: their folders.

    Returns:
        Columns run, node, device, device_id, model, check, metric, variant (categories), launch, repeat (int32), and value
        (float64, SI units).

    Raises:
        UsageError: no run was named, or pandas is not installed.
        StoreError: a folder holds no readable run.
    """
    try:
        import pandas as pd
    except ImportError:
        raise UsageError("Tables need pandas.", install_hint("report")) from None
    if not runs:
        raise UsageError("No run was named.", "Name the folder of a run: frame_of('runs/…').")
    frames = [_frame(pd, evidence_of(RunFolder(Path(run)))) for run in runs]
    if len(frames) == 1:
        return frames[0]
    texts = [name for name in frames[0].columns if name not in ("launch", "repeat", "value")]
    # Categories of unlike runs would turn into texts: they are put together first.
    for name in texts:
        every = pd.api.types.union_categoricals([frame[name] for frame in frames]).categories
        for frame in frames:
            frame[name] = frame[name].cat.set_categories(every)
    return pd.concat(frames, ignore_index=True)


def _frame(pd, evidence: Evidence) -> pd.DataFrame:  # type: ignore[no-untyped-def]
    table = evidence.samples
    keys = [MetricKey.parse(key) for key in table.keys]

    def category(texts: Sequence[str], codes: object) -> object:
        """Names that recur (the device ``cuda:0`` of every node) are one category."""
        names = sorted(set(texts))
        place = {name: number for number, name in enumerate(names)}
        translated = pd.Series([place[text] for text in texts], dtype="int32")
        return pd.Categorical.from_codes(translated.take(codes), categories=names)

    by_subject = {
        name: category([getattr(subject, name) for subject in table.subjects], table.subject)
        for name in ("node", "device", "device_id", "model")
    }
    by_key = {
        "check": category([key.check_name for key in keys], table.key),
        "metric": category([key.metric for key in keys], table.key),
        "variant": category([key.variant for key in keys], table.key),
    }
    run = pd.Categorical.from_codes([0] * len(table), categories=[evidence.plan.run_id])
    return pd.DataFrame(
        {"run": run, **by_subject, **by_key, "launch": table.launch, "repeat": table.repeat, "value": table.value}
    )
