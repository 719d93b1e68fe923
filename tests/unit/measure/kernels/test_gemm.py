from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from hpcaccept.measure.device import Cpu
from hpcaccept.measure.kernels import gemm
from hpcaccept.measure.kernels.gemm import FORMATS, Format, Operands, Shape

ON_CPU = [f for f in FORMATS.values() if "cpu" in f.sizes]
FLOATS = [f for f in ON_CPU if f.name != "int8"]
SIZES = (64, 100, 256)


def by_name(form: Format) -> str:
    return form.name


def exact(form: Format, size: int = 64) -> Operands:
    operands = gemm.integer_operands(form, size, "cpu", seed=1)
    gemm.product_call(form, operands)()
    return operands


def timed(form: Format, size: int = 64) -> Operands:
    operands = gemm.random_operands(form, size, "cpu", seed=1)
    gemm.product_call(form, operands)()
    return operands


def flip(out: Any, bit: int, at: tuple[int, int] = (5, 7)) -> None:
    bits = {2: torch.int16, 4: torch.int32, 8: torch.int64}[out.element_size()]
    mask = torch.zeros_like(out.view(bits))
    mask[at] = 1
    out.view(bits).bitwise_xor_(mask << bit)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("form", ON_CPU, ids=by_name)
def test_a_right_product_has_no_wrong_element(form: Format, size: int) -> None:
    assert gemm.wrong_exact(form, exact(form, size)) == 0


@pytest.mark.parametrize("form", ON_CPU, ids=by_name)
def test_a_product_that_is_no_square_is_right_and_one_wrong_element_of_it_is_counted(form: Format) -> None:
    shape = Shape(96, 200, 160)
    operands = gemm.integer_operands(form, shape, "cpu", seed=1)
    gemm.product_call(form, operands)()
    assert operands.shape == shape
    assert gemm.wrong_exact(form, operands) == 0
    operands.out[95, 199] += 1
    assert gemm.wrong_exact(form, operands) == 1


@pytest.mark.parametrize("form", ON_CPU, ids=by_name)
@pytest.mark.parametrize("shape", [Shape(96, 200, 160), Shape(64, 1152, 32), Shape(2048, 64, 64)])
def test_a_random_product_that_is_no_square_is_within_its_bound(form: Format, shape: Shape) -> None:
    operands = gemm.random_operands(form, shape, "cpu", seed=1)
    gemm.product_call(form, operands)()
    assert gemm.wrong_sums(form, operands) == 0
    operands.out[0, 0] = -operands.out[0, 0] + (127 if form.name == "int8" else 1000)
    assert gemm.wrong_sums(form, operands) == 1


def test_a_product_counts_two_operations_per_term() -> None:
    assert gemm.flops(Shape(2, 3, 5)) == 60
    assert gemm.flops(10) == 2000


@pytest.mark.parametrize(("n", "columns"), [(64, 1), (8192, 128), (18432, 128), (100, 25), (9999, 1)])
def test_a_signed_sum_has_few_columns(n: int, columns: int) -> None:
    assert gemm._columns(n) == columns


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("form", FLOATS, ids=by_name)
def test_a_right_product_of_random_numbers_is_within_its_bound(form: Format, size: int) -> None:
    assert gemm.wrong_sums(form, timed(form, size)) == 0


@pytest.mark.parametrize("form", ON_CPU, ids=by_name)
def test_any_flipped_bit_of_an_exact_product_is_counted(form: Format) -> None:
    operands = exact(form)
    for bit in range(8 * operands.out.element_size()):
        before = operands.out.clone()
        flip(operands.out, bit)
        if bool((before != operands.out).any()):  # a flipped sign of 0 is still 0
            assert gemm.wrong_exact(form, operands) == 1, f"bit {bit}"
        operands.out.copy_(before)


@pytest.mark.parametrize("form", FLOATS, ids=by_name)
def test_a_nan_is_counted_by_each_verification(form: Format) -> None:
    for operands, count in ((exact(form), gemm.wrong_exact), (timed(form), gemm.wrong_sums)):
        operands.out[3, 3] = math.nan
        assert count(form, operands) == 1


def test_two_errors_that_cancel_in_a_plain_row_sum_are_counted() -> None:
    operands = exact(FORMATS["fp32"])
    operands.out[2, 3] += 1
    operands.out[2, 9] -= 1
    assert gemm.wrong_exact(FORMATS["fp32"], operands) == 2


@pytest.mark.parametrize("form", FLOATS, ids=by_name)
def test_a_result_that_was_never_written_is_wrong_everywhere(form: Format) -> None:
    operands = exact(form)
    gemm.spoil(operands.out)
    assert gemm.wrong_exact(form, operands) == 64 * 64


def test_an_exponent_flip_in_a_random_product_is_counted() -> None:
    operands = timed(FORMATS["fp32"], 256)
    flip(operands.out, 24)
    assert gemm.wrong_sums(FORMATS["fp32"], operands) == 1


@pytest.mark.parametrize("bit", [0, 7, 15])
def test_the_smallest_flip_differs_bit_for_bit(bit: int) -> None:
    operands = timed(FORMATS["bf16"])
    before = operands.out.clone()
    assert int(gemm.differing(operands.out, before)) == 0
    flip(operands.out, bit)
    assert int(gemm.differing(operands.out, before)) == 1


def test_fp32_that_is_silently_done_in_tf32_is_wrong() -> None:
    form = FORMATS["fp32"]
    operands = gemm.integer_operands(form, 256, "cpu", seed=1)
    cut = dataclasses.replace(operands, left=gemm._cut_to_tf32(operands.left))
    gemm.product_call(form, cut)()
    assert gemm.wrong_exact(form, operands) > 200


def test_fp64_that_is_silently_done_in_fp32_is_wrong() -> None:
    form = FORMATS["fp64"]
    operands = gemm.integer_operands(form, 256, "cpu", seed=1)
    operands.out.copy_((operands.left.float() @ operands.right.float()).double())
    assert gemm.wrong_exact(form, operands) > 200


@pytest.mark.parametrize("size", [64, 1000, 8192])
@pytest.mark.parametrize("form", FORMATS.values(), ids=by_name)
def test_no_partial_sum_can_leave_what_the_format_holds_exactly(form: Format, size: int) -> None:
    exact_up_to = {"fp64": 53, "fp32": 24, "tf32": 22, "fp16": 11, "bf16": 8, "fp8": 8, "fp8_fast": 8, "int8": 31}[
        form.name
    ]
    step = -(-size // form.terms)
    assert -(-size // step) <= form.terms
    assert min(size, form.terms) * form.left_max * form.right_max <= 2**exact_up_to


@pytest.mark.parametrize("form", ON_CPU, ids=by_name)
def test_exact_operands_survive_their_conversion(form: Format) -> None:
    operands = gemm.integer_operands(form, 64, "cpu", seed=1)
    assert int(operands.left.abs().max()) > form.left_max // 2
    assert torch.equal(operands.left.double(), operands.left.double().round())


def test_tf32_operands_have_ten_fraction_bits() -> None:
    operands = gemm.random_operands(FORMATS["tf32"], 64, "cpu", seed=1)
    assert not bool((operands.left.view(torch.int32) & 0x1FFF).any())


@pytest.mark.parametrize("name", ["tf32", "fp8", "fp8_fast"])
def test_a_cpu_says_why_it_has_no_such_product(name: str) -> None:
    assert gemm.refusal(FORMATS[name], Cpu())


def test_a_gpu_without_tf32_does_not_pass_fp32_off_as_it() -> None:
    assert "silently" in gemm.refusal(FORMATS["tf32"], Cpu(kind="cuda"))


@pytest.mark.parametrize("form", FORMATS.values(), ids=by_name)
def test_the_call_is_one_that_torch_has_on_a_gpu(form: Format) -> None:
    with FakeTensorMode():
        for operands in (
            gemm.integer_operands(form, 64, "cuda", seed=1),
            gemm.random_operands(form, 64, "cuda", seed=1),
        ):
            call: Any = gemm.product_call(form, operands)
            if form.operand == "float8_e4m3fn":  # torch has no fake kernel for the form with out=
                call = call.func(*call.args, **{k: v for k, v in call.keywords.items() if k != "out"})
            else:
                call = call()
            assert (call.dtype, call.shape, call.device.type) == (operands.out.dtype, operands.out.shape, "cuda")
            assert operands.right.stride() == (1, 64), (
                "cuBLAS wants the right operand column by column for fp8 and int8"
            )
