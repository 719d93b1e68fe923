from __future__ import annotations

import contextlib
import functools
import math
import sys
from typing import TYPE_CHECKING, Any

import pytest
import torch
from support.solo_context import SoloContext

from hpcaccept import checks
from hpcaccept.checks import resnet as module
from hpcaccept.checks.resnet import Network, Resnet, amp_format, images
from hpcaccept.errors import UsageError
from hpcaccept.measure.device import Cpu, Cuda
from hpcaccept.measure.kernels import training

if TYPE_CHECKING:
    from hpcaccept.model.metric import Limit

pytestmark = pytest.mark.slow

SMALL: dict[str, Any] = {"models": ("resnet18",), "modes": ("train",), "precisions": ("fp32",), "blocks": 1}


@functools.cache
def healthy() -> SoloContext:
    """Both networks, every variant: made once, it takes seconds."""
    return SoloContext(Resnet(blocks=1)).run()


def limit(metric: str) -> Limit:
    found = Resnet.metric(metric)
    assert found is not None
    assert found.limit is not None
    return found.limit


def small(**params: Any) -> SoloContext:
    return SoloContext(Resnet(**{**SMALL, **params})).run()


def test_a_healthy_device_meets_every_limit_in_every_variant() -> None:
    variants = {
        f"{model}/{mode}/{precision}"
        for model in ("resnet18", "resnet50")
        for mode in ("train", "infer")
        for precision in ("amp", "fp32")
    }
    ctx = healthy()
    assert ctx.variants("small_images_per_s") == ctx.variants("spread") == variants
    assert ctx.variants("loss_drop") == {variant for variant in variants if "/train/" in variant}
    assert ctx.variants("logit_error") == {"resnet18", "resnet50"}
    for (name, variant), values in ctx.samples.items():
        metric = Resnet.metric(name)
        assert metric is not None
        assert metric.limit is None or all(metric.limit.met_by(v) for v in values), (name, variant, values)


def test_the_batch_and_the_format_are_in_the_record() -> None:
    ctx = healthy()
    assert ctx.facts["amp"] == "bf16"
    assert ctx.facts["batch[resnet50]"] == "2 images of 64x64"
    assert {"resnet18", "resnet50/infer/fp32", "resnet50/infer/fp32, step 0"} <= set(ctx.beats)


def test_the_rate_is_the_batch_over_the_seconds_of_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "time_blocks", lambda *_: [0.5, 0.25])
    assert small(modes=("infer",), batch=2).samples["small_images_per_s", "resnet18/infer/fp32"] == [4.0, 8.0]


def test_only_a_gpu_s_rate_is_judged_against_its_peers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "open_device", lambda _: Cpu(kind="cuda"))
    monkeypatch.setattr(Network, "_autocast", lambda *_: contextlib.nullcontext())
    ctx = small(modes=("infer",), batch=2, pixels=64, block_s=0.01)
    assert ctx.variants("images_per_s") == {"resnet18/infer/fp32"}
    judged, shown = Resnet.metric("images_per_s"), Resnet.metric("small_images_per_s")
    assert judged is not None
    assert shown is not None
    assert judged.peer_floor is not None
    assert shown.peer_floor is None


def test_measuring_calls_no_collective(monkeypatch: pytest.MonkeyPatch) -> None:
    def deadlock(*_: Any) -> Any:
        raise AssertionError("a collective inside measure()")

    for name in ("barrier", "allgather", "bcast", "reduce_sum", "process_group"):
        monkeypatch.setattr(SoloContext, name, deadlock)
    check = Resnet(**{**SMALL, "modes": ("infer",)})
    assert set(check.measure(SoloContext(check))) == {"like", "digest"}


# --- what could lie ---------------------------------------------------------------------------------------------------


def cut(values: Any) -> Any:
    """Keep the 10 fraction bits that TF32 has."""
    return (values.contiguous().view(torch.int32) & ~0x1FFF).view(torch.float32)


def test_tf32_left_on_misses_the_limit_of_the_logits(monkeypatch: pytest.MonkeyPatch) -> None:
    real = Network._fresh

    def fresh(self: Network) -> Any:
        made = real(self)
        for part in made.modules():
            if isinstance(part, torch.nn.Conv2d | torch.nn.Linear):
                part.weight.data = cut(part.weight.data)
                part.register_forward_pre_hook(lambda _, inputs: (cut(inputs[0]),))
        return made

    monkeypatch.setattr(Network, "_fresh", fresh)
    found = Network("resnet18", Cpu(), 2, 64).logit_error()
    assert not limit("logit_error").met_by(found)
    assert found < 0.1


def test_a_weight_that_is_no_number_misses_the_limit_instead_of_vanishing(monkeypatch: pytest.MonkeyPatch) -> None:
    real = Network._fresh

    def fresh(self: Network) -> Any:
        made = real(self)
        made.fc.weight.data[0, 0] = math.nan
        return made

    monkeypatch.setattr(Network, "_fresh", fresh)
    network = Network("resnet18", Cpu(), 2, 64)
    assert network.logit_error() == sys.float_info.max
    assert network.training("fp32")[1] == sys.float_info.max


@pytest.mark.parametrize("rate", [0.0, -0.01])
def test_a_training_that_does_not_learn_misses_its_limit(monkeypatch: pytest.MonkeyPatch, rate: float) -> None:
    monkeypatch.setattr(module, "_RATE", rate)
    assert not limit("loss_drop").met_by(Network("resnet18", Cpu(), 2, 64).training("fp32")[1])


def flip_a_weight(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """In the network that is made so many times after the first one."""
    real, made = Network._fresh, iter(range(100))

    def fresh(self: Network) -> Any:
        model = real(self)
        if next(made) >= number:
            model.conv1.weight.detach().view(torch.int32)[3, 1, 4, 5] ^= 1 << 13
        return model

    monkeypatch.setattr(Network, "_fresh", fresh)


def test_a_repetition_with_another_bit_is_a_mismatch(monkeypatch: pytest.MonkeyPatch) -> None:
    flip_a_weight(monkeypatch, 2)
    assert small(modes=("infer",)).value("replica_mismatch", "repeat") == 1


class Fleet(SoloContext):
    """Rank 0 of four, whose others came to logits of their own."""

    def allgather(self, thing: Any) -> list[Any]:
        return [thing, *([thing and {**thing, "digest": "other"}] * 3)]


def test_the_odd_rank_of_four_is_named() -> None:
    ctx = Fleet(Resnet(**{**SMALL, "modes": ("infer",)})).run()
    assert ctx.value("replica_mismatch", "peers") == 1
    assert ctx.facts["replicas"] == "differs from 3 of 3 like ranks, which agree with each other"


# --- what is fixed ----------------------------------------------------------------------------------------------------


def test_the_images_are_the_same_bits_everywhere_and_their_classes_differ() -> None:
    first, labels = images(20, 32)
    assert training.digest([first]) == "e0b881369693b175b18c54a7215c7c1c"
    assert labels.tolist() == [*range(10), *range(10)]


def test_the_scale_of_float16_changes_no_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """A power of two, so in float32 every bit is the same. (CPUs need half a minute for float16 itself.)"""
    monkeypatch.setattr(Network, "_autocast", lambda *_: contextlib.nullcontext())
    network = Network("resnet18", Cpu(), 2, 64)
    assert network.training("fp16")[1] == network.training("fp32")[1]


class Volta(Cuda):
    def has_tf32(self) -> bool:
        return False


class Ampere(Cuda):
    def has_tf32(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("asked", "device", "form"),
    [
        ("auto", Cpu(), "bf16"),
        ("auto", Ampere("cuda:0"), "bf16"),
        ("auto", Volta("cuda:0"), "fp16"),
        ("fp16", Ampere("cuda:0"), "fp16"),
    ],
)
def test_gpus_before_ampere_get_float16(asked: str, device: Any, form: str) -> None:
    assert amp_format(asked, device) == form


def test_a_format_that_was_asked_for_has_a_variant_of_its_own() -> None:
    ctx = small(modes=("infer",), precisions=("amp",), amp="bf16")
    assert ctx.variants("small_images_per_s") == {"resnet18/infer/bf16"}


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
@pytest.mark.parametrize("form", ["fp32", "bf16", "fp16"])
def test_every_operation_exists_on_a_gpu(name: str, form: str) -> None:
    # Four seconds of imports that no other test has a use for.
    import torchvision
    from torch._subclasses.fake_tensor import FakeTensorMode

    with FakeTensorMode(), torch.device("cuda"):
        made = getattr(torchvision.models, name)(weights=None)
        network = Network.__new__(Network)
        network._device = Cuda("cuda:0")
        network._inputs = torch.empty(2, 3, 64, 64).to(memory_format=torch.channels_last)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Network, "_fresh", lambda _: made)
            # Without a GPU autocast would switch itself off.
            patch.setattr(torch.cuda.amp.common, "amp_definitely_not_available", lambda: False)
            patch.setattr(torch.cuda, "is_bf16_supported", lambda *_: True)
            logits: Any = network.inference(form)()
        assert (logits.shape, logits.device.type) == ((2, 1000), "cuda")
        assert logits.dtype == {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[form]


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"models": ("resnet51",)}, r"'models' of check 'resnet' has 'resnet51'(?s:.*)Did you mean"),
        ({"modes": ()}, "'modes' of check 'resnet' is empty"),
        ({"precisions": ("tf32",)}, "'precisions' of check 'resnet' has 'tf32'"),
        ({"amp": "fp8"}, "'amp' of check 'resnet' is 'fp8'"),
        ({"pixels": 8}, "'pixels' of check 'resnet' is 8, expected 0, or from 32 to 16384"),
    ],
)
def test_a_wrong_parameter_is_refused_when_the_suite_is_read(params: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        checks.build("resnet", params)
