"""The journal of an isolation: what it has found out, so that another job can go on after a crash.

``isolation.json`` is what was ordered, ``isolation.jsonl`` the journal, in the form of ``store.entry_journal``. Only the driver writes it.
"""

from __future__ import annotations

from datetime import datetime, timezone
from typing import TYPE_CHECKING, get_args

from hpcaccept.bounded import read_text
from hpcaccept.errors import StoreError
from hpcaccept.model.isolation_order import IsolationEntry, IsolationOrder
from hpcaccept.serial import dumps, from_plain, loads
from hpcaccept.store import entry_journal
from hpcaccept.store.replaced_files import replace_file

if TYPE_CHECKING:
    from hpcaccept.store.folder import RunFolder

_KINDS = entry_journal.kinds_of(get_args(IsolationEntry))


def write_order(folder: RunFolder, order: IsolationOrder) -> None:
    """Keep what was ordered."""
    replace_file(folder.isolation_order_file, dumps(order) + "\n")


def read_order(folder: RunFolder) -> IsolationOrder | None:
    """What was ordered; None where the run is no isolation and none follows it.

    Raises:
        StoreError: it is there and cannot be read.
    """
    try:
        return from_plain(loads(read_text(folder.isolation_order_file)), IsolationOrder)
    except FileNotFoundError:
        return None
    except OSError as fault:
        raise StoreError(f"{folder.isolation_order_file} cannot be read: {fault.strerror}.") from None
    except ValueError as fault:
        raise StoreError(
            f"{folder.isolation_order_file} is not readable as an order of an isolation: {fault}.",
            "Was it written by another version of hpcaccept?",
        ) from None


def append(folder: RunFolder, *entries: IsolationEntry) -> None:
    """Add entries; after return they are on the disk.

    Raises:
        RunFolderFull: no space for them.
        OSError: the journal cannot be written.
    """
    now = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
    entry_journal.append(folder.isolation_journal, entries, now, 0o644)


def read(folder: RunFolder) -> tuple[list[IsolationEntry], int]:
    """Every entry that can be read, oldest first, and how many cannot.

    Raises:
        StoreError: the journal is there and cannot be opened.
    """
    try:
        found, unreadable = entry_journal.read(folder.isolation_journal, _KINDS)
    except FileNotFoundError:
        return [], 0
    except OSError as fault:
        raise StoreError(f"{folder.isolation_journal} cannot be read: {fault.strerror}.") from None
    return [entry for _, entry in found], unreadable
