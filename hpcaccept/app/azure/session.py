"""One subscription, asked in the words of ``provider.azure.requests``, with Azure's errors explained."""

from __future__ import annotations

import contextlib
import datetime as dt
import os
from typing import TYPE_CHECKING, Any

from hpcaccept.errors import LaunchError, RunError, UsageError
from hpcaccept.provider.azure import faults, requests, tags
from hpcaccept.transport import arm, azure_login

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from hpcaccept.provider.azure.config import Cluster
    from hpcaccept.provider.azure.requests import Request
    from hpcaccept.provider.azure.tags import Mark


class AzureRefused(RunError):
    """Azure does not want a request, or an operation failed: what Azure said, and what to ask of whom.

    Attributes:
        code: Azure's word for it; empty where it has none.
    """

    def __init__(
        self, what: str, error: Mapping[str, Any], cluster: Cluster | None = None, otherwise: str = ""
    ) -> None:
        """Explain an error of Azure.

        Args:
            what: that did not happen, the beginning of the sentence.
            error: Azure's, with its details.
            cluster: what was asked for.
            otherwise: what to do where nothing is known for this error.
        """
        said, remedy = faults.explain(error, cluster)
        super().__init__(f"{what}: {said}", remedy or otherwise)
        self.code = str(error.get("code", ""))


class Session:
    """Whose requests go to one subscription."""

    def __init__(self, client: arm.Arm, subscription: str, prices: str = "") -> None:
        """Nothing is asked yet.

        Args:
            client: of the cloud.
            subscription: id.
            prices: URL of the retail prices.
        """
        self._arm = client
        self.subscription = subscription
        self._prices = prices or requests.PRICES

    def send(self, request: Request, cluster: Cluster | None = None, *, otherwise: str = "") -> arm.Answer:
        """The answer to one request.

        Args:
            request: what is wanted.
            cluster: what was asked for, so that a refusal says what of it to change.
            otherwise: what to do about a refusal that ``faults`` does not know.

        Raises:
            AzureRefused: the message says why and what to ask for.
            LaunchError: no answer; a retry may help.
        """
        with _explained(cluster, otherwise):
            return self._asked(request)

    def find(self, request: Request) -> Any:
        """The body of an answer; None where Azure says that there is no such thing."""
        with _explained():
            try:
                return self._asked(request).body
            except arm.ArmRefused as refused:
                if refused.absent:
                    return None
                raise

    def every(self, request: Request) -> list[dict[str, Any]]:
        """All pages of a list, each entry an object; empty only where Azure says so."""
        with _explained():
            return self._arm.all_of(request.path, request.query)

    def finish(
        self,
        request: Request,
        deadline_s: float,
        beat: Callable[[str], None] = lambda _: None,
        cluster: Cluster | None = None,
    ) -> arm.Answer:
        """Send a request and wait until what it began has ended."""
        with _explained(cluster):
            return self._arm.finish(self._asked(request), deadline_s, beat)

    def _asked(self, request: Request) -> arm.Answer:
        return self._arm.call(
            request.method, request.path, request.query, request.body, harmless=request.harmless, array=request.array
        )

    def pause(self) -> None:
        """Between two looks at something that goes on."""
        self._arm.pause()

    def price_items(self, cluster: Cluster) -> list[Mapping[str, Any]]:
        """Retail prices of the size; empty where they cannot be read: an estimate is then refused, not made up."""
        with contextlib.suppress(LaunchError):
            found = arm.get_public(self._prices, requests.prices(cluster))
            items = found.get("Items")
            return [item for item in items if isinstance(item, dict)] if isinstance(items, list) else []
        return []

    def mark_of_group(self, cluster: Cluster) -> tuple[dict[str, Any], Mark] | None:
        """The cluster's resource group and its mark; None where there is no such group.

        Raises:
            RunError: there is one of that name that hpcaccept did not make, or that is another cluster's.
        """
        group = self.find(requests.Group(self.subscription, cluster.resource_group).read())
        if group is None:
            return None
        mark = tags.mark_of(group.get("tags"))
        if mark is None or mark.run != cluster.name:
            found = f"carries {tags.RUN} = {mark.run}" if mark else f"has no tag {tags.RUN}"
            raise RunError(
                f"The resource group {cluster.resource_group} {found}, expected {cluster.name}: it was not made for this cluster, "
                "and nothing in it is touched.",
                "Set cluster.resource_group to a name that is not taken.",
            )
        return group, mark


@contextlib.contextmanager
def _explained(cluster: Cluster | None = None, otherwise: str = "") -> Iterator[None]:
    try:
        yield
    except arm.ArmRefused as refused:
        raise AzureRefused(f"Azure refused {refused.request}", refused.error, cluster, otherwise) from None


def open_session(subscription: str, cloud: str = "public") -> Session:
    """A session as whoever is logged in here.

    Args:
        subscription: id; empty: that of ``AZURE_SUBSCRIPTION_ID``.
        cloud: name in ``requests.ENDPOINTS``.

    Raises:
        UsageError: no subscription is named, or nothing to log in with is installed.
    """
    identity = subscription or os.environ.get("AZURE_SUBSCRIPTION_ID", "")
    if not identity:
        raise UsageError(
            "No subscription is named.",
            "Set cluster.subscription or AZURE_SUBSCRIPTION_ID: az account show --query id --output tsv",
        )
    endpoint = requests.ENDPOINTS[cloud]
    return Session(arm.Arm(endpoint, azure_login.token_source(endpoint)), identity.lower())


def now() -> dt.datetime:
    """The time that expiries are compared with."""
    return dt.datetime.now(dt.timezone.utc)
