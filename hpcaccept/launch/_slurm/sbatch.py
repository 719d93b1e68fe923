"""How is a job handed to sbatch, whatever shell this is typed in, and what does sbatch answer?"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from submitit import SlurmExecutor
from submitit.core.utils import FailedSubmissionError

from hpcaccept.launch._slurm.doctor_job import SBATCH_OPTIONS, outside_environment

if TYPE_CHECKING:
    from pathlib import Path

#: ``--parsable``: the number alone, and the name of the cluster where there are several.
_PARSABLE = re.compile(r"^(\d+)(;\S+)?$", re.MULTILINE)
#: What sbatch says without it; some sites' wrappers drop the option.
_TOLD = re.compile(r"Submitted batch job (\d+)")


class Sbatch(SlurmExecutor):  # type: ignore[misc]
    """submitit's, for a job that takes nothing from the shell it was typed in.

    Inside another job (``salloc``) or with ``SBATCH_*`` set, sbatch takes options from variables: arrays, other node counts, an empty
    environment. A site's wrapper may print a banner, with numbers in it, around the job's own.
    """

    def _make_submission_command(self, submission_file_path: Path) -> list[str]:
        kept = outside_environment(os.environ)
        dropped = sorted(name for name in os.environ if name not in kept)
        # The driver starts with the environment that is left; site settings such as SLURM_CONF are part of it.
        return [
            "env",
            *(f"--unset={name}" for name in dropped),
            "sbatch",
            *SBATCH_OPTIONS,
            str(submission_file_path),
        ]

    @staticmethod
    def _get_job_id_from_submission_command(string: bytes | str) -> str:
        text = string.decode("utf-8", "replace") if isinstance(string, bytes) else string
        found = [match[1] for match in _PARSABLE.finditer(text)] or _TOLD.findall(text)
        if not found:
            raise FailedSubmissionError(f"no job number in what sbatch answered: {text.strip()[-300:]!r}")
        return found[-1]
