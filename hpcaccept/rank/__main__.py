"""``python -m hpcaccept.rank RUN_FOLDER STEP``: measure the checks of one step as one rank of many.

The rank is a child of this process, which does nothing but wait for it: see ``guard``.
"""

import sys

from hpcaccept.rank.guard import guarded

if __name__ == "__main__":
    sys.exit(guarded(sys.argv[1:]))
