"""Selects the machines to rent, with image and highest cost of each. All of it before anything is spent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hpcaccept.provider.vast import images, prices, requests
from hpcaccept.provider.vast.offers import Offer, best_of_each_machine
from hpcaccept.provider.vast.query import DEFAULTS, parse_query
from hpcaccept.provider.vast.requirements import judge

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hpcaccept.app.vast.caps import Caps
    from hpcaccept.app.vast.session import Session
    from hpcaccept.provider.vast.offers import Unreadable
    from hpcaccept.provider.vast.requirements import RequirementSet

#: What VastVerification searches for (github.com/jjziets/VastVerification, January 2025).
UNVERIFIED = (
    "cuda_vers>=12.4 verified=any reliability>0.90 direct_port_count>3 pcie_bw>3 inet_down>10 inet_up>10 gpu_ram>7"
)
_ANY = "verified=any external=any rentable=any rented=any"
_ORDER = [["dlperf", "desc"], ["id", "asc"]]


@dataclass(frozen=True)
class Planned:
    """One machine that was asked for.

    Attributes:
        machine: at the marketplace.
        offer: that would be rented; None: there is none.
        image: reference.
        usd: at most.
        code: why it is not rented; empty: it is.
        text: what was found.
    """

    machine: int
    offer: Offer | None = None
    image: str = ""
    usd: float = 0.0
    code: str = ""
    text: str = ""


def offers_of_machines(session: Session, machines: Sequence[int]) -> tuple[list[Offer], list[Unreadable]]:
    """Every offer of machines, whether it can be rented or not, and what of their listing is none.

    Raises:
        LaunchError: no answer.
    """
    wanted = parse_query(f"{_ANY} machine_id in [{','.join(map(str, machines))}]", DEFAULTS)
    found, refused = session.offers(wanted, _ORDER, requests.MOST_OFFERS)
    return [each for each in found if each.machine_id in set(machines)], refused


def unverified(session: Session, query: str = UNVERIFIED) -> tuple[list[Offer], list[Unreadable]]:
    """The best offer of each machine that is not verified and free, the strongest first; and what of the listing is none.

    Raises:
        UsageError: the query cannot be read.
        LaunchError: no answer.
    """
    found, refused = session.offers(parse_query(query), _ORDER, requests.MOST_OFFERS)
    free = [each for each in found if each.verification != "verified" and is_free(each)]
    return best_of_each_machine(free), refused


def is_free(offer: Offer) -> bool:
    """True where it can be rented and nobody rents it."""
    return offer.flags.get("rentable", False) and not offer.flags.get("rented", False)


def plan(
    machines: Sequence[int],
    offers: Sequence[Offer],
    caps: Caps,
    image: str,
    requirements: RequirementSet,
    disk_gb: float,
    unreadable: Sequence[Unreadable] = (),
) -> list[Planned]:
    """What would be done with each machine.

    Args:
        machines: in order.
        offers: of them, as listed.
        caps: of the client.
        image: template; empty: a published image, onto which hpcaccept is sent.
        requirements: that the listing must meet.
        disk_gb: of an instance.
        unreadable: entries of their listing that are no offers.

    Raises:
        UsageError: the image is none.
    """
    free = {each.machine_id: each for each in best_of_each_machine(each for each in offers if is_free(each))}
    listed = {each.machine_id for each in offers}
    wrong = {each.machine: each.why for each in unreadable}
    found = []
    for machine in machines:
        if machine in free or machine in listed or machine not in wrong:
            found.append(_planned(machine, free.get(machine), machine in listed, caps, image, requirements, disk_gb))
        else:
            found.append(Planned(machine, code="offer-unreadable", text=wrong[machine]))
    return found


def _planned(
    machine: int,
    offer: Offer | None,
    listed: bool,
    caps: Caps,
    image: str,
    requirements: RequirementSet,
    disk_gb: float,
) -> Planned:
    if offer is None:
        return Planned(machine, code="no-offer", text="it is listed and not free" if listed else "it is not listed")
    rate = prices.rate_of(offer, disk_gb, requests.LISTED_DISK_GB)
    usd = rate.until(caps.rental_s)
    findings = judge(requirements, offer)
    missed = [each for each in findings if each.outcome == "missed"]
    unknown = [each for each in findings if each.outcome == "unknown"]
    cuda = images.cuda_for(offer)
    reference = (images.image_for(image, cuda) if cuda else "") if image else images.published_for(offer)
    if missed or unknown:
        code = "requirement-missed" if missed else "requirement-unknown"
        return Planned(machine, offer, usd=usd, code=code, text="; ".join(map(str, missed or unknown)))
    if caps.max_price is not None and offer.usd_per_hour > caps.max_price:
        text = f"{offer.usd_per_hour:.4f} USD/h, --max-price {caps.max_price:g}"
        return Planned(machine, offer, usd=usd, code="over-price", text=text)
    if not reference:
        capability = offer.number("compute_cap")
        text = f"CUDA {offer.number('cuda_max_good')}, compute capability {capability}"
        return Planned(machine, offer, usd=usd, code="no-image", text=text)
    if usd > caps.max_usd:
        return Planned(
            machine, offer, usd=usd, code="cap-money", text=f"at most {usd:.4f} USD, --max-usd {caps.max_usd:g}"
        )
    return Planned(machine, offer, reference, usd)
