"""The official client of Vast.ai (``vastai`` 1.9.1), in an environment of its own (``build/vastai``, 200 MB): a witness of what is sent.

``python -m support.vastai_client`` makes it. It has questionary too, which asks in a terminal.
"""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from pathlib import Path
from typing import TYPE_CHECKING

from support.vast_server import KEY

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).parents[2]
PLACE = ROOT / "build" / "vastai"
PYTHON = PLACE / "bin" / "python"
_WHOLE = PLACE / "whole"
GROUP = "vastai"


def why_not() -> str:
    """Why it cannot be used here; empty when it can."""
    whole = _WHOLE.exists() and _WHOLE.read_text("utf-8") == str(ROOT) and PYTHON.exists()
    return "" if whole else "not installed: make vast-oracle"


def make() -> None:
    """Its environment, unless it is there.

    Raises:
        subprocess.CalledProcessError: pip could not install it; it has said why.
    """
    if not why_not():
        return
    venv.EnvBuilder(with_pip=False, clear=True).create(PLACE)
    words = ["install", "--quiet", "--group", f"{ROOT / 'pyproject.toml'}:{GROUP}"]
    subprocess.run([sys.executable, "-m", "pip", "--python", str(PYTHON), *words], check=True)
    # Written last: what is half made, or copied from another checkout, has not this text.
    _WHOLE.write_text(str(ROOT), "utf-8")


def run(url: str, home: Path, *words: str, timeout_s: float = 120.0) -> subprocess.CompletedProcess[str]:
    """One command of it, which knows nothing of this user."""
    environ = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "XDG_CONFIG_HOME": str(home),
        "VAST_URL": url,
        "VAST_API_KEY": KEY,
    }
    command: Sequence[str] = [str(PLACE / "bin" / "vastai"), *words]
    return subprocess.run(
        command, env=environ, cwd=home, capture_output=True, text=True, timeout=timeout_s, check=False
    )


if __name__ == "__main__":
    make()
