from __future__ import annotations

import contextlib
import os
import re
import shutil
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from support.solo_context import SoloContext

from hpcaccept import checks
from hpcaccept.checks import burn as module
from hpcaccept.checks.burn import Burn, sustained_cpu, sustained_gpu, throttle_story
from hpcaccept.errors import ToolError, UsageError
from hpcaccept.measure.device import Cpu
from hpcaccept.measure.gpu import telemetry
from hpcaccept.measure.gpu.drivers.nvidia import decoded
from hpcaccept.measure.gpu.telemetry import Seen
from hpcaccept.measure.kernels import gemm
from hpcaccept.measure.kernels.stress import Block, Engine
from hpcaccept.model.check import Unavailable
from hpcaccept.transport import tool
from hpcaccept.transport.process import Done

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from hpcaccept.measure.kernels.gemm import Format, Operands

pytestmark = pytest.mark.slow

real_call = gemm.product_call
DATA = Path(__file__).parents[2] / "data/stress_ng"
HEALTHY = (DATA / "two_workers.yaml").read_text()


def quick(**params: Any) -> SoloContext:
    return SoloContext(Burn(**{"duration_s": 0.3, "window_s": 0.1, "size": 64, "cpu_load": "engine", **params}))


def together(monkeypatch: pytest.MonkeyPatch, **params: Any) -> SoloContext:
    """A GPU is stood in for by the CPU, called ``cuda``: the same code, another device."""
    monkeypatch.setattr(module, "open_device", lambda _: Cpu(kind="cuda"))
    monkeypatch.setattr(module, "_GPU_BLOCK_S", 0.01)
    return quick(**{"duration_s": 1.0, "dtype": "fp32", **params})


def blocks_of(*rates: float) -> list[Block]:
    """One block a second, each with this many operations in one second of wall and CPU time."""
    return [Block(float(i + 1), 1.0, 1.0, rate, 1, 0) for i, rate in enumerate(rates)]


def test_a_cpu_alone_is_judged_against_itself_only() -> None:
    ctx = quick().run()
    assert ctx.variants("rate_flops") == {"cpu/alone"}
    assert ctx.variants("sustained_share_cpu") == {"engine"}
    assert not {"clock_hz", "power_w", "temperature_c"} & {name for name, _ in ctx.samples}
    assert "throttled" not in ctx.facts
    assert ctx.value("wrong_elements", "cpu") == 0
    assert ctx.value("passes", "cpu") > 0
    assert ctx.refused == {"gpu": "no GPU was asked for", "cpu/together": "it needs a GPU beside it"}


def test_the_passes_are_told_with_what_they_prove() -> None:
    ctx = quick().run()
    passes = int(ctx.value("passes", "cpu"))
    share = f"{3 / passes:.2g}"
    assert ctx.facts["bound[cpu]"] == (
        f"{passes} passes compared, 0 elements wrong: fewer than {share} of passes are wrong (95 % confidence)"
    )


def test_cpu_and_gpu_together_give_every_metric(monkeypatch: pytest.MonkeyPatch) -> None:
    ctx = together(monkeypatch).run()
    of_the_driver = {"clock_hz", "flop_per_cycle", "power_w", "temperature_c"}
    of_others = {"stress_per_s", "verify_failures", "differs_from_majority"}
    assert {name for name, _ in ctx.samples} == {m.name for m in Burn.metrics} - of_the_driver - of_others
    assert ctx.variants("rate_flops") == {"cpu/alone", "gpu/alone", "cpu/together", "gpu/together"}
    assert ctx.value("wrong_elements", "gpu") == ctx.value("wrong_elements", "cpu") == 0
    assert ctx.beats[0] == "cpu alone"


def test_both_together_may_last_as_long_as_a_marketplace_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    lasted: list[tuple[str, float]] = []
    run_gpu = module._run_gpu

    def noted(ctx: Any, gpu: Any, stage: str, duration_s: float) -> Any:
        lasted.append((stage, duration_s))
        return run_gpu(ctx, gpu, stage, min(duration_s, 0.3))

    monkeypatch.setattr(module, "_run_gpu", noted)
    together(monkeypatch, duration_s=1.0, together_s=2.0).run()
    together(monkeypatch, duration_s=1.0).run()
    assert lasted == [("alone", 0.2), ("together", 2.0), ("alone", 0.2), ("together", 0.7)]


def test_it_says_once_a_second_where_it_is() -> None:
    ctx = quick()
    for end_s in (0.4, 0.9, 1.4, 1.9, 2.4):
        module._say(ctx, "together", Block(end_s, 0.5, 0.5, 1.0, 1, 0))
    assert ctx.beats == ["together, 1 s", "together, 2 s"]


def test_a_flip_in_one_late_pass_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    end = time.monotonic() + 0.2
    flips: list[bool] = []

    def product_call(form: Format, operands: Operands) -> Callable[[], object]:
        call = real_call(form, operands)

        def harmed() -> None:
            call()
            if time.monotonic() > end and not flips:
                flips.append(True)
                operands.out.view(torch.int32)[1, 2] ^= 1

        return harmed

    monkeypatch.setattr(gemm, "product_call", product_call)
    ctx = quick(duration_s=0.5).run()
    assert ctx.value("wrong_elements", "cpu") == 1
    assert ctx.facts["bound[cpu]"].endswith("passes compared, 1 elements wrong")


def test_a_device_that_is_always_wrong_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    def product_call(form: Format, operands: Operands) -> Callable[[], object]:
        call = real_call(form, operands)

        def harmed() -> None:
            call()
            operands.out[3, 3] += 1000

        return harmed

    monkeypatch.setattr(gemm, "product_call", product_call)
    assert quick().run().value("wrong_elements", "cpu") == 2


def test_a_clock_that_falls_to_a_quarter_misses_its_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every product is made four times from the middle of the stage on: what a throttled core looks like from inside."""
    start = time.monotonic()

    def product_call(form: Format, operands: Operands) -> Callable[[], object]:
        call = real_call(form, operands)

        def throttled() -> None:
            call()
            if time.monotonic() > start + 0.8:
                for _ in range(3):
                    call()

        return throttled

    monkeypatch.setattr(gemm, "product_call", product_call)
    ctx = quick(duration_s=1.2, window_s=0.3, size=512).run()
    limit = Burn.metric("sustained_share_cpu")
    assert limit is not None
    assert limit.limit is not None
    assert not limit.limit.met_by(ctx.value("sustained_share_cpu", "engine"))
    assert "looked at again" in ctx.facts["sustained[engine]"]


def test_an_end_that_only_looked_slow_is_forgiven_when_looked_at_again(monkeypatch: pytest.MonkeyPatch) -> None:
    stages = iter([blocks_of(1e9, 1e9, 0.5e9), blocks_of(0.6e9, 0.9e9, 1e9)])
    monkeypatch.setattr(Engine, "run", lambda *_: next(stages))
    ctx = quick(window_s=1.0).run()
    assert ctx.value("sustained_share_cpu", "engine") == 1.0
    assert ctx.facts["sustained[engine]"] == "0.50 at first, 1.00 when looked at again"
    assert ctx.value("passes", "cpu") == 6


def test_a_wrong_result_in_the_verifying_run_alone_is_counted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    failing = f"case $ARGS in *matrixprod*) ;; *) cat {DATA}/failed.log; exit 2;; esac"
    installed(monkeypatch, tmp_path, f"cp {DATA}/two_workers.yaml $YAML; {failing}")
    ctx = stressed().run()
    assert ctx.value("verify_failures", "cpu") == 2
    assert len(ctx.samples["stress_per_s", "alone"]) == 2


def test_an_end_that_looks_slow_to_stress_ng_is_looked_at_again_too(monkeypatch: pytest.MonkeyPatch) -> None:
    stages = iter([blocks_of(1e3, 0.5e3), blocks_of(1e3, 0.9e3)])
    monkeypatch.setattr(module.StressNg, "run", lambda *_: next(stages))
    monkeypatch.setattr(tool, "found", str)
    ctx = stressed().run()
    assert ctx.value("sustained_share_cpu", "stress-ng") == 0.9
    assert ctx.facts["sustained[stress-ng]"] == "0.50 at first, 0.90 when looked at again"
    assert ctx.samples["stress_per_s", "alone"] == [1e3, 0.5e3, 1e3, 0.9e3]


def test_an_unknown_format_is_refused_when_the_suite_is_read() -> None:
    with pytest.raises(UsageError, match="'dtype' of check 'burn' is 'half'"):
        checks.build("burn", {"dtype": "half"})


@pytest.mark.parametrize(("rates", "share"), [((4.0, 4.0, 4.0), 1.0), ((4.0, 3.0, 2.0), 0.5), ((2.0, 3.0, 4.0), 2.0)])
def test_the_share_is_last_over_first(rates: tuple[float, ...], share: float) -> None:
    blocks = blocks_of(*rates)
    assert sustained_gpu(blocks, 1.0) == share
    assert sustained_cpu(blocks, blocks, 1.0) == share


def test_a_neighbour_who_takes_time_slices_is_not_a_throttle() -> None:
    early = blocks_of(1e9, 1e9)
    late = [Block(b.end_s, 3.0, 1.0, 1e9, 1, 0) for b in early]
    assert sustained_cpu(early, late, 1.0) == 1.0


def test_rates_are_kept_over_time_and_not_more_than_a_hundred_of_a_stage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Engine, "run", lambda *_: blocks_of(*(1e9 + n for n in range(250))))
    rates = quick(window_s=1.0).run().samples["rate_flops", "cpu/alone"]
    assert len(rates) == 84
    assert rates == sorted(rates)


def test_a_result_without_a_fault_has_a_bound_and_one_with_a_fault_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    ctx = quick().run()
    assert ctx.value("corruption_bound", "cpu") == 3 / ctx.value("passes", "cpu")
    monkeypatch.setattr(Engine, "run", lambda *_: [Block(1.0, 1.0, 1.0, 1e9, 7, 1), *blocks_of(1e9, 1e9)])
    assert "corruption_bound" not in {name for name, _ in quick().run().samples}


# --- the ranks compared -----------------------------------------------------------------------------------------------


class Fleet(SoloContext):
    """This rank's first result among those of others, told by letters: ``=`` the same, ``x`` another, ``-`` none."""

    def __init__(self, others: str) -> None:
        super().__init__(Burn(duration_s=0.1, window_s=0.05, size=64, cpu_load="engine"), size=1 + len(others))
        self.others = others

    def allgather(self, thing: Any) -> list[Any]:
        def other(kind: str) -> Any:
            if kind == "-" or thing is None:
                return None
            return {name: {**mine, "digest": mine["digest"] if kind == "=" else kind} for name, mine in thing.items()}

        return [thing, *(other(kind) for kind in self.others)]


@pytest.mark.parametrize(
    ("others", "differs"),
    [("===", 0), ("==x", 0), ("=-x=", 0), ("xxx", 1), ("=xxx", 1), ("x", 1), ("xy", 1)],
)
def test_who_came_to_other_bits_than_most_is_named_and_in_a_tie_nobody_passes(others: str, differs: int) -> None:
    assert Fleet(others).run().value("differs_from_majority", "cpu") == differs


def test_a_rank_without_its_like_has_no_such_number_and_says_so() -> None:
    ctx = Fleet("").run()
    assert "differs_from_majority" not in {name for name, _ in ctx.samples}
    assert ctx.facts["majority[cpu]"] == "no other rank is like this one"


def test_a_rank_that_could_not_measure_takes_part_in_the_comparison() -> None:
    ctx = Fleet("==")
    ctx.check.compare(ctx, None)
    assert ctx.samples == {}


def test_a_device_that_is_wrong_from_its_first_pass_on_has_other_bits_than_its_like(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One bit, the same in every product: as small as it is, only the comparison with other devices can see it."""
    healthy = Burn(duration_s=0.05, size=64, cpu_load="engine").measure(quick())

    def product_call(form: Format, operands: Operands) -> Callable[[], object]:
        call = real_call(form, operands)

        def harmed() -> None:
            call()
            operands.out.view(torch.int32)[5, 7] ^= 1

        return harmed

    monkeypatch.setattr(gemm, "product_call", product_call)
    harmed = Burn(duration_s=0.05, size=64, cpu_load="engine").measure(quick())
    assert harmed["cpu"]["like"] == healthy["cpu"]["like"]
    assert harmed["cpu"]["digest"] != healthy["cpu"]["digest"]


# --- the CPU under stress-ng ------------------------------------------------------------------------------------------


def installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, script: str) -> None:
    """A program called stress-ng that does what the script says; ``$YAML`` is the file it is to write."""
    program = tmp_path / "stress-ng"
    program.write_text(
        f'#!/bin/bash\nARGS=$*\nwhile [ $# -gt 0 ]; do [ "$1" = --yaml ] && YAML=$2; shift; done\n{script}\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")


def stressed(**params: Any) -> SoloContext:
    return SoloContext(Burn(**{"duration_s": 0.2, "window_s": 0.1, "size": 64, "cpu_load": "stress-ng", **params}))


@pytest.mark.skipif(shutil.which("stress-ng") is None, reason="stress-ng is not installed")
def test_the_real_stress_ng_loads_the_cpu_for_whole_seconds_and_is_read() -> None:
    ctx = stressed(duration_s=2.0, cpu_load="auto").run()
    assert ctx.facts["cpu_load"] == "engine and stress-ng: it is installed"
    assert ctx.variants("rate_flops") == {"cpu/alone"}
    assert len(ctx.samples["stress_per_s", "alone"]) == 2
    assert min(ctx.samples["stress_per_s", "alone"]) > 0
    assert ctx.value("verify_failures", "cpu") == 0
    assert ctx.variants("sustained_share_cpu") == {"engine"}
    assert re.fullmatch(r"\d+\.\d+\.\d+", ctx.facts["stress_ng_version"])
    assert any(beat.startswith("stress-ng, ") for beat in ctx.beats)
    assert "stressor: cpu" in ctx.kept["stress-ng.yaml"]


def test_stress_ng_is_never_given_less_than_a_second_which_it_would_take_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    commands: list[list[str]] = []

    def run_tool(_: Any, command: list[str], *, timeout_s: float) -> Done:
        commands.append(command)
        assert timeout_s > float(command[-1][:-1])
        Path(command[command.index("--yaml") + 1]).write_text(HEALTHY)
        return Done(0, "", "")

    monkeypatch.setattr(tool, "run_tool", run_tool)
    for duration_s, runs in ((0.0, 3), (0.2, 3), (6.0, 6), (18.0, 18), (126.0, 13)):
        commands.clear()
        assert len(module.StressNg(stressed(), 3).run(duration_s)) == runs - 1
        # matrixprod verifies nothing whatever --verify says: without the last run no failure could ever be found
        methods = [command[command.index("--cpu-method") + 1] for command in commands]
        assert methods == ["matrixprod"] * (runs - 1) + ["all"]
        assert all("--verify" in command for command in commands)
        times = {command[command.index("--timeout") + 1] for command in commands}
        assert times == {"10s" if duration_s == 126.0 else "1s"}
        assert commands[0][:3] == ["stress-ng", "--cpu", "3"]


def test_a_wrong_result_that_stress_ng_finds_misses_its_limit_and_is_kept(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Newer versions say it on standard output (ColinIanKing/stress-ng#546); the exit status is 2."""
    installed(monkeypatch, tmp_path, f"cp {DATA}/two_workers.yaml $YAML; cat {DATA}/failed.log; exit 2")
    ctx = stressed().run()
    assert ctx.value("verify_failures", "cpu") == 6  # two in each of three runs
    limit = Burn.metric("verify_failures")
    assert limit is not None
    assert limit.limit is not None
    assert not limit.limit.met_by(6.0)
    assert "another number of primes than expected" in ctx.facts["verify_failures"]
    assert "stress-ng: fail:" in ctx.kept["stress-ng.failed"]


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("exit 1", "status 1: it refused its options"),
        ("echo 'stress-ng: error: [1] no memory' >&2; exit 3", "status 3: a stressor could not get the resources"),
        ("exit 2", "status 2: a stressor did not do its work"),
        ("cp {data}/never_started.yaml $YAML", "did nothing"),
        ("true", "no version or no metrics"),
    ],
)
def test_what_stress_ng_could_not_do_is_an_error_and_not_the_processor_s_fault(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, script: str, said: str
) -> None:
    installed(monkeypatch, tmp_path, script.replace("{data}", str(DATA)))
    ctx = stressed()
    with pytest.raises(ToolError, match=said):
        ctx.run()
    assert "verify_failures" not in {name for name, _ in ctx.samples}


def test_without_stress_ng_the_engine_does_it_and_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    ctx = stressed(cpu_load="auto").run()
    assert ctx.facts["cpu_load"] == "engine: stress-ng is not installed where the ranks run"
    assert ctx.variants("sustained_share_cpu") == {"engine"}
    with pytest.raises(Unavailable, match="stress-ng is not installed"):
        stressed(cpu_load="stress-ng").run()


def test_stress_ng_beside_a_gpu_has_metrics_and_variants_of_its_own(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    installed(monkeypatch, tmp_path, f"cp {DATA}/two_workers.yaml $YAML; sleep 0.1")
    ctx = together(monkeypatch, cpu_load="auto").run()
    assert ctx.facts["cpu_load"] == "stress-ng: it is installed"
    assert ctx.variants("rate_flops") == {"gpu/alone", "gpu/together"}
    assert ctx.variants("stress_per_s") == {"alone", "together"}
    assert ctx.variants("kept_share_cpu") == ctx.variants("sustained_share_cpu") == {"stress-ng"}
    assert ctx.variants("wrong_elements") == {"gpu"}


def test_what_the_gpu_did_is_told_even_when_stress_ng_breaks_down_beside_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The first three runs are those of the CPU alone; from then on it is refused."""
    count = f"echo >> {tmp_path}/runs; [ $(wc -l < {tmp_path}/runs) -le 3 ] || exit 1"
    installed(monkeypatch, tmp_path, f"{count}; cp {DATA}/two_workers.yaml $YAML")
    ctx = together(monkeypatch, cpu_load="stress-ng")
    with pytest.raises(ToolError, match="status 1"):
        ctx.run()
    assert ctx.value("wrong_elements", "gpu") == 0
    assert ctx.variants("rate_flops") == {"gpu/alone", "gpu/together"}


def test_an_unknown_load_is_refused_when_the_suite_is_read() -> None:
    with pytest.raises(UsageError, match=r"'cpu_load' of check 'burn' is 'stressng'(?s:.*)Did you mean 'stress-ng'"):
        checks.build("burn", {"cpu_load": "stressng"})


# --- throttling and its reason ----------------------------------------------------------------------------------------


def seen_of(why_not: str = "", **masks: int) -> Seen:
    """What was sampled: m44=41 is the mask 0x44 in 41 samples."""
    limits = Counter({decoded(int(name[1:], 16)): count for name, count in masks.items()})
    return Seen(clock_limits=limits, why_not=why_not)


@pytest.mark.parametrize(
    ("share", "seen", "story"),
    [
        (1.0, seen_of(m0=10), ""),
        (0.98, seen_of(m4=10), ""),
        (
            0.83,
            seen_of(m44=41, m4=56, m0=3),
            "rate fell to 0.83 while sw_power_cap 97 % of the time, hw_thermal_slowdown 41 % of the time",
        ),
        (0.83, seen_of(m1=50, m40=41, m0=59), "rate fell to 0.83 while hw_thermal_slowdown 41 % of the time"),
        (1.0, seen_of(m80=5, m0=95), "the rate held (1.00), though hw_power_brake 5 % of the time"),
        (0.83, seen_of(m0=100), "rate fell to 0.83, and the driver gave no reason for it"),
        (0.83, seen_of("no NVML"), "rate fell to 0.83, and why is not known: no NVML"),
    ],
)
def test_a_rate_that_fell_is_told_with_the_reasons_of_the_driver(share: float, seen: Seen, story: str) -> None:
    assert throttle_story(share, seen) == story


def test_a_gpu_that_throttles_has_its_reason_clock_power_and_heat_in_the_record(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    @contextlib.contextmanager
    def sampling(device: str, period_s: float) -> Iterator[Seen]:
        assert period_s == 0.1
        yield Seen(
            clock_busy_hz=1.2e9,
            power_w=699.0,
            temperature_max_c=91.0,
            clock_limits=Counter({decoded(0x40): 41, decoded(0x4): 59}),
        )

    monkeypatch.setattr(telemetry, "sampling", sampling)
    monkeypatch.setattr(module, "sustained_gpu", lambda *_: 0.83)
    ctx = together(monkeypatch).run()
    assert ctx.facts["throttled"].startswith("rate fell to 0.83 while ")
    assert "hw_thermal_slowdown 41 % of the time" in ctx.facts["throttled"]
    assert ctx.value("clock_hz", "gpu/together") == 1.2e9
    # The blocks are a few milliseconds long here, and on a busy machine far apart.
    rates = ctx.samples["rate_flops", "gpu/together"]
    assert min(rates) / 1.2e9 <= ctx.value("flop_per_cycle", "gpu/together") <= max(rates) / 1.2e9
    assert ctx.value("power_w", "gpu/alone") == 699.0
    assert ctx.value("temperature_c", "gpu/together") == 91.0


def test_what_the_driver_does_not_say_is_not_run_with_its_cause(monkeypatch: pytest.MonkeyPatch) -> None:
    ctx = together(monkeypatch).run()
    assert set(ctx.refused) == {"clock_hz", "flop_per_cycle", "power_w", "temperature_c"}
    assert all(ctx.refused.values())
