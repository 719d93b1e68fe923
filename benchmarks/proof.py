"""What does a proof of work cost: to verify five seconds of a claimed H100, to compute on a processor, to hash?

In seconds of processor time, which what else runs here does not change: on two free cores a verifier needs half of it. ``python -m benchmarks.proof`` measures
and writes its table and the survival table into docs/explanation/rented-machines.md.
"""

from __future__ import annotations

import base64
import json
import os
import sys
import time
from typing import TYPE_CHECKING

import numpy as np

from benchmarks import _row
from benchmarks._child import ROOT, environment, output
from benchmarks._row import CannotRun, Row, Target, met_text, ours_text, target_text
from hpcaccept.measure.host import host
from hpcaccept.measure.kernels.int8_chain import Chain, Work, exact_product
from hpcaccept.proof import merkle, openings, speed
from hpcaccept.proof.chain import advance
from hpcaccept.proof.challenge import Challenge, sized, survival
from hpcaccept.proof.openings import DEFAULT_OPENINGS, Opening

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hpcaccept.proof.stream import Bytes

PAGE = ROOT / "docs" / "explanation" / "rented-machines.md"
BEGIN, END = "<!-- measured: begin (python -m benchmarks.proof) -->", "<!-- measured: end -->"
_NONCE = bytes(range(32))
#: The sizes of the first design, for comparison: as much GPU time, one row of 16 KB.
_WIDE = Challenge(_NONCE.hex(), 16384, 16384, 1088, 68)
_WIDE_OPENINGS = 16
#: Of the verifier that the target is stated for.
_CORES = 2
_BLAS = "OPENBLAS_NUM_THREADS"


def measure(quick: bool) -> list[Row]:
    """Verifying is timed on openings that are right, of cells whose first rows are random: it costs what it costs for an honest prover."""
    if os.environ.get(_BLAS) != "1":
        return _alone(quick)
    claimed = speed.gpu_class("H100 SXM")
    assert claimed
    h100 = sized(_NONCE, claimed.peak_ops)
    times = 1 if quick else 3
    return [
        _verifying(h100, 8 if quick else DEFAULT_OPENINGS, times),
        _verifying(_WIDE, 2 if quick else _WIDE_OPENINGS, 1),
        _hashing(h100, times),
        _proving(Challenge(_NONCE.hex(), 1024, 1024, 32, 8), times),
    ]


def _alone(quick: bool) -> list[Row]:
    """In a process whose BLAS has one thread, as the commands have it."""
    words = [sys.executable, "-m", "benchmarks.proof", "--print", *(["--quick"] if quick else [])]
    printed = output(words, environment(**{_BLAS: "1"}), timeout_s=1800.0)
    return [_row.from_plain(plain) for plain in json.loads(printed)]


def _verifying(of: Challenge, count: int, times: int) -> Row:
    roots, cells, shown = _answer(of, count)
    taken = []
    for _ in range(times):
        # Each GPU has a nonce of its own, so weights are made anew each time.
        _forget()
        begin = time.process_time()
        openings.verify(of, roots, cells, shown, threads=_CORES)
        taken.append(time.process_time() - begin)
    what = (
        f"verify one GPU: n {of.width:,}, {of.rows:,} rows, T {of.steps:,}, S {of.segment:,}, k {count}: "
        f"{of.ops:.2g} operations for the prover, {of.verifying_macs(count):.2g} multiply-adds for the verifier"
    )
    return Row(what, "s", tuple(taken), target=Target("value", upper=_CORES * 30.0))


def _forget() -> None:
    from hpcaccept.proof import challenge

    challenge._weights.cache_clear()


def _answer(of: Challenge, count: int) -> tuple[list[str], list[openings.Cell], list[Opening]]:
    """Right openings without 10^16 operations: trees whose other leaves are random."""
    draw = np.random.default_rng(1)
    cells = [
        (1 + index % (of.segments - 1), int(row))
        for index, row in enumerate(draw.choice(of.rows, count, replace=False))
    ]
    starts = draw.integers(-128, 128, (count, of.width), np.int8)
    ends = advance(starts, of.weights(), of.marks(cells), of.segment)
    leaves = [[draw.bytes(32) for _ in range(of.rows)] for _ in range(of.segments)]
    for (segment, row), start, end in zip(cells, starts, ends, strict=True):
        leaves[segment - 1][row] = merkle.leaf(segment, row, start.tobytes())
        leaves[segment][row] = merkle.leaf(segment + 1, row, end.tobytes())
    trees = [merkle.levels(each) for each in leaves]

    def packed(content: bytes) -> str:
        return base64.b64encode(content).decode()

    def opening(segment: int, row: int, start: Bytes, end: Bytes) -> Opening:
        paths = [packed(b"".join(merkle.path(tree, row))) for tree in trees[segment - 1 : segment + 1]]
        return Opening(segment, row, packed(start.tobytes()), paths[0], packed(end.tobytes()), paths[1])

    shown = [opening(*cell, start, end) for cell, start, end in zip(cells, starts, ends, strict=True)]
    return [tree[-1][0].hex() for tree in trees], cells, shown


def _hashing(of: Challenge, times: int) -> Row:
    content = memoryview(np.random.default_rng(1).bytes(of.rows * of.width))
    taken = []
    for _ in range(times):
        begin = time.process_time()
        merkle.levels([merkle.leaf(1, row, content[row * of.width : (row + 1) * of.width]) for row in range(of.rows)])
        taken.append(time.process_time() - begin)
    what = f"commit to one checkpoint of {of.rows:,} rows of {of.width:,} bytes, one thread (an H100's proof has {of.segments}; four threads hash beside the GPU)"
    return Row(what, "s", tuple(taken))


def _proving(of: Challenge, times: int) -> Row:
    """The chain alone; committing stands above."""
    work = Work(of.key("start"), of.key("weights"), of.key("marks"), of.rows, of.width, of.segments, of.segment)
    taken = []
    for _ in range(times):
        begin = time.process_time()
        chain = Chain(work, "cpu")
        for block in chain.blocks():
            for _x in chain.checkpoints(block):
                pass
        taken.append(time.process_time() - begin)
    how = "torch._int_mm" if exact_product("cpu") else "float32 in slices"
    return Row(
        f"prove on this machine's processor ({how}): n {of.width:,}, {of.rows:,} rows, T {of.steps}, {of.ops:.2g} operations",
        "s",
        tuple(taken),
    )


def survival_table(
    counts: Sequence[int] = (16, 32, 64, 128, 256), shares: Sequence[float] = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
) -> list[str]:
    """Probability in percent that who skips a share of the cells is not found, by the number of openings."""
    head = ["openings k", *(f"skips {share:.0%}" for share in shares)]
    lines = [head, ["---"] * len(head)]
    lines += [[str(count), *(_percent(survival(count, share)) for share in shares)] for count in counts]
    return [f"| {' | '.join(cells)} |" for cells in lines]


def _percent(share: float) -> str:
    return f"{share:.2g}" if share < 1e-4 else f"{100 * share:.3g} %"


def write(rows: Sequence[Row]) -> None:
    """Replace what stands between the marks.

    Raises:
        CannotRun: the marks are not there.
    """
    before, begin, rest = PAGE.read_text("utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise CannotRun(f"{PAGE} lacks the marks {BEGIN!r} and {END!r}")
    lines = [
        f"Measured on {host.cpu_model()}, {host.usable_cores():g} cores, numpy {np.__version__}, load {os.getloadavg()[0]:.1f} when it ended.",
        "",
        "| what | processor time: median (least … most) | target | |",
        "| --- | --- | --- | --- |",
        *(f"| {row.what} | {ours_text(row)} | {target_text(row)} | {met_text(row)} |" for row in rows),
        "",
        "A prover who skips this share of the cells is **not** found with this probability, at most (1 - f)^k:",
        "",
        *survival_table(),
    ]
    PAGE.write_text(f"{before}{BEGIN}\n" + "\n".join(lines) + f"\n{END}{after}", "utf-8")


if __name__ == "__main__":
    measured = measure("--quick" in sys.argv)
    if "--print" in sys.argv:
        print(json.dumps([_row.plain(row) for row in measured]))
    else:
        write(measured)
        print(PAGE)
