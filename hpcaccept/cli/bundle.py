"""``hpcaccept bundle``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from hpcaccept.cli.options import (
    baselines_dir_option,
    history_option,
    history_path,
    paths,
    run_argument,
    runs_dir_option,
)


@click.command()
@run_argument
@click.option("--node", required=True, metavar="NODE", help="The node that the fault is on.")
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Where to write it.  [default: hpcaccept-RUN-NODE.tar.gz here]",
)
@click.option(
    "--keep-names", is_flag=True, help="Keep the names of other hosts; secrets, people and addresses go all the same."
)
@click.option(
    "--azure-report",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Pack this Guest Health Report too: report-NODE-….json of 'hpcaccept azure report-host'.",
)
@runs_dir_option
@baselines_dir_option
@history_option
def bundle(run: str, node: str, out: Path | None, keep_names: bool, azure_report: Path | None, **options: Any) -> int:
    """Pack what a vendor needs to see of one faulty NODE, without secrets, people, addresses and other hosts.

    Verdicts, records, raw outputs, serial numbers, driver and firmware, the peers' figures, the past, and how to see it again. REDACTED.txt says
    what was replaced. Look through it before you send it: no rule knows every secret.
    """
    from hpcaccept.app.bundle import make_bundle
    from hpcaccept.report.printable import safe
    from hpcaccept.store.folder import find

    runs_dir, baselines_dir = paths(**options)
    folder = find(runs_dir, run)
    file = out or Path(f"hpcaccept-{folder.run_id}-{node}.tar.gz".replace("/", "-")).absolute()
    made = make_bundle(folder, node, baselines_dir, history_path(**options), file, keep_names, azure_report)
    click.echo(safe(f"{file}: {len(made.texts)} files."))
    for line in made.redacted:
        click.echo(f"  replaced {line}")
    for path, why in made.left_out.items():
        click.echo(safe(f"  left out {path}: {why}"))
    return 0
