"""A slurm.conf gets the gate's lines once, keeps everything that was in it, and is left alone where somebody else has set them."""

from __future__ import annotations

import os
import sys
from datetime import datetime, timezone
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcaccept.app.node_check.install import Site, slurm_lines
from hpcaccept.app.node_check.slurm_conf import planned, settings, write
from hpcaccept.cli import main
from hpcaccept.errors import RunError, UsageError

SITE = """# our cluster
ClusterName=one
SlurmctldHost=head(10.0.0.1)
PrologFlags=Contain   # also X11
NodeName=n[1-4] CPUs=8 \\
  State=UNKNOWN
PartitionName=gpu Nodes=ALL Default=YES
"""
NOW = datetime(2026, 11, 30, tzinfo=timezone.utc)


def lines(folder: str = "/etc/hpcaccept") -> list[str]:
    return slurm_lines(Site(Path(folder))).splitlines()


def conf(place: Path, text: str = SITE) -> Path:
    file = place / "slurm.conf"
    file.write_text(text)
    return file


def installed(file: Path, folder: str = "/etc/hpcaccept") -> str:
    edit = planned(file, lines(folder))
    write(edit)
    return file.read_text()


def test_lines_are_added_once_and_nothing_else_is_touched(tmp_path: Path) -> None:
    file = conf(tmp_path)
    text = installed(file)
    assert text.startswith(SITE)
    added = text.removeprefix(SITE).splitlines()
    assert [line.partition("=")[0] for line in added[1:-1]] == [
        "HealthCheckProgram", "HealthCheckInterval", "HealthCheckNodeState", "Prolog", "Epilog",
    ]  # fmt: skip
    assert planned(file, lines()).diff() == []


def test_a_later_installation_replaces_ours_in_their_place(tmp_path: Path) -> None:
    file = conf(tmp_path)
    installed(file)
    file.write_text(file.read_text() + "MaxJobCount=5\n")
    text = installed(file, "/opt/gate")
    assert "/etc/hpcaccept" not in text
    assert text.count("Prolog=") == 1
    assert text.endswith("# hpcaccept node-check install: end\nMaxJobCount=5\n")


def test_a_copy_stays_and_mode_and_owner_too(tmp_path: Path) -> None:
    file = conf(tmp_path)
    file.chmod(0o640)
    if os.geteuid() == 0:
        os.chown(file, 65534, 65534)
    before = file.stat()
    backup = write(planned(file, lines()), NOW)
    assert backup == tmp_path / "slurm.conf.hpcaccept-20261130T000000000000Z"
    assert backup.read_text() == SITE
    after = file.stat()
    assert (after.st_mode, after.st_uid, after.st_gid) == (before.st_mode, before.st_uid, before.st_gid)
    assert sorted(tmp_path.iterdir()) == [file, backup]


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir()
    file = conf(tmp_path / "shared")
    link = tmp_path / "slurm.conf"
    link.symlink_to(file)
    assert "HealthCheckProgram" in installed(link)
    assert link.is_symlink()
    assert "HealthCheckProgram" in file.read_text()


@pytest.mark.parametrize(
    ("line", "said", "typed"),
    [
        ("Prolog=/etc/slurm/prolog.sh", "found Prolog=/etc/slurm/prolog.sh, expected Prolog=/etc/hpcaccept", "Prolog=/etc/slurm/prolog.d/*"),
        ('EPILOG = "/etc/slurm/e.sh" # ours', "found EPILOG=/etc/slurm/e.sh", "link both scripts"),
        ("Epi\\\nlog=/x", "line 8: found Epilog=/x", "link both scripts"),
        ("HealthCheckProgram=/usr/sbin/nhc", "found HealthCheckProgram=/usr/sbin/nhc", "from it"),
        ("HealthCheckInterval=60", "expected HealthCheckInterval=300", "--interval"),
        ("MaxJobCount=5 Prolog=/x", "found Prolog=/x", "link both scripts"),
    ],
)  # fmt: skip
def test_a_line_of_somebody_else_is_named_and_nothing_is_written(
    tmp_path: Path, line: str, said: str, typed: str
) -> None:
    file = conf(tmp_path, f"{SITE}{line}\n")
    with pytest.raises(UsageError) as refused:
        planned(file, lines())
    assert said in refused.value.message
    assert typed in (refused.value.remedy or "")


def test_flags_without_alloc_are_told_what_to_add(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as refused:
        planned(conf(tmp_path, "PrologFlags=Serial\n"), lines())
    assert refused.value.remedy == "Add Alloc to it: PrologFlags=Serial,Alloc"


@pytest.mark.parametrize("line", ["# Prolog=/x", "PrologSlurmctld=/x", "TaskProlog=/x", "prologflags=Alloc,Serial"])
def test_what_only_looks_like_it_is_no_obstacle(tmp_path: Path, line: str) -> None:
    assert f"{line}\n" in installed(conf(tmp_path, f"{line}\n"))


def test_what_the_site_has_itself_is_not_repeated(tmp_path: Path) -> None:
    text = installed(conf(tmp_path, f"{SITE}HealthCheckInterval=300\n"))
    assert text.count("HealthCheckInterval") == 1


def test_a_folder_of_prologs_that_has_ours_is_the_sites_way_to_run_both(tmp_path: Path) -> None:
    folder = tmp_path / "prolog.d"
    folder.mkdir()
    file = conf(tmp_path, f"Prolog={folder}/*\n")
    with pytest.raises(UsageError, match="found Prolog="):
        planned(file, lines(str(tmp_path)))
    (tmp_path / "prolog-node-check").touch()
    (folder / "zz-node-check").symlink_to(tmp_path / "prolog-node-check")
    text = installed(file, str(tmp_path))
    assert text.count("Prolog=") == 1
    assert "Epilog=" in text


def test_included_files_count_and_one_that_cannot_be_read_stops_it(tmp_path: Path) -> None:
    file = conf(tmp_path, "Include more.conf\n")
    with pytest.raises(UsageError, match=r"Cannot read .*more\.conf"):
        planned(file, lines())
    (tmp_path / "more.conf").write_text("Prolog=/etc/slurm/p\n")
    with pytest.raises(UsageError, match=r"more\.conf, line 1: found Prolog=/etc/slurm/p"):
        planned(file, lines())


def test_a_file_without_a_last_line_end_keeps_its_last_line(tmp_path: Path) -> None:
    assert installed(conf(tmp_path, "ClusterName=one")).startswith("ClusterName=one\n#")


def test_what_somebody_writes_meanwhile_stays(tmp_path: Path) -> None:
    file = conf(tmp_path)
    edit = planned(file, lines())
    file.write_text("of somebody else\n")
    with pytest.raises(RunError, match="changed by somebody else"):
        write(edit)
    assert file.read_text() == "of somebody else\n"
    assert list(tmp_path.iterdir()) == [file]


def test_half_of_our_marks_is_not_guessed_at(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="first mark has no second"):
        planned(conf(tmp_path, f"{SITE}# hpcaccept node-check install: begin\nProlog=/x\n"), lines())


@given(
    st.lists(st.sampled_from(["A=1", "# c", "", "NodeName=n CPUs=1 \\", "  State=X", 'B = "x y"', "é=ü"]), max_size=12)
)
def test_whatever_the_file_is_its_lines_stay_and_a_second_time_changes_nothing(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str]
) -> None:
    file = conf(tmp_path_factory.mktemp("conf"), "".join(f"{text}\n" for text in texts))
    before = file.read_text().splitlines()
    after = installed(file).splitlines()
    assert after[: len(before)] == before
    assert planned(file, lines()).diff() == []


def test_settings_are_read_with_their_places(tmp_path: Path) -> None:
    found = list(settings(conf(tmp_path), SITE))
    assert [(each.key, each.line) for each in found] == [
        ("ClusterName", 2), ("SlurmctldHost", 3), ("PrologFlags", 4), ("NodeName", 5), ("CPUs", 5), ("State", 5),
        ("PartitionName", 7), ("Nodes", 7), ("Default", 7),
    ]  # fmt: skip


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    file = conf(tmp_path)
    words = ["node-check", "install", "--folder", str(tmp_path / "gate"), "--state-dir", str(tmp_path / "state")]
    words += ["--slurm-conf", str(file), "--prometheus", str(tmp_path / "x.prom")]
    assert main(words) == 0
    out = capsys.readouterr().out
    assert f"+Prolog={tmp_path}/gate/prolog-node-check" in out
    assert file.read_text() == SITE
    assert main([*words, "--yes"]) == 0
    assert "Now type: scontrol reconfigure" in capsys.readouterr().out
    assert f"Prolog={tmp_path}/gate/prolog-node-check\n" in file.read_text()
    scripts = {name: (tmp_path / "gate" / f"{name}-node-check").read_text() for name in ("prolog", "health")}
    assert f"--prometheus {tmp_path}/x.prom" in scripts["health"]
    assert "--prometheus" not in scripts["prolog"], "a job does not wait for monitoring"
    assert main([*words, "--yes"]) == 0
    assert "It has these lines already" in capsys.readouterr().out
    assert len(list(tmp_path.glob("slurm.conf*"))) == 2
    file.write_text("Prolog=/x\n")
    assert main([*words, "--folder", str(tmp_path / "other"), "--yes"]) == 2
    assert not (tmp_path / "other").exists(), "nothing is written"
    assert sys.executable in scripts["health"]
