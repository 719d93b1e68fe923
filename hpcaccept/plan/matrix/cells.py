"""The cells of a matrix, and those that cannot be: CUDA against driver, architecture and memory, by what the file says of both sides.

What is not stated excludes nothing: such a cell is run, and its tests speak.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpcaccept.config.matrix import combinations, filled
from hpcaccept.model.matrix.matrix import Cell, ImageSpec, MachineSpec, Matrix, matches

if TYPE_CHECKING:
    from collections.abc import Callable

#: Major version of CUDA → oldest driver of Linux that runs it, minor versions being compatible.
#: https://docs.nvidia.com/cuda/cuda-toolkit-release-notes/ (table 2) and https://docs.nvidia.com/deploy/cuda-compatibility/, read 2026-11.
OLDEST_DRIVER = {"11": "450.80.02", "12": "525.60.13", "13": "580.65.06"}
#: CUDA 13 has no code for Maxwell, Pascal and Volta, and compiles none. https://docs.nvidia.com/cuda/cuda-toolkit-release-notes/ (13.0)
OLDEST_CAPABILITY = {"13": "7.5"}
#: Names of one architecture.
_ARCH = {"amd64": "x86_64", "x86-64": "x86_64", "arm64": "aarch64"}


def cells_of(matrix: Matrix) -> tuple[Cell, ...]:
    """Every cell, row by row; those that cannot be say why."""
    found = []
    for image in matrix.images:
        for values in combinations(matrix):
            inside = filled(image, values)
            for machine in matrix.machines:
                there = filled(machine, values)
                tests = tuple(test for test in matrix.tests if test.is_for(image.name, machine.name))
                cell = Cell(inside, there, values, tests)
                found.append(Cell(inside, there, values, tests, why_impossible(matrix, cell)))
    return tuple(found)


def why_impossible(matrix: Matrix, cell: Cell) -> str:
    """The first rule by which a cell cannot be; empty: none."""
    for each in matrix.impossible:
        if matches(cell.image.name, (each.image,)) and matches(cell.machine.name, (each.machine,)):
            return each.why
    if not cell.tests:
        return "no test is for this image on this machine"
    return next((why for rule in RULES if (why := rule(cell.image, cell.machine))), "")


def _cuda(image: ImageSpec, machine: MachineSpec) -> str:
    oldest = OLDEST_DRIVER.get(image.cuda.partition(".")[0], "") if image.cuda else ""
    # ``550`` in a file means any 550.
    there = numbers(machine.driver)
    if not oldest or not there or there >= numbers(oldest)[: len(there)]:
        return ""
    return f"CUDA {image.cuda} needs driver {oldest} or newer, {machine.name} has {machine.driver}"


def _entered(image: ImageSpec, machine: MachineSpec) -> str:
    """Pods and rented machines are given an image and have nothing else of ours."""
    if machine.where in ("pods", "rented") and not image.container:
        return f"{machine.name} takes container images only, {image.name} has no container"
    return ""


def _processor(image: ImageSpec, machine: MachineSpec) -> str:
    ours, theirs = (_ARCH.get(each, each) for each in (image.arch, machine.arch))
    return f"{image.name} is for {ours}, {machine.name} is {theirs}" if ours and theirs and ours != theirs else ""


def _capability(image: ImageSpec, machine: MachineSpec) -> str:
    theirs, built = machine.compute_capability, image.compute_capabilities
    if not theirs:
        return ""
    oldest = OLDEST_CAPABILITY.get(image.cuda.partition(".")[0], "")
    if oldest and numbers(theirs) < numbers(oldest):
        return f"CUDA {image.cuda} needs compute capability {oldest} or higher, {machine.name} has {theirs}"
    if built and not any(_runs(each, theirs) for each in built):
        return f"{image.name} is built for compute capability {', '.join(built)}, {machine.name} has {theirs}"
    return ""


def _runs(built: str, there: str) -> bool:
    """Code for 8.0 runs on 8.6, not on 9.0 (cubins are compatible within a major version, upwards)."""
    ours, theirs = numbers(built), numbers(there)
    return ours[0] == theirs[0] and ours <= theirs


def _memory(image: ImageSpec, machine: MachineSpec) -> str:
    for key, words in (("memory_gb", "GB of memory"), ("gpu_memory_gb", "GB of memory per GPU"), ("gpus", "GPUs")):
        needed, there = getattr(image, key), getattr(machine, key)
        # A machine without GPUs says gpus = 0, which is the default too.
        if needed > there and (there or key == "gpus"):
            return f"{image.name} needs {needed:g} {words}, {machine.name} has {there:g}"
    return ""


#: In the order in which a cell is held against them.
RULES: tuple[Callable[[ImageSpec, MachineSpec], str], ...] = (_entered, _processor, _cuda, _capability, _memory)


def numbers(version: str) -> tuple[int, ...]:
    """``550.54.15`` → (550, 54, 15)."""
    return tuple(int(part) for part in version.split(".") if part.isdigit())
