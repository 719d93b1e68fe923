"""``hpcaccept certificate``."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hpcaccept.cli.options import baselines_dir_option, history_option, history_path, paths, runs_dir_option
from hpcaccept.errors import StoreError, UsageError

if TYPE_CHECKING:
    from hpcaccept.app.certificate import Verified

_FILE = click.Path(dir_okay=False, path_type=Path)


def say_verified(found: Verified) -> None:
    """A line for each thing that was looked at: it holds, it does not, nobody can say."""
    from hpcaccept.report.printable import safe

    for mark, texts in (("ok  ", found.good), ("BAD ", found.bad), ("?   ", found.open)):
        for text in texts:
            click.echo(mark + safe(text))


@click.group()
def certificate() -> None:
    """Signed statements of which nodes were accepted: by which limits, on which records, until when."""


@certificate.command()
@click.option(
    "--key", required=True, type=_FILE, metavar="FILE", help="Where the private key goes; FILE.pub is the public one."
)
def keygen(key: Path) -> int:
    """Make a key for signing (Ed25519). Keep FILE to yourself, give FILE.pub to whoever verifies."""
    from hpcaccept.store.signing import key_id, make_key, read_public_key

    try:
        key.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        public = make_key(key)
    except OSError as fault:
        raise UsageError(f"{key} cannot be written: {fault.strerror}.", "Name another place with --key.") from fault
    click.echo(
        f"{key}: the private key, readable by you only.\n{public}: the public key {key_id(read_public_key(public))}."
    )
    return 0


@certificate.command()
@click.argument("runs", nargs=-1, required=True, metavar="RUN...")
@click.option(
    "--key", required=True, type=_FILE, metavar="FILE", help="Private key (mode 0600), made by 'certificate keygen'."
)
@click.option("--valid-days", default=90, show_default=True, type=click.IntRange(1, 3650), help="Until it expires.")
@click.option(
    "--output", type=_FILE, metavar="FILE", help="Where to write it.  [default: certificate.json in the first run]"
)
@runs_dir_option
@baselines_dir_option
@history_option
def create(runs: tuple[str, ...], key: Path, valid_days: int, output: Path | None, **options: Any) -> int:
    """Certify the nodes that were accepted by every RUN in which they took part; the others are named.

    Exit code 1 when a node failed and 3 when one could not be judged: then the certificate speaks for the rest only.
    """
    from hpcaccept.app.certificate import issue
    from hpcaccept.report.printable import safe
    from hpcaccept.store.folder import find

    runs_dir, baselines_dir = paths(**options)
    folders = [find(runs_dir, run) for run in dict.fromkeys(runs)]
    file = output or folders[0].path / "certificate.json"
    now, history = datetime.now(timezone.utc), history_path(**options)
    issued = issue(folders, baselines_dir, key, timedelta(days=valid_days), file, now, history)
    for node, why in issued.others.items():
        click.echo(safe(f"not certified {node}: {why}"))
    click.echo(f"{issued.file}: {len(issued.certified)} nodes for {valid_days} days, signed by key {issued.key}.")
    return issued.exit_code


@certificate.command()
@click.argument("file", type=_FILE)
@click.option(
    "--run",
    "runs",
    multiple=True,
    metavar="RUN",
    help="Compare the records of this run too; several times for several.",
)
@click.option("--public-key", type=_FILE, metavar="FILE", help="Of whom you trust.")
@runs_dir_option
def verify(file: Path, runs: tuple[str, ...], public_key: Path | None, **options: Any) -> int:
    """Say whether a certificate holds: signature, signer, expiry, and with --run whether the records are unchanged.

    Exit code 0: everything holds. 3: something does not, or could not be looked at (the signer, without --public-key).
    """
    from hpcaccept.app.certificate import verify as look
    from hpcaccept.report.printable import safe
    from hpcaccept.store.folder import find

    runs_dir = paths(**options)[0] if runs else Path()
    try:
        found, statement = look(file, [find(runs_dir, run) for run in runs], public_key, datetime.now(timezone.utc))
    except StoreError as fault:
        click.echo("BAD " + safe(fault.message))
        return 3
    say_verified(found)
    nodes, others = statement["nodes"], statement["not_certified"]
    unread = [run["run"] for run in statement["runs"] if run["run"] not in {Path(name).name for name in runs}]
    if unread:
        click.echo(safe(f"Records not looked at: {', '.join(unread)} (--run)."))
    click.echo(
        safe(
            f"It speaks for {len(nodes)} nodes: {', '.join(node['node'] for node in nodes[:16])}{' …' if len(nodes) > 16 else ''}"
        )
    )
    if others:
        click.echo(
            safe(f"and not for {', '.join(node['node'] for node in others[:16])}{' …' if len(others) > 16 else ''}.")
        )
    return found.exit_code


@certificate.command()
@click.argument("before", type=_FILE, metavar="A")
@click.argument("after", type=_FILE, metavar="B")
@click.option("--public-key", type=_FILE, metavar="FILE", help="Of whom you trust: both must be signed with it.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def diff(before: Path, after: Path, public_key: Path | None, as_json: bool) -> int:
    """Say what certificate B says that A did not: nodes, scope, limits, evidence, environment, expiry.

    Exit code 0: B says no less than A. 1: a node that A certifies has failed. 3: B says less otherwise (a node, a check or a limit is gone, a limit
    is wider, it expires earlier), or a signature does not hold.
    """
    import json

    from hpcaccept.app.certificate import read_signed
    from hpcaccept.app.certificate_diff import difference
    from hpcaccept.report.printable import safe
    from hpcaccept.serial import to_plain
    from hpcaccept.store.signing import key_id, read_public_key

    trusted = read_public_key(public_key) if public_key else None
    read = {}
    for file in (before, after):
        read[file], signer = read_signed(file)
        if trusted not in (None, signer):
            raise StoreError(f"{file} is signed by key {key_id(signer)}, not by the one in {public_key}.")
    found = difference(read[before], read[after])
    if as_json:
        click.echo(json.dumps({**to_plain(found), "exit_code": found.exit_code}, indent=1, ensure_ascii=False))
    else:
        click.echo("\n".join(safe(line) for line in found.lines(str(before), str(after))))
    return found.exit_code
