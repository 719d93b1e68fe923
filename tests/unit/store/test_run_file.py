from __future__ import annotations

import json
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.builders import AT, H100, evidence, fleet, nodes, plan, rank_started, record, step, suite

from hpcaccept.errors import StoreError
from hpcaccept.model.event import Event
from hpcaccept.model.job import JobStatus
from hpcaccept.model.record import UnreadableLine
from hpcaccept.model.table import SampleTable
from hpcaccept.store.run_file import FORMAT, VERSION, open_h5, read_run, seal_h5, write_h5, write_run

if TYPE_CHECKING:
    from pathlib import Path

    from hpcaccept.model.evidence import Evidence


def same(one: Evidence, other: Evidence) -> bool:
    """Equal in everything, columns included."""
    tables = one.samples, other.samples
    columns = [f.name for f in fields(SampleTable)]
    alike = all(np.array_equal(getattr(tables[0], name), getattr(tables[1], name)) for name in columns)
    none = replace(one, samples=other.samples)
    return alike and none == other


def everything() -> Evidence:
    """A run with something of each kind."""
    found = evidence(
        [
            record("speed", "node0", {"rate_flops[fp32]": [1.5, 2.5], "wrong_elements": 0}, facts={"driver": "580 ✓"}),
            record("speed", "node1", cause="Boom: \x1b[31m\n\0", cut_short=True, unsupported={"fp8": "too old"}),
            record("fabric", "node0", {"busbw_bytes[nccl/64MiB]": 1e11}),
        ],
        plan(suite("speed", "fabric")),
        events=(Event("started", AT, nodes=nodes(4)), Event("death", AT, ranks=(1,), nodes=("node1",), detail="…")),
        unreadable=(UnreadableLine("r000003.jsonl", '{"kind'),),
    )
    return replace(found, steps=(step(("speed", "fabric")),), imports_s={"torch": 2.0}, job=JobStatus("timeout", "T"))


def test_a_run_comes_back_as_it_was(tmp_path: Path) -> None:
    write_run(tmp_path / "run.h5", everything(), AT)
    assert same(read_run(tmp_path / "run.h5"), everything())


def test_a_run_of_which_nothing_is_known_comes_back_too(tmp_path: Path) -> None:
    nothing = evidence([], names=(), rank_starts=())
    write_run(tmp_path / "run.h5", nothing, AT)
    assert same(read_run(tmp_path / "run.h5"), nothing)


@settings(max_examples=25, deadline=None)
@given(
    rates=st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=5),
    text=st.text(st.characters(exclude_categories=["Cs"])),
)
def test_any_numbers_and_texts_come_back(
    tmp_path_factory: pytest.TempPathFactory, rates: list[float], text: str
) -> None:
    file = tmp_path_factory.mktemp("any") / "run.h5"
    found = fleet(rates)
    found = replace(found, records=(*found.records, record("speed", "node9", cause=text, facts={"a": text})))
    write_run(file, found, AT)
    assert same(read_run(file), found)


def test_a_run_file_says_what_it_is_to_any_hdf5_tool(tmp_path: Path) -> None:
    write_run(tmp_path / "run.h5", everything(), AT)
    with h5py.File(tmp_path / "run.h5") as h5:
        assert (h5.attrs["format"], h5.attrs["version"], h5.attrs["written_at"]) == (FORMAT, VERSION, AT)
        assert h5["samples/value"].dtype == np.float64
        assert json.loads(h5["plan"].asstr()[()])["run_id"] == everything().plan.run_id
        assert h5["samples/keys"].asstr()[0] == "speed.rate_flops[fp32]"


def test_the_columns_of_the_records_come_back(tmp_path: Path) -> None:
    write_run(tmp_path / "run.h5", everything(), AT)
    was, now = everything().record_table, read_run(tmp_path / "run.h5").record_table
    assert (was.checks, was.places) == (now.checks, now.places)
    for name in ("check", "place", "revision", "flags"):
        assert np.array_equal(getattr(was, name), getattr(now, name))
    assert now[-1] == was[-1]
    assert now[0:2] == was[0:2]


@pytest.mark.parametrize(("name", "change"), [("ends", -1), ("ends", 1), ("check", 9), ("place", -1)])
def test_records_whose_columns_lie_are_damage(tmp_path: Path, name: str, change: int) -> None:
    file = tmp_path / "run.h5"
    write_run(file, everything(), AT)
    with h5py.File(file, "a") as h5:
        h5[f"records/{name}"][-1] = change if name != "ends" else h5["records/ends"][-1] + change
    with pytest.raises(StoreError, match="is damaged"):
        read_run(file)


def test_a_record_that_cannot_be_read_is_told_when_it_is_asked_for(tmp_path: Path) -> None:
    file = tmp_path / "run.h5"
    write_run(file, everything(), AT)
    with h5py.File(file, "a") as h5:
        h5["records/text"][0] = ord("[")
    seal_h5(file)
    with pytest.raises(StoreError, match="Record 0 is damaged"):
        list(read_run(file).records)


def test_writing_a_run_again_replaces_it(tmp_path: Path) -> None:
    write_run(tmp_path / "run.h5", fleet([1.0]), AT)
    write_run(tmp_path / "run.h5", fleet([1.0, 2.0]), AT)
    assert len(read_run(tmp_path / "run.h5").records) == 2
    assert [p.name for p in tmp_path.iterdir()] == ["run.h5"]


# --- damage -----------------------------------------------------------------------------------------------------------


def test_a_run_file_that_is_absent_is_told(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"run\.h5 does not exist"):
        read_run(tmp_path / "run.h5")


@pytest.mark.parametrize("content", [b"", b"not hdf5 at all", b"\x89HDF\r\n\x1a\n"])
def test_what_is_no_hdf5_is_told(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "run.h5").write_bytes(content)
    with pytest.raises(StoreError, match="not a readable HDF5 file"):
        read_run(tmp_path / "run.h5")


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
def test_a_truncated_run_file_is_told(tmp_path: Path, share: float) -> None:
    file = tmp_path / "run.h5"
    write_run(file, everything(), AT)
    content = file.read_bytes()
    file.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(StoreError):
        read_run(file)


@pytest.mark.parametrize(
    ("attributes", "words"),
    [
        ({}, "None version None"),
        ({"format": "hpcaccept-baseline", "version": 1}, "'hpcaccept-baseline' version 1"),
        ({"format": FORMAT, "version": VERSION + 1}, f"version {VERSION + 1}, expected '{FORMAT}' version {VERSION}"),
    ],
)
def test_a_foreign_file_is_refused_by_format_and_version(
    tmp_path: Path, attributes: dict[str, Any], words: str
) -> None:
    with h5py.File(tmp_path / "run.h5", "w") as h5:
        h5.attrs.update(attributes)
    with pytest.raises(StoreError, match=words):
        read_run(tmp_path / "run.h5")


@pytest.mark.parametrize(
    "name",
    ["plan", "nodes", "job", "imports_s", "evidence/rank_starts", "records/text", "samples/value", "samples/launch"],
)
def test_a_run_file_that_lacks_a_part_is_told_with_how_to_mend_it(tmp_path: Path, name: str) -> None:
    file = tmp_path / "run.h5"
    write_run(file, everything(), AT)
    with h5py.File(file, "a") as h5:
        del h5[name]
    with pytest.raises(StoreError, match="is damaged") as fault:
        read_run(file)
    assert "hpcaccept collect" in fault.value.remedy


@pytest.mark.parametrize("name", ["plan", "nodes", "imports_s"])
def test_a_part_that_is_no_json_is_damage(tmp_path: Path, name: str) -> None:
    file = tmp_path / "run.h5"
    write_run(file, everything(), AT)
    with h5py.File(file, "a") as h5:
        del h5[name]
        h5[name] = '{"run_id":'
    with pytest.raises(StoreError, match="is damaged"):
        read_run(file)


def test_columns_of_unlike_length_are_damage(tmp_path: Path) -> None:
    file = tmp_path / "run.h5"
    write_run(file, everything(), AT)
    with h5py.File(file, "a") as h5:
        short = h5["samples/value"][:-1]
        del h5["samples/value"]
        h5["samples/value"] = short
    with pytest.raises(StoreError, match="is damaged"):
        read_run(file)


def test_an_index_that_points_nowhere_is_damage(tmp_path: Path) -> None:
    file = tmp_path / "run.h5"
    write_run(file, everything(), AT)
    with h5py.File(file, "a") as h5:
        h5["samples/subject"][0] = 99
    with pytest.raises(StoreError, match="is damaged"):
        read_run(file)


# --- written whole ----------------------------------------------------------------------------------------------------


def test_a_fill_that_raises_leaves_the_old_file_and_nothing_beside_it(tmp_path: Path) -> None:
    file = tmp_path / "run.h5"
    write_run(file, fleet([1.0]), AT)
    before = file.read_bytes()

    def fill(h5: h5py.File) -> None:
        h5.attrs["format"] = "half"
        raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError, match="in the middle"):
        write_h5(file, fill)
    assert file.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["run.h5"]


def test_a_first_fill_that_raises_leaves_nothing(tmp_path: Path) -> None:
    def fill(h5: h5py.File) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_h5(tmp_path / "new" / "run.h5", fill)
    assert list((tmp_path / "new").iterdir()) == []


def test_a_written_file_is_readable_by_everyone(tmp_path: Path) -> None:
    write_run(tmp_path / "run.h5", fleet([1.0]), AT)
    assert (tmp_path / "run.h5").stat().st_mode & 0o777 == 0o644


def test_a_file_that_is_refused_is_not_left_open(tmp_path: Path) -> None:
    file = tmp_path / "run.h5"
    with h5py.File(file, "w") as h5:
        h5.attrs["format"] = "foreign"
    with pytest.raises(StoreError):
        open_h5(file, FORMAT, VERSION)
    with h5py.File(file, "a") as h5:
        h5.attrs["format"] = "still writable"


def test_rank_starts_and_device_models_are_kept(tmp_path: Path) -> None:
    found = fleet([1.0], rank_starts=(rank_started(0, "node0", in_turn=True),))
    write_run(tmp_path / "run.h5", found, AT)
    back = read_run(tmp_path / "run.h5")
    assert back.in_turn
    assert back.samples.subjects[0].model == H100


# --- one flipped bit --------------------------------------------------------------------------------------------------


def test_any_flipped_bit_is_found(tmp_path: Path) -> None:
    file, harmed = tmp_path / "run.h5", tmp_path / "harmed.h5"
    write_run(file, everything(), AT)
    whole = file.read_bytes()
    places = np.random.default_rng(7).choice(8 * len(whole), 400, replace=False)
    # The first bytes are what tells a file with a checksum from one of an earlier version.
    for place in [*range(8 * 24), *places.tolist()]:
        raw = bytearray(whole)
        raw[place // 8] ^= 1 << place % 8
        harmed.write_bytes(bytes(raw))
        with pytest.raises(StoreError, match="checksum does not fit"):
            read_run(harmed)


@pytest.mark.parametrize("size", [0, 5, 511, 512, 600])
def test_a_torn_file_is_refused(tmp_path: Path, size: int) -> None:
    file = tmp_path / "run.h5"
    write_run(file, everything(), AT)
    file.write_bytes(file.read_bytes()[:size])
    with pytest.raises(StoreError):
        read_run(file)
