"""The physical machine on which a VM runs: pool 3 of Hyper-V's key-value exchange, as hv_kvp_daemon keeps it (``/var/lib/hyperv/.kvp_pool_3``).

Records of a 512-byte key and a 2,048-byte value (HV_KVP_EXCHANGE_MAX_KEY_SIZE and HV_KVP_EXCHANGE_MAX_VALUE_SIZE of linux/hyperv.h), each a text that ends with
NUL; what stands after a NUL is what an older text has left. ``provider/azure/nodes`` reads the same in a shell.
"""

from __future__ import annotations

import re
from pathlib import Path

from hpcaccept.bounded import read_bytes

_POOL = "var/lib/hyperv/.kvp_pool_3"
_KEY, _RECORD = 512, 2560
#: Bytes; the host is the first of some ten records.
_LONGEST = 256 * _RECORD
_WORD = re.compile(rb"[A-Za-z0-9._-]{1,128}")


def physical_host(root: Path = Path("/")) -> str:
    """Name of the machine below this VM; empty where there is none, or nobody says. It is another one after the VM was moved, which a reboot may do."""
    try:
        return parse_pool(read_bytes(root / _POOL, most=_LONGEST))
    except OSError:
        return ""


def parse_pool(content: bytes) -> str:
    """Name of the machine; empty where the pool does not say, is torn, or names two."""
    if len(content) % _RECORD or len(content) > _LONGEST:
        return ""
    records = [content[at : at + _RECORD] for at in range(0, len(content), _RECORD)]
    found = {_text(r[_KEY:]) for r in records if _text(r[:_KEY]) == b"PhysicalHostName"}
    return found.pop().decode() if len(found) == 1 and all(map(_WORD.fullmatch, found)) else ""


def _text(field: bytes) -> bytes:
    return field.partition(b"\0")[0]
