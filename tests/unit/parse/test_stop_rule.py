"""Stop rules as people type them, and what of a log they read."""

from __future__ import annotations

import re

import pytest

from hpcaccept.errors import UsageError
from hpcaccept.model.schedule.recipe import StopRules
from hpcaccept.parse.metric_log import readings
from hpcaccept.parse.stop_rule import with_rule


@pytest.mark.parametrize(
    ("text", "name", "file", "form", "mode", "delta", "patience"),
    [
        ("val_loss does not improve for 50 epochs", "val_loss", "log", "text", "min", 0.0, 50),
        ("metric val does not increase for 50 epochs", "val", "log", "text", "max", 0.0, 50),
        ("val_acc does not improve for 3 epochs", "val_acc", "log", "text", "max", 0.0, 3),
        ("acc in out/log.csv does not increase by 0.001 for 5 epochs", "acc", "out/log.csv", "csv", "max", 0.001, 5),
        (
            "loss in metrics.jsonl does not decrease by 1e-4 for 100 steps",
            "loss",
            "metrics.jsonl",
            "jsonl",
            "min",
            1e-4,
            100,
        ),
    ],
)
def test_a_metric_that_stands_still(
    text: str, name: str, file: str, form: str, mode: str, delta: float, patience: int
) -> None:
    rule = with_rule(StopRules(), text).metric
    assert rule is not None
    assert (rule.name, rule.file, rule.format, rule.mode) == (name, file, form, mode)
    assert (rule.min_delta, rule.patience) == (delta, patience)


@pytest.mark.parametrize(
    ("line", "value", "step"),
    [
        ("epoch 12: train_loss 1.5 val_loss 0.25", 0.25, 12.0),
        ("Epoch: 3/50 - val_loss=1e-3", 1e-3, 3.0),
        ("val_loss: nan", None, None),
        ("best_val_loss 0.1", None, "absent"),
        ("step 7 best_val_loss 0.1 val_loss 0.3", 0.3, 7.0),
    ],
)
def test_the_pattern_of_a_name_reads_lines_of_common_training_loops(
    line: str, value: float | None, step: object
) -> None:
    rule = with_rule(StopRules(), "val_loss does not improve for 5 epochs").metric
    assert rule is not None
    found = readings([line], rule)
    if step == "absent":
        assert found == []
    elif value is None:
        assert found[0].value != found[0].value
    else:
        assert (found[0].value, found[0].step) == (value, step)


def test_idle_gpus_hours_and_a_deadline_are_rules_too() -> None:
    rules = StopRules()
    for text in ("idle GPU for 20 minutes", "after 8 hours", "deadline 2026-12-02T08:00+01:00"):
        rules = with_rule(rules, text)
    assert (rules.idle_gpu_minutes, rules.max_hours, rules.deadline) == (20.0, 8.0, "2026-12-02T08:00+01:00")
    assert with_rule(rules, "GPUs are idle for 1.5 h").idle_gpu_minutes == 90.0


@pytest.mark.parametrize(
    "text", ["", "when it is done", "val_loss does not improve", "x does not improve by much for 5 epochs"]
)
def test_what_is_not_a_rule_is_refused_with_examples(text: str) -> None:
    with pytest.raises(UsageError, match=re.escape("does not improve for 50 epochs")):
        with_rule(StopRules(), text)
