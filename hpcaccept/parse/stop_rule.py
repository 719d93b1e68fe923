"""A stop rule as people type it: ``val_loss does not improve for 50 epochs``, ``idle GPU for 20 minutes``. Text in, rule out."""

from __future__ import annotations

import re
from dataclasses import replace

from hpcaccept.errors import UsageError
from hpcaccept.model.schedule.recipe import Format, MetricRule, Mode, StopRules

_METRIC = re.compile(
    r"(?:metric\s+)?(?P<name>\S+)(?:\s+in\s+(?P<file>\S+))?\s+does\s+not\s+(?P<verb>improve|increase|decrease)"
    r"(?:\s+by\s+(?P<delta>\S+))?\s+for\s+(?P<patience>\d{1,9})\s+\w+"
)
_IDLE = re.compile(
    r"(?:idle\s+gpus?|gpus?\s+(?:is\s+|are\s+)?idle)\s+for\s+(?P<number>\d{1,6}(?:\.\d+)?)\s*(?P<unit>min\w*|h\w*)",
    re.I,
)
_HOURS = re.compile(r"after\s+(?P<number>\d{1,6}(?:\.\d+)?)\s*h(?:ours?)?")
_DEADLINE = re.compile(r"deadline\s+(?P<time>\S.*)")
#: Metrics of which more is better, by a word in their name; of any other less is taken to be better, as of a loss.
_MORE_IS_BETTER = re.compile(r"acc|precision|recall|f1|auc|bleu|rouge|score|reward|map|top\d|throughput|per_s", re.I)
_FORMATS: dict[str, Format] = {"csv": "csv", "jsonl": "jsonl", "ndjson": "jsonl"}
_EXAMPLES = "For example 'val_loss does not improve for 50 epochs', 'acc in log.csv does not increase by 0.001 for 5 epochs', 'idle GPU for 20 minutes', 'after 8 hours'."


def with_rule(rules: StopRules, text: str) -> StopRules:
    """The rules with one more, which takes the place of one of its kind.

    Raises:
        UsageError: the text is not a rule.
    """
    words = text.strip()
    if found := _METRIC.fullmatch(words):
        return replace(rules, metric=_metric(found))
    if found := _IDLE.fullmatch(words):
        minutes = float(found["number"]) * (60 if found["unit"].lower().startswith("h") else 1)
        return replace(rules, idle_gpu_minutes=minutes)
    if found := _HOURS.fullmatch(words):
        return replace(rules, max_hours=float(found["number"]))
    if found := _DEADLINE.fullmatch(words):
        return replace(rules, deadline=found["time"])
    raise UsageError(f"--stop: {text!r} is not a rule.", _EXAMPLES)


def _metric(found: re.Match[str]) -> MetricRule:
    name, file = found["name"], found["file"] or "log"
    form = _FORMATS.get(file.rpartition(".")[2], "text")
    try:
        delta = float(found["delta"] or 0)
    except ValueError:
        raise UsageError(f"--stop: {found['delta']!r} is not a number.", _EXAMPLES) from None
    pattern = _pattern(name) if form == "text" else ""
    return MetricRule(name, file, form, pattern, "", _mode(name, found["verb"]), delta, int(found["patience"]))


def _mode(name: str, verb: str) -> Mode:
    if verb == "improve":
        return "max" if _MORE_IS_BETTER.search(name) else "min"
    return "max" if verb == "increase" else "min"


def _pattern(name: str) -> str:
    """Of a line of text: the name, a colon or an equals sign, the value; before it an epoch, step or iteration, where there is one."""
    step = r"(?:\b(?:epoch|step|iter(?:ation)?)\b\D{0,4}(?P<step>\d+).*?)?"
    return rf"(?i:{step}(?<![\w.]){re.escape(name)}\s*[:=]?\s*(?P<value>[-+]?(?:\d[\d.]*(?:e[-+]?\d+)?|nan|inf)))"
