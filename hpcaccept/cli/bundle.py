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
from hpcaccept.errors import UsageError

_FILE = click.Path(dir_okay=False, path_type=Path)


@click.command()
@run_argument
@click.option(
    "--node", "--fault", "fault", metavar="NODE[:gpuN]", help="The node that the fault is on, or one of its GPUs."
)
@click.option("--out", type=_FILE, metavar="FILE", help="Where to write it.  [default: hpcaccept-RUN-NODE.tar.gz here]")
@click.option("--key", type=_FILE, metavar="FILE", help="Sign it with this private key (hpcaccept certificate keygen).")
@click.option(
    "--keep-names", is_flag=True, help="Keep the names of other hosts; secrets, people and addresses go all the same."
)
@click.option(
    "--azure-report",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Pack this Guest Health Report too: report-NODE-….json of 'hpcaccept azure report-host'.",
)
@click.option(
    "--azure-cluster",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Or write the report that would be sent, for a node of this folder of 'hpcaccept azure'.",
)
@click.option(
    "--verify", type=_FILE, metavar="FILE", help="Look at a bundle instead: is it unchanged, and who signed it?"
)
@click.option("--public-key", type=_FILE, metavar="FILE", help="Of --verify: of whom you trust.")
@runs_dir_option
@baselines_dir_option
@history_option
def bundle(
    run: str, fault: str | None, out: Path | None, verify: Path | None, public_key: Path | None, **options: Any
) -> int:
    """Pack what a vendor needs to see of one faulty node or GPU, without secrets, people, addresses and other hosts.

    An RMA sheet, verdicts, plots, Xids, records, raw outputs, serial numbers, driver and firmware, the peers' figures, the past, and how to see it
    again. With --key it is signed. REDACTED.txt says what was replaced. Look through it before you send it: no rule knows every secret.

    \b
    Examples:
      hpcaccept bundle --node node7:gpu3 --key ~/.config/hpcaccept/key
      hpcaccept bundle --verify hpcaccept-RUN-node7-gpu3.tar.gz --public-key key.pub

    Exit code of --verify: 0 everything holds. 3: something does not, or could not be looked at (the signer, without --public-key).
    """
    if verify:
        if fault or run:
            raise UsageError("--verify looks at a file: it takes no RUN and no --node.")
        return _verify(verify, public_key)
    if public_key:
        raise UsageError("--public-key belongs to --verify.", "To sign, name the private key: --key FILE.")
    if not fault:
        raise UsageError("--node is missing: a bundle is about one node.", "hpcaccept report --format nodes-bad")
    return _pack(run, fault, out, **options)


def _pack(
    run: str,
    named: str,
    out: Path | None,
    key: Path | None,
    keep_names: bool,
    azure_report: Path | None,
    azure_cluster: Path | None,
    **options: Any,
) -> int:
    from hpcaccept.app.bundle.pack import Extras, fault_named, make_bundle
    from hpcaccept.report.printable import safe
    from hpcaccept.store.folder import find

    if azure_report and azure_cluster:
        raise UsageError("--azure-report and --azure-cluster are two sources of one report: name one of them.")
    runs_dir, baselines_dir = paths(**options)
    folder, fault = find(runs_dir, run), fault_named(named)
    file = out or Path(f"hpcaccept-{folder.run_id}-{fault.word}.tar.gz".replace("/", "-")).absolute()
    extras = Extras(keep_names, azure_report, azure_cluster, key)
    made = make_bundle(folder, fault, baselines_dir, history_path(**options), file, extras)
    click.echo(safe(f"{file}: {len(made.texts)} files, {'signed' if key else 'not signed'}."))
    for line in made.redacted:
        click.echo(f"  replaced {line}")
    for path, why in made.left_out.items():
        click.echo(safe(f"  left out {path}: {why}"))
    return 0


def _verify(file: Path, public_key: Path | None) -> int:
    from hpcaccept.app.bundle.signed import verify
    from hpcaccept.cli.certificate import say_verified
    from hpcaccept.report.printable import safe

    found, said = verify(file, public_key)
    say_verified(found)
    about = f"{said.get('node', '')} {said.get('device', '')}".strip()
    click.echo(safe(f"It speaks of {about} in run {said.get('run', '')}: {said.get('verdict') or 'not judged'}."))
    return found.exit_code
