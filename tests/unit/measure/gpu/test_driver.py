"""Whoever asks for GPUs asks the port: no code outside ``measure/gpu`` knows NVIDIA's library."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from hpcaccept.measure.gpu import driver

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[4]
PACKAGE = ROOT / "hpcaccept"
#: What NVIDIA's own diagnostic prints is parsed with its words; its bindings are among the modules that a plug-in may not import early.
OF_OTHERS = {PACKAGE / "parse" / "dcgm.py", PACKAGE / "testing.py"}
FILES = sorted(file for file in PACKAGE.rglob("*.py") if PACKAGE / "measure" / "gpu" not in file.parents)
NAMED = re.compile("nvml", re.IGNORECASE)
#: Where a rule was read may be cited.
ADDRESS = re.compile(r"https?://\S+")


def words(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """(line, text) of every name, import and string of a file, docstrings included."""
    for node in ast.walk(tree):
        line = getattr(node, "lineno", 0)
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield line, ADDRESS.sub("", node.value)
        elif isinstance(node, ast.alias):
            yield line, f"{node.name} {node.asname or ''}"
        elif isinstance(node, ast.ImportFrom):
            yield line, node.module or ""
        for name in ("id", "attr", "arg", "name"):
            if isinstance(text := getattr(node, name, None), str):
                yield line, text


def named(text: str) -> list[tuple[int, str]]:
    return [(line, word) for line, word in words(ast.parse(text)) if NAMED.search(word)]


@pytest.mark.parametrize(
    "text",
    [
        "from hpcaccept.measure.gpu import nvml",
        "import pynvml as p",
        "from hpcaccept.measure.gpu.nvml import Code",
        "_NVML = 1",
        "gpu.nvml_handle",
        'raise ValueError("NVML does not answer")',
        'def f() -> None:\n    """Ask NVML."""',
    ],
)
def test_the_guard_sees_every_way_to_name_it(text: str) -> None:
    assert named(text)


def test_nothing_outside_the_gpu_folder_names_nvml() -> None:
    assert len(FILES) > 200
    found = {
        f"{file.relative_to(ROOT)}:{line}": word
        for file in FILES
        if file not in OF_OTHERS
        for line, word in named(file.read_text("utf-8"))
    }
    assert not found, "ask hpcaccept.measure.gpu.driver instead"


def test_nothing_outside_the_gpu_folder_imports_a_vendor() -> None:
    imports = re.compile(r"measure\.gpu(\.drivers\.|\.drivers import| import .*\bdrivers\b)")
    assert not [file for file in FILES if imports.search(file.read_text("utf-8"))]


@pytest.mark.parametrize("name", driver.names())
def test_a_vendor_says_everything_that_is_asked_before_its_driver_is_opened(name: str) -> None:
    vendor = driver.load(name)
    assert vendor.name
    assert vendor.torch_device in ("cuda", "cpu", "xpu")
    assert vendor.device_files.endswith("[0-9]*"), "one device file for each GPU, numbered"
    assert vendor.visible_variable.endswith("_VISIBLE_DEVICES")
    assert vendor.look
    assert vendor.missing_look
    assert vendor.query
    assert vendor.holders
    assert isinstance(vendor.available(), bool)
    assert vendor.visible((driver.Gpu(0, "ok"), driver.Gpu(1, "hidden")), None) == (driver.Gpu(0, "ok"),)
    assert vendor.visible((driver.Gpu(0, "ok"), driver.Gpu(1, "ok")), "1") == (driver.Gpu(1, "ok"),)


def test_where_there_is_no_driver_the_first_vendor_says_what_is_missing() -> None:
    assert driver.names()[0] == "nvidia"
    assert driver.installed().name == "NVIDIA"


@pytest.mark.parametrize(
    ("files", "count"),
    [(["nvidia0", "nvidia1", "nvidia10"], 3), (["nvidiactl", "nvidia-uvm", "nvidia0foo", "nvidia-caps"], 0), ([], 0)],
)
def test_a_gpu_has_one_numbered_device_file(tmp_path: Path, files: list[str], count: int) -> None:
    for name in files:
        (tmp_path / name).touch()
    assert len(driver.device_files(tmp_path)) == count
