"""gpu-burn's reports (tests/data/gpu_burn): what its OK, its FAULTY and its exit status do not say."""

from __future__ import annotations

import pytest
from support.stand_ins import DATA

from hpcaccept.errors import NotUnderstood
from hpcaccept.parse.gpu_burn import Burn, parse_gpu_burn

BURN = DATA / "gpu_burn"


def recorded(name: str) -> Burn:
    err = BURN / f"{name}.err"
    # newline="" in open: carriage returns are the format.
    out = (BURN / f"{name}.txt").read_bytes().decode()
    return parse_gpu_burn(out, err.read_text("utf-8") if err.exists() else "")


def test_eight_healthy_gpus() -> None:
    burn = recorded("healthy")
    assert (len(burn.gpus), burn.share, burn.concluded, burn.troubles) == (8, 1.0, True, ())
    for gpu in burn.gpus:
        assert (gpu.said, gpu.errors, gpu.products, gpu.stopped, gpu.computed) == ("OK", 0, 30 * 281, False, True)
        assert gpu.rates_flops == (49500e9 + 20e9 * gpu.index,) * 9, "one per tenth of the run after the first"
    assert burn.gpus[2].temperature == 45 + 10 + 2


def test_errors_count_although_they_are_set_back_and_overflow() -> None:
    burn = recorded("faulty")
    assert [g.index for g in burn.gpus if g.said == "FAULTY"] == [1, 4]
    assert [g.errors for g in burn.gpus] == [0, 524288000, 0, 0, 524288000, 0, 0, 0]


def test_an_ok_for_gpus_that_never_began_is_no_computation() -> None:
    burn = recorded("init_error_ok")
    assert {g.said for g in burn.gpus} == {"OK"}
    assert not any(g.computed for g in burn.gpus)
    assert burn.troubles == ('Couldn\'t init a GPU test: Error in "init": CUBLAS_STATUS_NOT_INITIALIZED',)


def test_a_test_that_never_began_has_neither_errors_nor_products() -> None:
    burn = recorded("one_never_began")
    assert (burn.gpus[0].said, burn.gpus[0].errors, burn.gpus[0].computed) == ("FAULTY", 0, False)
    assert not burn.gpus[0].stopped
    assert all(g.computed and not g.errors for g in burn.gpus[1:])


def test_a_gpu_that_computed_and_died_has_stopped() -> None:
    burn = recorded("died")
    assert [g.index for g in burn.gpus if g.stopped] == [2]
    assert burn.gpus[2].errors == 0, "what a dead test counts is no count"
    assert burn.gpus[2].computed


def test_a_gpu_that_stands_still_is_seen_although_its_shown_rate_stays() -> None:
    burn = recorded("stands_still")
    assert [g.index for g in burn.gpus if g.stopped] == [5]
    assert burn.gpus[5].said == "OK"


def test_a_slow_gpu_that_reports_once_in_each_half_or_less_has_not_stopped() -> None:
    reports = [
        f"{share}%  proc'd: {done} (250 Gflop/s)   errors: 0   temps: 70 C "
        for share, done in ((40.0, 0), (49.0, 26), (80.0, 26), (100.0, 26))
    ]
    burn = parse_gpu_burn("\r".join(reports) + "\nTested 1 GPUs:\n\tGPU 0: OK\n")
    assert not burn.gpus[0].stopped
    assert burn.gpus[0].rates_flops == (250e9,)


def test_when_nobody_is_alive_there_is_no_verdict() -> None:
    burn = recorded("none_alive")
    assert not burn.concluded
    assert not burn.gpus[0].computed
    assert "No clients are alive! Aborting" in burn.troubles


def test_no_devices_is_a_trouble_without_gpus() -> None:
    burn = recorded("no_devices")
    assert burn.gpus == ()
    assert "No CUDA devices" in burn.troubles


def test_a_torn_output_says_how_far_it_came() -> None:
    burn = recorded("torn")
    assert not burn.concluded
    assert 0.5 < burn.share < 1
    assert not any(g.stopped for g in burn.gpus)


def test_a_wording_of_2019_without_newlines_between_is_read() -> None:
    text = (
        "100.0%  proc'd: 18000 (6311 Gflop/s) - 12600 (6440 Gflop/s)   errors: 0 - -524288000  (WARNING!)  temps: 51 C - 45 C \n"
        "Killing processes.. done\n\nTested 2 GPUs:\n        GPU 0: OK\n        GPU 1: FAULTY\n"
    )
    burn = parse_gpu_burn(text)
    assert [g.errors for g in burn.gpus] == [0, 524288000]
    assert [g.rates_flops for g in burn.gpus] == [(6311e9,), (6440e9,)]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "GPU 0: Tesla T4 (UUID: GPU-0)\n",
        "GPU Burn\nUsage: gpu-burn [OPTIONS] [TIME]\n",
        "10.0%  proc'd: 5 (1 Gflop/s) - 5 (1 Gflop/s)   errors: 0   temps: 5 C\n",
        "10.0%  proc'd: five   errors: 0   temps: 5 C\n",
        "Tested 8 GPUs:\n\tGPU 0: OK\n",
        "Tested 1 GPUs:\n\tGPU 0: FINE\n",
    ],
)
def test_anything_else_is_not_understood(text: str) -> None:
    with pytest.raises(NotUnderstood):
        parse_gpu_burn(text)
