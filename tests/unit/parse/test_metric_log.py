from __future__ import annotations

import math

import pytest

from hpcaccept.model.schedule.recipe import MetricRule
from hpcaccept.parse.gpu_use import samples
from hpcaccept.parse.metric_log import Reading, readings

TEXT = MetricRule("val_loss", pattern=r"epoch (?P<step>\d+).*val_loss (?P<value>\S+)")
CSV = MetricRule("val_loss", format="csv", step="epoch")
JSONL = MetricRule("val_loss", format="jsonl", step="epoch")


def test_a_log_is_read_by_its_pattern() -> None:
    lines = [
        "start",
        "epoch 1 val_loss 0.5",
        "epoch 2 val_loss nan",
        "epoch 3 val_loss ?",
        "epoch 4 loss 1 val_loss 1e-3",
    ]
    found = readings(lines, TEXT)
    assert found[0] == Reading(0.5, 1.0)
    assert math.isnan(found[1].value)
    assert found[2:] == [Reading(1e-3, 4.0)]


def test_a_progress_bar_is_many_lines() -> None:
    assert readings(["epoch 1 val_loss 3\repoch 2 val_loss 2"], TEXT) == [Reading(3.0, 1.0), Reading(2.0, 2.0)]


def test_a_csv_file_is_read_by_its_header() -> None:
    assert readings(["1,0.5,x", '2,"0.25",y', "3", "4,oops,z"], CSV, "epoch, val_loss, note") == [
        Reading(0.5, 1.0),
        Reading(0.25, 2.0),
    ]
    assert readings(["1,0.5"], CSV, "epoch,loss") == []


def test_json_lines_are_read_by_their_keys() -> None:
    lines = ['{"epoch": 1, "val_loss": 0.5}', '{"val_loss": true}', "[1]", "{", '{"epoch": 2}', '{"val_loss": 0.25}']
    assert readings(lines, JSONL) == [Reading(0.5, 1.0), Reading(0.25, None)]


@pytest.mark.parametrize("rule", [TEXT, CSV, JSONL])
def test_no_text_is_a_fault(rule: MetricRule) -> None:
    hostile = [
        "[" * 5000,
        "\0",
        '"',
        "{" * 5000,
        "9" * 5000,
        "epoch 1 val_loss " + "9" * 5000,
        '{"val_loss": 1e999999}',
    ]
    readings(hostile, rule, '"epoch')


def test_gpu_samples_are_apart_by_their_own_clock() -> None:
    assert samples(["15 0", "30 97", "oops", "1 5", "9000 0"]) == [(15.0, 0.0), (15.0, 97.0), (15.0, 5.0), (120.0, 0.0)]
