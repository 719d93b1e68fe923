"""Suites: where they are, and what a file means. Every mistake is named with file, key and the nearest valid name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support.builders import CATALOGUE, DATA, evidence, judged, of, plan, record, suite

from hpcaccept import checks
from hpcaccept.config.suites import SuiteText, built_in, read_suite
from hpcaccept.errors import UsageError
from hpcaccept.judge import judge
from hpcaccept.model.metric import Limit
from hpcaccept.model.suite import CheckSpec, Suite
from hpcaccept.model.verdict import Outcome
from hpcaccept.plan.resolve import resolve_suite

SUITES = DATA / "suites"


def resolve(file: Path) -> Suite:
    return resolve_suite(read_suite(str(file)))


def written(folder: Path, text: str) -> Suite:
    file = folder / "mine.toml"
    file.write_text(text, "utf-8")
    return resolve(file)


# --- reading ----------------------------------------------------------------------------------------------------------


def test_a_built_in_suite_is_found_by_its_name() -> None:
    assert {"quick", "full", "burn", "cpu", "ddp"} <= set(built_in())
    assert read_suite("quick").file == built_in()["quick"]


def test_an_unknown_suite_is_told_with_the_nearest_name() -> None:
    with pytest.raises(UsageError, match=r"There is no suite 'quik'\.(?s:.*)Did you mean 'quick'\?") as fault:
        read_suite("quik")
    assert ".toml" in str(fault.value)


def test_a_suite_file_that_is_absent_is_told_with_its_path() -> None:
    with pytest.raises(UsageError, match=r"Cannot read /nowhere/mine\.toml: No such file"):
        read_suite("/nowhere/mine.toml")


def test_a_folder_is_no_suite(tmp_path: Path) -> None:
    (tmp_path / "x.toml").mkdir()
    with pytest.raises(UsageError, match="Cannot read"):
        read_suite(str(tmp_path / "x.toml"))


@pytest.mark.parametrize("name", sorted(built_in()))
def test_every_built_in_suite_is_of_checks_that_exist(name: str) -> None:
    tables = read_suite(name).tables
    known = set(checks.names())
    if not {check.partition(":")[0] for check in tables["checks"]} <= known:
        pytest.skip(f"suite {name} names a check that is not there yet")
    found = resolve_suite(read_suite(name))
    assert found.about.endswith(".")
    assert [spec.name for spec in found.checks] == list(tables["checks"])


# --- what a file means ------------------------------------------------------------------------------------------------


def test_a_whole_suite_file_means_what_it_says() -> None:
    found = resolve(SUITES / "site.toml")
    assert (found.name, found.about, found.baseline) == ("site", "The site's own rules.", "required")
    assert [spec.name for spec in found.checks] == ["identity", "matmul", "matmul:small"]
    matmul, small = found.checks[1:]
    params = {"dtypes": ["fp32", "fp64"], "size": 512}
    assert matmul == CheckSpec("matmul", params, 30.0, required=True, variants=("fp32", "fp64"))
    assert small == CheckSpec("matmul:small", {"size": 64}, 120.0, required=False)
    assert found.limits["matmul.rate_flops[fp32]"] == Limit(1e9, None, "FLOP/s", "suite", "contract, page 3")
    assert found.limits["identity.cores"].upper == 128.0
    assert (found.peers.min_subjects, found.peers.floor, found.peers.enabled) == (5, 0.1, True)
    assert found.source == str(SUITES / "site.toml")


def test_a_check_that_is_switched_off_is_not_in_the_suite() -> None:
    assert "os_noise" not in [spec.name for spec in resolve(SUITES / "site.toml").checks]


def test_checks_run_in_the_order_of_the_file(tmp_path: Path) -> None:
    found = written(tmp_path, "[checks.matmul]\n[checks.identity]\n")
    assert [spec.name for spec in found.checks] == ["matmul", "identity"]


def test_what_is_left_out_has_defaults(tmp_path: Path) -> None:
    found = written(tmp_path, "[checks.identity]\n")
    assert (found.about, found.baseline, found.limits) == ("", "optional", {})
    assert found.checks == (CheckSpec("identity"),)


# --- mistakes ---------------------------------------------------------------------------------------------------------

MATMUL = "[checks.matmul]\n"
LIMIT = f'{MATMUL}[limits."matmul.rate_flops[fp32]"]\n'


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[checks.matmull]\n", ["[checks.matmull]", "there is no check 'matmull'", "Did you mean 'matmul'?"]),
        ('[checks."matmull:x"]\n', ["there is no check 'matmull:x'", "Did you mean 'matmul'?"]),
        (f"{MATMUL}szie = 64\n", ["[checks.matmul]", "unknown key 'szie'", "Did you mean 'size'?"]),
        (f"{MATMUL}deadline = 5\n", ["[checks.matmul]", "'deadline'", "Did you mean 'deadline_s'?"]),
        (f'{MATMUL}size = "big"\n', ["[checks.matmul]", "'size'", "'big'", "expected int like 0"]),
        (f"{MATMUL}size = 1.5\n", ["'size'", "1.5", "expected int"]),
        (f"{MATMUL}size = true\n", ["'size'", "True", "expected int"]),
        (f'{MATMUL}dtypes = "fp32"\n', ["'dtypes'", "'fp32'", "expected list of str"]),
        (f"{MATMUL}blocks = 0\n", ["[checks.matmul]", "'blocks'", "is 0, expected from 1 to", "--set matmul.blocks=5"]),
        (f"{MATMUL}block_s = nan\n", ["'block_s'", "is nan, expected a finite number"]),
        (f"{MATMUL}block_s = inf\n", ["'block_s'", "is inf, expected a finite number"]),
        (f'{MATMUL}dtypes = ["fp32", "fp23"]\n', ["'dtypes'", "has 'fp23' at place 2", "Did you mean 'fp32'?"]),
        (f"{MATMUL}deadline_s = nan\n", ["deadline_s is nan", "expected seconds above 0"]),
        (f"{MATMUL}deadline_s = inf\n", ["deadline_s is inf", "at most 2592000", "Without it the deadline is 120 s"]),
        (f"{MATMUL}[peers]\nretests = inf\n", ["[peers]", "retests is inf", "expected a value like 2"]),
        (
            "[checks.nccl_tests]\nmin_bytes = 2147483648\n",
            ["[checks.nccl_tests]", "min_bytes", "at most its max_bytes", "--set nccl_tests.max_bytes=2147483648"],
        ),
        (f"{MATMUL}deadline_s = 0\n", ["deadline_s is 0", "expected seconds above 0"]),
        (f'{MATMUL}deadline_s = "long"\n', ["deadline_s is 'long'", "expected seconds"]),
        (f"{MATMUL}deadline_s = true\n", ["deadline_s is True", "expected seconds"]),
        (f'{MATMUL}enabled = "no"\n', ["[checks.matmul]", "enabled is 'no'", "true or false"]),
        (f"{MATMUL}enabled = 0\n", ["[checks.matmul]", "enabled is 0", "true or false"]),
        (f'{MATMUL}required = "false"\n', ["[checks.matmul]", "required is 'false'", "true or false"]),
        (f"check = 1\n{MATMUL}", ["unknown key 'check'", "Did you mean 'checks'?"]),
        ("checks = 5\n", ["[checks] is 5", "expected a table"]),
        ("[checks]\nmatmul = 5\n", ["[checks.matmul] is 5", "expected a table"]),
        ("", ["has no check", "[checks.identity]"]),
        ('about = "Nothing."\n[checks]\n', ["has no check"]),
        (f"{MATMUL}enabled = false\n", ["has no check"]),
        (f'baseline = "maybe"\n{MATMUL}', ["baseline is 'maybe'", "'required' or 'optional'"]),
        ("[checks.matmul\n", ["is not TOML", "line 1"]),
        (f"{MATMUL}[checks.matmul]\n", ["is not TOML"]),
        # peers
        ('[checks."matmul:"]\n', ["no label after the colon", "matmul:small"]),
        (f"{MATMUL}[peers]\nmin_subject = 3\n", ["[peers]", "'min_subject'", "Did you mean 'min_subjects'?"]),
        (f'{MATMUL}[peers]\nenabled = "yes"\n', ["[peers]", "enabled is 'yes'"]),
        (f"{MATMUL}[peers]\nmin_subjects = true\n", ["[peers]", "min_subjects is True"]),
        (f"{MATMUL}[peers]\nmin_subjects = 1\n", ["[peers]", "min_subjects is 1", "at least 3"]),
        (f"{MATMUL}[peers]\nmin_subjects = 3.5\n", ["[peers]", "min_subjects is 3.5"]),
        (f"{MATMUL}[peers]\nfalse_alarm_rate = 0\n", ["false_alarm_rate is 0", "between 0 and 1"]),
        (f"{MATMUL}[peers]\nfalse_alarm_rate = 1.0\n", ["false_alarm_rate is 1.0", "between 0 and 1"]),
        (f"{MATMUL}[peers]\nfloor = nan\n", ["[peers]", "floor is nan"]),
        (f"{MATMUL}[peers]\nfloor = -0.5\n", ["[peers]", "floor is -0.5"]),
        # limits
        (f"{LIMIT}lower = 1\n", ["rate_flops[fp32]", "unit is None", "'FLOP/s'", 'Add unit = "FLOP/s"']),
        (f'{LIMIT}lower = 1\nunit = "TFLOP/s"\n', ["unit is 'TFLOP/s'", "the metric is in 'FLOP/s'"]),
        (f'{LIMIT}lower = 2\nupper = 1\nunit = "FLOP/s"\n', ["rate_flops[fp32]", "above the upper bound"]),
        (f'{LIMIT}unit = "FLOP/s"\n', ["rate_flops[fp32]", "needs a lower or an upper bound"]),
        (f'{LIMIT}lower = "1 TF"\nunit = "FLOP/s"\n', ["lower is '1 TF'", "expected a number in FLOP/s"]),
        (f'{LIMIT}lower = true\nunit = "FLOP/s"\n', ["lower is True", "expected a number"]),
        (f'{LIMIT}lower = nan\nunit = "FLOP/s"\n', ["rate_flops[fp32]", "finite"]),
        (f'{LIMIT}upper = inf\nunit = "FLOP/s"\n', ["rate_flops[fp32]", "finite"]),
        (f'{LIMIT}lowest = 1\nunit = "FLOP/s"\n', ["unknown key 'lowest'", "Did you mean 'lower'?"]),
        (f'{MATMUL}[limits."matmul.rate"]\n', ["matmul.rate", "no check of this suite measures it", "rate_flops"]),
        (f'{MATMUL}[limits."identity.cores"]\n', ["identity.cores", "no check of this suite measures it"]),
        (f'{MATMUL}[limits."rate_flops"]\n', ["expected check.metric", 'Write it like [limits."matmul.']),
        (f"{MATMUL}[limits]\nmatmul = 5\n", ['[limits."matmul"] is 5', "expected a table"]),
        (f"limits = 5\n{MATMUL}", ["[limits] is 5", "expected a table"]),
    ],
)
def test_a_mistake_names_file_key_and_what_would_be_right(tmp_path: Path, text: str, words: list[str]) -> None:
    with pytest.raises(UsageError) as fault:
        written(tmp_path, text)
    said = str(fault.value)
    assert str(tmp_path / "mine.toml") in said
    for word in words:
        assert word in said


def test_an_unquoted_limit_is_told_how_to_write_it(tmp_path: Path) -> None:
    # [limits.matmul.rate_flops] is TOML for a table in a table.
    with pytest.raises(UsageError, match=r'\[limits\."matmul"\](?s:.*)Write it like \[limits\."matmul\.rate_flops"\]'):
        written(tmp_path, f'{MATMUL}[limits.matmul.rate_flops]\nlower = 1\nunit = "FLOP/s"\n')


# --- a limit that matches nothing -------------------------------------------------------------------------------------


def test_a_limit_with_a_variant_that_nobody_measured_is_an_error_and_exit_3() -> None:
    limit = Limit(1.0, None, "FLOP/s", "suite")
    the_plan = plan(suite("speed", limits={"speed.rate_flops[fp23]": limit}), nodes=1)
    found = evidence([record("speed", "node0", {"rate_flops[fp32]": 5.0, "wrong_elements": 0})], the_plan)
    (error,) = of(judged(found).verdicts, Outcome.ERROR)
    assert "speed.rate_flops[fp23]" in error.reason
    assert "test.toml" in error.reason
    assert judged(found).exit_code == 3


def test_a_limit_of_a_check_that_is_not_required_is_an_error_that_does_not_count() -> None:
    limit = Limit(1.0, None, "FLOP/s", "suite")
    specs = (CheckSpec("speed", required=False),)
    the_plan = plan(suite(*specs, limits={"speed.rate_flops[none]": limit}), nodes=1)
    found = evidence([record("speed", "node0", {"rate_flops": 5.0, "wrong_elements": 0})], the_plan)
    assert of(judged(found).verdicts, Outcome.ERROR)
    assert judged(found).exit_code == 0


def test_resolving_reads_no_file() -> None:
    tables: dict[str, Any] = {"checks": {"identity": {}}}
    assert resolve_suite(SuiteText(Path("/nowhere/x.toml"), tables)).name == "x"


def test_the_judge_takes_a_resolved_suite_as_it_is() -> None:
    found = evidence([], plan(resolve(SUITES / "site.toml"), nodes=1), names=())
    assert judge(found, CATALOGUE, {}, frozenset()).exit_code == 3
