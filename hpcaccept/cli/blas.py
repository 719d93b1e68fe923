"""Gives a matrix product of numpy one thread, where hpcaccept shares its rows among threads itself."""

from __future__ import annotations

import os
import sys

#: Read by OpenBLAS, MKL and BLIS when numpy is loaded, and never again.
_VARIABLES = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS")


def threads_for_rows() -> int:
    """Have products run in one thread each, and give the number of threads that may share the rows: the cores of this process.

    Must be called before numpy is loaded; afterwards it changes nothing and gives 1.
    """
    if "numpy" in sys.modules:
        return 1
    for name in _VARIABLES:
        os.environ[name] = "1"
    return len(os.sched_getaffinity(0))
