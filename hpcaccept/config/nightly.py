"""The settings of the nightly run: the table ``[nightly]`` of a settings file, and its options."""

from __future__ import annotations

from dataclasses import dataclass

from hpcaccept.errors import UsageError, nearest
from hpcaccept.model.nightly.window import Window, parse_clock

NOTIFY = ("changes", "always", "never")
FORMATS = ("json", "slack")


@dataclass(frozen=True)
class NightlySettings:
    """Everything that ``hpcaccept nightly`` asks beyond what ``submit`` does.

    Attributes:
        window: times of day between which jobs may run, as ``22:00-05:00``; empty: always.
        at: time of day at which a run is due, for whoever starts it other than with ``nightly install``; empty: never.
        max_nodes: at most so many nodes a night; 0: no such limit.
        max_share: at most this share of the partition's nodes, 0 … 1; one node may always be tested.
        nodes_per_job: nodes of one job; 0: one job for all.
        nice: Slurm's ``--nice`` of the jobs, unless ``slurm`` names a nice, a priority or a QOS.
        queue_timeout_s: seconds after which a job that has not begun is taken back: others wanted its nodes.
        stale_days: a node that was not tested for so many days is reported.
        notify: ``changes``, ``always`` or ``never``.
        mail_to: addresses, separated by commas; empty: no mail.
        mail_from: address; empty: the user's on this machine.
        smtp: ``HOST[:PORT]`` to hand mail to; empty: the ``sendmail`` of this machine.
        webhook_format: ``json``, or ``slack``: ``{"text": …}``.
        webhook_url_file: file with the URL to post to, readable by its owner alone; or HPCACCEPT_WEBHOOK_URL in the environment.
        webhook_token_file: the same for a bearer token; or HPCACCEPT_WEBHOOK_TOKEN.
    """

    window: str = ""
    at: str = ""
    max_nodes: int = 0
    max_share: float = 0.25
    nodes_per_job: int = 0
    nice: int = 10000
    queue_timeout_s: float = 300.0
    stale_days: float = 30.0
    notify: str = "changes"
    mail_to: str = ""
    mail_from: str = ""
    smtp: str = ""
    webhook_format: str = "json"
    webhook_url_file: str = ""
    webhook_token_file: str = ""


def check(settings: NightlySettings, origin: dict[str, str]) -> None:
    """Refuse what cannot be.

    Args:
        settings: with the right types already.
        origin: name of a setting → place of its value.

    Raises:
        UsageError: with the place, what was found and what was expected.
    """

    def refuse(name: str, expected: str, remedy: str = "") -> None:
        found = getattr(settings, name)
        raise UsageError(f"{origin[name]}: nightly.{name} is {found!r}, expected {expected}.", remedy)

    for name, parse in (("window", Window.parse), ("at", parse_clock)):
        try:
            if text := getattr(settings, name):
                parse(text)
        except ValueError as fault:
            raise UsageError(f"{origin[name]}: nightly.{name}: {fault}.") from None
    for name in ("max_nodes", "nodes_per_job", "nice"):
        if getattr(settings, name) < 0:
            refuse(name, "0 or more")
    if not 0 < settings.max_share <= 1:
        refuse("max_share", "more than 0 and at most 1", "A quarter is 0.25.")
    for name in ("queue_timeout_s", "stale_days"):
        if not 0 < getattr(settings, name) < float("inf"):
            refuse(name, "more than 0")
    for name, known in (("notify", NOTIFY), ("webhook_format", FORMATS)):
        if getattr(settings, name) not in known:
            refuse(name, " or ".join(known), nearest(getattr(settings, name), known))
