"""``hpcaccept doctor``."""

from __future__ import annotations

from typing import Any

import click

from hpcaccept import container
from hpcaccept.cli.finite import FiniteRange
from hpcaccept.cli.options import gpus_per_node, pairs, runs_dir_option, variables


@click.command()
@click.option("-N", "--nodes", type=int, metavar="N", help="How many nodes.  [default: 1]")
@click.option("-w", "--nodelist", metavar="NAMES", help="These nodes: node[01-04],node7.")
@click.option("-x", "--exclude", metavar="NAMES", help="Not these nodes.")
@click.option(
    "-s", "--suite", metavar="SUITE", help="What is to run: its time, and whether it needs torch.  [default: as submit]"
)
@click.option("-p", "--partition", metavar="NAME", help="Slurm partition.")
@click.option("-A", "--account", metavar="NAME", help="Slurm account.")
@click.option(
    "-g", "--gpus-per-node", callback=gpus_per_node, metavar="[TYPE:]N", help="GPUs that each node must have."
)
@click.option("-t", "--time", metavar="TIME", help="Time limit of the run.  [default: an upper estimate]")
@click.option("-l", "--launcher", metavar="NAME", help="As of submit.  [default: auto]")
@click.option("--container-image", metavar="IMAGE", help="The image that the ranks would enter.")
@click.option("--container-mounts", metavar="SRC:DST[,…]", help="Mount these into the container.")
@click.option("--container-env", metavar="NAME=VALUE", multiple=True, callback=variables, help="Set a variable inside.")
@click.option("--container-runtime", metavar="NAME", help=f"One of {', '.join(container.built_in_runtimes())}.")
@click.option("--mpi", metavar="TYPE", help="How srun starts MPI.")
@click.option("--slurm", multiple=True, metavar="KEY[=VALUE]", callback=pairs, help="Any other sbatch option.")
@click.option(
    "--start-timeout",
    "start_timeout_s",
    type=FiniteRange(min=1),
    metavar="S",
    help="Seconds for image pull.  [default: 300]",
)
@click.option(
    "--queue-timeout",
    "queue_timeout_s",
    type=FiniteRange(min=1),
    metavar="S",
    help="Seconds to wait in the queue.  [default: 120]",
)
@runs_dir_option
@click.option("--quick", is_flag=True, help="Only what this machine can see: no job is started.")
@click.option("--node", is_flag=True, help="Only what this very node can say by itself, in a job or not.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def doctor(quick: bool, node: bool, as_json: bool, **options: Any) -> int:
    """Look along the path from here to a measured number, before any time is spent on it.

    First what this machine can see: Slurm, partition, account, GPUs, image, runs folder. Then a small job asks every node
    from inside the image: hpcaccept, MPI, torch, GPUs, clocks, limits. Give it the options of the submission that is to
    follow. One line for each thing: what was found, what was expected, what to type.

    The exit code is 0 when nothing is wrong (there may be warnings), and 3 when something is, or could not be looked at.

    \b
    Examples:
      hpcaccept doctor --nodes 4 --partition gpu --container-image /shared/hpcaccept.sqsh
      hpcaccept doctor --quick
      srun -N2 --gpus-per-node=8 hpcaccept doctor --node --gpus-per-node 8
    """
    from hpcaccept.app.doctor import examine, examine_node
    from hpcaccept.config.settings import load_settings
    from hpcaccept.report.printable import safe

    layered = load_settings(options)
    diagnosis = (
        examine_node(layered.settings.gpus_per_node)
        if node
        else examine(
            layered.settings, layered.overrides, quick=quick, say=lambda line: click.echo(safe(line), err=True)
        )
    )
    if as_json:
        import json

        from hpcaccept.app.doctor.as_json import plain

        click.echo(json.dumps(plain(diagnosis), indent=1))
    else:
        from hpcaccept.report.views.findings import print_findings

        heard = diagnosis.heard
        print_findings(diagnosis.findings, len(heard.nodes) if heard else 0, heard.stderr if heard else "")
    return diagnosis.exit_code
