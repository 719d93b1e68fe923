"""Hands a job to sbatch, whatever shell this is typed in, and reads what sbatch answers."""

from __future__ import annotations

import os
import re
import uuid
from typing import TYPE_CHECKING

from submitit import SlurmExecutor
from submitit.core.utils import CommandFunction, FailedSubmissionError

from hpcaccept.config.private_variables import without_secrets
from hpcaccept.errors import LaunchError
from hpcaccept.launch._slurm.doctor_job import SBATCH_OPTIONS, outside_environment
from hpcaccept.transport.slurm import ask_slurm

if TYPE_CHECKING:
    from pathlib import Path

#: ``--parsable``: the number alone, and the name of the cluster where there are several.
_PARSABLE = re.compile(r"^[ \t]*(\d+)(;\S+)?[ \t\r]*$", re.MULTILINE)
_ESCAPE = "\\"
#: What sbatch says without it; some sites' wrappers drop the option.
_TOLD = re.compile(r"Submitted batch job (\d+)")


class Sbatch(SlurmExecutor):  # type: ignore[misc]
    """submitit's, for a job that takes nothing from the shell it was typed in.

    Inside another job (``salloc``) or with ``SBATCH_*`` set, sbatch takes options from variables: arrays, other node counts, an empty
    environment. A site's wrapper may print a banner, with numbers in it, around the job's own.

    Attributes:
        keep: names of variables that the job sees although they look like secrets.
        place: folder in which the job starts, which no other job does.
    """

    keep: tuple[str, ...] = ()
    place: str = ""

    @classmethod
    def affinity(cls) -> int:
        """As submitit's, but that a dry run is shown where no Slurm is: whether one answers is asked before anything is submitted."""
        return 2

    def _make_submission_command(self, submission_file_path: Path) -> list[str]:
        kept = without_secrets(outside_environment(os.environ), self.keep)
        # sbatch takes a variable before the option of its script: what was typed would not count.
        said = {**self.parameters, **self.parameters.get("additional_parameters", {})}
        kept = {
            name: kept[name] for name in kept.keys() - {f"SBATCH_{key.upper()}" for key, value in said.items() if value}
        }
        dropped = sorted(name for name in os.environ if name not in kept)
        # The driver starts with the environment that is left; site settings such as SLURM_CONF are part of it.
        return [
            "env",
            *(f"--unset={name}" for name in dropped),
            "sbatch",
            *SBATCH_OPTIONS,
            str(submission_file_path),
        ]

    def hand_in(self, command: str) -> str:
        """Submit a shell command; gives the job's number.

        submitit's own way replaces ``%j`` wherever it stands in the folder's path, and leaves the script in the folder of that name.

        Raises:
            FailedJobError: sbatch refused.
            FailedSubmissionError: it answered without the number of a job.
        """
        script = self.folder / f"submission_{uuid.uuid4().hex}.sh"
        script.write_text(self._make_submission_file_text(command, script.stem), encoding="utf-8")
        number = self._get_job_id_from_submission_command(
            CommandFunction(self._make_submission_command(script), verbose=False)()
        )
        script.rename(self.folder / f"{number}_submission.sh")
        return number

    def _get_job_id_from_submission_command(self, string: bytes | str) -> str:
        text = string.decode("utf-8", "replace") if isinstance(string, bytes) else string
        found = job_numbers(text)
        # A banner may have a line with nothing but a number: Slurm knows which of them is a job in this run folder.
        ours = found if len(found) == 1 else [number for number in found if _works_in(number, self.place)]
        if len(ours) != 1:
            raise FailedSubmissionError(
                f"expected the number of one job, found {len(found)} in what sbatch answered, none of them that of a job in {self.place}: "
                f"{text.strip()[-300:]!r}. A job that it has submitted all the same is shown by 'squeue --me'"
            )
        return ours[0]


def output_pattern(logs: Path) -> str:
    """The job's output file in a folder, as ``sbatch --output`` takes it: ``<job>_0_log.out``.

    Slurm replaces ``%j`` in the folder's name too, unless ``%`` is doubled. With a backslash anywhere it replaces nothing, and takes
    two backslashes for one (sbatch(1), "filename pattern"; tried with 22.05): the file is then called ``%j_0_log.out``.
    """
    folder = str(logs)
    return f"{_doubled(folder, _ESCAPE if _ESCAPE in folder else '%')}/%j_0_log.out"


def in_script(value: str) -> str:
    """A value as it stands in an ``#SBATCH`` line: within quotes too, a backslash is taken for an escape."""
    return _doubled(value, _ESCAPE)


def _doubled(text: str, sign: str) -> str:
    return text.replace(sign, sign * 2)


def job_numbers(text: str) -> list[str]:
    """What may be the job's number in an answer of sbatch and of what a site has wrapped around it, each once."""
    found = [match[1] for match in _PARSABLE.finditer(text)] + _TOLD.findall(text)
    return list(dict.fromkeys(found))


def _works_in(number: str, place: str) -> bool:
    """True where Slurm has a job of this number that was told to start in a folder."""
    try:
        shown = ask_slurm(["scontrol", "show", "job", number])
    except LaunchError:
        return False
    return shown.ok and f"WorkDir={place}" in [line.strip() for line in shown.stdout.splitlines()]
