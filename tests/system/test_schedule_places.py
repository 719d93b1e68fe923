"""A real training loop that is paused and resumed here, on Slurm and on a rented machine has the loss curve of one that was never paused."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest
from support import rented_hosts
from support import vast_server as markets
from support.scheduled_tree import Timer, tree_with

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.vast_server import VastServer
    from system.cluster import VirtualSlurm

    from hpcaccept.model.schedule.standing import Standing

#: The optimizer has a state, the data are drawn anew in each epoch, and the network drops out: a curve is the same only where all of it comes back.
TRAIN = """\
import os, time
import torch

torch.set_num_threads(1)
torch.manual_seed(7)
model = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.Dropout(0.2), torch.nn.Tanh(), torch.nn.Linear(16, 1))
optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
epoch = 0
if os.path.exists("checkpoint.pt"):
    saved = torch.load("checkpoint.pt", weights_only=True)
    model.load_state_dict(saved["model"])
    optimizer.load_state_dict(saved["optimizer"])
    torch.set_rng_state(saved["rng"])
    epoch = saved["epoch"]
while epoch < 10:
    epoch += 1
    for _ in range(5):
        x = torch.randn(32, 8)
        loss = ((model(x) - x.sum(1, keepdim=True)) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with open("losses.csv", "a") as curve:
        curve.write(("epoch,val_loss\\n" if epoch == 1 else "") + f"{epoch},{loss.item()!r}\\n")
        curve.flush()
        # Line and checkpoint together: what is between them is done again.
        state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "rng": torch.get_rng_state(), "epoch": epoch}
        torch.save(state, "checkpoint.new")
        os.replace("checkpoint.new", "checkpoint.pt")
    print("epoch", epoch, "val_loss", loss.item(), flush=True)
    if epoch == 5 and "HPCACCEPT_RUN_ID" in os.environ:
        time.sleep(600)  # until it is paused, or its machine is lost: what goes on from the checkpoint begins behind it
"""
RECIPE = f"command = '{sys.executable} train.py'\n"
#: Costs no second of torch: what counts, and waits in its middle.
COUNT = """command = '''
n=$(cat ck 2>/dev/null || echo 0)
while [ "$n" -lt 10 ]; do
  n=$((n + 1)); echo "$n" >>counted; echo "$n" >ck; echo "epoch $n "
  [ "$n/$HPCACCEPT_ATTEMPT" != 5/1 ] || sleep 600
done
'''
"""
RENTAL = """
[rental]
image = "example/image:1"
max_price = 1.0
premium = 0.1
[stop]
max_usd = 5
max_hours = 2
"""


@pytest.fixture(scope="module")
def curve(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Epoch → loss of a run that nobody has paused."""
    folder = tmp_path_factory.mktemp("never-paused")
    (folder / "train.py").write_text(TRAIN)
    subprocess.run([sys.executable, "train.py"], cwd=folder, check=True, timeout=600)
    return losses(folder / "losses.csv")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return tree_with(tmp_path / "tree", {"train.py": TRAIN})


@pytest.fixture
def timer(tree: Path) -> Iterator[Timer]:
    started = Timer.started(tree)
    yield started
    started.close()


def losses(file: Path) -> dict[str, str]:
    """An epoch whose checkpoint was not written was done twice, with the same loss or it would not be found once."""
    rows = set(file.read_text().splitlines()[1:])
    found = {line.partition(",")[0]: line.partition(",")[2] for line in rows}
    assert len(found) == len(rows)
    return found


def in_the_middle(timer: Timer) -> Standing:
    """Once five epochs are in its log."""
    return timer.until(
        lambda standing: (
            standing.state == "running"
            and timer.latest().file("log").exists()
            and "epoch 5 " in timer.latest().file("log").read_text()
        )
    )


def is_paused_and_resumed(timer: Timer, curve: dict[str, str], later_s: float = 0.0) -> None:
    """It stops short of its end, and ends with the curve of one that never did; by a clock that is so much ahead."""
    in_the_middle(timer)
    timer.ask("pause")
    timer.until(lambda standing: standing.state == "paused")
    assert len(losses(timer.latest().file("work/losses.csv"))) == 5
    timer.ask("resume", later_s=later_s)
    found = timer.until(lambda standing: standing.final, later_s=later_s)
    assert (found.state, found.attempt) == ("done", 2), found
    assert losses(timer.latest().file("work/losses.csv")) == curve
    log = timer.latest().file("log").read_text()
    # Slurm itself may start a job once more: a node of a busy machine that is silent for ten seconds loses it.
    assert len(re.findall(r"attempt \d+ on", log)) >= 2


def test_here(timer: Timer, curve: dict[str, str]) -> None:
    timer.ask("add", recipe=RECIPE, place="here")
    is_paused_and_resumed(timer, curve)


def test_on_slurm_with_the_commit_in_the_comment(plain_slurm: VirtualSlurm, tree: Path, curve: dict[str, str]) -> None:
    env = {**os.environ, **plain_slurm.env}
    (tree / "train.py").write_text(TRAIN + "# changed\n")
    timer = Timer.started(tree, plain_slurm.env)
    try:
        timer.ask("add", recipe=RECIPE, place="slurm", in_s=3600)
        waiting = timer.until(lambda standing: standing.state == "running")
        job = subprocess.run(
            ["scontrol", "show", "job", waiting.job], env=env, capture_output=True, text=True, check=True
        ).stdout
        added = waiting.added
        assert f"commit={added.commit}-dirty changes={added.diff_sha256[:12]}: The first commit" in job
        assert "Reason=BeginTime" in job
        # So that it waits however slow this machine is, and nobody waits for an hour.
        subprocess.run(["scontrol", "update", f"jobid={waiting.job}", "StartTime=now"], env=env, check=True)
        is_paused_and_resumed(timer, curve, later_s=3600)
    finally:
        timer.close()


@pytest.fixture
def rented(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[VastServer, rented_hosts.RentedHosts]]:
    if why := rented_hosts.why_not():
        pytest.skip(f"no rented machines: {why}")
    hosts = rented_hosts.RentedHosts(tmp_path / "machines")
    with markets.vast_server() as market:
        market.start = hosts.start
        monkeypatch.setenv("VAST_URL", market.url)
        monkeypatch.setenv("VAST_API_KEY", markets.KEY)
        try:
            yield market, hosts
        finally:
            hosts.end()


def test_on_a_rented_machine_that_is_given_back_for_the_pause(
    rented: tuple[VastServer, rented_hosts.RentedHosts], timer: Timer, curve: dict[str, str]
) -> None:
    market, hosts = rented
    for machine, price in ((1, 0.5), (2, 0.51), (3, 0.9)):
        market.offer(
            machine, num_gpus=1, dph_total=price, dlperf=100.0 * machine, verified=True, verification="verified"
        )
    market.foreign(1)
    timer.ask("add", recipe=RECIPE + RENTAL, place="rented")
    is_paused_and_resumed(timer, curve)
    assert market.ours() == []
    # Of the offers within 10 % of the cheapest the faster one, twice; the fastest costs too much.
    assert [each["machine_id"] for each in market.gone.values()] == [2, 2]
    assert all("PRIVATE KEY" in each for each in hosts.onstarts.values())
    assert len(set(hosts.onstarts.values())) == 2, "each rental has a host key of its own"


def test_a_machine_that_is_lost_is_replaced_and_the_run_goes_on_from_what_was_fetched(
    rented: tuple[VastServer, rented_hosts.RentedHosts], timer: Timer
) -> None:
    market, hosts = rented
    for machine in (1, 2):
        market.offer(machine, num_gpus=1, dph_total=0.5, dlperf=100.0 * machine, verified=True, verification="verified")
    timer.ask("add", recipe="restart = true\n" + COUNT + RENTAL, place="rented")
    in_the_middle(timer)
    timer.until(lambda _: timer.latest().file("work/ck").exists(), later_s=400)
    (instance,) = market.ours()
    hosts.kill(instance)
    market.instances[instance]["_behaviour"] = markets.Behaviour(status="offline")
    found = timer.until(lambda standing: standing.final)
    assert (found.state, found.attempt, found.unfit) == ("done", 2, (2,)), found
    assert timer.latest().file("work/counted").read_text().split() == [str(each) for each in range(1, 11)]
    assert market.ours() == []


def test_another_host_at_the_same_address_gets_nothing(
    rented: tuple[VastServer, rented_hosts.RentedHosts], timer: Timer, tmp_path: Path
) -> None:
    market, hosts = rented
    market.offer(1, num_gpus=1, dph_total=0.5, verified=True, verification="verified")
    other = tmp_path / "other"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(other)], check=True)
    real = hosts.start

    def taken_over(instance: dict[str, object]):  # type: ignore[no-untyped-def]
        begin, end = str(instance["onstart"]).split("cat >host_key <<'END'")
        rest = end.partition("\nEND\n")[2]
        return real({**instance, "onstart": f"{begin}cat >host_key <<'END'\n{other.read_text().strip()}\nEND\n{rest}"})

    market.start = taken_over
    timer.ask("add", recipe=RECIPE + RENTAL, place="rented")
    found = timer.until(lambda standing: "does not answer ssh" in standing.waiting)
    time.sleep(0.3)
    timer.ask("once")
    assert timer.latest().standing().sent is False
    assert not list((tmp_path / "machines").glob("*/hpcaccept/2*"))
    timer.ask("stop")
    found = timer.until(lambda standing: standing.final)
    assert (found.state, market.ours()) == ("stopped", [])
