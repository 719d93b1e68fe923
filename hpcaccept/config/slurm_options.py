"""The options of sbatch that a site may add to a job. Not those that hpcaccept decides: a job with other nodes does not test those requested."""

from __future__ import annotations

from hpcaccept.errors import UsageError

_ATTEMPT = "One run is one attempt of one job"
#: Option of sbatch (https://slurm.schedmd.com/sbatch.html) → what to do instead. Short names are those of the command line.
OWN = {
    "nodes": "Say --nodes",
    "N": "Say --nodes",
    "nodelist": "Say --nodelist",
    "w": "Say --nodelist",
    "nodefile": "Say --nodelist",
    "F": "Say --nodelist",
    "exclude": "Say --exclude",
    "x": "Say --exclude",
    "partition": "Say --partition",
    "p": "Say --partition",
    "account": "Say --account",
    "A": "Say --account",
    "gpus_per_node": "Say --gpus-per-node",
    "gpus": "Say --gpus-per-node",
    "G": "Say --gpus-per-node",
    "gpus_per_task": "Say --gpus-per-node",
    "gpus_per_socket": "Say --gpus-per-node",
    "ntasks_per_gpu": "Say --ranks-per-node",
    "ntasks": "Say --ranks-per-node",
    "n": "Say --ranks-per-node",
    "ntasks_per_node": "Say --ranks-per-node",
    "tasks_per_node": "Say --ranks-per-node",
    "ntasks_per_core": "Say --ranks-per-node",
    "ntasks_per_socket": "Say --ranks-per-node",
    "time": "Say --time",
    "t": "Say --time",
    "time_min": "Say --time",
    "output": "The logs are in the run folder",
    "o": "The logs are in the run folder",
    "error": "The logs are in the run folder",
    "e": "The logs are in the run folder",
    "input": "The driver reads nothing",
    "i": "The driver reads nothing",
    "open_mode": "The logs are in the run folder",
    "chdir": "The driver starts in the run folder",
    "D": "The driver starts in the run folder",
    "job_name": "The name is that of the suite",
    "J": "The name is that of the suite",
    "array": _ATTEMPT,
    "a": _ATTEMPT,
    "requeue": _ATTEMPT,
    "no_requeue": _ATTEMPT,
    "no_kill": _ATTEMPT,
    "k": _ATTEMPT,
    "wrap": "The job is the driver",
    "export": "The driver needs its environment",
    "export_file": "The driver needs its environment",
    "get_user_env": "The driver needs its environment",
    "exclusive": "What shares its nodes measures its neighbours",
    "oversubscribe": "What shares its nodes measures its neighbours",
    "s": "What shares its nodes measures its neighbours",
    "overcommit": "What shares its nodes measures its neighbours",
    "O": "What shares its nodes measures its neighbours",
    "signal": "The driver is warned before the time limit",
    "wait": "Say --wait",
    "W": "Say --wait",
    "wait_all_nodes": "The driver looks at every node itself",
    "parsable": "hpcaccept reads what sbatch prints",
    "quiet": "hpcaccept reads what sbatch prints",
    "Q": "hpcaccept reads what sbatch prints",
    "test_only": "Say --dry-run",
}


def check_slurm_options(options: dict[str, str], place: str) -> None:
    """Refuse what hpcaccept itself decides.

    Args:
        options: of sbatch by their long name, with ``_`` or ``-``.
        place: where they are given.

    Raises:
        UsageError: with the option and what to say instead.
    """
    for key in options:
        if instead := OWN.get(key.replace("-", "_")):
            raise UsageError(
                f"{place}: slurm option {key!r} is not one to be given: hpcaccept sets it itself.", f"{instead}."
            )
