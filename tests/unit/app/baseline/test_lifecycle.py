"""Learn, approve, retire, compare, check and import, as an administrator types it."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from support.baseline_files import read_baseline
from support.builders import H100, baseline, entry
from support.gpu_runs import BF16, file_of, first_format, gpu_run, typed

from hpcaccept.cli import main
from hpcaccept.store.baseline_file import read_generations, write_baseline

if TYPE_CHECKING:
    from pathlib import Path

    from hpcaccept.model.baseline import Baseline


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def against_baseline(capsys: pytest.CaptureFixture[str], run: str) -> list[tuple[str, str]]:
    """(outcome, reason) of the verdicts about bf16 that are not those of the peers."""
    capsys.readouterr()
    main(["report", run, "--format", "json"])
    verdicts = json.loads(capsys.readouterr().out)["verdicts"]
    return [
        (v["outcome"], v["reason"])
        for v in verdicts
        if v["metric"] == "rate_flops" and ("baseline" in v["reason"] or (v["limit"] or {}).get("origin") == "baseline")
    ]


# --- learning ---------------------------------------------------------------------------------------------------------


def test_a_learned_draft_has_its_whole_provenance(capsys: pytest.CaptureFixture[str], place: Path) -> None:
    gpu_run(place, "run-1", wrong="node3")
    code, _, err = typed(capsys, "learn", "run-1")
    assert code == 3
    assert "run-1 was not accepted: FAIL node3 cuda:0" in err
    assert not file_of(place).exists()
    code, out, _ = typed(capsys, "learn", "--unaccepted", "run-1")
    assert code == 0
    assert "left out node3: FAIL matmul.wrong_elements[bf16]" in out
    assert "baseline approve" in out
    (one,) = read_generations(file_of(place))
    origin = one.provenance
    assert (one.state, origin.runs, origin.nodes) == ("draft", ("run-1",), ("node0", "node1", "node2"))
    assert origin.device_ids == ("GPU-0", "GPU-1", "GPU-2")
    assert origin.device_serials == ("serial-0", "serial-1", "serial-2")
    assert origin.facts["gpu_power_limit_w"] == "700"
    assert set(origin.left_out) == {"node3"}
    bf16 = one.entries[BF16]
    assert (bf16.center, bf16.subjects, bf16.nodes, bf16.revision) == (7.85e14, 3, 3, 2)
    assert one.peaks, "what the part cannot exceed goes with it"


def test_boards_of_another_power_limit_are_another_generation(capsys: pytest.CaptureFixture[str], place: Path) -> None:
    # The same boards, in another run with another limit.
    gpu_run(place, "run-1", [6.5e14] * 4, facts=[{"gpu_power_limit_w": "500"}] * 4)
    gpu_run(place, "run-2", [7.9e14] * 4)
    assert typed(capsys, "learn", "run-1", "run-2", "--accept-decline", "matmul.*")[0] == 0
    found = {one.provenance.facts["gpu_power_limit_w"]: one for one in read_generations(file_of(place))}
    assert {w: (one.entries[BF16].center, one.provenance.runs) for w, one in found.items()} == {
        "500": (6.5e14, ("run-1",)),
        "700": (7.9e14, ("run-2",)),
    }
    for run in ("run-1", "run-2"):
        ((outcome, reason),) = set(against_baseline(capsys, run))
        assert outcome == "PASS"
        assert "0.0 % above" in reason


def test_what_is_faster_than_the_part_can_be_is_not_learned(capsys: pytest.CaptureFixture[str], place: Path) -> None:
    gpu_run(place, "run-1", [2e15] * 4)
    code, _, err = typed(capsys, "learn", "--unaccepted", "run-1")
    assert code == 3
    assert "left out node0: ERROR matmul.rate_flops[bf16]" in err
    assert "more than the part can do" in err
    assert not file_of(place).exists()


def test_a_fleet_below_what_is_published_is_not_learned_unless_it_is_named(
    capsys: pytest.CaptureFixture[str], place: Path
) -> None:
    # Each of them FAILs against the shipped limit, so nobody is left to learn from: a fleet cannot become its own measure.
    gpu_run(place, "run-1", [6.0e14] * 4)
    code, _, err = typed(capsys, "learn", "--unaccepted", "run-1")
    assert code == 3
    assert "Nothing can be learned" in err


def test_slow_decline_over_several_runs_is_refused_and_can_be_accepted_by_name(
    capsys: pytest.CaptureFixture[str], place: Path
) -> None:
    for number, center in enumerate((8.0e14, 7.9e14), 1):
        gpu_run(place, f"run-{number}", [center] * 4)
        assert typed(capsys, "learn", f"run-{number}")[0] == 0
        assert typed(capsys, "approve", H100, "--by", "Ann")[0] == 0
    before = file_of(place).read_bytes()
    gpu_run(place, "run-3", [7.8e14] * 4)
    code, _, err = typed(capsys, "learn", "run-3")
    assert code == 3
    assert "matmul.rate_flops[bf16]: 780 TFLOP/s is 2.5 % worse than 800 TFLOP/s of generation 1" in err
    assert "--accept-decline 'matmul.rate_flops[bf16]'" in err
    assert file_of(place).read_bytes() == before
    code, out, _ = typed(capsys, "learn", "run-3", "--accept-decline", "matmul.rate_flops[bf16]")
    assert code == 0
    assert "accepted matmul.rate_flops[bf16]" in out
    assert typed(capsys, "approve", H100, "--by", "Ann")[0] == 0


def test_learning_says_what_the_limits_state_and_what_few_units_have_cost(
    capsys: pytest.CaptureFixture[str], place: Path
) -> None:
    gpu_run(place, "run-1", [7.7e14, 7.9e14, 8.0e14, 8.1e14])
    out = typed(capsys, "learn", "run-1")[1]
    assert "set to blame anybody in 0.0025 of healthy runs of 4 such values" in out
    assert f"wider because few units were learned from: 1 of 1 limits; {BF16}: " in out
    assert "% from 4 unit(s), " in out
    assert "% from 16, and from " in out
    shown = typed(capsys, "show", H100)[1]
    assert "set to blame anybody in 0.0025 of healthy runs of 4 such values" in " ".join(shown.split())
    gpu_run(place, "run-2", [8.0e14, 7.98e14, 8.02e14] * 64)
    assert "wider because few units" not in typed(capsys, "learn", "run-2")[1]


def test_a_run_of_two_groups_is_no_example_of_a_healthy_fleet(capsys: pytest.CaptureFixture[str], place: Path) -> None:
    """Eight GPUs around 800 and eight around 700 TFLOP/s: nobody fails, and together they would teach a limit that both meet."""
    good, slow = (8.00e14, 8.02e14, 7.98e14, 8.01e14), (7.00e14, 7.02e14, 6.98e14, 7.01e14)
    gpu_run(place, "run-1", (*good, *slow, *good, *slow), model="A GPU of our own")
    code, _, err = typed(capsys, "learn", "run-1")
    assert code == 3
    assert "was not accepted: matmul.rate_flops[bf16]: they are two groups" in err
    assert not file_of(place, "A GPU of our own").exists()


def test_a_decline_that_may_be_a_matter_of_units_is_learned_and_told(
    capsys: pytest.CaptureFixture[str], place: Path
) -> None:
    gpu_run(place, "run-1", [7.9e14, 8.0e14, 8.1e14, 8.0e14])
    assert typed(capsys, "learn", "run-1")[0] == 0
    assert typed(capsys, "approve", H100, "--by", "Ann")[0] == 0
    gpu_run(place, "run-2", [7.7e14, 7.8e14, 7.9e14, 7.8e14])
    code, out, _ = typed(capsys, "learn", "run-2")
    assert code == 0
    assert f"not sure {BF16}: 780 TFLOP/s is 2.5 % worse than 800 TFLOP/s of generation 1" in out
    assert "units in each could tell" in out


def test_the_clock_at_which_it_was_learned_is_kept(capsys: pytest.CaptureFixture[str], place: Path) -> None:
    gpu_run(place, "run-1", clocks=[1.70e9, 1.75e9, 1.80e9, 1.76e9])
    assert typed(capsys, "learn", "run-1")[0] == 0
    (one,) = read_generations(file_of(place))
    assert one.provenance.facts["clock[matmul.clock_hz[bf16]]"] == "1.75 GHz"


def test_a_strict_baseline_refuses_another_driver(capsys: pytest.CaptureFixture[str], place: Path) -> None:
    gpu_run(place, "run-1")
    assert typed(capsys, "learn", "run-1", "--strict")[0] == 0
    gpu_run(place, "run-2", facts=[{"driver": "590.2"}] * 4)
    # The shipped one judges then: it is of no driver.
    reasons = {reason for _, reason in against_baseline(capsys, "run-2")}
    assert reasons
    assert all("published figure" in reason for reason in reasons)


def test_two_who_learn_at_the_same_time_lose_nothing(place: Path) -> None:
    runs = [gpu_run(place, "run-1"), gpu_run(place, "run-2")]
    running = [subprocess.Popen([sys.executable, "-m", "hpcaccept", "baseline", "learn", run]) for run in runs]
    assert [process.wait(60) for process in running] == [0, 0]
    assert {one.provenance.runs for one in read_generations(file_of(place))} == {("run-1",), ("run-2",)}


# --- life -------------------------------------------------------------------------------------------------------------


def test_where_a_baseline_is_required_a_draft_does_not_count_and_an_approved_one_does(
    capsys: pytest.CaptureFixture[str], place: Path
) -> None:
    gpu_run(place, "run-1", model="A GPU of our own", demand="required")
    assert typed(capsys, "learn", "run-1")[0] == 0
    reasons = [reason for outcome, reason in against_baseline(capsys, "run-1") if outcome == "NO_BASELINE"]
    assert reasons
    assert "is a draft: hpcaccept baseline approve" in reasons[0]
    code, out, _ = typed(
        capsys, "approve", "of our own", "--by", "Ann Admin", "--until", "2099-12-31", "--why", "burn-in"
    )
    assert code == 0
    assert "generation 1 is approved by Ann Admin, until 2099-12-31" in out
    assert not [o for o, _ in against_baseline(capsys, "run-1") if o == "NO_BASELINE"]
    shown = typed(capsys, "show", "of our own")[1]
    assert "approved by Ann Admin until 2099-12-31: burn-in" in shown


def test_a_retired_one_judges_no_more_and_stays(capsys: pytest.CaptureFixture[str], place: Path) -> None:
    write_baseline(place / "baselines", baseline(model="Ours"))
    code, out, _ = typed(capsys, "retire", "Ours", "--by", "Bob", "--why", "new cooling")
    assert code == 0
    assert "expired by Bob" in out
    (one,) = read_generations(file_of(place, "Ours"))
    assert (one.state, one.changes[-1].why) == ("expired", "new cooling")
    assert typed(capsys, "check", "Ours")[0] == 3


@pytest.mark.parametrize(
    ("words", "code", "why"),
    [
        (["approve", "Ours"], 2, "--by"),
        (["approve", "Ours", "--by", " "], 2, "Nobody vouches"),
        (["approve", "Ours", "--by", "A", "--until", "soon"], 2, "expected a day as YYYY-MM-DD"),
        (["approve", "Ours", "--by", "A", "--until", "2020-01-01"], 2, "has passed"),
        (["approve", "Ours", "--by", "A", "--generation", "9"], 2, "has no generation 9"),
        (["approve", "Theirs", "--by", "A"], 2, "names no model"),
        (["approve", "", "--by", "A"], 2, "means several models"),
        (["retire", "Shipped", "--by", "A", "--generation", "1"], 2, "is shipped with hpcaccept"),
        (["retire", "Shipped", "--by", "A"], 2, "has no approved or draft generation"),
        (["diff", "Ours", "Nobodys"], 2, "means none"),
        (["diff", "Ours@7", "Ours"], 2, "has no generation 7"),
        (["import", "x.conf"], 2, "--model"),
    ],
)
def test_mistakes_are_sentences(
    capsys: pytest.CaptureFixture[str], place: Path, words: list[str], code: int, why: str
) -> None:
    write_baseline(place / "baselines", baseline(model="Ours"))
    write_baseline(place / "baselines", _shipped("Shipped"))
    found, _, err = typed(capsys, *words)
    assert found == code
    assert why in err


def _shipped(model: str) -> Baseline:
    return replace(baseline(model=model), state="shipped")


# --- looking ----------------------------------------------------------------------------------------------------------


def test_diff_says_what_changed_and_in_what_conditions(capsys: pytest.CaptureFixture[str], place: Path) -> None:
    old, new = baseline(entry(), entry("speed.gone")), baseline(entry(center=97.0), entry("speed.new"))
    new = replace(new, provenance=replace(new.provenance, facts={"driver": "590.2"}))
    for one in (old, new):
        write_baseline(place / "baselines", one)
    code, out, _ = typed(capsys, "diff", f"{H100}@1", str(file_of(place)))
    assert code == 0
    assert "driver: 580.1 → 590.2" in out
    assert "speed.rate_flops: center 100 FLOP/s → 97 FLOP/s (-3.0 %)" in out
    assert "only in A: speed.gone" in out
    assert "only in B: speed.new" in out
    assert "no metric differs" in typed(capsys, "diff", f"{H100}@1", f"{H100}@1")[1]


def test_check_says_what_is_stale_damaged_or_in_order(capsys: pytest.CaptureFixture[str], place: Path) -> None:
    write_baseline(place / "baselines", baseline(entry("matmul.rate_flops[bf16]", revision=2), model="Fine"))
    assert typed(capsys, "check", "Fine")[0] == 0
    write_baseline(place / "baselines", baseline(entry("matmul.rate_flops[bf16]", revision=1), model="Stale"))
    code, out, _ = typed(capsys, "check", "Stale")
    assert code == 3
    assert "revision 1, the check has 2; learn it again" in out
    file_of(place, "Fine").write_bytes(b"rubbish")
    code, out, _ = typed(capsys, "check")
    assert code == 3
    assert "not a readable HDF5 file" in out


def test_check_of_a_run_says_what_can_be_judged(capsys: pytest.CaptureFixture[str], place: Path) -> None:
    gpu_run(place, "run-1")
    code, out, _ = typed(capsys, "check", "--run", "run-1")
    assert f"{H100} (cuda:0, 8 threads, all at once): 1 of 2 rates can be judged" in out
    assert f"the baseline of {H100} has no identity.gpu_memory_bytes" in out
    assert code == 3, "the node's own numbers have no baseline"


def test_an_old_file_is_upgraded(capsys: pytest.CaptureFixture[str], place: Path) -> None:
    (place / "baselines").mkdir()
    first_format(file_of(place))
    assert "format 1 → 4" in typed(capsys, "upgrade")[1]
    assert "format 4, unchanged" in typed(capsys, "upgrade")[1]
    assert read_baseline(file_of(place)).state == "draft"


def test_texts_of_a_foreign_file_cannot_move_the_cursor(capsys: pytest.CaptureFixture[str], place: Path) -> None:
    write_baseline(place / "baselines", baseline(entry(source="\x1b[2Jgone"), model="Ours"))
    assert "\x1b" not in typed(capsys, "show", "Ours")[1]
