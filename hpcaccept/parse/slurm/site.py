"""What a Slurm site allows: partitions, accounts, MPI. Text in, dataclasses out.

Recorded from Slurm 22.05 to 26.05; https://slurm.schedmd.com/scontrol.html, sacctmgr.html, srun.html (25.05).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from hpcaccept.units import parse_slurm_time


@dataclass(frozen=True)
class Partition:
    """One partition.

    Attributes:
        name: of it.
        state: ``UP``, ``DOWN``, ``DRAIN``, ``INACTIVE``.
        default: True for the one that is taken when none is named.
        most_s: longest job in seconds; None: without limit.
        most_nodes: largest job in nodes; None: without limit.
        accounts: that may use it; empty: all.
        closed_to: accounts that may not.
        groups: whose members may use it; empty: all.
        root_only: True where only root may.
    """

    name: str
    state: str
    default: bool = False
    most_s: float | None = None
    most_nodes: int | None = None
    accounts: tuple[str, ...] = ()
    closed_to: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    root_only: bool = False

    def open_to(self, groups: frozenset[str] | None) -> bool:
        """True where a user with these groups may use it, as far as its own rules say; None: root, who may use all."""
        if groups is None:
            return True
        return not self.root_only and (not self.groups or bool(groups & set(self.groups)))


def parse_partitions(text: str) -> list[Partition]:
    """From ``scontrol -o show partition``."""
    found = []
    for line in text.splitlines():
        fields = dict(re.findall(r"(?:^|\s)([A-Za-z]\w*)=(\S*)", line))
        if fields.get("PartitionName"):
            found.append(
                Partition(
                    fields["PartitionName"],
                    fields.get("State", ""),
                    fields.get("Default") == "YES",
                    _seconds(fields.get("MaxTime", "")),
                    int(fields["MaxNodes"]) if fields.get("MaxNodes", "").isdecimal() else None,
                    _names(fields.get("AllowAccounts", "")),
                    _names(fields.get("DenyAccounts", "")),
                    _names(fields.get("AllowGroups", "")),
                    fields.get("RootOnly") == "YES",
                )
            )
    return found


def _seconds(word: str) -> float | None:
    try:
        return parse_slurm_time(word)
    except ValueError:
        return None  # UNLIMITED, INFINITE


def _names(word: str) -> tuple[str, ...]:
    return () if word in ("", "ALL", "(null)") else tuple(word.split(","))


@dataclass(frozen=True)
class Accounting:
    """What Slurm keeps of accounts.

    Attributes:
        kept: False where no accounting runs: any account is taken then.
        enforced: True when a job without a valid account is refused.
    """

    kept: bool
    enforced: bool


def parse_accounting(text: str) -> Accounting:
    """From ``scontrol show config``."""
    fields = dict(re.findall(r"^(AccountingStorage\w+)\s*=\s*(.*?)\s*$", text, re.MULTILINE))
    kind, rules = fields.get("AccountingStorageType", ""), fields.get("AccountingStorageEnforce", "")
    # From 23.11 on there is none where it was accounting_storage/none before.
    kept = kind not in ("", "(null)") and not kind.endswith("/none")
    return Accounting(kept, bool({"associations", "limits", "qos", "all"} & set(rules.lower().split(","))))


def parse_associations(text: str) -> tuple[str, ...]:
    """Accounts in ``sacctmgr -n -P show association user=NAME format=account``, each once."""
    return tuple(dict.fromkeys(line.strip().rstrip("|") for line in text.splitlines() if line.strip(" |")))
