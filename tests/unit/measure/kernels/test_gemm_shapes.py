from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

import pytest

from hpcaccept.errors import UsageError
from hpcaccept.measure.device import Cpu
from hpcaccept.measure.kernels import gemm_shapes
from hpcaccept.measure.kernels.gemm import FORMATS, Shape

if TYPE_CHECKING:
    from pathlib import Path

GPU, CPU = Cpu(kind="cuda"), Cpu()


def test_a_known_model_has_its_own_shape_and_says_where_it_comes_from() -> None:
    shape, origin = gemm_shapes.shape_of(FORMATS["bf16"], GPU, "NVIDIA H100 80GB HBM3")
    assert shape == (2048, 2048, 13312)
    assert "NVIDIA H100 80GB HBM3" in origin
    assert "stas00" in origin


@pytest.mark.parametrize(("name", "n"), [("fp64", 4096), ("fp32", 8192), ("bf16", 8192), ("int8", 8192)])
def test_an_unknown_model_is_measured_with_the_default_cube(name: str, n: int) -> None:
    assert gemm_shapes.shape_of(FORMATS[name], GPU, "NVIDIA X1")[0] == (n, n, n)


def test_a_cpu_of_any_name_has_the_cpu_s_shape() -> None:
    assert gemm_shapes.shape_of(FORMATS["bf16"], CPU, "NVIDIA H100 80GB HBM3")[0] == (256, 256, 256)


@pytest.mark.parametrize(("key", "line"), gemm_shapes.frozen().items(), ids=lambda value: str(value))
def test_every_line_of_the_table_is_one_that_the_matrix_units_take(
    key: tuple[str, str], line: gemm_shapes.Frozen
) -> None:
    # cuBLAS wants multiples of 16 for fp8: https://docs.nvidia.com/cuda/cublas/#cublasltmatmul
    assert all(size % 16 == 0 and 0 < size <= 20 * 1024 for size in line.shape)
    assert line.source.startswith("http")
    assert dt.date.fromisoformat(line.date).isoformat() == line.date


@pytest.mark.parametrize(
    "line",
    [
        '"GPU".bf16 = { shape = [1, 2], source = "s", date = 2026-01-01 }',
        '"GPU".bf16 = { shape = [1, 2, 0], source = "s", date = 2026-01-01 }',
        '"GPU".bf16 = { shape = [1, 2, 3], date = 2026-01-01 }',
        '"GPU".bf61 = { shape = [1, 2, 3], source = "s", date = 2026-01-01 }',
    ],
)
def test_a_line_that_is_none_is_refused_with_its_name(tmp_path: Path, line: str) -> None:
    table = tmp_path / "shapes.toml"
    table.write_text(line)
    with pytest.raises(UsageError, match=r"shapes\.toml: 'GPU'\.bf"):
        gemm_shapes.frozen(table)


def test_a_line_that_was_searched_is_read_back(tmp_path: Path) -> None:
    text = gemm_shapes.as_toml('A "GPU"', FORMATS["fp8"], Shape(1024, 2048, 512), "found", dt.date(2026, 11, 22))
    table = tmp_path / "shapes.toml"
    table.write_text(text)
    assert gemm_shapes.frozen(table) == {
        ('A "GPU"', "fp8"): gemm_shapes.Frozen(Shape(1024, 2048, 512), "found", "2026-11-22")
    }


def test_a_search_begins_with_what_is_known_and_stays_on_the_grid_after_that() -> None:
    found = gemm_shapes.candidates(FORMATS["bf16"], GPU, "NVIDIA H200")
    assert found[:2] == [Shape(2048, 2048, 13312), Shape(8192, 8192, 8192)]
    assert Shape(4096, 9728, 2048) in found[:10]
    assert len(set(found)) == len(found) > 500
    known = {line.shape for line in gemm_shapes.frozen().values()}
    for shape in set(found) - known:
        assert all(size % 1024 == 0 and 1024 <= size <= 20 * 1024 for size in shape)


def test_a_cpu_s_search_is_a_small_grid_around_its_default() -> None:
    found = gemm_shapes.candidates(FORMATS["fp32"], CPU, "A CPU")
    assert found[0] == (1024, 1024, 1024)
    assert len(found) == 27
    assert {size for shape in found for size in shape} == {512, 1024, 1536}
