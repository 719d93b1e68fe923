from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.baseline_files import read_baseline
from support.builders import AT, H100, baseline, entry
from support.gpu_runs import first_format

from hpcaccept.errors import RunError, StoreError
from hpcaccept.model.baseline import Change, Peak, State
from hpcaccept.store.baseline_file import (
    change_file,
    file_name,
    find_baseline,
    read_generations,
    write_baseline,
)

if TYPE_CHECKING:
    from typing import NoReturn


@pytest.mark.parametrize(
    ("model", "name"),
    [
        (H100, "nvidia-h100-80gb-hbm3.h5"),
        ("AMD EPYC 7763 64-Core Processor", "amd-epyc-7763-64-core-processor.h5"),
        ("Intel(R) Xeon(R) Gold 6338 CPU @ 2.00GHz", "intel-r-xeon-r-gold-6338-cpu-2-00ghz.h5"),
        ("../../etc/passwd", "etc-passwd.h5"),
    ],
)
def test_a_baseline_is_named_by_its_model(model: str, name: str) -> None:
    assert file_name(model) == name


def test_a_baseline_comes_back_as_it_was(tmp_path: Path) -> None:
    whole = baseline(entry(), entry("speed.latency_s[8B]", unit="s", direction="lower", lower=None, upper=2e-6))
    file = write_baseline(tmp_path / "baselines", whole)
    assert file == tmp_path / "baselines" / "nvidia-h100-80gb-hbm3.h5"
    assert read_baseline(file) == whole


@settings(max_examples=25, deadline=None)
@given(
    text=st.text(st.characters(exclude_categories=["Cs"]), max_size=30),
    center=st.floats(allow_nan=False, allow_infinity=False),
)
def test_any_provenance_and_number_come_back(
    tmp_path_factory: pytest.TempPathFactory, text: str, center: float
) -> None:
    whole = baseline(entry(center=center, lower=center, source=text))
    whole = replace(whole, provenance=replace(whole.provenance, facts={"driver": text}, left_out={"node9": text}))
    assert read_baseline(write_baseline(tmp_path_factory.mktemp("any"), whole)) == whole


def test_the_numbers_stand_as_columns_for_other_tools(tmp_path: Path) -> None:
    file = write_baseline(tmp_path, baseline(entry(), entry("speed.latency_s", unit="s", center=None, values=7)))
    with h5py.File(file) as h5:
        columns = h5["generations/0001/columns"]
        assert list(columns["key"].asstr()[:]) == ["speed.latency_s", "speed.rate_flops"]
        assert list(columns["unit"].asstr()[:]) == ["s", "FLOP/s"]
        assert columns["center"][1] == 100.0
        assert np.isnan(columns["center"][0]), "a blank stays blank"
        assert np.isnan(columns["upper"][1])
        assert (columns["subjects"][1], columns["values"][0]) == (8, 7)
        assert h5["generations/0001"].attrs["state"] == "approved"


def test_the_same_content_gives_the_same_bytes(tmp_path: Path) -> None:
    whole = baseline(entry(), entry("speed.latency_s", unit="s", lower=None, upper=1.0, direction="lower"))
    turned = replace(whole, entries=dict(reversed(whole.entries.items())))
    one, other = (write_baseline(tmp_path / name, it).read_bytes() for name, it in (("a", whole), ("b", turned)))
    assert one == other


# --- generations ------------------------------------------------------------------------------------------------------


def test_what_was_there_before_is_kept_as_a_generation(tmp_path: Path) -> None:
    for center in (100.0, 101.0, 102.0):
        file = write_baseline(tmp_path, baseline(entry(center=center)))
    found = read_generations(file)
    assert [one.entries["speed.rate_flops"].center for one in found] == [100.0, 101.0, 102.0]
    assert [one.generation for one in found] == [1, 2, 3]


STATES: tuple[State, ...] = ("shipped", "draft", "approved", "expired", "draft", "approved")


def test_the_newest_that_somebody_vouched_for_is_asked_first_and_what_is_shipped_last(tmp_path: Path) -> None:
    for state in STATES:
        file = write_baseline(tmp_path, replace(baseline(), state=state))
    first = read_baseline(file)
    order = [first.generation, *(one.generation for one in first.alternatives)]
    assert order == [6, 3, 5, 2, 1, 4]


def test_peaks_strictness_and_the_life_of_a_generation_come_back(tmp_path: Path) -> None:
    whole = replace(
        baseline(),
        peaks=(Peak("speed.*", "FLOP/s", 200.0, "a data sheet", "2026-11-22", 0.1),),
        strict=True,
        changes=(Change("approved", AT, "Ann", "2027-01-01", "Grüße"),),
    )
    (found,) = read_generations(write_baseline(tmp_path, whole))
    assert found == whole
    assert found.peaks == whole.peaks


@pytest.mark.parametrize(
    ("day", "state"), [("2026-12-31", "approved"), ("2027-01-01T23:59:59+00:00", "approved"), ("2027-01-02", "expired")]
)
def test_an_approval_ends_after_its_last_day(tmp_path: Path, day: str, state: str) -> None:
    whole = replace(baseline(), changes=(Change("approved", AT, "Ann", "2027-01-01"),))
    file = write_baseline(tmp_path, whole)
    assert read_baseline(file, day).state == state
    found = find_baseline((tmp_path,), H100, day)
    assert found is not None
    assert found[1].state == state


def test_the_sites_own_and_what_is_shipped_are_both_asked(tmp_path: Path) -> None:
    write_baseline(tmp_path / "mine", replace(baseline(entry(center=1.0)), state="draft"))
    write_baseline(tmp_path / "shipped", replace(baseline(entry(center=2.0)), state="shipped"))
    found = find_baseline((tmp_path / "mine", tmp_path / "shipped"), H100)
    assert found is not None
    assert [one.state for one in (found[1], *found[1].alternatives)] == ["draft", "shipped"]


def test_one_folder_named_twice_is_read_once(tmp_path: Path) -> None:
    write_baseline(tmp_path, baseline())
    found = find_baseline((tmp_path, tmp_path), H100)
    assert found is not None
    assert found[1].alternatives == ()


def test_a_change_that_fails_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    file = write_baseline(tmp_path, baseline())
    before = file.read_bytes()

    def refuse(_: object) -> NoReturn:
        raise RunError("no")

    with pytest.raises(RunError, match="no"):
        change_file(file, H100, refuse)
    assert file.read_bytes() == before


def test_a_file_of_another_model_is_not_added_to(tmp_path: Path) -> None:
    file = write_baseline(tmp_path, baseline(model="NVIDIA H100-80GB HBM3"))
    with pytest.raises(StoreError, match="is of 'NVIDIA H100-80GB HBM3', expected"):
        write_baseline(tmp_path, baseline())
    assert read_baseline(file).model == "NVIDIA H100-80GB HBM3"


WRITER = """
import sys
from dataclasses import replace
from pathlib import Path
sys.path.insert(0, sys.argv[3])
from support.builders import baseline, entry
from hpcaccept.store.baseline_file import write_baseline
for center in range(int(sys.argv[2]), int(sys.argv[2]) + 5):
    write_baseline(Path(sys.argv[1]), baseline(entry(center=float(center))))
"""


def test_writers_at_the_same_time_lose_nothing_of_each_other(tmp_path: Path) -> None:
    tests = str(Path(__file__).parents[2])
    starts = (100, 200, 300)
    running = [subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path), str(start), tests]) for start in starts]
    assert [process.wait(60) for process in running] == [0, 0, 0]
    found = read_generations(tmp_path / file_name(H100))
    centers = [one.entries["speed.rate_flops"].center or 0.0 for one in found]
    assert sorted(centers) == [float(start + n) for start in starts for n in range(5)]


# --- what cannot be ---------------------------------------------------------------------------------------------------

PEAK = Peak("speed.rate_flops", "FLOP/s", 100.0, "a data sheet", "2026-11-22")


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"lower": 101.0, "center": 120.0}, "above the physical peak 100"),
        ({"unit": "GFLOP/s"}, "its unit is GFLOP/s"),
        ({"unit": "B/s"}, "its unit is B/s, its peak has FLOP/s"),
        ({"lower": None}, "no limit"),
        ({"direction": "up"}, "its direction is 'up'"),
        ({"lower": 10.0, "upper": 5.0}, "above the upper one"),
    ],
)
def test_an_impossible_limit_is_neither_written_nor_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: dict[str, Any], why: str
) -> None:
    wrong = replace(baseline(entry(**{"center": 99.0, "lower": 90.0, **more})), peaks=(PEAK,))
    with pytest.raises(StoreError, match=why):
        write_baseline(tmp_path, wrong)
    with monkeypatch.context() as patch:
        patch.setattr("hpcaccept.store.baseline_file.impossible", lambda _: [])
        file = write_baseline(tmp_path, wrong)
    with pytest.raises(StoreError, match=why):
        read_baseline(file)


def test_a_centre_a_little_above_a_nominal_rate_is_no_fault(tmp_path: Path) -> None:
    write_baseline(tmp_path, replace(baseline(entry(center=103.0, lower=99.0)), peaks=(PEAK,)))


# --- format 1 ---------------------------------------------------------------------------------------------------------


def test_the_first_format_is_read_as_a_draft(tmp_path: Path) -> None:
    whole = first_format(tmp_path / file_name(H100))
    # Its loss of a tenth is the floor of what follows from it.
    entries = {key: replace(one, floor=1 - 90.0 / 100.0) for key, one in whole.entries.items()}
    assert read_baseline(tmp_path / file_name(H100)) == replace(whole, state="draft", entries=entries)


def test_the_next_change_writes_todays_format_and_keeps_what_was_there(tmp_path: Path) -> None:
    first_format(tmp_path / file_name(H100))
    file = write_baseline(tmp_path, baseline(entry(center=101.0)))
    assert [one.state for one in read_generations(file)] == ["draft", "approved"]
    with h5py.File(file) as h5:
        assert h5.attrs["version"] == 4


def test_a_damaged_file_of_the_first_format_is_told(tmp_path: Path) -> None:
    first_format(tmp_path / file_name(H100))
    with h5py.File(tmp_path / file_name(H100), "a") as h5:
        h5.attrs["model"] = "NVIDIA H200"
    with pytest.raises(StoreError, match="checksum"):
        read_baseline(tmp_path / file_name(H100))


def test_the_first_folder_that_has_the_model_wins(tmp_path: Path) -> None:
    write_baseline(tmp_path / "mine", baseline(entry(center=1.0)))
    write_baseline(tmp_path / "shipped", baseline(entry(center=2.0)))
    found = find_baseline((tmp_path / "none", tmp_path / "mine", tmp_path / "shipped"), H100)
    assert found is not None
    assert found[1].entries["speed.rate_flops"].center == 1.0


@pytest.mark.parametrize("model", ["NVIDIA A100", ""])
def test_a_model_that_nobody_has_learned_has_no_baseline(tmp_path: Path, model: str) -> None:
    write_baseline(tmp_path, baseline())
    assert find_baseline((tmp_path,), model) is None


def test_models_that_share_a_file_name_are_not_confused(tmp_path: Path) -> None:
    write_baseline(tmp_path, baseline(model="NVIDIA H100-80GB HBM3"))
    assert find_baseline((tmp_path,), H100) is None


# --- damage -----------------------------------------------------------------------------------------------------------


def test_a_baseline_without_provenance_cannot_judge(tmp_path: Path) -> None:
    file = write_baseline(tmp_path, baseline())
    with h5py.File(file, "a") as h5:
        del h5["generations/0001/head"]
    with pytest.raises(StoreError, match="is damaged"):
        read_baseline(file)


@pytest.mark.parametrize(
    ("dataset", "old", "new"), [("entries", '"lower":90.0', '"lower":10.0'), ("head", "run-1", "run-2")]
)
def test_a_number_that_was_changed_by_hand_is_noticed(tmp_path: Path, dataset: str, old: str, new: str) -> None:
    file = write_baseline(tmp_path, baseline())
    with h5py.File(file, "a") as h5:
        dataset = f"generations/0001/{dataset}"
        texts = h5[dataset].asstr()[()]
        changed = texts.replace(old, new) if isinstance(texts, str) else [t.replace(old, new) for t in texts]
        assert list(changed) != list(texts)
        h5[dataset][()] = changed
    with pytest.raises(StoreError, match="checksum does not fit") as fault:
        read_baseline(file)
    assert "learn it again" in fault.value.remedy


def test_a_flipped_byte_in_the_texts_is_noticed(tmp_path: Path) -> None:
    file = write_baseline(tmp_path, baseline())
    whole = file.read_bytes()
    texts = [whole.index(b'{"key":'), whole.index(b'{"learned_at":')]
    for begin in texts:
        for at in range(begin, whole.index(b"}", begin) + 1, 3):
            content = bytearray(whole)
            content[at] ^= 0x04
            file.write_bytes(content)
            with pytest.raises(StoreError):
                read_baseline(file)


@pytest.mark.parametrize("name", ["format", "version", "model", "checksum"])
def test_a_baseline_that_lacks_what_it_must_say_is_refused(tmp_path: Path, name: str) -> None:
    file = write_baseline(tmp_path, baseline())
    with h5py.File(file, "a") as h5:
        del h5.attrs[name]
    with pytest.raises(StoreError):
        read_baseline(file)


@pytest.mark.parametrize("strange", [5.0, [1, 2]])
def test_an_hdf5_file_of_other_kinds_is_damage_and_no_traceback(tmp_path: Path, strange: object) -> None:
    file = write_baseline(tmp_path, baseline())
    with h5py.File(file, "a") as h5:
        del h5["generations/0001/entries"]
        h5["generations/0001/entries"] = strange
    with pytest.raises(StoreError, match="damaged"):
        read_baseline(file)


def test_a_flipped_byte_in_the_model_is_noticed(tmp_path: Path) -> None:
    file = write_baseline(tmp_path, baseline())
    with h5py.File(file, "a") as h5:
        h5.attrs["model"] = "NVIDIA H200"
    with pytest.raises(StoreError, match="damaged"):
        read_baseline(file)


def test_a_file_that_was_cut_anywhere_is_told(tmp_path: Path) -> None:
    file = write_baseline(tmp_path, baseline())
    content = file.read_bytes()
    for length in (*range(0, 600, 7), *range(600, len(content), 61), len(content) - 1):
        file.write_bytes(content[:length])
        with pytest.raises(StoreError):
            read_baseline(file)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_flipped_bit_anywhere_is_told_or_changes_nothing(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("flip")
    file = write_baseline(folder, baseline())
    content = bytearray(file.read_bytes())
    at = data.draw(st.integers(0, len(content) - 1))
    content[at] ^= 1 << data.draw(st.integers(0, 7))
    file.write_bytes(content)
    try:
        found = read_baseline(file)
    except StoreError:
        return
    assert found == baseline()


def test_a_run_file_is_no_baseline(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "x.h5", "w") as h5:
        h5.attrs.update({"format": "hpcaccept-run", "version": 1})
    with pytest.raises(StoreError, match="'hpcaccept-run' version 1, expected 'hpcaccept-baseline' version 4"):
        read_baseline(tmp_path / "x.h5")
