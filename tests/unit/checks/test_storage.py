"""On a real file system with the real fio; what it says is changed only where hardware would have to break."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest
from support.solo_context import SoloContext

from hpcaccept import checks
from hpcaccept.checks import storage as module
from hpcaccept.checks.storage import IN_MEMORY, MARKER, OPERATIONS, PREFIX, STALE_S, Storage
from hpcaccept.errors import NotUnderstood, ToolError, UsageError
from hpcaccept.measure.host import host
from hpcaccept.model.check import Unavailable
from hpcaccept.transport import tool
from hpcaccept.transport.process import Done

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

pytestmark = pytest.mark.slow

needs_fio = pytest.mark.skipif(shutil.which("fio") is None, reason="fio is not installed")
SIZE = 2 << 20


def bench_at(local: Path, **params: Any) -> SoloContext:
    params = {"size_bytes": SIZE, "blocks": 2, "block_s": 0.02, "reserve_bytes": 0, **params}
    return SoloContext(Storage(local_path=str(local), **params), folder=local)


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    mount = host.mount_of(tmp_path)
    if mount and mount.kind in IN_MEMORY:
        pytest.skip("temporary files are in memory here: no device to measure")
    return tmp_path


def answer(job_name: str, error: int = 0, **side: float) -> dict[str, Any]:
    quiet = {"io_bytes": 0, "bw_bytes": 0, "iops": 0.0, "clat_ns": {}}
    busy = {"io_bytes": SIZE, "bw_bytes": 5_000_000, "iops": 1220.7, "clat_ns": {"percentile": {"99.000000": 250_000}}}
    operation = job_name.split(".")[0]
    reads, writes = (busy, quiet) if operation == "get" or operation.endswith("read") else (quiet, busy)
    return {"jobname": job_name, "error": error, "read": {**reads, **side}, "write": writes}


def fio_says(monkeypatch: pytest.MonkeyPatch, change: Callable[[dict[str, Any]], object]) -> None:
    """A fio that does nothing and says what the check expects, but for a change in its jobs."""

    def run(_ctx: Any, command: Sequence[str], **_: Any) -> Done:
        names = [word.partition("=")[2] for word in command if word.startswith("--name=")]
        jobs = {name: answer(name) for name in names}
        change(jobs)
        return Done(0, json.dumps({"jobs": list(jobs.values())}), "")

    monkeypatch.setattr(module, "run_tool", run)


# --- the real fio -----------------------------------------------------------------------------------------------------


@needs_fio
def test_everything_is_measured_verified_and_taken_away_again(disk: Path) -> None:
    existing = disk / "load"
    existing.write_text("somebody's")
    ctx = bench_at(disk).run()
    if "local/direct" in ctx.refused:
        pytest.skip(f"no O_DIRECT on {ctx.facts['file_system[local]']}")
    assert ctx.variants("rate_bytes") == {"local/read", "local/write"}
    assert ctx.variants("iops") == {"local/random_read", "local/random_write"}
    assert ctx.variants("latency_p99_s") == {f"local/{o}" for o in OPERATIONS}
    assert all(len(values) == 2 for (metric, _), values in ctx.samples.items() if metric in ("rate_bytes", "iops"))
    assert ctx.value("wrong_blocks", "local") == ctx.value("device_errors", "local") == 0
    assert ctx.value("verified_bytes", "local") == SIZE
    assert [file.name for file in disk.iterdir()] == ["load"]
    assert existing.read_text() == "somebody's"
    assert "same file system" in ctx.refused["shared"]
    assert json.loads(ctx.kept["fio.local.out"])["jobs"]


@needs_fio
def test_what_is_in_memory_is_measured_and_compared_with_nothing(disk: Path) -> None:
    memory = Path("/dev/shm")
    if not os.access(memory, os.W_OK) or not (mount := host.mount_of(memory)) or mount.kind not in IN_MEMORY:
        pytest.skip("no file system in memory here")
    ctx = bench_at(disk, shared_path=str(memory), blocks=1).run()
    assert ctx.variants("buffered_rate_bytes") >= {f"shared/{o}" for o in OPERATIONS}
    assert not {v for v in ctx.variants("rate_bytes") | ctx.variants("iops") if v.startswith("shared")}
    assert "no O_DIRECT" in ctx.refused["shared/direct"]
    assert ctx.value("wrong_blocks", "shared") == 0
    assert not list(memory.glob(f"{PREFIX}*"))
    buffered = Storage.metric("buffered_rate_bytes")
    assert buffered
    assert not buffered.is_rate


@needs_fio
def test_a_block_that_changed_on_disk_is_counted(disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One fio writes, the byte is changed, another reads back: what a bad disk does between the two."""
    real = tool.run_tool

    def run(ctx: Any, command: Sequence[str], **more: Any) -> Done:
        cut = command.index("--name=get")
        shared = command[: command.index("--name=put")]
        real(ctx, command[:cut], **more)
        folder = next(Path(word.partition("=")[2]) for word in command if word.startswith("--directory="))
        with (folder / "verified").open("r+b") as file:
            file.seek(SIZE - 70_000)
            byte = file.read(1)
            file.seek(SIZE - 70_000)
            file.write(bytes([byte[0] ^ 1]))
        written = json.loads(ctx.kept["fio.local.out"])
        done = real(ctx, [*shared, *command[cut:]], **more)
        got = json.loads(done.stdout[done.stdout.index("{") :])
        return Done(done.returncode, json.dumps({"jobs": written["jobs"] + got["jobs"]}), done.stderr)

    monkeypatch.setattr(module, "run_tool", run)
    assert bench_at(disk, blocks=1).run().value("wrong_blocks", "local") == 1


@needs_fio
def test_a_killed_fio_is_an_error_and_leaves_nothing(disk: Path) -> None:
    ctx = bench_at(disk, block_s=30.0, timeout_s=40.0)
    killed: list[int] = []

    def kill() -> None:
        end = time.monotonic() + 20
        while time.monotonic() < end and not killed:
            for child in psutil.Process().children():
                with contextlib.suppress(psutil.NoSuchProcess):
                    if child.name() == "fio" and list(disk.glob(f"{PREFIX}*/load")):
                        child.kill()
                        killed.append(child.pid)
            time.sleep(0.02)

    killer = threading.Thread(target=kill)
    killer.start()
    with pytest.raises((ToolError, NotUnderstood)):
        ctx.run()
    killer.join()
    assert killed
    assert not psutil.pid_exists(killed[0])
    assert list(disk.iterdir()) == []


@needs_fio
def test_a_fio_that_does_not_end_is_ended_and_leaves_nothing(disk: Path) -> None:
    with pytest.raises(ToolError, match="did not end within"):
        bench_at(disk, block_s=600.0, timeout_s=0.5).run()
    assert list(disk.iterdir()) == []


@needs_fio
def test_a_rank_that_is_killed_leaves_a_folder_that_the_next_one_names_and_a_later_one_removes(disk: Path) -> None:
    program = (
        "import sys; sys.path.insert(0, sys.argv[2]); from pathlib import Path; from support.solo_context import SoloContext;"
        "from hpcaccept.checks.storage import Storage;"
        f"SoloContext(Storage(local_path=sys.argv[1], size_bytes={SIZE}, block_s=60.0, reserve_bytes=0), folder=Path(sys.argv[1])).run()"
    )
    tests = Path(__file__).parents[2]
    with subprocess.Popen([sys.executable, "-c", program, str(disk), str(tests)], cwd=tests.parent) as rank:
        end = time.monotonic() + 30
        while not list(disk.glob(f"{PREFIX}*/load")) and time.monotonic() < end:
            time.sleep(0.02)
        tools = psutil.Process(rank.pid).children()
        rank.kill()
    gone, alive = psutil.wait_procs(tools, timeout=10)
    assert gone
    assert not alive, "fio dies with its rank"
    (folder,) = disk.glob(f"{PREFIX}*")
    assert folder.name in bench_at(disk, blocks=1).run().facts["leftovers[local]"]
    os.utime(folder / MARKER, (time.time() - 2 * STALE_S,) * 2)
    assert str(folder) in bench_at(disk, blocks=1).run().facts["removed[local]"]
    assert list(disk.iterdir()) == []


# --- what fio says ----------------------------------------------------------------------------------------------------


def test_a_failed_device_is_counted_and_its_rates_are_not(disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fio_says(monkeypatch, lambda jobs: jobs.update({"read.1": answer("read.1", error=5)}))
    ctx = bench_at(disk).run()
    assert ctx.value("device_errors", "local") == 1
    assert ctx.variants("rate_bytes") == set()


def test_a_full_disk_is_an_error_of_ours(disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fio_says(monkeypatch, lambda jobs: jobs.update({"put": answer("put", error=28)}))
    with pytest.raises(ToolError, match="put: No space left"):
        bench_at(disk).run()


@pytest.mark.parametrize("lost", ["get", "random_read.1", "write.0"])
def test_a_job_that_is_absent_is_an_error(disk: Path, monkeypatch: pytest.MonkeyPatch, lost: str) -> None:
    fio_says(monkeypatch, lambda jobs: jobs.pop(lost))
    with pytest.raises(ToolError, match=f"no job {lost}"):
        bench_at(disk).run()


def test_half_a_file_read_back_is_not_all_of_it(disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fio_says(monkeypatch, lambda jobs: jobs.update({"get": answer("get", io_bytes=SIZE // 2)}))
    with pytest.raises(ToolError, match="read back"):
        bench_at(disk).run()


def test_a_place_without_an_access_is_no_rate(disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fio_says(monkeypatch, lambda jobs: jobs.update({"read.0": answer("read.0", io_bytes=0)}))
    with pytest.raises(ToolError, match="not one access"):
        bench_at(disk).run()


def test_no_output_is_an_error_with_what_was_said(disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "run_tool", lambda *_, **__: Done(1, "", "fio: engine libaio not loadable"))
    with pytest.raises(ToolError, match="libaio not loadable"):
        bench_at(disk).run()
    assert list(disk.iterdir()) == []


def test_a_failed_fio_whose_jobs_are_all_well_is_an_error(disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fio_says(monkeypatch, lambda _: None)
    run = module.__dict__["run_tool"]
    monkeypatch.setattr(module, "run_tool", lambda *args, **more: Done(1, run(*args, **more).stdout, "something odd"))
    with pytest.raises(ToolError, match="something odd"):
        bench_at(disk).run()


def test_one_place_that_cannot_be_measured_leaves_the_other_its_numbers(
    disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fio_says(monkeypatch, lambda _: None)
    ctx = bench_at(disk, shared_path="/no/such/folder").run()
    assert "not a folder here" in ctx.refused["shared"]
    assert ctx.variants("wrong_blocks") == {"local"}


# --- manners ----------------------------------------------------------------------------------------------------------


def test_a_disk_that_would_become_too_full_is_not_written(disk: Path) -> None:
    free = shutil.disk_usage(disk).free
    with pytest.raises(Unavailable, match="stay free for others") as caught:
        bench_at(disk, reserve_bytes=free).run()
    assert "local" in caught.value.cause
    assert list(disk.iterdir()) == []


def test_on_a_shared_path_the_files_of_all_nodes_must_fit(disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fio_says(monkeypatch, lambda _: None)
    ctx = bench_at(Path("/no/such/folder"), shared_path=str(disk))
    assert ctx.run().variants("wrong_blocks") == {"shared"}
    many = bench_at(Path("/no/such/folder"), shared_path=str(disk))
    many.size = shutil.disk_usage(disk).total // SIZE
    with pytest.raises(Unavailable):
        many.run()
    assert "stay free for others" in many.refused["shared"]


def test_the_folder_is_closed_to_others_and_says_whose_it_is(disk: Path) -> None:
    ctx = bench_at(disk)
    with module.own_folder(ctx, disk) as folder:
        assert folder.name.startswith(PREFIX)
        assert folder.stat().st_mode & 0o777 == 0o700
        assert str(os.getpid()) in (folder / MARKER).read_text()
    assert not folder.exists()


def leftover(disk: Path, age_s: float, marker: bool = True, mode: int = 0o700) -> Path:
    folder = disk / f"{PREFIX}old"
    folder.mkdir()
    (folder / "load").write_text("x")
    if marker:
        (folder / MARKER).write_text("node7 1\n")
        os.utime(folder / MARKER, (time.time() - age_s,) * 2)
    folder.chmod(mode)
    return folder


def test_what_a_killed_rank_left_days_ago_is_removed_and_told(disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fio_says(monkeypatch, lambda _: None)
    folder = leftover(disk, STALE_S * 2)
    ctx = bench_at(disk).run()
    assert not folder.exists()
    assert str(folder) in ctx.facts["removed[local]"]


def test_what_may_be_in_use_is_left_alone_and_told(disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fio_says(monkeypatch, lambda _: None)
    folder = leftover(disk, 60)
    ctx = bench_at(disk).run()
    assert (folder / "load").exists()
    assert folder.name in ctx.facts["leftovers[local]"]


@pytest.mark.parametrize(("marker", "mode"), [(False, 0o700), (True, 0o755)])
def test_what_is_not_ours_is_never_removed(
    disk: Path, monkeypatch: pytest.MonkeyPatch, marker: bool, mode: int
) -> None:
    fio_says(monkeypatch, lambda _: None)
    folder = leftover(disk, STALE_S * 9, marker, mode)
    ctx = bench_at(disk).run()
    assert (folder / "load").exists()
    assert "removed[local]" not in ctx.facts


def test_a_link_to_somebody_s_folder_is_not_followed(disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fio_says(monkeypatch, lambda _: None)
    target = leftover(disk, STALE_S * 9)
    moved = target.rename(disk / "precious")
    (disk / f"{PREFIX}link").symlink_to(moved)
    bench_at(disk).run()
    assert (moved / "load").exists()


def test_only_the_first_rank_of_a_node_writes(disk: Path) -> None:
    ctx = bench_at(disk)
    ctx.local_rank = 1
    ctx.run()
    assert ctx.samples == {}


@pytest.mark.parametrize("params", [{"size_bytes": 1000}, {"size_bytes": 0}, {"blocks": 0}, {"block_s": 0.0}])
def test_senseless_parameters_are_refused(params: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="of check 'storage'"):
        checks.build("storage", params)
