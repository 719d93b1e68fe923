"""Notifies people of a night. A message that does not get through is tried again a few times, then reported; it is never lost in silence."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from hpcaccept.app.nightly.message import as_json, as_slack, headline, text
from hpcaccept.config.secret_files import read_secret
from hpcaccept.errors import HpcacceptError, LaunchError, UsageError
from hpcaccept.transport import mail, webhook

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from hpcaccept.app.nightly.message import NightReport
    from hpcaccept.config.nightly import NightlySettings

TIMEOUT_S = 15.0
#: Seconds before each further attempt.
PAUSES_S = (2.0, 10.0)
URL_VARIABLE, TOKEN_VARIABLE = "HPCACCEPT_WEBHOOK_URL", "HPCACCEPT_WEBHOOK_TOKEN"


def ways(settings: NightlySettings, environ: Mapping[str, str]) -> tuple[str, ...]:
    """How somebody is told: ``mail``, ``webhook``, both or none."""
    hooked = bool(settings.webhook_url_file or environ.get(URL_VARIABLE, "").strip())
    return tuple(way for way, is_set in (("mail", bool(settings.mail_to)), ("webhook", hooked)) if is_set)


def notify(
    report: NightReport,
    settings: NightlySettings,
    environ: Mapping[str, str],
    pause: Callable[[float], None] = time.sleep,
) -> dict[str, str]:
    """Tell everybody who is to be told.

    Returns:
        Way → why the message did not get through; empty when it did.
    """
    senders = {"mail": lambda: _mail(report, settings), "webhook": lambda: _post(report, settings, environ)}
    return {way: _tried(senders[way], pause) for way in ways(settings, environ)}


def _tried(send: Callable[[], None], pause: Callable[[float], None]) -> str:
    why = ""
    for wait_s in (0.0, *PAUSES_S):
        if wait_s:
            pause(wait_s)
        try:
            send()
        except LaunchError as fault:
            why = fault.message  # a retry may help
        except HpcacceptError as fault:
            return f"{fault.message} {fault.remedy}".strip()
        else:
            return ""
    return f"{why} (tried {len(PAUSES_S) + 1} times)"


def _mail(report: NightReport, settings: NightlySettings) -> None:
    to = [address.strip() for address in settings.mail_to.split(",") if address.strip()]
    sender = settings.mail_from or f"hpcaccept@{os.uname().nodename}"
    message = mail.compose(sender, to, f"hpcaccept nightly on {report.host}: {headline(report)}", text(report))
    if settings.smtp:
        mail.by_smtp(message, settings.smtp, TIMEOUT_S)
        return
    sendmail = mail.find_sendmail()
    if not sendmail:
        raise UsageError("There is no sendmail on this machine.", 'Name a relay: smtp = "HOST" under [nightly].')
    mail.by_sendmail(message, sendmail, TIMEOUT_S)


def _post(report: NightReport, settings: NightlySettings, environ: Mapping[str, str]) -> None:
    url = read_secret(settings.webhook_url_file, URL_VARIABLE, environ)
    token = read_secret(settings.webhook_token_file, TOKEN_VARIABLE, environ)
    document = as_slack(report) if settings.webhook_format == "slack" else as_json(report)
    webhook.post(url, document, token=token, timeout_s=TIMEOUT_S)
