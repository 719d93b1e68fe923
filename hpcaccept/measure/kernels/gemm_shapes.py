"""The shape of a matrix product that is measured on each GPU, and where a better one is looked for.

The best shape differs by model and library version, and a rate of one shape says nothing about another one: so it is
frozen per GPU model in ``gemm_shapes.toml`` and searched only to make such a line, never to judge a node.
"""

from __future__ import annotations

import functools
import itertools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hpcaccept.config.toml import read_toml
from hpcaccept.errors import UsageError
from hpcaccept.measure.kernels.gemm import FORMATS, Format, Shape

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterable

    from hpcaccept.measure.device import Device

TABLE = Path(__file__).with_name("gemm_shapes.toml")

#: The grid of a search on a GPU: cuBLAS tiles divide 1024.
_GPU_STEP = 1024
#: Steps of the grid that a search leaves its seeds by, and largest number of rows or columns in steps.
_REACH, _MOST = 2, 20


@dataclass(frozen=True)
class Frozen:
    """One line of the table.

    Attributes:
        shape: of the product.
        source: where it comes from.
        date: when that was read or searched, ISO 8601.
    """

    shape: Shape
    source: str
    date: str


@functools.cache
def frozen(table: Path = TABLE) -> dict[tuple[str, str], Frozen]:
    """(name the driver gives the GPU, number format) → shape.

    Raises:
        UsageError: a line of the table is none; the message names it.
    """
    return {
        (model, name): _line(table, model, name, line)
        for model, formats in read_toml(table).items()
        for name, line in formats.items()
    }


def _line(table: Path, model: str, name: str, line: dict[str, object]) -> Frozen:
    shape = line.get("shape")
    sizes = shape if isinstance(shape, list) and all(isinstance(s, int) and s > 0 for s in shape) else []
    if set(line) != {"shape", "source", "date"} or len(sizes) != 3 or name not in FORMATS:
        raise UsageError(
            f"{table}: {model!r}.{name} is {line}, expected a number format with a shape of three sizes, source and date."
        )
    return Frozen(Shape(*sizes), str(line["source"]), str(line["date"]))


def shape_of(form: Format, device: Device, model: str) -> tuple[Shape, str]:
    """The shape that is measured, and where it comes from.

    Args:
        form: number format, one that this kind of device may have.
        device: CPUs have one shape for all models.
        model: name the driver gives the GPU.
    """
    known = frozen().get((model, form.name.removesuffix("_fast"))) if device.kind == "cuda" else None
    if known:
        return known.shape, f"frozen for {model} on {known.date}: {known.source}"
    return Shape.from_size(form.sizes[device.kind]), "default of this kind of device"


def candidates(form: Format, device: Device, model: str) -> list[Shape]:
    """Shapes worth trying, the most promising ones first: the seeds, then the grid around them.

    Seeds of a GPU are its own frozen shape, the default, and what is best on other models. A CPU has a small grid around its
    default.
    """
    own = shape_of(form, device, model)[0]
    if device.kind == "cpu":
        step = max(16, own.m // 2)
        return list(_grid([own], step, reach=1, most=3))
    others = [line.shape for _, line in sorted(frozen().items())]
    return list(_grid([own, Shape.from_size(form.sizes["cuda"]), *others], _GPU_STEP, _REACH, _MOST))


def _grid(seeds: Iterable[Shape], step: int, reach: int, most: int) -> Iterable[Shape]:
    """Each seed, then each place of the grid at most ``reach`` steps away in every direction, near ones first; none twice."""
    seeds = tuple(dict.fromkeys(seeds))
    ways = sorted(itertools.product(range(-reach, reach + 1), repeat=3), key=lambda way: sum(abs(d) for d in way))
    moved = (
        Shape(*(min(most, max(1, round(size / step) + d)) * step for size, d in zip(seed, way, strict=True)))
        for way in ways
        for seed in seeds
    )
    return dict.fromkeys((*seeds, *moved))


def as_suite(form: Format, shape: Shape) -> str:
    """What makes a suite, or a site by its settings, measure this shape: a check under a label, with baselines of its own."""
    return f'checks."matmul:{form.name}" = {{ dtypes = ["{form.name}"], shape = [{shape.m}, {shape.n}, {shape.k}] }}'


def as_toml(model: str, form: Format, shape: Shape, source: str, date: dt.date) -> str:
    """The line to be pasted into the table."""
    # JSON's strings are TOML's basic strings as long as nothing is beyond ASCII; so it is here.
    return (
        f"{json.dumps(model)}.{form.name} = "
        f"{{ shape = [{shape.m}, {shape.n}, {shape.k}], source = {json.dumps(source)}, date = {date.isoformat()} }}"
    )
