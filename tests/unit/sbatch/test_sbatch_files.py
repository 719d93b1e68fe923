"""The scripts under sbatch/ ask Slurm for, and launch, what ``hpcaccept submit --dry-run`` shows; run with stand-ins for Slurm's commands."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.submission import ROOT

from hpcaccept.app.run import sbatch_steps
from hpcaccept.cli import main as hpcaccept
from hpcaccept.model.record import RankFinished, RankStarted
from hpcaccept.serial import dumps
from hpcaccept.units import parse_slurm_time

if TYPE_CHECKING:
    from collections.abc import Sequence

pytestmark = pytest.mark.slow

SCRIPTS = {file.stem: file for file in sorted((ROOT / "sbatch").glob("*.sbatch"))}
PARTS = [*SCRIPTS.values(), ROOT / "sbatch/steps.sh"]

# --- what stands in for Slurm ----------------------------------------------------------------------------------------

SCONTROL = """
case "$*" in
  ping) echo "Slurmctld(primary) at here is UP" ;;
  "show hostnames "*) for ((i = 0; i < NODES; i++)); do echo "node$i"; done ;;
  "show job "*)
    echo "JobId=77 JobName=$SLURM_JOB_NAME"
    echo "   UserId=root(0) Priority=1 Nice=0 Account=(null) QOS=night"
    echo "   RunTime=00:00:01 TimeLimit=02:00:00 TimeMin=N/A"
    echo "   StartTime=2026-11-22T22:00:00 EndTime=$JOB_END Deadline=N/A"
    echo "   Partition=gpu AllocNode:Sid=login:1"
    echo "   ReqNodeList=node[0-1] ExcNodeList=(null)"
    [[ -z $COMMAND ]] || echo "   Command=$COMMAND" ;;
  *) echo "scontrol: what is $*?" >&2; exit 1 ;;
esac
"""
SINFO = 'case "$*" in *"%P|%G"*) echo "gpu*|$GRES" ;; *) echo "$GRES" ;; esac\n'
SQUEUE = 'case "$*" in *%L*) echo "$LEFT" ;; *) echo -n "$WAITING" ;; esac\n'
SBATCH = 'printf "%s\\0" "$@" >"$SAID/sbatch"\necho "Submitted batch job 78"\n'
#: Enters nothing. Tasks of hpcaccept's own are run; steps are written down, and the look into every node ends well.
SRUN = """
[[ $* != --mpi=list ]] || { printf 'MPI plugin types are...\\n\\tpmix_v4\\n\\tnone\\n' >&2; exit; }
words=("$@")
while [[ ${1-} == -* ]]; do shift; done
case " $* " in
  *" sbatch-step "*) printf '%s\\0' "${words[@]}" >"$SAID/plan"
    [[ -z $REFUSED ]] || { echo "$REFUSED" >&2; exit 1; }
    "$@" ;;
  *" hpcaccept.rank "*)
    step=${words[-1]} run=${words[-2]}
    printf '%s\\0' srun "${words[@]}" >"$SAID/step-$step"
    env -0 >"$SAID/environment-$step"
    [[ $step != 00 || ! -d $SAID/words ]] || cp "$SAID/words"/* "$run/records/00/"
    sleep "$LASTS" ;;
  *"enroot list"*) printf '%s\\0' srun "${words[@]}" >"$SAID/sweep"; echo "node1 pyxis_hpcaccept-old" ;;
  *) printf '%s\\0' srun "${words[@]}" >"$SAID/leave" ;;
esac
"""
#: The image's Python; a verdict takes seconds, and only some tests ask for one.
PYTHON3 = f'[[ -n $JUDGES || $* != *--conclude* ]] || exit 0\nexec {shlex.quote(sys.executable)} "$@"\n'


@dataclass
class Done:
    """A script that has ended."""

    code: int
    out: str
    err: str
    said: Path
    runs: Path

    @property
    def run(self) -> Path:
        return next(self.runs.glob("2*"))

    def words(self, name: str) -> list[str]:
        """What was started, one word each."""
        return (self.said / name).read_text().split("\0")[:-1]

    def steps(self) -> list[list[str]]:
        return [self.words(file.name) for file in sorted(self.said.glob("step-*"))]

    def environment(self, step: str) -> dict[str, str]:
        return dict(word.split("=", 1) for word in self.words(f"environment-{step}"))


class Site:
    """A folder from which scripts are submitted, and the Slurm that they find."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "a home"
        self.said = folder / "said"
        self.bin = folder / "bin"
        for place in (self.folder, self.said, self.bin):
            place.mkdir()
        for name, text in {
            "scontrol": SCONTROL,
            "sinfo": SINFO,
            "squeue": SQUEUE,
            "sbatch": SBATCH,
            "srun": SRUN,
            "python3": PYTHON3,
        }.items():
            (self.bin / name).write_text(f"#!/usr/bin/env bash\nset -euo pipefail\n{text}")
            (self.bin / name).chmod(0o755)

    def enterable(self, nodes: int) -> None:
        """From now on the look into every node ends well."""
        (self.said / "words").mkdir()
        for task in range(nodes):
            rank_started = RankStarted(task, 1, f"node{task}", 1, "3.12.0", "0", "", "boot", 2, 1, False, 1)
            lines = [
                {"kind": "rank_started", "data": json.loads(dumps(rank_started))},
                {"kind": "rank_finished", "data": json.loads(dumps(RankFinished()))},
            ]
            (self.said / f"words/r{task:06d}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))

    def environment(self, script: Path, nodes: int, **more: str) -> dict[str, str]:
        return {
            "PATH": f"{self.bin}:{os.environ['PATH']}",
            "HOME": str(self.folder),
            "SAID": str(self.said),
            "SLURM_JOB_ID": "77",
            "SLURM_JOB_NAME": options_of(script)["job-name"],
            "SLURM_JOB_NODELIST": "node[0-1]",
            "SLURM_JOB_NUM_NODES": str(nodes),
            "SLURM_SUBMIT_DIR": str(self.folder),
            "SLURMD_NODENAME": "node0",
            "COMMAND": str(script),
            "NODES": str(nodes),
            "GRES": "gpu:h100:8(S:0-1)",
            "LEFT": "2-00:00:00",
            "WAITING": "",
            "JOB_END": f"{datetime.now() + timedelta(hours=2):%Y-%m-%dT%H:%M:%S}",  # noqa: DTZ005 (as Slurm writes it)
            "REFUSED": "",
            "LASTS": "0",
            "JUDGES": "",
            "PYTHON": str(self.bin / "python3"),
            **more,
        }

    def run(self, script: Path, *words: str, **more: str) -> Done:
        """Run a copy, as Slurm does, to its end."""
        copy = shutil.copy(script, self.said.parent / "slurm_script")
        environment = self.environment(script, int(options_of(script)["nodes"]), **more)
        done = subprocess.run(
            ["bash", str(copy), *words],
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return Done(
            done.returncode, done.stdout, done.stderr, self.said, Path(more.get("RUNS_DIR", self.folder / "runs"))
        )


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def options_of(script: Path | str) -> dict[str, str]:
    """Options of sbatch in a script's header; a flag is empty."""
    text = script if isinstance(script, str) else script.read_text()
    found = re.findall(r"^#SBATCH --([\w-]+)(?:=(.*))?$", text, re.M)
    return {name: "".join(shlex.split(value)) for name, value in found}


# --- equal to submit -------------------------------------------------------------------------------------------------


def shown(site: Site, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """What ``submit --dry-run`` prints on the same site."""
    for name, value in site.environment(SCRIPTS["burn"], 2).items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(site.folder)
    assert (
        hpcaccept(["submit", "--dry-run", "--launcher", "slurm", "--runs-dir", str(site.folder / "runs"), *words]) == 0
    )
    return capsys.readouterr().out


def commands_in(text: str, kind: str) -> list[list[str]]:
    return [shlex.split(line) for line in re.findall(rf"^# ---- command: {kind}.*\n(.*)$", text, re.M)]


def without_names(words: Sequence[str], run_id: str) -> list[str]:
    """A command without the names of the run and of nodes: those of a dry run are made up."""
    return sorted(re.sub(r"\bNODE(\d)", r"node\1", word.replace(run_id, "RUN")) for word in words)


#: Script → what submit is asked for the same.
SAME: dict[str, list[str]] = {
    "single_node_gpu": ["--nodes", "1"],
    "multi_node_ddp": ["--nodes", "2", "--suite", "ddp"],
    "all_tests": ["--nodes", "2", "--suite", "full"],
    "burn": ["--nodes", "1", "--suite", "burn", "--set", "burn.duration_s=1800", "--set", "burn.deadline_s=3600"],
    "nightly": ["--nodes", "2", "--suite", "standard"],
}
#: Option of sbatch → why submit asks for it and the scripts do not.
ONLY_SUBMIT = {
    "chdir": "a script starts its steps with srun --chdir",
    "gpus-per-node": "a script does not know the number before it runs; --exclusive gives a job every GPU of its nodes",
    "ntasks-per-node": "the same: --exclusive gives it every core, and each srun says how many tasks it starts",
    "signal": "submitit's; nobody listens to it: driver and scripts look at the clock",
    "open-mode": "submitit's; a script's output has the job's number in its name",
}
#: Option of sbatch → why a script asks for it and submit does not.
ONLY_SCRIPT = {
    "burn": {"mem": "0: all memory of the node, also where Slurm shares it out"},
    "nightly": {
        "nice": "behind everybody, as 'hpcaccept nightly' asks",
        "dependency": "nights of one name never run side by side",
    },
}
#: Differ by name.
NAMES = {"job-name", "output"}


def test_every_script_is_compared() -> None:
    assert set(SAME) == set(SCRIPTS)


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_launches_what_submit_shows(
    name: str, site: Site, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    image = site.folder / "image.sqsh"
    image.write_bytes(b"hsqs and more")
    nodes = int(options_of(SCRIPTS[name])["nodes"])
    site.enterable(nodes)
    ours = {
        "IMAGE": str(image),
        "DURATION": "1800",
        "MOUNTS": "/data:/data:ro",
        "SLURM_CPUS_PER_TASK": "4",
        "WINDOW": _around_now(),
        "AGAIN": "0",
    }
    done = site.run(SCRIPTS[name], **ours)
    assert done.steps(), done.err
    wanted = ["--container-image", str(image), "--container-mounts", "/data:/data:ro", *SAME[name]]
    text = shown(site, monkeypatch, capsys, *wanted)
    run_id = re.findall(r'"run_id":"([^"]+)"', text)[0]
    expected = [without_names(words, run_id) for words in commands_in(text, "step")]
    assert [without_names(words, done.run.name) for words in done.steps()] == expected
    # Entering, then measuring; a program that is MPI itself has a step of its own.
    assert len(expected) == (3 if name == "all_tests" else 2)
    [leave] = commands_in(text, "at its end")
    assert without_names(done.words("leave"), done.run.name) == without_names(leave, run_id)
    [sweep] = commands_in(text, "before its first step")
    assert without_names(done.words("sweep"), done.run.name) == without_names(sweep, run_id)
    assert "An earlier run left a container on node1: pyxis_hpcaccept-old was removed." in done.out
    # What the driver starts a step with, beside the command.
    assert done.environment("01")["OMPI_MCA_mpi_yield_when_idle"] == "1"
    assert done.environment("01")["HPCACCEPT_IMAGE"] == str(image)
    assert done.environment("01")["HPCACCEPT_IMAGE_DIGEST"].startswith("sha256:")
    assert "SLURM_CPUS_PER_TASK" not in done.environment("01")
    # The plan is made in the very container that is measured in; it sees more, and is told more.
    assert _container(done.words("plan")) == _container(done.steps()[1])
    suite, asked = (json.loads(plan)["suite"] for plan in ((done.run / "plan.json").read_text(), _plan_in(text)))
    assert suite == asked


def _container(words: Sequence[str]) -> set[str]:
    more = ("--container-mounts=", "--container-workdir=", "--container-env=")
    return {w for w in words if w.startswith(("--container-", "--no-container-")) and not w.startswith(more)}


def _plan_in(text: str) -> str:
    return next(line for line in text.splitlines() if line.startswith('{"run_id"'))


def _around_now() -> str:
    now = datetime.now()  # noqa: DTZ005 (WINDOW is of this machine's clock)
    return f"{now - timedelta(hours=1):%H:%M}-{now + timedelta(hours=6):%H:%M}"


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_asks_slurm_for_what_submit_asks_for(
    name: str, site: Site, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = options_of(shown(site, monkeypatch, capsys, *SAME[name]))
    ours = options_of(SCRIPTS[name])
    assert set(asked) - set(ours) == set(ONLY_SUBMIT)
    assert set(ours) - set(asked) == set(ONLY_SCRIPT.get(name, {}))
    for option in set(ours) & set(asked) - NAMES - {"time"}:
        assert ours[option] == asked[option], option
    # A fixed limit, never shorter than submit's estimate and the time that the script holds back for a verdict.
    assert parse_slurm_time(ours["time"]) >= parse_slurm_time(asked["time"]) + 90


def test_without_a_container_a_script_launches_what_submit_shows(
    site: Site, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    done = site.run(SCRIPTS["multi_node_ddp"], "--skip", "allreduce", HPCACCEPT_PYTHON="/opt/python3")
    monkeypatch.setenv("HPCACCEPT_PYTHON", "/opt/python3")
    text = shown(site, monkeypatch, capsys, *SAME["multi_node_ddp"], "--skip", "allreduce")
    run_id = re.findall(r'"run_id":"([^"]+)"', text)[0]
    [step] = commands_in(text, "step")
    assert [without_names(words, done.run.name) for words in done.steps()] == [without_names(step, run_id)]
    assert "--mpi=pmix_v4" in step
    assert "--gpus-per-node=8" in step
    assert "/opt/python3" in step


# --- what goes wrong -------------------------------------------------------------------------------------------------


def test_nobody_said_how_many_gpus_and_slurm_does_not_know_so_nothing_is_tested(site: Site) -> None:
    done = site.run(SCRIPTS["single_node_gpu"], GRES="(null)")
    assert done.code == 2
    assert "HPCACCEPT_GPUS_PER_NODE=0 to test without" in done.err
    assert not done.steps()


def test_an_image_that_cannot_be_entered_ends_the_job_and_blames_no_node(site: Site) -> None:
    done = site.run(SCRIPTS["multi_node_ddp"], IMAGE="team/image:1", REFUSED="pyxis: child 4711 failed")
    assert done.code == 3
    assert "pyxis: child 4711 failed" in done.err
    assert "'hpcaccept sbatch-step' failed on node0 in team/image:1, exit code 1: why stands above." in done.err
    assert not done.steps()
    # The node on which it was to run may have unpacked the image.
    assert done.words("leave")[-4:] == ["enroot", "remove", "--force", f"pyxis_hpcaccept-{done.run.name}"]
    assert "--nodelist=node0" in done.words("leave")


def test_a_script_without_its_neighbour_names_both_places_where_it_looked(site: Site, tmp_path: Path) -> None:
    alone = Path(shutil.copy(SCRIPTS["burn"], tmp_path / "alone.sbatch"))
    done = site.run(alone)
    assert done.code == 2
    assert f"neither in '{tmp_path}' nor in '{site.folder}/sbatch'" in done.err


@pytest.mark.parametrize("words", ["", " --set burn.duration_s=2 a/b.sbatch"])
def test_the_neighbour_is_found_beside_the_original_and_where_sbatch_was_typed(site: Site, words: str) -> None:
    command = f"{SCRIPTS['burn']}{words}" if words else ""
    if not words:
        shutil.copytree(ROOT / "sbatch", site.folder / "sbatch")
    # It comes as far as asking how many GPUs there are.
    assert "HPCACCEPT_GPUS_PER_NODE=0" in site.run(SCRIPTS["burn"], COMMAND=command, GRES="(null)").err


def test_a_folder_with_a_new_line_is_refused_before_anything_is_written(site: Site, tmp_path: Path) -> None:
    done = site.run(SCRIPTS["single_node_gpu"], RUNS_DIR=str(tmp_path / "two\nlines"))
    assert done.code == 2
    assert "expected one line" in done.err


def test_a_folder_with_spaces_and_signs_stays_one_word(site: Site, tmp_path: Path) -> None:
    runs = tmp_path / "two  words, [a] * ä"
    done = site.run(SCRIPTS["single_node_gpu"], RUNS_DIR=str(runs))
    assert done.words("step-00")[-2] == str(done.run)
    assert done.run.parent == runs


def test_a_wrong_suite_is_the_callers_fault(site: Site) -> None:
    done = site.run(SCRIPTS["single_node_gpu"], SUITE="quikc")
    assert done.code == 2
    assert "quick" in done.err


def test_a_fault_of_the_script_is_no_verdict(site: Site) -> None:
    assert site.run(SCRIPTS["burn"], DURATION="an hour").code == 3


def test_burning_for_longer_than_the_job_lasts_is_refused(site: Site) -> None:
    done = site.run(SCRIPTS["burn"], DURATION="7200", LEFT="1:59:59")
    assert done.code == 2
    assert "The checks alone take 2 h" in done.err
    assert "sbatch --time=" in done.err


def test_a_step_ends_before_the_job_does_and_what_there_is_is_judged(site: Site) -> None:
    done = site.run(SCRIPTS["single_node_gpu"], LEFT="0:22", LASTS="30", JUDGES="yes")
    assert done.code == 3, done.err
    report = json.loads((done.run / "report.json").read_text())
    ended = report["events"][-1]
    assert (ended["kind"], ended["detail"]) == ("ended", "the time limit of the job is near")
    assert "the time limit of the job is near" in done.out
    assert (done.runs / "history").is_dir(), "what submit remembers is remembered here"


def test_a_launch_of_which_nobody_hears_is_ended(site: Site, tmp_path: Path) -> None:
    text = (
        f'RUNS_DIR="{tmp_path}" IMAGE=""; source {ROOT}/sbatch/steps.sh; prepare; mkdir -p "$run/records/00"; '
        'launch 00 1 2 A=1 B sh -c "echo \\$A-\\$B-; exec sleep 60"; cat "$run/logs/step-00.out"; echo "$code"'
    )
    environment = {**site.environment(SCRIPTS["burn"], 1), "B": "2"}
    done = subprocess.run(
        ["bash", "-euc", text], env=environment, capture_output=True, text=True, timeout=20, check=True
    )
    assert done.stdout.split() == ["1--", "143"]


def test_an_image_that_never_comes_is_told_as_that(tmp_path: Path) -> None:
    told = sbatch_steps.ScriptInput(nodes="node0\nnode1", gres="gpu:8", mpi="pmix", left="1:00:00", variables="PATH")
    environ = {"HPCACCEPT_CONTAINER_IMAGE": "team/image:1", "HOME": str(tmp_path)}
    run = tmp_path / "run"
    sbatch_steps.begin(str(run), told, {"suite": "quick"}, {}, environ)
    step, start_s, *_ = (run / "next").read_text().split("\0")
    sbatch_steps.proceed(str(run), step, 143, float(start_s), told)
    assert not (run / "next").read_bytes(), "nothing follows"
    events = [json.loads(line)["data"] for line in (run / "driver.jsonl").read_text().splitlines()]
    assert events[-1]["kind"] == "ended"
    assert "container: it did not start within 300 s" in events[-1]["detail"]


def test_whatever_breaks_between_two_steps_is_the_last_word(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise KeyError("node7")

    told = sbatch_steps.ScriptInput(nodes="node0", gres="gpu:8", mpi="pmix", left="1:00:00", variables="PATH")
    run = tmp_path / "run"
    sbatch_steps.begin(str(run), told, {"suite": "quick"}, {}, {"HOME": str(tmp_path)})
    monkeypatch.setattr(sbatch_steps, "reckon", broken)
    sbatch_steps.proceed(str(run), "00", 0, 1.0, told)
    assert not (run / "next").read_bytes(), "nothing follows"
    events = [json.loads(line)["data"] for line in (run / "driver.jsonl").read_text().splitlines()]
    assert events[-1]["kind"] == "ended"
    assert "hpcaccept itself broke: KeyError: 'node7'" in events[-1]["detail"]


def test_without_time_for_a_step_none_is_launched(tmp_path: Path) -> None:
    told = sbatch_steps.ScriptInput(nodes="node0", gres="gpu:8", mpi="pmix", left="0:20")
    sbatch_steps.begin(str(tmp_path / "run"), told, {"suite": "quick"}, {}, {"HOME": str(tmp_path)})
    assert not (tmp_path / "run/next").read_bytes()
    assert "the time limit of the job is near" in (tmp_path / "run/driver.jsonl").read_text()


# --- the night -------------------------------------------------------------------------------------------------------


def _not_now() -> str:
    now = datetime.now()  # noqa: DTZ005 (WINDOW is of this machine's clock)
    return f"{now + timedelta(hours=3):%H:%M}-{now + timedelta(hours=5):%H:%M}"


def test_outside_its_window_a_night_only_queues_the_next_one(site: Site) -> None:
    window = _not_now()
    done = site.run(SCRIPTS["nightly"], "--skip", "train", WINDOW=window)
    assert done.code == 3
    assert "Not tonight" in done.err
    assert not done.steps()
    words = done.words("sbatch")
    begin = datetime.fromisoformat(words[0].removeprefix("--begin="))
    assert f"{begin:%H:%M}" == window.partition("-")[0]
    assert timedelta(hours=2, minutes=58) < begin - datetime.now() <= timedelta(hours=3, minutes=1)  # noqa: DTZ005
    assert words[1:] == [
        "--job-name=hpcaccept-nightly",
        "--nodes=2",
        "--partition=gpu",
        "--qos=night",
        "--time=02:00:00",
        "--nodelist=node[0-1]",
        str(SCRIPTS["nightly"]),
        "--skip",
        "train",
    ]


def test_a_night_that_may_not_end_in_its_window_does_not_begin(site: Site) -> None:
    done = site.run(SCRIPTS["nightly"], WINDOW=_around_now(), JOB_END="2100-01-01T00:00:00")
    assert done.code == 3
    assert "may run until 2100-01-01T00:00:00" in done.err
    assert not done.steps()


def test_inside_its_window_a_night_queues_tomorrow_and_tests(site: Site) -> None:
    done = site.run(SCRIPTS["nightly"], WINDOW=_around_now(), GRES="(null)")
    begin = datetime.fromisoformat(done.words("sbatch")[0].removeprefix("--begin="))
    assert timedelta(hours=22) < begin - datetime.now() <= timedelta(hours=24)  # noqa: DTZ005
    assert "HPCACCEPT_GPUS_PER_NODE=0" in done.err, "it comes as far as asking how many GPUs there are"


@pytest.mark.parametrize("how", [{"WAITING": "78\n"}, {"AGAIN": "0"}])
def test_no_second_night_is_queued_and_none_when_it_is_switched_off(site: Site, how: dict[str, str]) -> None:
    done = site.run(SCRIPTS["nightly"], WINDOW=_not_now(), **how)
    assert done.code == 3
    assert not (site.said / "sbatch").exists()


def test_a_time_that_the_clocks_skip_is_an_hour_later() -> None:
    [instant] = [x for x in SCRIPTS["nightly"].read_text().splitlines() if x.startswith("instant()")]
    text = f"{instant}\ninstant 2027-03-28 02:30; instant 2027-03-27 02:30"
    done = subprocess.run(
        ["bash", "-euc", text],
        env={"TZ": "Europe/Berlin", "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=True,
    )
    skipped, before = map(int, done.stdout.split())
    assert skipped - before == 24 * 3600


def test_a_window_of_another_form_is_refused(site: Site) -> None:
    done = site.run(SCRIPTS["nightly"], WINDOW="22-5")
    assert done.code == 2
    assert "22:00-05:00" in done.err


# --- the files -------------------------------------------------------------------------------------------------------


def test_what_the_scripts_have_in_common_is_the_same_in_all() -> None:
    found = {text.partition("# sbatch runs a copy")[2].partition('source "$scripts')[0] for text in _texts()}
    assert len(found) == 1
    assert "" not in found
    for name in ("IMAGE", "MOUNTS", "RUNS_DIR", "GPUS_PER_NODE"):
        assert len({line for text in _texts() for line in text.splitlines() if line.startswith(f"{name}=")}) == 1


def _texts() -> list[str]:
    return [script.read_text() for script in SCRIPTS.values()]


@pytest.mark.skipif(not shutil.which("shellcheck"), reason="shellcheck is not installed")
def test_the_scripts_are_clean() -> None:
    subprocess.run(["shellcheck", "-x", *map(str, PARTS)], check=True)
