"""Hands a mail over, to this machine's ``sendmail`` or to an SMTP server, within a bounded time."""

from __future__ import annotations

import smtplib
import subprocess
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from pathlib import Path
from typing import TYPE_CHECKING

from hpcaccept.errors import LaunchError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Where sendmail is when it is not on the PATH: cron's has no sbin.
_SENDMAIL = ("/usr/sbin/sendmail", "/usr/lib/sendmail", "/usr/bin/sendmail")


def compose(sender: str, to: Sequence[str], subject: str, body: str) -> EmailMessage:
    """A plain text mail that no vacation message answers.

    Raises:
        UsageError: an address that cannot stand in a header.
    """
    message = EmailMessage()
    try:
        message["From"] = sender
        message["To"] = ", ".join(to)
    except ValueError as fault:
        raise UsageError(f"nightly.mail_to or mail_from is not an address: {fault}.") from None
    # A subject is one line; what is not printable has been replaced before.
    message["Subject"] = " ".join(subject.split())[:200]
    message["Date"] = formatdate(localtime=False)
    message["Message-ID"] = make_msgid(domain=sender.rpartition("@")[2] or "localhost")
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834
    message.set_content(body)
    return message


def find_sendmail() -> str:
    """Path of ``sendmail``; empty when there is none."""
    import shutil

    return shutil.which("sendmail") or next((path for path in _SENDMAIL if Path(path).exists()), "")


def by_sendmail(message: EmailMessage, sendmail: str, timeout_s: float) -> None:
    """``sendmail -t -i``: the recipients stand in the mail, and a line with one dot does not end it.

    Raises:
        LaunchError: it refused, or did not take the mail in time; a retry may help.
    """
    try:
        done = subprocess.run(
            [sendmail, "-t", "-i"], input=message.as_bytes(), capture_output=True, timeout=timeout_s, check=False
        )
    except OSError as fault:
        raise LaunchError(f"{sendmail} cannot be started: {fault.strerror}.") from None
    except subprocess.TimeoutExpired:
        raise LaunchError(f"{sendmail} did not take the mail within {timeout_s:g} s.") from None
    if done.returncode:
        words = done.stderr.decode("utf-8", "replace").strip()[:300]
        raise LaunchError(f"{sendmail} refused the mail with exit status {done.returncode}: {words}")


def by_smtp(message: EmailMessage, server: str, timeout_s: float) -> None:
    """To ``HOST[:PORT]``, port 25 by default. For a relay that takes mail of this machine: nobody logs in.

    Raises:
        LaunchError: no answer, or not every recipient was taken; a retry may help.
        UsageError: the port is not a number.
    """
    host, _, port = server.partition(":")
    if port and not port.isdigit():
        raise UsageError(f"nightly.smtp is {server!r}, expected HOST or HOST:PORT.")
    try:
        with smtplib.SMTP(host, int(port or 25), timeout=timeout_s) as relay:
            refused = relay.send_message(message)
    except (smtplib.SMTPException, OSError) as fault:
        raise LaunchError(f"{server} did not take the mail: {str(fault)[:300]}") from None
    if refused:
        raise LaunchError(f"{server} refused {', '.join(sorted(refused))}.")
