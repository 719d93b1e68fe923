"""Whether this user may submit with this account."""

from __future__ import annotations

import getpass
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hpcaccept.errors import LaunchError
from hpcaccept.model.doctor.finding import Finding
from hpcaccept.parse.slurm.site import Accounting, parse_accounting, parse_associations
from hpcaccept.transport.slurm import ask_slurm as said

if TYPE_CHECKING:
    from hpcaccept.app.doctor.case import Case
    from hpcaccept.model.doctor.finding import Mark

PLACE = 30
NEEDS = {"sbatch"}


@dataclass(frozen=True)
class Seen:
    """What Slurm keeps of this user.

    Attributes:
        rules: of the site.
        user: who asks.
        accounts: of the user.
    """

    rules: Accounting
    user: str
    accounts: tuple[str, ...] = ()


def ask(case: Case) -> Seen:
    """Whether accounting runs, and if so what it knows."""
    shown = said(["scontrol", "show", "config"])
    if not shown.ok:
        raise LaunchError(f"scontrol show config: {shown.stderr.strip()[:300]}")
    rules, user = parse_accounting(shown.stdout), getpass.getuser()
    if not rules.kept:
        return Seen(rules, user)
    done = said(["sacctmgr", "-n", "-P", "show", "association", f"user={user}", "format=account"])
    if not done.ok:
        raise LaunchError(f"sacctmgr: {done.stderr.strip()[:300]}", "Does slurmdbd run?")
    return Seen(rules, user, parse_associations(done.stdout))


def judge(case: Case, seen: Seen) -> list[Finding]:
    """Without accounting every account is taken; without enforcement a wrong one is only booked wrongly."""
    asked = case.request.account
    if not seen.rules.kept:
        return [Finding("account", "ok", "not kept here: Slurm takes any", asked)]
    known = ", ".join(seen.accounts)
    if asked in seen.accounts or (not asked and seen.accounts):
        return [Finding("account", "ok", asked or f"{known} (the default is taken)")]
    found = f"{seen.user} has {known or 'none'}"
    remedy = f"--account {seen.accounts[0]}" if seen.accounts else f"sacctmgr add user {seen.user} account=NAME"
    mark: Mark = "wrong" if seen.rules.enforced else "warning"
    return [Finding("account", mark, found, asked or "one", remedy, stops=seen.rules.enforced)]
