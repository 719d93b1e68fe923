"""HDF5 files that somebody harmed or made: run.h5, baselines and the history. Refused in a sentence, in little memory, no link followed."""

from __future__ import annotations

import random
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import h5py
import numpy as np
import pytest
from hypothesis import given
from support.hostile import FEW, SEEDS, Site, harmed_bytes, typed

from hpcaccept.store.run_file import seal_h5

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

BASELINE = "made/h5/nvidia-h100-80gb-hbm3.h5"
#: Kind of file → what reads it.
READERS = {
    "run": ["report", "run1", "--format", "json"],
    "baseline": ["baseline", "diff", BASELINE, BASELINE],
    "history": ["history", "show", "--history", "made/h5"],
}
MORE = {
    "run": ["compare", "run1", "run1"],
    "baseline": ["report", "run1", "--format", "nodes_bad", "--baselines-dir", "made/h5"],
    "history": ["history", "trend", "--history", "made/h5"],
}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with Site.made(tmp_path_factory.mktemp("site")) as made:
        yield made


def healthy(site: Site, kind: str) -> bytes:
    """What hpcaccept writes; made once for each kind."""
    kept = site.made_here / f"healthy.{kind}"
    if not kept.exists():
        site.write("job.json", site.whole["job.json"])
        if kind == "run":
            typed("collect", "run1")
            shutil.copy(site.run / "run.h5", kept)
        elif kind == "baseline":
            typed("baseline", "learn", "run1", "--baselines-dir", "made/h5")
            shutil.copy(next((site.made_here / "h5").glob("*.h5")), kept)
        else:
            typed("history", "add", "run1", "--history", "made/h5")
            shutil.copy(site.made_here / "h5/000001.h5", kept)
    return kept.read_bytes()


def read(site: Site, kind: str, content: bytes) -> None:
    """The commands that read such a file."""
    site.write("job.json", site.whole["job.json"])
    shutil.rmtree(site.made_here / "h5", ignore_errors=True)
    (site.made_here / "h5").mkdir()
    file = {"run": site.run / "run.h5", "baseline": site.place / BASELINE}.get(kind, site.made_here / "h5/000001.h5")
    file.write_bytes(content)
    for words in (READERS[kind], MORE[kind]):
        said = typed(*words)
        assert "planted" not in said.out + said.err
    site.must_be_clean()


@FEW
@given(seed=SEEDS)
@pytest.mark.parametrize("kind", READERS)
def test_any_bytes(site: Site, kind: str, seed: int) -> None:
    read(site, kind, harmed_bytes(random.Random(seed), healthy(site, kind)))


@FEW
@given(seed=SEEDS)
@pytest.mark.parametrize("kind", READERS)
def test_any_bytes_under_a_checksum_that_fits(site: Site, kind: str, seed: int) -> None:
    dice = random.Random(seed)
    file = site.made_here / "harmed.h5"
    content = healthy(site, kind)
    file.write_bytes(content[:512] + harmed_bytes(dice, content[512:]))
    seal_h5(file)
    read(site, kind, file.read_bytes())
    file.unlink()


@FEW
@given(seed=SEEDS)
@pytest.mark.parametrize("kind", READERS)
def test_any_thing_in_the_place_of_another(site: Site, kind: str, seed: int) -> None:
    dice = random.Random(seed)
    file = site.made_here / "harmed.h5"
    file.write_bytes(healthy(site, kind))
    (site.made_here / "planted.bin").write_bytes(b"planted " * 1000)
    with h5py.File(site.made_here / "planted.h5", "w") as other:
        other["planted"] = "planted"
        other["numbers"] = np.arange(100.0)
    with h5py.File(file, "r+") as h5:
        dice.choice(HARMS)(h5, dice)
    seal_h5(file)
    read(site, kind, file.read_bytes())
    file.unlink()


# --- what somebody may put into a file --------------------------------------------------------------------------------


def _things(h5: h5py.File) -> list[str]:
    found: list[str] = []
    h5.visit(found.append)
    return sorted(found)


def _freed(h5: h5py.File, dice: random.Random) -> str:
    """A name whose thing was taken away."""
    name = dice.choice(_things(h5))
    del h5[name]
    return name


def _other_numbers(h5: h5py.File, dice: random.Random) -> None:
    shape = dice.choice([(), (0,), (1,), (3,), (2, 2), (2, 2, 2), (1, 1, 1, 1), (100_000,)])
    kind = dice.choice(["f8", "i8", "u1", "i4", "f4", "S1", "S100", "?", "c16", "V8"])
    content = (
        np.zeros(shape, kind) if kind not in ("f8", "f4") else np.full(shape, dice.choice([np.nan, np.inf, -1, 1e308]))
    )
    h5.create_dataset(_freed(h5, dice), data=content)


def _other_texts(h5: h5py.File, dice: random.Random) -> None:
    text = dice.choice(
        [
            "",
            "x",
            "null",
            "[]",
            "{}",
            "[[]]",
            "9" * 400,
            "[" * 50_000,
            "NaN",
            "[1e400]",
            '["\\ud800"]',
            "x" * 100_000,
            "../../planted",
        ]
    )
    shape = dice.choice([None, 1, 3])
    data = text if shape is None else [text] * shape
    h5.create_dataset(_freed(h5, dice), data=data, dtype=h5py.string_dtype())


def _bytes_that_are_no_text(h5: h5py.File, dice: random.Random) -> None:
    h5[_freed(h5, dice)] = np.array([b"\xff\xfe\x00x"] * dice.choice([1, 4]), dtype="S4")


def _huge(h5: h5py.File, dice: random.Random) -> None:
    shape = dice.choice([(10**12,), (10**6, 10**6), (10**4, 10**4, 10**4), (2**62,)])
    chunks = tuple(min(side, 64) for side in shape)
    h5.create_dataset(_freed(h5, dice), shape=shape, dtype=dice.choice(["f8", "u1"]), chunks=chunks, compression="gzip")


def _elsewhere(h5: h5py.File, dice: random.Random) -> None:
    name = _freed(h5, dice)
    how = dice.choice(
        ["external link", "soft link", "loop", "hard loop", "external numbers", "virtual", "nothing", "device"]
    )
    if how == "external link":
        h5[name] = h5py.ExternalLink(str(Path("made/planted.h5").absolute()), "/planted")
    elif how == "soft link":
        h5[name] = h5py.SoftLink(dice.choice([*_things(h5), "/nowhere"]))
    elif how == "loop":
        h5[name] = h5py.SoftLink(f"/{name}")
    elif how == "hard loop":
        h5[name] = h5["/"]
    elif how in ("external numbers", "device"):
        source = str(Path("made/planted.bin").absolute()) if how == "external numbers" else "/dev/zero"
        h5.create_dataset(name, shape=(8,), dtype="u1", external=[(source, 0, 8)])
    elif how == "virtual":
        layout = h5py.VirtualLayout(shape=(100,), dtype="f8")
        layout[:] = h5py.VirtualSource(str(Path("made/planted.h5").absolute()), "numbers", shape=(100,))
        h5.create_virtual_dataset(name, layout)


def _references(h5: h5py.File, dice: random.Random) -> None:
    name = _freed(h5, dice)
    kind = dice.choice(
        [
            h5py.ref_dtype,
            h5py.regionref_dtype,
            h5py.vlen_dtype(np.float64),
            h5py.enum_dtype({"A": 1}),
            np.dtype([("a", "f8")]),
        ]
    )
    made = h5.create_dataset(name, shape=(2,), dtype=kind)
    if kind is h5py.ref_dtype:
        made[0] = h5.ref


def _attributes(h5: h5py.File, dice: random.Random) -> None:
    name = dice.choice(["format", "version", "model", "checksum", "state", "written_at"])
    value = dice.choice(
        [
            0,
            -1,
            10**18,
            1.5,
            np.nan,
            "x",
            "x" * 60_000,
            [1, 2, 3],
            np.zeros((2, 2)),
            b"\xff",
            h5.ref,
            np.array([], "f8"),
        ]
    )
    kind = h5py.ref_dtype if isinstance(value, h5py.Reference) else None
    if dice.random() < 0.3:
        h5.attrs.pop(name, None)
    else:
        h5.attrs.create(name, value, dtype=kind)


def _a_group(h5: h5py.File, dice: random.Random) -> None:
    h5.create_group(_freed(h5, dice))


def _deep(h5: h5py.File, dice: random.Random) -> None:
    h5.create_group(_freed(h5, dice) + "/a" * dice.choice([3, 300]))


def _many(h5: h5py.File, dice: random.Random) -> None:
    for number in range(dice.choice([10, 2000])):
        h5.create_group(f"more/{number}")


HARMS: tuple[Callable[[h5py.File, random.Random], None], ...] = (
    _other_numbers, _other_numbers, _other_texts, _other_texts, _bytes_that_are_no_text, _huge, _elsewhere, _elsewhere, _references, _attributes,
    _a_group, _deep, _many,
)  # fmt: skip
