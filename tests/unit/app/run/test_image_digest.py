"""Which image is it really? Digests of files, of registries and of engines, before a job is submitted."""

from __future__ import annotations

import hashlib
import json
import os
from typing import TYPE_CHECKING

import pytest

from hpcaccept.app.run import image_digest
from hpcaccept.errors import UsageError
from hpcaccept.model.plan import Image

if TYPE_CHECKING:
    from pathlib import Path

BYTES = b"hsqs" + bytes(100)
OF_BYTES = f"sha256:{hashlib.sha256(BYTES).hexdigest()}"
MANIFEST = f"sha256:{'ab' * 32}"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache/hpcaccept/images.json"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    found = tmp_path / "x.sqsh"
    found.write_bytes(BYTES)
    return found


def test_a_file_is_known_by_its_bytes(file: Path) -> None:
    assert image_digest.identified(Image("pyxis", str(file))).digest == OF_BYTES


def test_gigabytes_are_read_once(file: Path, cache: Path) -> None:
    image_digest.digest_of_file(file)
    kept = json.loads(cache.read_text())
    assert list(kept.values()) == [OF_BYTES]
    cache.write_text(json.dumps(dict.fromkeys(kept, MANIFEST)))
    assert image_digest.digest_of_file(file) == MANIFEST


def test_a_file_that_was_made_again_is_read_again(file: Path) -> None:
    image_digest.digest_of_file(file)
    other = BYTES[:-1] + b"\1"
    file.write_bytes(other)
    os.utime(file, (1, 1))
    assert image_digest.digest_of_file(file) == f"sha256:{hashlib.sha256(other).hexdigest()}"


def test_what_the_importer_wrote_counts_while_the_file_is_the_one_it_made(file: Path) -> None:
    beside = file.with_name("x.sqsh.json")
    note = {"digest": MANIFEST, "bytes": len(BYTES), "mtime": int(file.stat().st_mtime)}
    beside.write_text(json.dumps(note))
    assert image_digest.digest_of_file(file) == MANIFEST
    for changed in ({"bytes": len(BYTES) + 1}, {"mtime": 1}):
        beside.write_text(json.dumps({**note, **changed}))
        assert image_digest.digest_of_file(file) == OF_BYTES


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"digest": 1, "bytes": 104}', '{"digest": "sha256:x", "bytes": 104}']
)
def test_a_note_of_another_form_is_not_believed(file: Path, text: str) -> None:
    file.with_name("x.sqsh.json").write_text(text)
    assert image_digest.digest_of_file(file) == OF_BYTES


def test_a_cache_that_cannot_be_read_or_written_changes_nothing(file: Path, cache: Path) -> None:
    cache.parent.mkdir(parents=True)
    cache.write_text("[1, 2")
    assert image_digest.digest_of_file(file) == OF_BYTES
    cache.unlink()
    cache.mkdir()
    assert image_digest.digest_of_file(file) == OF_BYTES


def test_a_file_that_is_no_image_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.sqsh").write_text("<html>404</html>")
    with pytest.raises(UsageError, match="is not a squashfs file: it begins with b'<htm'"):
        image_digest.identified(Image("pyxis", str(tmp_path / "x.sqsh")))


def test_a_file_that_only_the_nodes_see_has_no_digest_here(tmp_path: Path) -> None:
    assert image_digest.identified(Image("pyxis", str(tmp_path / "gone.sqsh"))).digest == ""


def test_a_name_with_a_digest_is_taken_at_its_word() -> None:
    image = Image("pyxis", f"registry.example#team/x@{MANIFEST}")
    assert image_digest.identified(image).digest == MANIFEST
    assert image_digest.identified(image).reference == image.reference


def test_a_tag_is_pinned_to_what_it_stands_for_now(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _program(
        tmp_path, monkeypatch, "enroot", f'[ "$*" = "digest docker://registry.example#team/x:1" ] && echo {MANIFEST}'
    )
    found = image_digest.identified(Image("pyxis", "registry.example#team/x:1"))
    assert (found.digest, found.reference) == (MANIFEST, f"registry.example#team/x@{MANIFEST}")


def test_a_registry_that_does_not_answer_leaves_the_tag(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _program(tmp_path, monkeypatch, "enroot", "echo '[ERROR] URL … returned error code: 401' >&2; exit 1")
    image = Image("pyxis", "registry.example:5000#team/x")
    assert image_digest.identified(image) == image


def test_an_engine_tells_which_image_it_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _program(tmp_path, monkeypatch, "docker", f'[ "$1 $2" = "image inspect" ] && echo {MANIFEST}')
    assert image_digest.identified(Image("docker", "team/x:1")).digest == MANIFEST


def test_without_an_image_nobody_is_asked() -> None:
    assert image_digest.identified(Image()) == Image()


def _program(folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, script: str) -> None:
    place = folder / "bin"
    place.mkdir()
    (place / name).write_text(f"#!/bin/sh\n{script}\n")
    (place / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{place}:{os.environ['PATH']}")


def test_what_enters_an_image_is_what_the_place_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert image_digest.runtime_of("slurm", "x.sqsh") == "pyxis"
    assert image_digest.runtime_of("local", "x.sqsh") == "enroot"
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    assert image_digest.runtime_of("local", "team/x:1") == "docker"
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/podman").write_text("#!/bin/sh\n")
    (tmp_path / "bin/podman").chmod(0o755)
    assert image_digest.runtime_of("local", "team/x:1") == "podman"


def test_a_sif_has_the_digest_of_its_bytes_and_nobody_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _program(tmp_path, monkeypatch, "enroot", f'touch "{tmp_path}/asked"; echo {MANIFEST}')
    file = tmp_path / "x.sif"
    file.write_bytes(b"#!/usr/bin/env run-singularity\n\0SIF_MAGIC\0".ljust(200, b"\1"))
    image = Image("apptainer", str(file))
    found = image_digest.identified(image)
    assert found.digest == f"sha256:{hashlib.sha256(file.read_bytes()).hexdigest()}"
    assert found.reference == image.reference
    assert not (tmp_path / "asked").exists()


def test_a_sif_that_is_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.sif").write_text("<html>404</html>" * 9)
    with pytest.raises(UsageError, match="is not a SIF file: byte 32 on it holds") as refused:
        image_digest.identified(Image("apptainer", str(tmp_path / "x.sif")))
    assert "apptainer pull" in refused.value.remedy


@pytest.mark.parametrize(
    ("runtime", "reference"),
    [
        ("apptainer", "docker://team/x:1"),
        ("apptainer", "/shared/sandbox"),
        ("apptainer", "/shared/gone.sif"),
        ("docker", "/shared/gone.sif"),
        ("pyxis", "/shared/gone.sif"),
        ("pyxis", "oras://registry.example/team/x:1"),
        ("enroot", "team/x:1"),
    ],
)
def test_a_runtime_is_never_asked_about_the_image_of_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, runtime: str, reference: str
) -> None:
    _program(tmp_path, monkeypatch, "enroot", f"echo {MANIFEST}")
    (tmp_path / "bin/docker").symlink_to("enroot")
    image = Image(runtime, reference)
    assert image_digest.identified(image) == image
