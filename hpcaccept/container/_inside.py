"""What goes wrong once the container has started: no Python, no hpcaccept, another version, an MPI that does not find its host."""

from __future__ import annotations

from hpcaccept.container._fault import Sign
from hpcaccept.errors import install_hint

_JOIN = (
    "Take another type of 'srun --mpi=list' with --mpi, or an image whose MPI and PMIx fit the host's ('ompi_info' and 'pmix_info' "
    "inside); Enroot needs a hook that passes PMIx on (enroot/hooks.d)."
)
#: The same where there is no image.
JOIN_WITHOUT_IMAGE = "Take another type of 'srun --mpi=list' with --mpi, or an MPI that was built for this Slurm's PMIx ('ompi_info' and 'pmix_info' on the nodes)."
_TYPE = (
    "Name the type that it speaks, one of 'srun --mpi=list': --mpi=pmi2 for MPICH and its kin, --mpi=pmix for Open MPI (HPCACCEPT_MPI in "
    "scripts)."
)
#: What a rank says of itself (hpcaccept.rank.preflight), what the loader and shells say of a missing program, and what Open MPI
#: and PMIx say when the image's library cannot reach the server of the host's.
SIGNS = (
    Sign(
        "another version",
        r"hpcaccept: another version",
        "hpcaccept of the image is of another version than here",
        "Install the same version on both sides: build the image from this checkout ('make image'), or install the image's version here.",
    ),
    Sign(
        "hpcaccept missing",
        r"No module named '?hpcaccept\b",
        "hpcaccept is not installed where the ranks start",
        f"Install it there: {install_hint('rank')}. Or take an image of 'make image'.",
    ),
    Sign(
        "hpcaccept missing",
        r"hpcaccept: missing|No module named",
        "something that the ranks need is not installed where they start",
        f"Install it there: {install_hint('rank')}. Or take an image of 'make image'.",
    ),
    Sign(
        "python missing",
        r"execve\(\): \S*python\S*: (No such file or directory|Permission denied)|python[\d.]*: (command )?not found"
        r"|exec: \"?\S*python\S*?\"?: |failed to execute: \S*python|exec \S*python\S* failed: "
        r"|python\S*: executable file not found",
        "there is no such Python where the ranks start",
        "Name the interpreter that is there: HPCACCEPT_PYTHON=/path/to/python3, or python in hpcaccept.toml.",
    ),
    # On one machine it is the first program in the container, by which engines name it; the second wording is that of tini (--init).
    Sign(
        "MPI missing",
        r"exec: \"?\S*mpiexec\"?: |exec \S*mpiexec failed: |mpiexec\"?: executable file not found",
        "there is no mpiexec in the image",
        "Take an image with an MPI (one of 'make image'), or install one in it: apt-get install openmpi-bin.",
    ),
    # The library's own word, from whichever rank comes first; what it says of a server that is gone may follow from a death as well.
    Sign(
        "MPI does not fit",
        r"Runtime environment uses unsupported PMI version",
        "this MPI does not speak with its launcher",
        _TYPE,
    ),
    Sign(
        "MPI does not fit",
        r"OMPI was not built with SLURM's PMI support",
        "this MPI does not speak with its launcher",
        _TYPE,
    ),
    Sign(
        "no space",
        r"PMIX_ERR_FILE_WRITE_FAILURE",
        "MPI cannot write its temporary files",
        "Is their disk full, or read-only? See 'df -h ${TMPDIR:-/tmp}' where the ranks start; free some, or set TMPDIR to a place with room.",
    ),
    Sign(
        "MPI cannot join",
        r"hpcaccept: MPI cannot join",
        "MPI cannot join its host",
        _JOIN,
    ),
    Sign(
        "MPI cannot join",
        r"Invalid MPI type",
        "this Slurm has no such MPI plugin",
        "See 'srun --mpi=list', and name one of it: HPCACCEPT_MPI=pmi2 or mpi in hpcaccept.toml.",
    ),
    Sign(
        "MPI cannot join",
        r"PMI server unreachable|OPAL ERROR: Unreachable|PMI2_Init failed|PMIX ERROR: \S*UNREACH\S*|pmix.*: (UNREACHABLE|BAD-PARAM)"
        r"|PMI: (not|no) .*support",
        "MPI cannot join its host",
        _JOIN,
    ),
)  # fmt: skip
