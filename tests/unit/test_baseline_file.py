from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import h5py
import numpy as np
import pytest
from builders import H100, baseline, entry
from hypothesis import given, settings
from hypothesis import strategies as st

from hpcaccept.errors import StoreError
from hpcaccept.store.baseline_file import file_name, find_baseline, read_baseline, write_baseline

if TYPE_CHECKING:
    from pathlib import Path


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
    file = write_baseline(tmp_path, baseline())
    with h5py.File(file) as h5:
        assert h5["columns/center"][:].tolist() == [100.0]
        assert np.isnan(h5["columns/upper"][0])


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
        del h5["provenance"]
    with pytest.raises(StoreError, match="is damaged"):
        read_baseline(file)


@pytest.mark.parametrize(
    ("dataset", "old", "new"), [("entries", '"lower":90.0', '"lower":10.0'), ("provenance", "run-1", "run-2")]
)
def test_a_number_that_was_changed_by_hand_is_noticed(tmp_path: Path, dataset: str, old: str, new: str) -> None:
    file = write_baseline(tmp_path, baseline())
    with h5py.File(file, "a") as h5:
        texts = h5[dataset].asstr()[()]
        changed = texts.replace(old, new) if isinstance(texts, str) else [t.replace(old, new) for t in texts]
        assert list(changed) != list(texts)
        h5[dataset][()] = changed
    with pytest.raises(StoreError, match="checksum does not fit") as fault:
        read_baseline(file)
    assert "learn it again" in fault.value.remedy


def test_every_flipped_byte_in_the_texts_is_noticed(tmp_path: Path) -> None:
    file = write_baseline(tmp_path, baseline())
    whole = file.read_bytes()
    texts = [whole.index(b'{"key":'), whole.index(b'{"learned_at":')]
    for begin in texts:
        for at in range(begin, whole.index(b"}", begin) + 1):
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
        del h5["entries"]
        h5["entries"] = strange
    with pytest.raises(StoreError, match="damaged"):
        read_baseline(file)


def test_a_flipped_byte_in_the_model_is_noticed(tmp_path: Path) -> None:
    file = write_baseline(tmp_path, baseline())
    with h5py.File(file, "a") as h5:
        h5.attrs["model"] = "NVIDIA H200"
    with pytest.raises(StoreError, match="damaged"):
        read_baseline(file)


@pytest.mark.parametrize("share", [0.2, 0.6, 0.95])
def test_a_truncated_baseline_is_told(tmp_path: Path, share: float) -> None:
    file = write_baseline(tmp_path, baseline())
    content = file.read_bytes()
    file.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(StoreError):
        read_baseline(file)


def test_a_run_file_is_no_baseline(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "x.h5", "w") as h5:
        h5.attrs.update({"format": "hpcaccept-run", "version": 1})
    with pytest.raises(StoreError, match="'hpcaccept-run' version 1, expected 'hpcaccept-baseline'"):
        read_baseline(tmp_path / "x.h5")
