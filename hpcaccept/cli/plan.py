"""``hpcaccept plan``: what the sbatch scripts ask, inside their job and image, before each step."""

from __future__ import annotations

import click


@click.command()
@click.option("--folder", required=True, metavar="DIR", help="Run folder, on a file system that all nodes share.")
@click.option("--suite", default="auto", show_default=True, help="A suite's name or .toml file.")
@click.option(
    "--gpus-per-node", type=click.IntRange(min=0), default=0, show_default=True, help="GPUs each node must have."
)
@click.option("--ranks-per-node", type=int, default=0, help="MPI ranks per node.  [default: one per GPU, else 1]")
@click.option("--after", metavar="STEP", help="This step has ended: what follows?")
@click.option("--returncode", type=int, default=0, help="Exit status of the srun of that step.")
def plan(folder: str, suite: str, gpus_per_node: int, ranks_per_node: int, after: str | None, returncode: int) -> int:
    """Inside a Slurm job: make a run folder and print its first step, or the one after --after.

    A line has the step, its number of nodes, ranks per node, and the nodes; no line: the run is over.
    """
    from hpcaccept.app.scripted import begin, proceed

    line = proceed(folder, after, returncode) if after else begin(folder, suite, gpus_per_node, ranks_per_node)
    if line:
        click.echo(line)
    return 0
