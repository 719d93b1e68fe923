"""``python -m support.killed_campaign``: a campaign that kills itself before or after its n-th step; requests as in ``support.killed_timer``.

A step is a line of the journal, a file of a run folder, or a request to Slurm that changes something; each counts twice, before and after it.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpcaccept.app.campaign import campaign, runs
from hpcaccept.app.run import submit
from hpcaccept.config.nightly import NightlySettings
from hpcaccept.config.settings import Layered, Settings
from hpcaccept.launch import slurm
from hpcaccept.store import entry_journal, folder
from support.campaign_slurm import StandInSlurm
from support.killed_timer import Steps, main

if TYPE_CHECKING:
    from collections.abc import Callable


class _Patch:
    """pytest's own does more: this process ends with the request."""

    def setattr(self, owner: Any, name: str, value: Callable[..., Any]) -> None:
        setattr(owner, name, value)


def order(runs_dir: Path, name: str, **settings: Any) -> campaign.Order:
    """One node at a time, of all."""
    asked = Settings(runs_dir=str(runs_dir), suite="cpu", launcher="slurm", partition="gpu", mpi="pmix", **settings)
    return campaign.Order(Layered(asked, {}, (), NightlySettings(nodes_per_job=1)), name, {"gpu": 2})


def carry_out(request: dict[str, Any]) -> dict[str, Any]:
    """``start``, ``go`` (until it is over), or a wish."""
    there = StandInSlurm(Path(request["folder"]))
    there.install(_Patch())
    # A process is killed, not the machine; and nobody asks which commit it was.
    vars(os)["fsync"] = lambda _: None
    vars(submit)["commit"] = lambda: "0" * 12
    steps = Steps(request.get("kill", 0))
    steps.around(entry_journal, "append")
    steps.around(folder.RunFolder, "write_job")
    for name in ("submit", "cancel", "withdraw"):
        steps.around(slurm, name)
    steps.around(runs, "judged")
    runs_dir, name, said = Path(request["folder"]) / "runs", request["name"], list[str]()
    if request["do"] == "start":
        campaign.begin(order(runs_dir, name), said.append)
        return {"said": said, "steps": steps.count}
    site = campaign.site_of(runs_dir, name, said.append)
    if request["do"] != "go":
        campaign.ask(site, request["do"])
    standing = campaign.take_on(site)
    return {"said": said, "steps": steps.count, "state": standing.state}


def _import_everything() -> None:
    """Once, and not in each fork."""
    with tempfile.TemporaryDirectory() as there:
        StandInSlurm(Path(there)).install(_Patch())
        campaign.preview(order(Path(there) / "runs", "warm"))


if __name__ == "__main__":
    _import_everything()
    main(carry_out)
