"""Real GPUs: without one every test here is reported as not run, with the reason."""

from __future__ import annotations

from pathlib import Path

import pytest

HERE = Path(__file__).parent


def why_not() -> str:
    """Why nothing can be computed on a GPU here; empty where it can."""
    try:
        import torch
    except ImportError as fault:
        return f"not run: torch cannot be imported: {fault}"
    return "" if torch.cuda.is_available() else f"not run: torch {torch.__version__} sees no GPU"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark all of this folder; no two of them may share a GPU."""
    mine = [item for item in items if HERE in item.path.parents]
    reason = why_not() if mine else ""
    for item in mine:
        item.add_marker(pytest.mark.gpu)
        item.add_marker(pytest.mark.alone)
        if reason:
            item.add_marker(pytest.mark.skip(reason=reason))
