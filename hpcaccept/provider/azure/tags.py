"""The tags by which a group of resources shows that hpcaccept made it, for whom, and until when."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

RUN = "hpcaccept-run"
OWNER = "hpcaccept-owner"
EXPIRES = "hpcaccept-expires"
#: Digest of the rendered template: whether a group belongs to the configuration at hand.
TEMPLATE = "hpcaccept-template"
_FORM = "%Y-%m-%dT%H:%M:%SZ"


@dataclass(frozen=True)
class Mark:
    """What the tags of one resource group say.

    Attributes:
        run: name of the cluster.
        owner: who made it; may be empty.
        expires: from when ``reap`` deletes it; None where the tag is missing or cannot be read.
        template: digest of what was deployed.
    """

    run: str
    owner: str
    expires: dt.datetime | None
    template: str


def tags_of(mark: Mark) -> dict[str, str]:
    """The mark as tags."""
    expires = written(mark.expires) if mark.expires else ""
    return {RUN: mark.run, OWNER: mark.owner, EXPIRES: expires, TEMPLATE: mark.template}


def mark_of(tags: Mapping[str, Any] | None) -> Mark | None:
    """The mark in the tags of a resource; None for one that hpcaccept did not make."""
    found = {str(key).lower(): str(value) for key, value in (tags or {}).items()}
    if not found.get(RUN):
        return None
    return Mark(found[RUN], found.get(OWNER, ""), read_time(found.get(EXPIRES, "")), found.get(TEMPLATE, ""))


def written(time: dt.datetime) -> str:
    """A time as a tag has it: UTC, ISO 8601, whole seconds."""
    return time.astimezone(dt.timezone.utc).strftime(_FORM)


def read_time(text: str) -> dt.datetime | None:
    """The time in a tag, None where it has another form."""
    try:
        return dt.datetime.strptime(text, _FORM).replace(tzinfo=dt.timezone.utc)
    except ValueError:
        return None
