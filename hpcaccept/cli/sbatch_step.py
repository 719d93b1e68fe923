"""``hpcaccept sbatch-step``: what the sbatch scripts ask, inside their job and image, before each step and at the end."""

from __future__ import annotations

import click

from hpcaccept.cli.options import gpus_per_node, suite_options


@click.command("sbatch-step")
@click.option("--folder", required=True, metavar="DIR", help="Run folder, on a file system that all nodes share.")
@click.option("--suite", metavar="SUITE", help="A suite's name or .toml file.")
@click.option("--skip", multiple=True, metavar="CHECK", help="Leave this check out; may be repeated.")
@click.option("--set", "changes", multiple=True, metavar="CHECK.PARAM=VALUE", help="Change a parameter of a check.")
@click.option("--gpus-per-node", callback=gpus_per_node, metavar="[TYPE:]N", help="GPUs that each node must have.")
@click.option("--nodes", default="", metavar="TEXT", help="What 'scontrol show hostnames' says of the job.")
@click.option("--gres", default="", metavar="TEXT", help="What 'sinfo -h -N -o %G' says of its nodes.")
@click.option("--mpi-list", default="", metavar="TEXT", help="What 'srun --mpi=list' says.")
@click.option("--left", default="", metavar="TEXT", help="What 'squeue -h -o %L' says of the job.")
@click.option("--variables", default="", metavar="TEXT", help="Names of the variables of the script.")
@click.option("--after", metavar="STEP", help="This step has ended: what follows?")
@click.option("--returncode", type=int, default=0, help="Exit status of its command.")
@click.option("--took", type=float, default=0.0, metavar="S", help="Seconds from its launch to its end.")
@click.option("--conclude", is_flag=True, help="All steps have ended: judge, print and remember.")
def sbatch_step(
    folder: str,
    suite: str | None,
    skip: tuple[str, ...],
    changes: tuple[str, ...],
    gpus_per_node: str | None,
    nodes: str,
    gres: str,
    mpi_list: str,
    left: str,
    variables: str,
    after: str | None,
    returncode: int,
    took: float,
    conclude: bool,
) -> int:
    """Inside a Slurm job: make a run folder and leave its first command in DIR/next, or the one after --after.

    The words of the command are separated by NUL (sbatch/steps.sh reads them); no word: the run is over.
    """
    from hpcaccept.app.run import sbatch_steps

    told = sbatch_steps.ScriptInput(nodes, gres, mpi_list, left, variables)
    if conclude:
        return sbatch_steps.conclude(folder)
    if after:
        sbatch_steps.proceed(folder, after, returncode, took, told)
    else:
        settings = {"suite": suite, "gpus_per_node": gpus_per_node}
        sbatch_steps.begin(folder, told, settings, suite_options(skip, changes, False))
    return 0
