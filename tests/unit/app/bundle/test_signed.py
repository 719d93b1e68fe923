"""A signed bundle is what was packed: no file of it can be changed, added or taken away unnoticed."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

import pytest
from support.finished_runs import gpu_run

from hpcaccept.app.bundle.pack import Extras, fault_named, make_bundle
from hpcaccept.app.bundle.signed import verify
from hpcaccept.app.certificate import issue
from hpcaccept.cli import main
from hpcaccept.errors import StoreError
from hpcaccept.store.digests import digests_of
from hpcaccept.store.signing import make_key

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from hpcaccept.store.folder import RunFolder

Files = list[tuple[str, bytes]]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key, a run with a node that computes wrongly, and its bundle."""
    folder = tmp_path_factory.mktemp("site")
    make_key(folder / "key")
    run = gpu_run(folder, wrong="node2")
    make_bundle(run, fault_named("node2"), folder, folder / "h", folder / "b.tar.gz", Extras(key=folder / "key"))
    return folder


def files_of(file: Path) -> Files:
    with tarfile.open(file) as archive:
        return [(m.name, (archive.extractfile(m) or io.BytesIO()).read()) for m in archive.getmembers()]


def written(file: Path, files: Files) -> Path:
    with tarfile.open(file, "w:gz") as archive:
        for name, content in files:
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return file


def test_what_was_packed_holds_and_says_how_the_node_stood(place: Path) -> None:
    found, said = verify(place / "b.tar.gz", place / "key.pub")
    assert (found.exit_code, found.bad, found.open) == (0, (), ())
    assert (said["node"], said["verdict"], said["run_exit_code"]) == ("node2", "FAIL", 1)
    assert said["files"].keys() == {n.partition("/")[2] for n, _ in files_of(place / "b.tar.gz")} - {"statement.json"}
    run = gpu_run(place / "again", wrong="node2")
    assert said["originals"]["records/00/r000002.jsonl"] == digests_of(run)["records/00/r000002.jsonl"]
    assert "records/00/r000001.jsonl" not in said["originals"]
    assert (place / "b.tar.gz").stat().st_mode & 0o777 == 0o600


def test_without_the_public_key_the_signer_is_open(place: Path) -> None:
    found, _ = verify(place / "b.tar.gz", None)
    assert found.exit_code == 3
    assert "whose that is" in found.open[0]


def swapped(files: Files) -> Files:
    return [(name, b"healthy" if name.endswith("/README.txt") else content) for name, content in files]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (swapped, "changed: README.txt."),
        (lambda files: [f for f in files if not f[0].endswith("/RMA.md")], "missing: RMA.md."),
        (lambda files: [*files, (files[0][0].partition("/")[0] + "/more", b"")], "added: more."),
    ],
)
def test_whatever_was_changed_is_named(
    place: Path, tmp_path: Path, change: Callable[[Files], Files], said: str
) -> None:
    found, _ = verify(written(tmp_path / "x.tgz", change(files_of(place / "b.tar.gz"))), place / "key.pub")
    assert (found.exit_code, found.bad) == (3, (said,))


def test_a_statement_of_another_is_not_ours(place: Path, tmp_path: Path) -> None:
    make_key(tmp_path / "other")
    found, _ = verify(place / "b.tar.gz", tmp_path / "other.pub")
    assert found.exit_code == 3
    assert "not by the one in" in found.bad[0]


def forged(files: Files) -> Files:
    """The verdict of the statement is another one."""
    return [
        (n, c.replace(b'"verdict":"FAIL"', b'"verdict":"PASS"') if n.endswith("statement.json") else c)
        for n, c in files
    ]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (forged, "signature does not fit"),
        (lambda files: [f for f in files if not f[0].endswith("statement.json")], "not signed"),
        (lambda files: [*files, files[0]], "twice"),
        (lambda files: [*files, ("../etc/passwd", b"x")], "not a plain file in its one folder"),
        (
            lambda files: [(n, b"{}" if n.endswith("statement.json") else c) for n, c in files],
            "not a statement of version 1",
        ),
        (
            lambda files: [(n, b"[" if n.endswith("statement.json") else c) for n, c in files],
            "not a statement of version 1",
        ),
    ],
)
def test_what_is_no_signed_bundle_is_refused(
    place: Path, tmp_path: Path, change: Callable[[Files], Files], said: str
) -> None:
    with pytest.raises(StoreError, match=said):
        verify(written(tmp_path / "x.tgz", change(files_of(place / "b.tar.gz"))), place / "key.pub")


@pytest.mark.parametrize("cut", [0, 1, 100, -1, -9])
def test_a_torn_archive_is_no_bundle(place: Path, tmp_path: Path, cut: int) -> None:
    (tmp_path / "x.tgz").write_bytes((place / "b.tar.gz").read_bytes()[:cut])
    with pytest.raises(StoreError, match="is not a bundle"):
        verify(tmp_path / "x.tgz", place / "key.pub")


def test_what_stands_behind_the_last_file_is_found(place: Path, tmp_path: Path) -> None:
    (tmp_path / "x.tgz").write_bytes((place / "b.tar.gz").read_bytes() + gzip.compress(b"more"))
    with pytest.raises(StoreError, match="behind its last file"):
        verify(tmp_path / "x.tgz", place / "key.pub")


@pytest.mark.parametrize(
    "content",
    [b"text", gzip.compress(b"text"), gzip.compress(b"\0" * 20000)],
    ids=["text", "packed text", "packed zeros"],  # gzip has the time in it
)
def test_what_is_no_archive_is_no_bundle(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.tgz").write_bytes(content)
    with pytest.raises(StoreError, match=r"is not a bundle|is not signed"):
        verify(tmp_path / "x.tgz", None)


def certified(place: Path, *rates: float) -> RunFolder:
    run = gpu_run(place, rates=rates)
    file = run.path / "certificate.json"
    issue([run], place / "none", place / "key", timedelta(days=1), file, datetime.now(timezone.utc))
    return run


def test_a_certificate_goes_along_as_it_was_issued_where_it_names_nobody_else(tmp_path: Path) -> None:
    make_key(tmp_path / "key")
    run = certified(tmp_path, 7.9e14)
    made = make_bundle(run, fault_named("node0"), tmp_path, tmp_path, tmp_path / "b", Extras(key=tmp_path / "key"))
    (text,) = (text for path, text in made.texts.items() if path.endswith("/certificate.json"))
    assert text == (run.path / "certificate.json").read_text()
    assert json.loads(text)["certificate"]["nodes"][0]["node"] == "node0"


def test_a_certificate_of_others_is_left_out_unless_names_are_kept(tmp_path: Path) -> None:
    make_key(tmp_path / "key")
    run = certified(tmp_path, 7.9e14, 7.91e14, 7.92e14)
    made = make_bundle(run, fault_named("node0"), tmp_path, tmp_path, tmp_path / "b")
    assert "would not fit its signature" in made.left_out["certificate.json"]
    made = make_bundle(run, fault_named("node0"), tmp_path, tmp_path, tmp_path / "b", Extras(keep_names=True))
    assert any(path.endswith("/certificate.json") for path in made.texts)


def test_command(place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(place)
    assert main(["bundle", "run1", "--fault", "node2:gpu0", "--key", str(place / "key")]) == 0
    assert "signed." in capsys.readouterr().out
    words = ["bundle", "--verify", str(place / "hpcaccept-run1-node2-gpu0.tar.gz")]
    assert main([*words, "--public-key", str(place / "key.pub")]) == 0
    out = capsys.readouterr().out
    assert out.startswith("ok  The statement is what was signed.\n")
    assert out.endswith("It speaks of node2 cuda:0 in run run1: FAIL.\n")
    assert main(words) == 3
    assert main(["bundle", "--verify", str(place / "none")]) == 2


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "--node is missing"),
        (["--node", "n", "--public-key", "k"], "--public-key belongs to --verify"),
        (["run1", "--verify", "f"], "it takes no RUN"),
        (["--node", "n", "--azure-report", "a", "--azure-cluster", "b"], "two sources of one report"),
    ],
)
def test_words_that_do_not_go_together(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bundle", *words]) == 2
    assert said in capsys.readouterr().err
