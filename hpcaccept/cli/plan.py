"""``hpcaccept plan``: what the sbatch scripts call on the first node, inside the image, before their steps."""

from __future__ import annotations

import click


@click.command()
@click.option("--folder", required=True, metavar="DIR", help="Run folder to make: on a file system that all nodes share.")
@click.option("--suite", default="auto", show_default=True, help="A suite's name or .toml file.")
@click.option("--gpus-per-node", type=click.IntRange(min=0), default=0, show_default=True, help="GPUs each node must have.")
@click.option("--ranks-per-node", type=int, default=0, help="MPI ranks per node.  [default: one per GPU, else 1]")
def plan(folder: str, suite: str, gpus_per_node: int, ranks_per_node: int) -> int:
    """Write plan and first step of a run into a folder, from inside a Slurm job, for its srun steps to read."""
    from hpcaccept.app.scripted import plan_inside_job

    click.echo(plan_inside_job(folder, suite, gpus_per_node, ranks_per_node))
    return 0
