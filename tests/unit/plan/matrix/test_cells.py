from __future__ import annotations

import pytest

from hpcaccept.model.matrix.matrix import CellTest, Exclusion, ImageSpec, MachineSpec, Matrix
from hpcaccept.plan.matrix.cells import cells_of

TEST = CellTest("t", imports=("torch",))


def why(image: ImageSpec, machine: MachineSpec, *impossible: Exclusion) -> str:
    (cell,) = cells_of(Matrix("m", (image,), (machine,), (TEST,), impossible))
    return cell.impossible


@pytest.mark.parametrize(
    ("cuda", "driver", "impossible"),
    [
        ("12.4", "550.54.14", False),
        ("12.8", "525.60.13", False),  # minor versions are compatible
        ("12.0", "525.60.12", True),
        ("12.4", "470", True),
        ("12.4", "525", False),  # any 525
        ("11.8", "450.80.02", False),
        ("13.0", "575.57", True),
        ("13.0", "580.65.06", False),
        ("", "470", False),
        ("12.4", "", False),
        ("14.0", "470", False),  # not in the table: tried
    ],
)
def test_cuda_needs_its_driver(cuda: str, driver: str, impossible: bool) -> None:
    assert bool(why(ImageSpec("i", cuda=cuda), MachineSpec("m", driver=driver))) == impossible


@pytest.mark.parametrize(
    ("built", "cuda", "there", "impossible"),
    [
        (("8.0", "9.0"), "", "8.6", False),
        (("8.0",), "", "9.0", True),
        (("8.6",), "", "8.0", True),
        ((), "13.0", "7.0", True),
        ((), "13.0", "7.5", False),
        ((), "12.9", "7.0", False),
        (("9.0",), "", "", False),
    ],
)
def test_gpu_code_runs_upwards_within_a_major_version(
    built: tuple[str, ...], cuda: str, there: str, impossible: bool
) -> None:
    image = ImageSpec("i", compute_capabilities=built, cuda=cuda)
    assert bool(why(image, MachineSpec("m", compute_capability=there))) == impossible


def test_an_image_for_another_processor_cannot_be() -> None:
    assert why(ImageSpec("i", arch="amd64"), MachineSpec("m", arch="aarch64")) == "i is for x86_64, m is aarch64"
    assert not why(ImageSpec("i", arch="arm64"), MachineSpec("m", arch="aarch64"))


@pytest.mark.parametrize(
    ("needs", "has", "said"),
    [
        ({"memory_gb": 64}, {"memory_gb": 32}, "i needs 64 GB of memory, m has 32"),
        ({"gpu_memory_gb": 48}, {"gpu_memory_gb": 24}, "i needs 48 GB of memory per GPU, m has 24"),
        ({"gpus": 2}, {"gpus": 1}, "i needs 2 GPUs, m has 1"),
        ({"gpus": 1}, {}, "i needs 1 GPUs, m has 0"),
        ({"memory_gb": 64}, {}, ""),
    ],
)
def test_what_does_not_fit_cannot_be(needs: dict[str, float], has: dict[str, float], said: str) -> None:
    assert why(ImageSpec("i", **needs), MachineSpec("m", **has)) == said  # type: ignore[arg-type]


def test_what_somebody_knows_comes_first() -> None:
    known = Exclusion("licence", image="i*", machine="m")
    assert why(ImageSpec("i", arch="arm64"), MachineSpec("m", arch="amd64"), known) == "licence"


def test_a_cell_without_a_test_cannot_be() -> None:
    only = CellTest("t", imports=("x",), machines=("other",))
    (cell,) = cells_of(Matrix("m", (ImageSpec("i"),), (MachineSpec("m"),), (only,)))
    assert cell.impossible == "no test is for this image on this machine"


def test_factors_make_cells_of_their_own_and_rules_see_their_values() -> None:
    image = ImageSpec("i", cuda="{cuda}")
    matrix = Matrix("m", (image,), (MachineSpec("m", driver="550"),), (TEST,), factors={"cuda": ("12.4", "13.0")})
    cells = cells_of(matrix)
    assert [cell.id for cell in cells] == ["i@m@cuda=12.4", "i@m@cuda=13.0"]
    assert [bool(cell.impossible) for cell in cells] == [False, True]
