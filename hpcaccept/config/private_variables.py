"""Variables of a shell that are secrets, of which neither the driver nor the ranks of a job have any need. One rule, for every launcher.

Whoever is root on a node, and whoever shares the user's account, reads the environment of every process there (``/proc/PID/environ``); an
image that is tested is somebody else's program. So what is a secret by its name, or is a URL with a password in it, stays behind. Proxies
stay, because images are pulled through them, and so does what process managers tell their processes, which they need to find each other.
A site that needs one inside (a registry's password for Enroot) names it with the setting ``keep_variables``.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

#: Clouds put half of what they know into variables; nothing of it is needed here.
_OF_CLOUDS = ("AWS_", "AZURE_", "ARM_CLIENT_")
#: What Slurm and MPI tell their processes; some of it is called secret (PMI_SHARED_SECRET) and is what keeps others out.
_OF_LAUNCHERS = (
    "SLURM_", "SLURMD_", "PMI_", "PMIX_", "OMPI_", "OPAL_", "PRTE_", "HYDRA_", "HYDI_", "MPICH_", "I_MPI_",
)  # fmt: skip
#: Parts of names: HF_TOKEN and ACTIONS_ID_TOKEN_REQUEST_URL are secrets, TOKENIZERS_PARALLELISM is none.
_SECRET = re.compile(
    r"TOKENS?(_|$)|SECRET|PASSW(OR)?D|PASSPHRASE|CREDENTIAL|(^|_)JWT(_|$)|API_?KEY|_KEYS?(_ID|_BASE64)?$|(^|_|SSH)PASS$|MYSQL_PWD|"
    r"_PAT$|_AUTH$|AUTH_CONFIG|AUTHORIZATION|BEARER|COOKIE|WEBHOOK|(^|_)DSN$|CONNECTION_?STRING|SAS_?URL"
)
_PROXY = re.compile(r"_PROXY$")
#: ``https://user:password@host``; or a whole private key.
_HOLDS_ONE = re.compile(r"://[^/\s:@]*:[^/\s@]+@|-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----")


def is_secret(name: str, value: str = "") -> bool:
    """True for what must stay behind.

    Args:
        name: of the variable, in any case.
        value: of it, where it is known.
    """
    upper = name.upper()
    if upper.startswith(_OF_LAUNCHERS):
        return False
    by_value = bool(_HOLDS_ONE.search(value)) and not _PROXY.search(upper)
    return by_value or upper.startswith(_OF_CLOUDS) or bool(_SECRET.search(upper))


def without_secrets(environ: Mapping[str, str], keep: Collection[str] = ()) -> dict[str, str]:
    """The environment that the processes of a job may see.

    Args:
        environ: of the shell, or of the job.
        keep: names that stay, whatever they look like.
    """
    return {name: value for name, value in environ.items() if name in keep or not is_secret(name, value)}


def names_in(text: str) -> tuple[str, ...]:
    """``NAME,NAME`` as the setting has it."""
    return tuple(name.strip() for name in text.split(",") if name.strip())
