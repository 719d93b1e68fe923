"""Whether a site's own command has passed. Its exit status, its output and the site's rule in, an outcome with a sentence out. Pure."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from typing import TYPE_CHECKING

from hpcaccept.parse.rank_exits import parse_deaths

if TYPE_CHECKING:
    from hpcaccept.model.isolation_order import EndedTest, OutputRule

_QUOTED = 300
#: A shell's and srun's exit status for a task that was ended by signal 1, less one. https://tldp.org/LDP/abs/html/exitcodes.html
_BY_SIGNAL = 128


def outcome_of_output(ended: EndedTest, output: str, rule: OutputRule, *, late: bool) -> EndedTest:
    """The test with what came of it.

    Args:
        ended: the test, with times and exit status.
        output: of the command, errors included, or its end.
        rule: of the site.
        late: True when its time was over.
    """
    if late:
        return replace(ended, kind="hung", how=f"it had not ended after {ended.wall_s:.0f} s")
    died = _first_dead(ended, output)
    if ended.code < 0 or ended.code > _BY_SIGNAL:
        signal = -ended.code if ended.code < 0 else ended.code - _BY_SIGNAL
        return replace(
            ended, kind="crashed", silent=died, how=f"the command was ended by signal {signal}{_quoted(output)}"
        )
    if ended.code:
        return replace(ended, kind="failed", how=f"the command ended with exit status {ended.code}{_quoted(output)}")
    if not rule.pattern:
        return replace(ended, kind="passed")
    value = number_in(output, rule.pattern)
    if value is None:
        # What it means that the number is absent is not known: an outcome is never guessed.
        return replace(ended, kind="not_run", how=f"no number matches {rule.pattern!r} in the output{_quoted(output)}")
    low = rule.at_least is not None and value < rule.at_least
    high = rule.at_most is not None and value > rule.at_most
    if low or high:
        limit = f"at least {rule.at_least:g}" if low else f"at most {rule.at_most:g}"
        return replace(ended, kind="failed", value=value, how=f"found {value:g}, expected {limit}")
    return replace(ended, kind="passed", value=value)


def _first_dead(ended: EndedTest, output: str) -> tuple[str, ...]:
    """The node whose task the launcher saw die first, where it names one of the group and the group has others."""
    first = next((death.node for death in parse_deaths(output) if "Killed" in death.how or "signal" in death.how), "")
    return (first,) if first in ended.test.nodes and len(ended.test.nodes) > 1 else ()


def number_in(output: str, pattern: str) -> float | None:
    """The last number that the pattern finds; None: it finds none."""
    last = None
    for match in re.finditer(pattern, output, re.MULTILINE):
        text = match[1] if match.re.groups else match[0]
        try:
            number = float(text or "")
        except ValueError:
            continue
        last = number if math.isfinite(number) else last
    return last


def _quoted(output: str) -> str:
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    return f": {lines[-1][:_QUOTED]!r}" if lines else ""
