"""``hpcaccept vast audit``."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("transcript", type=click.Path(dir_okay=False, path_type=Path), metavar="TRANSCRIPT")
@click.option("--json", "as_json", is_flag=True, help="Print the verdicts as JSON.")
def audit(transcript: Path, as_json: bool) -> int:
    """Judge a TRANSCRIPT again: every opened row is recomputed here. Needs no account and no machine.

    Takes up to half a minute for each GPU on two cores. Exit code 0: verified; 1: refuted; 3: neither, or not a transcript.
    """
    from hpcaccept.cli.blas import threads_for_rows

    threads = threads_for_rows()
    from hpcaccept.app.vast.audit import audit as judge_again
    from hpcaccept.app.vast.audit import render

    found = judge_again(transcript, threads=threads)
    if as_json:
        import json

        from hpcaccept.serial import to_plain

        plain = {"outcome": found.outcome, "verdicts": [to_plain(verdict) for verdict in found.verdicts]}
        click.echo(json.dumps(plain, ensure_ascii=False, indent=1))
    else:
        click.echo(render(found))
    return found.exit_code
