"""The matrix file: TOML with the tables [images.NAME], [machines.NAME] and [tests.NAME]; every mistake names its place."""

from __future__ import annotations

import hashlib
import itertools
import re
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any, TypeVar

from hpcaccept.bounded import read_text
from hpcaccept.config.toml import MOST_BYTES, parse_toml
from hpcaccept.errors import UsageError, nearest
from hpcaccept.model.matrix.matrix import CellTest, ImageSpec, MachineSpec, Matrix
from hpcaccept.serial import from_plain

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    Spec = TypeVar("Spec", ImageSpec, MachineSpec)

#: Cells that one file may have.
MOST_CELLS = 10_000
_NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._+-]{0,59}$")
_VALUE = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._+:-]{0,59}$")
_VERSION = re.compile(r"^\d+(\.\d+)*$")
#: Of a requirement such as ``>=2.5,<3``.
_REQUIREMENT = re.compile(r"^(===?|!=|>=|<=|>|<)\s*\d[\w.+*-]*$")
#: Keys that name what a cell is; more than one of a group contradict each other.
_IMAGE_KINDS = (("container", "venv"), ("container", "modules"))
_TEST_KINDS = ("suite", "command", "script", "notebook")
_TOP = ("name", "images", "machines", "tests", "impossible", "content", "factors", "parallel", "reruns", "queue_timeout_s", "nights")  # fmt: skip


def read_matrix(file: Path) -> tuple[Matrix, str]:
    """The matrix of a file, and the SHA-256 of its text.

    Raises:
        UsageError: the file is wrong; the message names the key.
    """
    try:
        text = read_text(file, follow=True, most=MOST_BYTES)
    except OSError as fault:
        raise UsageError(f"Cannot read {file}: {fault.strerror}.", "docs/how-to/matrix.md has an example.") from None
    except UnicodeDecodeError as fault:
        raise UsageError(f"{file} is not TOML: {fault}.") from None
    return matrix_of(parse_toml(text, str(file)), str(file), file.absolute().parent, file.stem), digest_of(text)


def digest_of(text: str) -> str:
    """By which a file is known again."""
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def matrix_of(tables: dict[str, Any], place: str, beside: Path, stem: str) -> Matrix:
    """The matrix in the tables of a file.

    Args:
        tables: of the file.
        place: of the file, for messages.
        beside: folder that paths of scripts, notebooks, images and environments are relative to.
        stem: name of the matrix where the file has none.

    Raises:
        UsageError: as ``read_matrix``.
    """
    for key in tables:
        if key not in _TOP:
            raise UsageError(f"{place}: unknown key {key!r}. {nearest(key, _TOP)}")
    factors = {str(name): tuple(map(str, values)) for name, values in _table(tables, "factors", place).items()}
    matrix = _read(
        {
            "name": stem,
            **{k: v for k, v in tables.items() if k not in ("images", "machines", "tests")},
            "factors": factors,
            "images": _named(tables, "images", place),
            "machines": _named(tables, "machines", place),
            "tests": _named(tables, "tests", place),
        },
        place,
    )
    _check(matrix, place)
    return _with_paths(matrix, beside, place)


def _read(plain: dict[str, Any], place: str) -> Matrix:
    try:
        return from_plain(plain, Matrix)
    except ValueError as fault:
        raise UsageError(f"{place}: {fault}.") from None


def _table(tables: dict[str, Any], name: str, place: str) -> dict[str, Any]:
    found = tables.get(name, {})
    if not isinstance(found, dict) or (name == "factors" and not all(isinstance(v, list) for v in found.values())):
        expected = 'lists, as in python = ["3.11", "3.12"]' if name == "factors" else f"tables [{name}.NAME]"
        raise UsageError(f"{place}: {name} holds something else than {expected}.")
    return found


def _named(tables: dict[str, Any], name: str, place: str) -> list[dict[str, Any]]:
    kinds = {"images": ImageSpec, "machines": MachineSpec, "tests": CellTest}
    known = [field.name for field in fields(kinds[name])]
    rows = []
    for key, table in _table(tables, name, place).items():
        if not isinstance(table, dict):
            raise UsageError(f"{place}: {name}.{key} is {table!r}, expected a table [{name}.{key}].")
        for word in table:
            if word not in known or word == "name":
                raise UsageError(f"{place}: [{name}.{key}] has an unknown key {word!r}. {nearest(word, known)}")
        rows.append({**table, "name": key})
    if not rows:
        raise UsageError(f"{place} has no table [{name}.NAME].", "docs/how-to/matrix.md has an example.")
    return rows


def _check(matrix: Matrix, place: str) -> None:
    for kind, names in _names_of(matrix):
        for name in names:
            if not _NAME.match(name):
                raise UsageError(f"{place}: {kind} {name!r}: letters, digits and . _ + - are expected, 60 at most.")
    for name, values in matrix.factors.items():
        if wrong := [value for value in values if not _VALUE.match(value)]:
            raise UsageError(f"{place}: factors.{name} has the value {wrong[0]!r}: letters, digits and . _ + : - only.")
        if not values:
            raise UsageError(f"{place}: factors.{name} has no values.")
    for name, least in (("parallel", 1), ("reruns", 0), ("queue_timeout_s", 0), ("nights", 1)):
        if getattr(matrix, name) < least:
            raise UsageError(f"{place}: {name} is {getattr(matrix, name)}, expected {least} or more.")
    for image in matrix.images:
        _check_image(image, place)
    for machine in matrix.machines:
        _check_machine(machine, place)
    for test in matrix.tests:
        _check_test(test, matrix, place)
    if matrix.content and matrix.content.repository.startswith("-") | matrix.content.branch.startswith("-"):
        raise UsageError(f"{place}: content begins with a dash, which git takes for an option.")
    count = len(matrix.images) * len(matrix.machines)
    for values in matrix.factors.values():
        count *= len(values)
    if count > MOST_CELLS:
        raise UsageError(f"{place} has {count:,} cells, expected at most {MOST_CELLS:,}.")


def _names_of(matrix: Matrix) -> Iterable[tuple[str, list[str]]]:
    yield "name", [matrix.name]
    yield "images", [each.name for each in matrix.images]
    yield "machines", [each.name for each in matrix.machines]
    yield "tests", [each.name for each in matrix.tests]
    yield "factors", list(matrix.factors)


def _check_image(image: ImageSpec, place: str) -> None:
    table = f"{place}: [images.{image.name}]"
    for pair in _IMAGE_KINDS:
        if all(getattr(image, key) for key in pair):
            raise UsageError(f"{table} has both {pair[0]} and {pair[1]}, expected one of them.")
    _check_versions(table, cuda=image.cuda)
    for each in image.compute_capabilities:
        _check_versions(table, compute_capabilities=each)
    _check_amounts(table, memory_gb=image.memory_gb, gpu_memory_gb=image.gpu_memory_gb, gpus=image.gpus)


def _check_machine(machine: MachineSpec, place: str) -> None:
    table = f"{place}: [machines.{machine.name}]"
    _check_versions(table, driver=machine.driver, compute_capability=machine.compute_capability)
    queue = machine.partition or machine.features or machine.nodelist or machine.slurm
    if sum(bool(each) for each in (machine.gpu_model, machine.node_selector, queue)) > 1:
        raise UsageError(f"{table} is a machine of Slurm, of Kubernetes or a rented one; it has keys of several.")
    _check_amounts(
        table,
        memory_gb=machine.memory_gb,
        gpu_memory_gb=machine.gpu_memory_gb,
        gpus=machine.gpus,
        usd_per_hour=machine.usd_per_hour,
        parallel=machine.parallel,
        limit_s=machine.limit_s,
    )
    if machine.node_selector and not machine.pvc:
        raise UsageError(f"{table} has a node_selector and no pvc: the claim by which its pods see the runs' folder.")
    if machine.gpu_model and not machine.usd_per_hour:
        raise UsageError(f"{table} rents, and says no usd_per_hour: the most that an hour may cost.")


def _check_versions(table: str, **versions: str) -> None:
    for key, value in versions.items():
        if value and "{" not in value and not _VERSION.match(value):
            raise UsageError(f"{table} {key} is {value!r}, expected a version such as 12.4.")


def _check_amounts(table: str, **amounts: float) -> None:
    for key, value in amounts.items():
        if not 0 <= value < float("inf"):
            raise UsageError(f"{table} {key} is {value:g}, expected 0 or more.")


def _check_test(test: CellTest, matrix: Matrix, place: str) -> None:
    table = f"{place}: [tests.{test.name}]"
    given = [key for key in _TEST_KINDS if getattr(test, key)]
    if test.imports or test.versions:
        given.append("imports")
    if len(given) != 1:
        found = " and ".join(given) or "nothing"
        raise UsageError(f"{table} has {found}, expected one of imports (with versions), suite, command, script, notebook.")  # fmt: skip
    for name, wanted in test.versions.items():
        for part in wanted.split(","):
            if not _REQUIREMENT.match(part.strip()):
                raise UsageError(f'{table} versions.{name} is {wanted!r}, expected such as ">=2.5,<3" or "==2.5.*".')
    if not 0 < test.limit_s < float("inf") or not 0 < test.cell_s < float("inf"):
        raise UsageError(f"{table} limit_s and cell_s must be more than 0.")
    try:
        re.compile(test.output)
    except re.error as fault:
        raise UsageError(f"{table} output is not a regular expression: {fault}.") from None
    if test.from_content and not matrix.content:
        raise UsageError(f"{table} has from_content, and the file has no table [content].")
    for key, known in (("images", matrix.images), ("machines", matrix.machines)):
        for pattern in getattr(test, key):
            _meant(f"{table} {key}", pattern, [each.name for each in known])


def _meant(table: str, pattern: str, names: list[str]) -> None:
    from fnmatch import fnmatchcase

    if not any(fnmatchcase(name, pattern) for name in names):
        raise UsageError(f"{table}: {pattern!r} matches none of them. {nearest(pattern, names)}")


def _with_paths(matrix: Matrix, beside: Path, place: str) -> Matrix:
    """Files that the file names, absolute; those that are not there are found now, and not on every machine."""
    tests = tuple(_with_files(test, beside, place) for test in matrix.tests)
    images = tuple(
        replace(
            image,
            venv=str(beside / image.venv) if image.venv else "",
            container=str(beside / image.container) if image.container.startswith(("./", "../")) else image.container,
        )
        for image in matrix.images
    )
    return replace(matrix, tests=tests, images=images)


def _with_files(test: CellTest, beside: Path, place: str) -> CellTest:
    suite = _there(test, "suite", beside, place) if test.suite.endswith(".toml") else test.suite
    script, notebook = _there(test, "script", beside, place), _there(test, "notebook", beside, place)
    return replace(test, suite=suite, script=script, notebook=notebook)


def _there(test: CellTest, key: str, beside: Path, place: str) -> str:
    path: str = getattr(test, key)
    if not path or test.from_content:
        return path
    if not (beside / path).is_file():
        raise UsageError(f"{place}: [tests.{test.name}] {key}: there is no file {beside / path}.")
    return str(beside / path)


def combinations(matrix: Matrix) -> list[dict[str, str]]:
    """Every choice of the further factors' values; one empty choice where there are none."""
    names = list(matrix.factors)
    return [dict(zip(names, values, strict=True)) for values in itertools.product(*matrix.factors.values())]


def filled(spec: Spec, values: dict[str, str]) -> Spec:
    """The texts of an image or machine with ``{name}`` replaced by the value of that factor."""

    def put(thing: Any) -> Any:
        if isinstance(thing, str):
            for name, value in values.items():
                thing = thing.replace(f"{{{name}}}", value)
            return thing
        if isinstance(thing, tuple):
            return tuple(put(each) for each in thing)
        return {key: put(each) for key, each in thing.items()} if isinstance(thing, dict) else thing

    return replace(spec, **{f.name: put(getattr(spec, f.name)) for f in fields(spec) if f.name != "name"})
