"""Builds the wheel with nothing but the standard library, so that a test needs no package index.

https://peps.python.org/pep-0517/, https://packaging.python.org/en/latest/specifications/binary-distribution-format/
"""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

HERE = Path(__file__).parent


def build_wheel(wheel_directory: str, config_settings: object = None, metadata_directory: str | None = None) -> str:
    """The name of the wheel that was written."""
    project = tomllib.loads((HERE / "pyproject.toml").read_text("utf-8"))["project"]
    stem = f"{project['name'].replace('-', '_')}-{project['version']}"
    files = {str(file.relative_to(HERE)): file.read_text("utf-8") for file in sorted(HERE.glob("site_checks/*.py"))}
    files |= {f"{stem}.dist-info/{name}": text for name, text in metadata(project).items()}
    record = "".join(f"{name},,\n" for name in (*files, f"{stem}.dist-info/RECORD"))
    with zipfile.ZipFile(Path(wheel_directory) / f"{stem}-py3-none-any.whl", "w") as wheel:
        for name, text in {**files, f"{stem}.dist-info/RECORD": record}.items():
            wheel.writestr(name, text)
    return f"{stem}-py3-none-any.whl"


def metadata(project: dict[str, Any]) -> dict[str, str]:
    """File of the dist-info folder → text."""
    groups = project["entry-points"].items()
    points = "\n".join(f"[{group}]\n" + "".join(f"{k} = {v}\n" for k, v in names.items()) for group, names in groups)
    return {
        "METADATA": f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n",
        "WHEEL": "Wheel-Version: 1.0\nGenerator: by hand\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        "entry_points.txt": points,
    }
