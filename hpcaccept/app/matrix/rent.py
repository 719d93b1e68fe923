"""Rent a machine for one cell, have it prove what it is, run the cell's tests there, destroy it. Started as ``hpcaccept matrix rent FOLDER``.

Everything that spends is ``app.vast.verify``'s: its caps, its journal (``rental/``), its guard. What the tests said is the machine's word.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from hpcaccept.app.matrix import said
from hpcaccept.app.matrix.folder import now
from hpcaccept.app.matrix.on_machine import claim, fetch_content
from hpcaccept.app.matrix.order import WORK, order_in
from hpcaccept.app.matrix.said import Began, Over
from hpcaccept.app.tester import sent_files
from hpcaccept.app.tester.cell import FORM, packed
from hpcaccept.app.vast import guard, session, standard_tester, verify
from hpcaccept.app.vast.caps import Caps
from hpcaccept.app.vast.selection import Planned
from hpcaccept.app.vast.standard_tester import StandardTester
from hpcaccept.errors import HpcacceptError, RunError
from hpcaccept.provider.vast import failures, images, prices, requests
from hpcaccept.provider.vast.query import parse_query
from hpcaccept.report.printable import safe
from hpcaccept.serial import loads
from hpcaccept.store import entry_journal

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from hpcaccept.app.vast.journal import Decided
    from hpcaccept.app.vast.session import Session
    from hpcaccept.model.matrix.attempt import Order, Rent
    from hpcaccept.provider.vast.offers import Offer

_FOLDER, _ARCHIVE = "rental", "files.tar.gz"
_LOAD_S, _ATTEMPTS, _DISK_GB = 2000.0, 5, 40.0
#: Codes of a machine that was not to be had: the cell was not tried.
_NO_MACHINE = ("no-offer", "offer-gone", "over-price", "no-image", "cap-money", "cap-hours", "create-refused", "quota-spent", "key-refused", "throttled", "api-silent")  # fmt: skip


class CellTester(StandardTester):
    """The standard tester, with the tests of a cell in the place of its suite."""

    def __init__(self, order: Order, like: StandardTester, archive: Path | None = None) -> None:
        """Args: of the cell, the tester whose proof is asked for, and the archive of its files that is sent."""
        super().__init__(like.suite, like.plan, global_only=like._global_only)
        assert order.rent is not None
        self._packed = packed(order.inner, order.rent.files, more=order.rent.more)
        self._archive = archive

    def work(self) -> list[str]:
        """The tests."""
        return ["--cell", self._packed]

    def files(self) -> Path | None:
        """Of the tests."""
        return self._archive

    def code_of(self, report: bytes, expected: tuple[str, ...] = ()) -> tuple[str, str, dict[str, Any]]:
        """Whatever the tests said: the cell is judged by them elsewhere."""
        try:
            plain = loads(report)
        except ValueError:
            plain = None
        if not isinstance(plain, dict) or plain.get("form") != FORM:
            return "tester-form", "the tests' report has another form", {}
        return "verified", "", {"results": str(plain.get("results", "")), "logs": plain.get("logs", {})}


def rent_cell(folder: Path, say: Callable[[str], None]) -> int:
    """Try the cell whose order is in the folder.

    Returns:
        0: what came of it is there. 3: another process has claimed it.
    """
    order = order_in(folder)
    if not claim(folder):
        return 3
    began = time.monotonic()
    try:
        over = _rented(folder, order, say)
    except KeyboardInterrupt:
        over = Over(130, "it was ended from outside", 0.0)
    except HpcacceptError as fault:
        over = Over(3, fault.message, 0.0)
    seconds = time.monotonic() - began
    entry_journal.append(folder / said.MACHINE, [Over(over.status, over.why, seconds, over.usd, over.no_machine)], now())  # fmt: skip
    return 0


def _rented(folder: Path, order: Order, say: Callable[[str], None]) -> Over:
    rent = order.rent
    if rent is None:
        raise RunError(f"The order in {folder} rents nothing.")
    account = session.open_session()
    caps = Caps(
        max_usd=order.limit_s / 3600 * rent.usd_per_hour,
        max_hours=(order.limit_s + 60) / 3600,
        max_price=rent.usd_per_hour,
        load_s=_LOAD_S,
        test_s=rent.test_s,
        at_once=1,
    )
    planned = plan(account, rent, caps)
    if planned is None:
        return Over(
            0, "", 0.0, 0.0, f"no {rent.gpus} × {rent.gpu_model} is offered for at most {rent.usd_per_hour:g} USD/h"
        )
    entry_journal.append(folder / said.MACHINE, [Began(now(), facts(planned.offer))], now())
    where = folder / _FOLDER
    server, key = session.place_and_key()
    wanted = verify.Order([planned], caps, rent.image, "matrix", where, verify.new_run(), _DISK_GB)
    tester = CellTester(order, standard_tester.standard_tester("rented"), _archive(folder, order))
    results = verify.verify(account, wanted, tester, say, lambda: guard.post(where, wanted.run, server, key))
    return conclude(folder, results.machines[0], results.usd)


def _archive(folder: Path, order: Order) -> Path | None:
    """The tests' files and the branch that they come from, packed."""
    if order.rent is None or not order.rent.more:
        return None
    fetch_content(folder, order)
    sent_files.pack(folder / WORK, folder / _ARCHIVE)
    return folder / _ARCHIVE


def plan(account: Session, rent: Rent, caps: Caps) -> Planned | None:
    """The cheapest offer of the model that costs no more than is allowed; None: there is none."""
    model = rent.gpu_model.replace(" ", "_")
    query = parse_query(f"verified=any gpu_name={model} num_gpus={rent.gpus}")
    offers, _ = account.offers(query, [["dph_total", "asc"], ["id", "asc"]], _ATTEMPTS)
    for offer in offers:
        rate = prices.rate_of(offer, _DISK_GB, requests.LISTED_DISK_GB)
        if rate.usd_per_hour <= rent.usd_per_hour and rate.until(caps.rental_s) <= caps.max_usd:
            image = images.image_for(rent.image, images.cuda_for(offer))
            return Planned(offer.machine_id, offer, image, rate.until(caps.rental_s))
    return None


def facts(offer: Offer | None) -> dict[str, str]:
    """What is rented, by its listing: a claim."""
    if offer is None:
        return {}
    return {
        "machine.host": f"rented machine {offer.machine_id}",
        "machine.gpus": f"{offer.num_gpus} × {safe(offer.gpu_name)} (as offered)",
    }


def conclude(folder: Path, decided: Decided, usd: float) -> Over:
    """Keep what the machine said, and say how the rental ended."""
    claimed = decided.claimed
    if results := claimed.get("results"):
        (folder / said.RESULTS).write_text(str(results), "utf-8")
        for name, text in dict(claimed.get("logs", {})).items():
            if str(name).startswith("test-") and "/" not in str(name):
                (folder / str(name)).write_text(str(text), "utf-8")
    if decided.code in _NO_MACHINE:
        return Over(3, "", 0.0, usd, f"{failures.FAILURES[decided.code].summary}: {decided.text}")
    if decided.code == failures.VERIFIED:
        return Over(0, "", 0.0, usd)
    summary = failures.FAILURES[decided.code].summary if decided.code in failures.FAILURES else decided.code
    return Over(
        1, f"rented machine {decided.machine}: {summary} [{decided.code}] {safe(decided.text)}".strip(), 0.0, usd
    )
