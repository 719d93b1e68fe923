"""What a build adds to hpcaccept: the commit that it was made of, and the address of the repository that it came from."""

from __future__ import annotations

import re
import sys
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from hatchling.metadata.plugin.interface import MetadataHookInterface

sys.path.insert(0, str(Path(__file__).parent))

from hpcaccept.app.commit import WRITTEN, ask_git, commit_of, is_own_checkout


class CommitHook(BuildHookInterface[Any]):
    """Writes the commit into wheel and sdist. An editable installation asks git."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Add the file, unless it is there: an sdist brings its own."""
        root = Path(self.root)
        if version == "editable" or (root / WRITTEN).exists() or not (commit := commit_of(root)):
            return
        self._folder = tempfile.TemporaryDirectory()
        file = Path(self._folder.name, "commit")
        file.write_text(f"{commit}\n", encoding="utf-8")
        build_data["force_include"][str(file)] = WRITTEN

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Remove what the build no longer needs."""
        if hasattr(self, "_folder"):
            self._folder.cleanup()


class AddressHook(MetadataHookInterface):
    """Names the repository that was built from as the project's source, as the image's label does.

    No address is written down anywhere: a mirror of a site is the truth for who installs from it.
    """

    def update(self, metadata: dict[str, Any]) -> None:
        """Set the project's URLs; none outside a checkout that has an origin with an http address."""
        root = Path(self.root)
        origin = ask_git(root, "remote", "get-url", "origin") if is_own_checkout(root) else ""
        address = public(origin)
        metadata["urls"] = {"Source": address} if address else {}


def public(origin: str) -> str:
    """An http address without the name and password that may stand in it; empty for any other."""
    found = re.fullmatch(r"(https?://)(?:[^/@]*@)?(\S+)", origin)
    return found[1] + found[2] if found else ""
