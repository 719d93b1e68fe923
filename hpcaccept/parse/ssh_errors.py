"""Why ssh, or an mpiexec by it, did not get through: standard error → cause and remedy.

Recorded from OpenSSH 9.2 and Open MPI 4.1 and 5.0 (tests/data/launchers/).
"""

from __future__ import annotations

import re

#: What ssh says → cause, remedy. The first that fits is taken: a refused key is told after a banner, a cause before its echo.
_FAULTS: tuple[tuple[str, str, str], ...] = (
    (
        r"\b(orted|prted): .*(not found|No such file|Permission denied)",
        "has no Open MPI where this machine has it",
        "Install the same Open MPI at the same path on every host.",
    ),
    (
        r"Remote daemon\s*: .* on node",
        "was lost",
        "Look at its own log (dmesg, journalctl), and whether it answers: ssh HOST uptime.",
    ),
    (
        r"Could not resolve hostname",
        "its name cannot be resolved",
        "Check the name, or give it an address: HostName in ~/.ssh/config, or /etc/hosts.",
    ),
    (
        r"Connection refused",
        "nothing listens for ssh there",
        "Start sshd on it, or name its port in ~/.ssh/config.",
    ),
    (
        r"timed out|No route to host|Network is unreachable|Host is down",
        "it does not answer",
        "Is it switched on, and is there a route to it? Try: ping HOST.",
    ),
    (
        r"Host key verification failed|REMOTE HOST IDENTIFICATION HAS CHANGED",
        "its host key is not known here, or has changed",
        "Compare its key once by hand: ssh HOST. After a new installation remove the old one: ssh-keygen -R HOST.",
    ),
    (
        r"Access denied by pam_slurm_adopt|Access denied: user \S+ .*has no active jobs on this node|pam_slurm(?:_adopt)?: .*[Aa]ccess denied",
        "lets in only who has a job there (pam_slurm_adopt)",
        "Run inside a job on these hosts, with --launcher slurm, or as a user whom its PAM lets in.",
    ),
    (
        # pam_nologin shows the text of /etc/nologin or /run/nologin before the connection is closed; this one is systemd's.
        r"System is booting up\. Unprivileged users are not permitted|System is going down|\bpam_nologin\b|Unprivileged users are not permitted to log in",
        "lets nobody in now (pam_nologin): it is booting, going down, or closed by its administrator",
        "Wait until it has booted; else look at /etc/nologin and /run/nologin there.",
    ),
    (
        r"Permission denied|Too many authentication failures",
        "ssh is not let in without a password",
        "Put your public key there (ssh-copy-id HOST); this must work: ssh -o BatchMode=yes HOST true.",
    ),
    (
        r"Connection (closed|reset) by|Connection to .* closed|kex_exchange_identification|Broken pipe",
        "its sshd closed the connection",
        "See the log of sshd there (AllowUsers, MaxStartups, a full disk).",
    ),
    (
        r"Bad owner or permissions|Bad configuration option|terminating, \d+ bad configuration",
        "the ssh configuration of this machine is wrong",
        "Mend the file that it names: ssh -G HOST reads it.",
    ),
)


def explain_ssh(text: str) -> tuple[str, str] | None:
    """Cause, with ssh's own line, and remedy; None when the text tells of no failure of ssh."""
    for pattern, cause, remedy in _FAULTS:
        line = next((line.strip() for line in text.splitlines() if re.search(pattern, line)), None)
        if line:
            return f"{cause} ({line[:200]})", remedy
    return None
