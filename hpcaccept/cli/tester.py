"""``hpcaccept tester``: what runs on a rented machine."""

from __future__ import annotations

import click

from hpcaccept.cli.finite import FiniteRange


@click.group()
def tester() -> None:
    """The tester on a rented machine. ``hpcaccept vast verify`` starts it there and asks it."""


@tester.command()
@click.option("--host", default="", metavar="ADDRESS", help="Listen at this address only.  [default: all]")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=5000, show_default=True, help="Listen at this port; 0: any."
)
@click.option(
    "--device", "devices", multiple=True, metavar="NAME", help="cuda:0, cpu; may be repeated.  [default: every GPU]"
)
@click.option(
    "--suite", default="marketplace", show_default=True, metavar="SUITE", help="Suite that a client may start."
)
@click.option(
    "--cell", default="", hidden=True, metavar="ORDER", help="Tests of a cell of a matrix instead of a suite."
)
@click.option(
    "--suite-deadline",
    "suite_deadline_s",
    type=FiniteRange(min=1),
    default=1800.0,
    show_default=True,
    metavar="S",
    help="Seconds after which the suite is ended.",
)
@click.option(
    "--lifetime",
    "lifetime_s",
    type=FiniteRange(min=1),
    default=7200.0,
    show_default=True,
    metavar="S",
    help="Seconds after which the server ends by itself.",
)
def serve(
    host: str, port: int, devices: tuple[str, ...], suite: str, cell: str, suite_deadline_s: float, lifetime_s: float
) -> None:
    """Answer challenges, and run the suite when asked, over TLS at one port.

    The client's keys come in the variables HPCACCEPT_TESTER_KEY and HPCACCEPT_TESTER_TOKEN_SHA256; the key pair of the server is made here.
    """
    import os

    from hpcaccept.app.tester.serve import serve as run

    run(
        os.environ,
        address=(host, port),
        devices=devices,
        suite=suite,
        cell=cell,
        suite_deadline_s=suite_deadline_s,
        lifetime_s=lifetime_s,
        tell=lambda line: click.echo(line),
    )


@tester.command(hidden=True)
@click.argument("device")
def worker(device: str) -> None:
    """Prove on one DEVICE: requests are lines of JSON on standard input, answers lines on standard output."""
    import sys

    from hpcaccept.app.tester.worker import work

    work(device, sys.stdin, sys.stdout)
