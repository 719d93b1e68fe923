"""The program that runs on the nodes: one process per rank, inside the image.

``python -m hpcaccept.rank RUN_FOLDER STEP`` reads ``steps/STEP.json``, measures its checks together with the other
ranks, and appends to its own journal. It needs the ``[rank]`` extra and no scheduler.
"""

from hpcaccept.errors import install_hint

#: Exit codes of a rank, for the driver. 0: it said everything it had to say.
EXIT_FOLDER_FULL = 74
EXIT_DEADLINE = 75
EXIT_ABORT = 76
EXIT_CANNOT_START = 77
REMEDY_EXTRA = f"Install hpcaccept with its [rank] extra where the ranks run: {install_hint('rank')}."
