"""``hpcaccept tester serve``: what an instance starts when it boots."""

from __future__ import annotations

import contextlib
import signal
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from hpcaccept.app.tester import keys
from hpcaccept.app.tester.cell import CellRun
from hpcaccept.app.tester.gpus import own_devices, provers
from hpcaccept.app.tester.service import Tester
from hpcaccept.app.tester.suite import SuiteRun
from hpcaccept.config.private_variables import without_secrets
from hpcaccept.errors import LaunchError
from hpcaccept.transport.certificate import make_certificate
from hpcaccept.transport.tester_server import TesterServer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


def serve(
    environ: Mapping[str, str],
    *,
    address: tuple[str, int],
    devices: Sequence[str] = (),
    suite: str = "marketplace",
    cell: str = "",
    suite_deadline_s: float = 1800.0,
    lifetime_s: float = 7200.0,
    tell: Callable[[str], None] = print,
) -> None:
    """Answer until SIGTERM, SIGINT or the end of its lifetime; nothing of it is left afterwards.

    Args:
        environ: with both variables of ``keys``; what it starts gets it without secrets.
        address: host and port to listen at.
        devices: as torch calls them; none: every GPU of the machine, else its processor.
        suite: that ``/suite`` runs.
        cell: tests of a cell of a matrix, packed, that it runs instead; empty: the suite.
        suite_deadline_s: after which it is ended.
        lifetime_s: of the server; a machine that nobody asks any more does not go on computing.
        tell: for one line when it listens.

    Raises:
        UsageError: the variables are not set.
        LaunchError: no certificate can be made, or the address cannot be listened at.
    """
    pin, token_sha256 = keys.from_environment(environ)
    found = list(devices) or own_devices()
    inherited = {
        name: value for name, value in without_secrets(environ).items() if not name.startswith("HPCACCEPT_TESTER_")
    }
    over = threading.Event()
    with contextlib.ExitStack() as until_the_end:
        folder = Path(until_the_end.enter_context(tempfile.TemporaryDirectory(prefix="hpcaccept-tester-")))
        certificate, key = make_certificate(folder)
        gpus = sum(device != "cpu" for device in found)
        run = (
            CellRun(folder, cell, suite_deadline_s, inherited)
            if cell
            else SuiteRun(folder, suite, gpus, suite_deadline_s, inherited)
        )
        until_the_end.callback(run.stop)
        tester = Tester(pin, token_sha256, until_the_end.enter_context(provers(found, inherited)), run)
        try:
            server = TesterServer(address, tester.service(), certificate, key)
        except OSError as fault:
            raise LaunchError(f"Cannot listen at {address[0] or '*'}:{address[1]}: {fault.strerror}.") from None
        until_the_end.callback(server.close)
        tester.fingerprint = server.fingerprint
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: over.set())
        tell(f"listening at port {server.port} with {', '.join(found)}; certificate sha256 {server.fingerprint}")
        over.wait(lifetime_s)
