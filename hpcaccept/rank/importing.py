"""A module that stays is imported without looking for garbage: torch makes a million objects, none of which ever is any."""

from __future__ import annotations

import gc
import importlib
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import ModuleType


def import_for_good(name: str) -> ModuleType:
    """The module.

    The collector rests meanwhile, which saves a fifth of torch's import (each rank pays for it in every launch), and what is there
    afterwards it leaves alone for good: nor does a check then wait for it amid what it times.

    Raises:
        ImportError: whatever the module itself raises; the collector works again as before.
    """
    if name in sys.modules or not gc.isenabled():
        return importlib.import_module(name)
    # What is garbage now must not be kept for good.
    gc.collect()
    gc.disable()
    try:
        return importlib.import_module(name)
    finally:
        gc.freeze()
        gc.enable()
