"""A pipe, a folder, a device, a link or a giant in the place of every file that is read: said at once, by its name."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.hostile import Said, Site, typed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with Site.made(tmp_path_factory.mktemp("site")) as made:
        yield made


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as one:
        before = Path.cwd()
        os.chdir(path.parent)  # a socket's address is short
        one.bind(path.name)
        os.chdir(before)


def _giant(path: Path) -> None:
    with path.open("wb") as out:
        out.truncate(1 << 40)


#: Kind → what makes it.
ODD: dict[str, Callable[[Path], object]] = {
    "pipe": os.mkfifo,
    "folder": lambda path: path.mkdir(),
    "loop of links": lambda path: path.symlink_to(path.name),
    "link to nothing": lambda path: path.symlink_to("/nowhere/at/all"),
    "endless device": lambda path: path.symlink_to("/dev/zero"),
    "socket": _socket,
    "giant": _giant,
    "nothing in it": lambda path: path.write_bytes(b""),
    "zeros": lambda path: path.write_bytes(bytes(100_000)),
    "no UTF-8": lambda path: path.write_bytes(b"\xff\xfe" * 1000),
}
#: File of the site → what reads it, and the codes that may come of it.
READ: dict[str, tuple[list[str], set[int]]] = {
    "runs/run1/plan.json": (["report", "run1"], {3}),
    "runs/run1/steps/00.json": (["report", "run1"], {3}),
    "runs/run1/job.json": (["status", "run1"], {0, 3}),
    "runs/run1/records/00/r000001.jsonl": (["report", "run1"], {3}),
    "runs/run1/driver.jsonl": (["report", "run1"], {0, 3}),
    "runs/run1/report.json": (["runs"], {0}),
    "runs/run1/run.h5": (["compare", "run1", "run1"], {0, 3}),
    "runs/run1/outputs/00/x.r000001.out": (["bundle", "run1", "--node", "node1", "--out", "b.tgz"], {0}),
    "made/a.h5": (["baseline", "diff", "made/a.h5", "made/a.h5"], {2, 3}),
    "made/h/000001.h5": (["history", "show", "--history", "made/h"], {3}),
    "made/c.json": (["certificate", "verify", "made/c.json"], {2, 3}),
    "made/d.json": (["certificate", "diff", "made/d.json", "made/d.json"], {2, 3}),
    "made/b.tgz": (["bundle", "--verify", "made/b.tgz"], {2, 3}),
    # An empty file, and lines that are none, are a slurm.conf without settings.
    "made/slurm.conf": (["node-check", "install", "--slurm-conf", "made/slurm.conf"], {0, 2}),
    "runs/run1/certificate.json": (["bundle", "run1", "--node", "node1", "--out", "b.tgz"], {0}),
    "made/s.toml": (["submit", "--suite", "made/s.toml", "--launcher", "local", "--dry-run"], {2}),
    "made/l.csv": (["baseline", "import", "made/l.csv", "--model", "x", "--baselines-dir", "made/b"], {2, 3}),
}


def put(site: Site, name: str, make: Callable[[Path], object]) -> Path:
    site.write("job.json", site.whole["job.json"])
    file = site.place / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.unlink(missing_ok=True) if not file.is_dir() or file.is_symlink() else file.rmdir()
    make(file)
    return file


@pytest.mark.parametrize("name", READ)
def test_any_odd_file_is_told_by_its_name(site: Site, name: str) -> None:
    words, codes = READ[name]
    for kind, make in ODD.items():
        file = put(site, name, make)
        said: Said = typed(*words)
        assert said.code in codes, (kind, said.code, said.err)
        if said.code == 2 or (said.code == 3 and said.err):
            # A plan that is not there at all is a run that is not there.
            assert file.name in said.err or "'run1'" in said.err, (kind, said.err)
        file.unlink() if file.is_symlink() or not file.is_dir() else file.rmdir()
        site.must_be_clean()


def test_an_odd_journal_is_an_error_of_its_node(site: Site) -> None:
    for kind, make in ODD.items():
        put(site, "runs/run1/records/00/r000001.jsonl", make)
        said = typed("report", "run1", "--format", "json")
        assert said.code == 3, kind
        assert "r000001.jsonl" in said.out or kind == "nothing in it", kind


def test_nothing_is_read_through_a_link_of_a_run_folder(site: Site) -> None:
    elsewhere = site.made_here / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "r000001.jsonl").write_bytes(site.whole["records/00/r000001.jsonl"])
    (elsewhere / "x.r000001.out").write_text("planted")
    run = site.write("job.json", site.whole["job.json"]).parent
    for name in ("records/00", "outputs/00"):
        for file in (run / name).iterdir():
            file.unlink()
        (run / name).rmdir()
        (run / name).symlink_to(elsewhere)
    said = typed("report", "run1", "--format", "json")
    assert said.code == 3
    assert "it is a link" in said.out
    typed("bundle", "run1", "--node", "node1", "--out", "b.tgz")
    assert b"planted" not in (site.place / "b.tgz").read_bytes()


def test_an_unreadable_line_is_told_with_file_and_line(site: Site) -> None:
    lines = site.whole["records/00/r000001.jsonl"].splitlines()
    for odd in (
        b'{"kind":"rank_finished","kind":"rank_finished","data":{}}',
        b"[" * 100_000,
        b"9" * 400,
        b"\xff\x00",
        lines[1][:50],
    ):
        site.write("records/00/r000001.jsonl", b"\n".join([*lines[:2], odd, *lines[2:]]) + b"\n")
        said = typed("report", "run1", "--format", "json")
        assert said.code == 3
        assert "line 3 of r000001.jsonl cannot be read" in said.out
