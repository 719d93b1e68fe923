"""Many processes speak through one output, and none loses its words or takes another's; what one says of this machine is true."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.nvml.build import build, describe, environment, h100

from hpcaccept import __version__
from hpcaccept.model.doctor.probe import FROM_LOGIN, NodeFacts, ProbeRequest
from hpcaccept.parse.probe_lines import ProbeReader, framed
from hpcaccept.serial import dumps

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow


def heard(*lines: str) -> ProbeReader:
    hearing = ProbeReader()
    for line in lines:
        hearing.add(0.0, line)
    return hearing


@given(st.text(max_size=900), st.randoms())
def test_messages_survive_whatever_order_their_pieces_come_in(words: str, rng: object) -> None:
    facts = NodeFacts(node="n0", no_torch=words, torch="x" * 500)
    lines = framed("n0:1", "facts", 0, dumps(facts)) + framed("n1:1", "facts", 0, dumps(NodeFacts(node="n1")))
    assert all(len(line.encode("utf-8", "surrogatepass")) < 1024 for line in lines)
    rng.shuffle(lines)  # type: ignore[attr-defined]
    found = heard(*(f"{line}\n" for line in lines)).facts
    assert found["n0:1"].torch == facts.torch
    assert found["n1:1"].node == "n1"


def test_labels_of_srun_banners_and_torn_lines_are_none_of_ours() -> None:
    lines = framed("n0:1", "facts", 0, dumps(NodeFacts(node="n0", version="1", torch="x" * 300)))
    noise = ["== PyTorch ==", "hpcaccept-probe", "hpcaccept-probe a facts x 1/1 {}", "hpcaccept-probe a facts 0 1/1 {",
             "hpcaccept-probe a pong 0 1/1 soon"]  # fmt: skip
    hearing = heard(*noise, *(f" 3: {line}\n" for line in lines))
    assert [facts.node for facts in hearing.facts.values()] == ["n0"]
    assert not heard(lines[0]).facts


def test_the_last_words_of_a_node_count() -> None:
    first, last = NodeFacts(node="n0"), NodeFacts(node="n0", done=True)
    lines = [line for i, facts in enumerate((first, last)) for line in framed("n0:1", "facts", i, dumps(facts))]
    assert heard(*lines).facts["n0:1"].done


def test_another_version_may_say_other_things() -> None:
    more = json.dumps({"node": "n0", "version": "9.0", "python": "3.15", "of_tomorrow": 1})
    assert heard(*framed("n0:1", "facts", 0, more)).facts["n0:1"] == NodeFacts("n0", version="9.0", python="3.15")
    other = json.dumps({"node": "n0", "version": "9.0", "cores": {"big": 4}})
    assert heard(*framed("n0:1", "facts", 0, other)).facts["n0:1"] == NodeFacts("n0", version="9.0", done=True)


def test_the_quickest_answer_tells_the_clock() -> None:
    hearing = heard(*framed("n0:1", "facts", 0, dumps(NodeFacts(node="n0"))))
    for asked_s, said_s, arrived_s in ((100.0, 110.5, 101.0), (200.0, 210.01, 200.02), (300.0, 305.0, 299.0)):
        (line,) = framed("n0:1", "pong", 0, f"{asked_s!r} {said_s!r}")
        hearing.add(arrived_s, line)
    (clock,) = hearing.clocks
    assert clock.node == "n0"
    assert [clock.ahead_s, clock.bound_s] == pytest.approx([10.0, 0.01])


def probe(request: ProbeRequest, *, words: str = "", env: dict[str, str] | None = None) -> tuple[ProbeReader, str]:
    command = [sys.executable, "-m", "hpcaccept.rank.probe", dumps(request)]
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("SLURM", "PMI", "OMPI"))}
    done = subprocess.run(
        command, input=words, capture_output=True, text=True, env={**clean, **(env or {})}, timeout=60, check=False
    )
    hearing = ProbeReader()
    for line in done.stdout.splitlines():
        hearing.add(time.time(), line)
    return hearing, done.stdout + done.stderr


def test_a_node_says_what_it_is_and_what_it_cannot(tmp_path: Path) -> None:
    hearing, out = probe(
        ProbeRequest("t", str(tmp_path), gpus=8, torch="none", timeout_s=30, seen_within_s=0.2),
        env={"HPCACCEPT_NODE": "me"},
    )
    (facts,) = hearing.facts.values()
    assert facts.done, out
    assert (facts.node, facts.version, facts.world) == ("me", __version__, 1)
    assert facts.cores >= 1
    assert facts.gpus == 0
    assert facts.no_gpus
    assert facts.no_read == "No such file or directory"  # nobody has written FROM_LOGIN
    assert not facts.torch
    assert list(tmp_path.iterdir()) == []


def test_a_node_leaves_its_word_where_it_reads_ours(tmp_path: Path) -> None:
    (tmp_path / FROM_LOGIN).write_text("t")
    hearing, out = probe(
        ProbeRequest("t", str(tmp_path), torch="none", seen_within_s=0.2), env={"HPCACCEPT_NODE": "me"}
    )
    (facts,) = hearing.facts.values()
    assert (facts.no_read, facts.no_write) == ("", ""), out
    assert (tmp_path / "from-me").read_text() == "t"
    (tmp_path / FROM_LOGIN).write_text("another")
    (facts,) = probe(ProbeRequest("t", str(tmp_path), torch="none", seen_within_s=0.2))[0].facts.values()
    assert facts.no_read == "the file there is another one"


def test_a_lost_gpu_is_not_counted(tmp_path: Path) -> None:
    gpus = [h100(i) for i in range(7)]
    env = environment(build(tmp_path / "lib"), describe(tmp_path / "gpus", gpus))
    (facts,) = probe(ProbeRequest(gpus=8, torch="none"), env=env)[0].facts.values()
    assert (facts.gpus, facts.no_gpus) == (7, "the driver counts 7")
    (facts,) = probe(ProbeRequest(gpus=4, torch="none"), env={**env, "CUDA_VISIBLE_DEVICES": "0,1,2"})[0].facts.values()
    assert (facts.gpus, facts.no_gpus) == (3, "the driver counts 7; CUDA_VISIBLE_DEVICES=0,1,2")
    (facts,) = probe(ProbeRequest(gpus=7, torch="none"), env=env)[0].facts.values()
    assert (facts.gpus, facts.no_gpus) == (7, "")


@pytest.mark.parametrize(
    ("code", "name"), [("802", "CUDA_ERROR_SYSTEM_NOT_READY"), ("214", "CUDA_ERROR_ECC_UNCORRECTABLE")]
)
def test_a_gpu_that_cuda_cannot_start_is_not_counted(tmp_path: Path, code: str, name: str) -> None:
    gpus = [h100(i, **({"cuda": code} if i == 2 else {})) for i in range(4)]
    env = environment(build(tmp_path / "lib"), describe(tmp_path / "gpus", gpus))
    (facts,) = probe(ProbeRequest(gpus=4, torch="none"), env=env)[0].facts.values()
    assert facts.gpus == 3
    assert f"device 2 does not start: {name} ({code})" in facts.no_gpus
    (facts,) = probe(ProbeRequest(gpus=2, torch="none"), env={**env, "CUDA_VISIBLE_DEVICES": "0,3"})[0].facts.values()
    assert (facts.gpus, facts.no_gpus) == (2, "")


def test_where_cuda_itself_is_missing_no_gpu_counts(tmp_path: Path) -> None:
    library = build(tmp_path / "lib")
    library.with_name("libcuda.so.1").write_bytes(b"")  # shadows a real one
    env = environment(library, describe(tmp_path / "gpus", [h100(0)]))
    (facts,) = probe(ProbeRequest(gpus=1, torch="none"), env=env)[0].facts.values()
    assert facts.gpus == 0
    assert "libcuda.so.1" in facts.no_gpus


def test_a_locale_that_is_not_installed_is_told() -> None:
    (facts,) = probe(ProbeRequest(torch="none"), env={"LC_ALL": "xx_XX.UTF-8"})[0].facts.values()
    assert "xx_XX.UTF-8" in facts.no_locale
    (facts,) = probe(ProbeRequest(torch="none"), env={"LC_ALL": "C.UTF-8"})[0].facts.values()
    assert not facts.no_locale


def test_who_asks_is_answered_and_when_he_is_gone_so_is_the_probe(tmp_path: Path) -> None:
    begin = time.time()
    # It would wait for half a minute for a file that nobody writes.
    request = ProbeRequest("t", str(tmp_path), torch="none", seen_within_s=30)
    hearing, out = probe(request, words=f"{begin!r}\nsoon\n")
    asked_s, said_s = out.split(" pong 0 1/1 ")[1].split()[:2]
    assert float(asked_s) == begin <= float(said_s) <= time.time()
    assert not any(facts.done for facts in hearing.facts.values()), out
