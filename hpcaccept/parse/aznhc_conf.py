"""The limits that a configuration of Azure's node health checks sets: a ``.conf`` file in, figures by metric out.

The form is that of LBNL's NHC: one check per line, ``<hosts> || <check> <arguments>``, hosts being a glob, ``/regexp/`` or
``{range}``; ``#`` begins a comment; ``|| export NAME=value`` sets a variable. Read in Azure/azurehpc-health-checks, conf/
(May 2026 and the years before it):

* ``check_gpu_count N``: number of GPUs; what nodes reach together is of so many.
* ``check_gpu_bw H2D [P2P]``, formerly ``check_cuda_bw H2D``: GB/s, both directions of the host copy, then peer copies. On AMD a third figure
  is that between the two halves of a module (MI200); which pairs those are is not in the file.
* ``check_nccl_allreduce BUSBW REPEATS [TOPOLOGY] SIZE``: GB/s of bus bandwidth within the node, with ``16G`` meaning GiB;
  ``check_rccl_allreduce`` is the same on AMD.
* ``check_nccl_allreduce_ib_loopback``, ``check_ib_bw_gdr``, ``check_ib_bw_non_gdr``, formerly ``check_ib_bw``: GB/s and Gb/s of the network cards, which
  are no property of a GPU model. They are listed, like everything that says no rate.

Trap: a size with one GPU has a limit for copies between GPUs all the same (nc40ads_h100_v5, nc24ads_a100_v4): nothing meets or misses it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from hpcaccept.errors import NotUnderstood
from hpcaccept.parse.imported_limits import Imported, Limited

_LINE = re.compile(r"^\s*(?P<hosts>\{.*?\}|/.*?/|\S+)\s*\|\|\s*(?P<check>\S.*?)\s*$")
_SIZE = re.compile(r"^(?P<number>\d+)(?P<scale>[KMG])$")
_H2D = (
    "transfers.rate_bytes[h2d]",
    "nvbandwidth.rate_bytes[host_to_device_memcpy_ce/*]",
    "aznhc.rate_bytes[H2D_GPU_*]",
)
_D2H = (
    "transfers.rate_bytes[d2h]",
    "nvbandwidth.rate_bytes[device_to_host_memcpy_ce/*]",
    "aznhc.rate_bytes[D2H_GPU_*]",
)
_P2P = (
    "peer_to_peer.bandwidth_bytes[*→*]",
    "nvbandwidth.rate_bytes[device_to_device_memcpy_read_ce/*]",
    "nvbandwidth.rate_bytes[device_to_device_memcpy_write_ce/*]",
    "aznhc.rate_bytes[P2P_*]",
)
_NETWORK = "a limit of the network cards, not of a GPU model; check ib_write_bw has its own"
_ELSEWHERE = {
    "check_ib_bw": _NETWORK,
    "check_ib_bw_gdr": _NETWORK,
    "check_ib_bw_non_gdr": _NETWORK,
    "check_nccl_allreduce_ib_loopback": _NETWORK,
    "check_hw_ib": "links are looked at by check ib_links",
    "check_hw_eth": "network interfaces are looked at by check ib_links",
    "check_nvlink_status": "NVLinks are looked at by check health",
    "check_gpu_xgmi": "links between GPUs are looked at by check health",
    "check_gpu_clock_throttling": "why clocks are low is looked at by check health",
    "check_nvsmi_healthmon": "what the driver counts is judged by check health",
    "check_ib_link_flapping": "links are looked at by check ib_links",
    "check_gpu_ecc": "counted faults are judged by check health",
    "check_gpu_xid": "Xids are judged by checks health and kernel_log",
    "check_gpu_count": "used: what nodes reach together is of so many GPUs",
    "check_hw_cpuinfo": "cores are judged by check identity",
    "check_hw_physmem": "memory is judged by check identity",
    "check_cpu_stream": "STREAM of a VM size, in another way than check stream measures; no property of a GPU model",
}


@dataclass(frozen=True)
class _Call:
    """One line that calls a check."""

    number: int
    text: str
    name: str
    args: tuple[str, ...]


def parse_aznhc_conf(text: str) -> Imported:
    """The limits of a configuration, and every line that gives none, with the reason.

    Raises:
        NotUnderstood: no line calls a check: it is no NHC configuration.
    """
    calls, others = _calls(text)
    if not calls:
        raise NotUnderstood("No line has the form '* || check_… arguments', so it is not a configuration of AzNHC.")
    gpus = next((int(c.args[0]) for c in calls if c.name == "check_gpu_count" and c.args and c.args[0].isdigit()), 0)
    limits: list[Limited] = []
    unmapped = list(others)
    for call in calls:
        found, why = _limits(call, gpus)
        limits += found
        if why:
            unmapped.append((f"line {call.number}: {call.text}", why))
    return Imported(tuple(limits), tuple(unmapped))


def _calls(text: str) -> tuple[list[_Call], list[tuple[str, str]]]:
    calls: list[_Call] = []
    others: list[tuple[str, str]] = []
    for number, line in enumerate(text.splitlines(), 1):
        content = line.partition("#")[0].strip()
        if not content:
            continue
        match = _LINE.match(content)
        if match is None:
            others.append((f"line {number}: {content}", "not of the form 'hosts || check'"))
        elif match["hosts"] != "*":
            others.append((f"line {number}: {content}", "for some hosts only; a baseline is of all units of a model"))
        elif match["check"].startswith("export "):
            others.append((f"line {number}: {content}", "a setting of NHC, no limit"))
        else:
            name, *args = match["check"].split()
            calls.append(_Call(number, match["check"], name, tuple(args)))
    return calls, others


def _limits(call: _Call, gpus: int) -> tuple[list[Limited], str]:
    """The limits of a line, and why it gives none (or not all of them)."""
    if call.name in ("check_gpu_bw", "check_cuda_bw"):
        return _bandwidths(call, gpus)
    if call.name in ("check_nccl_allreduce", "check_rccl_allreduce"):
        return _allreduce(call, gpus)
    return [], _ELSEWHERE.get(call.name, "no limit of a rate")


_ALONE = "its one GPU has no other to exchange with: the limit can neither be met nor missed"


def _bandwidths(call: _Call, gpus: int) -> tuple[list[Limited], str]:
    rates = [_number(arg) for arg in call.args]
    if not rates or None in rates or len(rates) > 3:
        return [], "expected one to three rates in GB/s"
    host, *between = (rate or 0.0 for rate in rates)
    found = [Limited((*_H2D, *_D2H), "higher", host * 1e9, "B/s", 0, call.text)]
    if not between:
        return found, ""
    if gpus == 1:
        return found, f"the limit {between[0]:g} of copies between GPUs: {_ALONE}"
    found.append(Limited(_P2P, "higher", between[0] * 1e9, "B/s", gpus, call.text))
    if len(between) == 1:
        return found, ""
    return (
        found,
        f"the limit {between[1]:g} between the halves of a module: the file does not say which pairs of GPUs those are",
    )


def _allreduce(call: _Call, gpus: int) -> tuple[list[Limited], str]:
    rate = _number(call.args[0]) if call.args else None
    if rate is None:
        return [], "expected a bus bandwidth in GB/s"
    if gpus == 1:
        return [], _ALONE
    size = next((m for arg in call.args[1:] if (m := _SIZE.match(arg))), None)
    keys = [f"aznhc.rate_bytes[{call.name.removeprefix('check_')[:4]}_all_red]"]
    if size is not None:
        keys.append(f"nccl_tests.busbw_bytes[all_reduce/{size['number']}{size['scale']}iB]")
    why = "" if size else "without a message size only AzNHC's own figure can be compared"
    return [Limited(tuple(keys), "higher", rate * 1e9, "B/s", gpus, call.text)], why


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if 0 < value < 1e6 else None
