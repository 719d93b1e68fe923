"""Environments of their own for packages that tests need and ``.venv`` must not have: made once, in ``build``, or a sentence why not."""

from __future__ import annotations

import subprocess
import sys
import venv
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class OwnEnvironment:
    """A small environment with what pip installs there.

    Attributes:
        folder: of it.
        install: words for ``pip install``: requirements, or what ``group`` gives.
        how: the command that makes it, for people.
        needs: files that must be there besides its interpreter, relative to ``folder``.
        sees: folders outside in which its interpreter finds what it has not itself.
    """

    folder: Path
    install: tuple[str, ...]
    how: str
    needs: tuple[str, ...] = ()
    sees: tuple[str, ...] = ()

    @property
    def python(self) -> Path:
        """Its interpreter; programs of what is installed lie beside it."""
        return self.folder / "bin" / "python"

    @property
    def _mark(self) -> Path:
        """Written last: what is half made, of another Python or of other requirements, or copied from another checkout, has not its text."""
        return self.folder / "whole"

    def _text(self) -> str:
        return "\n".join([str(self.folder), sys.version, *self.install, *self.sees]) + "\n"

    def why_not(self) -> str:
        """Why it cannot be used here; empty when it can."""
        whole = self._mark.is_file() and self._mark.read_text("utf-8") == self._text()
        lacks = [name for name in ("bin/python", *self.needs) if not (self.folder / name).exists()]
        return f"not installed: {self.how}" if lacks or not whole else ""

    def make(self) -> None:
        """Makes it, unless it is there.

        Raises:
            subprocess.CalledProcessError: pip could not install it; it has said why.
        """
        if not self.why_not():
            return
        venv.EnvBuilder(with_pip=False, clear=True).create(self.folder)
        if self.install:
            words = [sys.executable, "-m", "pip", "--python", str(self.python), "install", "--quiet", *self.install]
            subprocess.run(words, check=True)
        # Afterwards: what is installed outside would count as installed.
        if self.sees:
            version = f"python{sys.version_info.major}.{sys.version_info.minor}"
            paths = self.folder / "lib" / version / "site-packages" / "as-outside.pth"
            paths.write_text("".join(f"{folder}\n" for folder in self.sees), "utf-8")
        self._mark.write_text(self._text(), "utf-8")


def group(name: str) -> tuple[str, ...]:
    """The words by which pip installs a dependency group of pyproject.toml."""
    return "--group", f"{ROOT / 'pyproject.toml'}:{name}"
