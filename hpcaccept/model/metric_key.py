"""The full name of a number: its check, the label under which that runs, the metric and the variant.

As text (``matmul:small.rate_flops[fp32]``) it stands in files, suites, options and reports, and only there; what reads such a text takes
it apart here. A check alone is named likewise: ``matmul``, or ``matmul:small`` for the same check a second time.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import lru_cache

_PAIR = re.compile(r"(?:(?P<test>.*)/)?(?P<first>[^/→↔]+)(?P<way>[→↔])(?P<second>[^/→↔]+)")


@dataclass(frozen=True, order=True)
class MetricKey:
    """What was measured.

    Attributes:
        check: module name of the check.
        label: under which the suite runs it once more; empty for the check itself.
        metric: short name, unique within its check.
        variant: what distinguishes it within the metric (``fp32``, ``nccl/64MiB``); empty for the only one.
    """

    check: str
    label: str
    metric: str
    variant: str = ""

    @staticmethod
    def parse(text: str) -> MetricKey:
        """The key that a text is.

        Raises:
            ValueError: the text has no ``check.metric`` form.
        """
        return _parsed(text)

    @staticmethod
    def of(name: str, metric: str, variant: str = "") -> MetricKey:
        """The key of a metric of a check by the name that it has in a suite (``matmul:small``)."""
        check, _, label = name.partition(":")
        return MetricKey(check, label, metric, variant)

    @property
    def check_name(self) -> str:
        """Name of the check in its suite: ``matmul:small``."""
        return f"{self.check}:{self.label}" if self.label else self.check

    @property
    def bare(self) -> MetricKey:
        """The same without its variant: what all variants of a metric share."""
        return replace(self, variant="")

    @property
    def unlabelled(self) -> MetricKey:
        """The same of the check itself, whatever label it ran under."""
        return replace(self, label="")

    def __str__(self) -> str:
        name = f"{self.check_name}.{self.metric}"
        return f"{name}[{self.variant}]" if self.variant else name


@lru_cache(maxsize=1 << 16)  # keys are few and asked for often: one per column, whatever the number of nodes
def _parsed(text: str) -> MetricKey:
    name, _, variant = text.partition("[")
    check, dot, metric = name.partition(".")
    whole = dot and metric and all(check.split(":", 1))  # "matmul:" is no label
    if not whole or (variant and not variant.endswith("]")):
        raise ValueError(f"found {text!r}, expected check.metric or check.metric[variant]")
    return MetricKey.of(check, metric, variant[:-1])


def check_of(name: str) -> str:
    """The check behind a name of a suite: ``matmul`` for ``matmul:small``."""
    return name.partition(":")[0]


@dataclass(frozen=True)
class Pair:
    """A variant that names two ends: a cell of a matrix.

    Attributes:
        first: whence (``gpu3``, ``0``).
        second: where to.
        both_ways: True where both directions were measured at once.
        test: that the matrix is of, where a metric has several.
    """

    first: str
    second: str
    both_ways: bool = False
    test: str = ""

    @staticmethod
    def parse(variant: str) -> Pair | None:
        """The pair that a variant is; None where it names something else (``cpu``, ``gpu3``)."""
        match = _PAIR.fullmatch(variant)
        return Pair(match["first"], match["second"], match["way"] == "↔", match["test"] or "") if match else None

    def __str__(self) -> str:
        ends = f"{self.first}{'↔' if self.both_ways else '→'}{self.second}"
        return f"{self.test}/{ends}" if self.test else ends
