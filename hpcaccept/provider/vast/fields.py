"""The fields that a query may name, in the units that people type and in those of Vast.ai.

Names, aliases and factors are those of the official client (``vastai`` 1.9.1, ``vastai/api/query.py``); descriptions follow
https://docs.vast.ai/api-reference/search/search-offers. Multiplied fields are typed in gigabytes and days, and sent in MB and seconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from hpcaccept.errors import UsageError, nearest

Kind = Literal["number", "integer", "boolean", "text", "version"]


@dataclass(frozen=True)
class Field:
    """One field of an offer that can be asked for.

    Attributes:
        name: as Vast.ai has it.
        kind: of its values.
        about: what it is, with the unit in which it is typed.
        factor: from the typed unit to the one that is sent.
        least: no value below it means anything; a smaller one is a mistake of units.
        most: no value above it means anything.
    """

    name: str
    kind: Kind
    about: str
    factor: int = 1
    least: float | None = None
    most: float | None = None


#: Short name → field.
ALIASES = {
    "cuda_vers": "cuda_max_good",
    "display_active": "gpu_display_active",
    "dlperf_usd": "dlperf_per_dphtotal",
    "dph": "dph_total",
    "flops_usd": "flops_per_dphtotal",
}
_DAY_S = 86_400
_TABLE = (
    Field("bw_nvlink", "number", "NVLink bandwidth, GB/s"),
    Field("cluster_id", "integer", "physical cluster of the machine"),
    Field("compute_cap", "integer", "CUDA compute capability × 100: 890 for 8.9", least=100),
    Field("cpu_arch", "text", "amd64 or arm64"),
    Field("cpu_cores", "integer", "logical CPUs of the machine"),
    Field("cpu_cores_effective", "number", "logical CPUs of the offer"),
    Field("cpu_ghz", "number", "clock, GHz"),
    Field("cpu_ram", "number", "RAM of the machine, GB", 1000),
    Field("cuda_max_good", "number", "newest CUDA that the driver supports (cuda_vers)", most=99),
    Field("datacenter", "boolean", "in a data centre"),
    Field("direct_port_count", "integer", "open ports of the machine's router"),
    Field("disk_bw", "number", "disk reads, MB/s"),
    Field("disk_space", "number", "disk, GB"),
    Field("dlperf", "number", "Vast.ai's deep learning score"),
    Field("dlperf_per_dphtotal", "number", "that score per USD/h (dlperf_usd)"),
    Field("dph_total", "number", "price of the offer, USD/h (dph)"),
    Field("driver_version", "version", "GPU driver: 535.86.05"),
    Field("duration", "number", "how long the offer can be rented, days", _DAY_S),
    Field("external", "boolean", "offers of other marketplaces"),
    Field("flops_per_dphtotal", "number", "TFLOP/s per USD/h (flops_usd)"),
    Field("geolocation", "text", "two-letter country code"),
    Field("gpu_arch", "text", "nvidia or amd"),
    Field("gpu_display_active", "boolean", "a display is attached (display_active)"),
    Field("gpu_frac", "number", "share of the machine's GPUs in the offer", most=1),
    Field("gpu_max_power", "number", "power limit of a GPU, W"),
    Field("gpu_max_temp", "number", "temperature limit of a GPU, °C"),
    Field("gpu_mem_bw", "number", "memory bandwidth of a GPU, GB/s"),
    Field("gpu_name", "text", "model, blanks as underscores: RTX_4090"),
    Field("gpu_ram", "number", "memory of one GPU, GB", 1000),
    Field("gpu_total_ram", "number", "memory of all GPUs, GB", 1000),
    Field("has_avx", "boolean", "the CPU has AVX"),
    Field("host_id", "integer", "who offers it"),
    Field("id", "integer", "the offer"),
    Field("inet_down", "number", "download, Mb/s"),
    Field("inet_down_cost", "number", "download, USD/GB"),
    Field("inet_up", "number", "upload, Mb/s"),
    Field("inet_up_cost", "number", "upload, USD/GB"),
    Field("machine_id", "integer", "the machine"),
    Field("min_bid", "number", "smallest bid, USD/h"),
    Field("mobo_name", "text", "mainboard"),
    Field("num_gpus", "integer", "GPUs of the offer"),
    Field("pci_gen", "number", "PCIe generation"),
    Field("pcie_bw", "number", "PCIe bandwidth, GB/s"),
    Field("reliability", "number", "Vast.ai's score, 0 to 1", most=1),
    Field("rentable", "boolean", "can be rented now"),
    Field("rented", "boolean", "you rent GPUs of it already"),
    Field("static_ip", "boolean", "its address is static"),
    Field("storage_cost", "number", "disk, USD per GB and month"),
    Field("total_flops", "number", "all GPUs, TFLOP/s"),
    Field("ubuntu_version", "text", "release of the host's Ubuntu"),
    Field("verification", "text", "verified, unverified or deverified"),
    Field("verified", "boolean", "verified by Vast.ai"),
    Field("vms_enabled", "boolean", "offers virtual machines"),
)
FIELDS = {each.name: each for each in _TABLE}
#: What results may be ordered by beside them.
_ORDERS = {*FIELDS, "score", "end_date", "start_date"}


def field_of(word: str) -> Field:
    """The field of a name or an alias.

    Raises:
        UsageError: there is none; the message has the nearest name.
    """
    if found := FIELDS.get(ALIASES.get(word, word)):
        return found
    raise UsageError(f"Unknown field {word!r}. {_nearest(word)}".rstrip(), "hpcaccept vast fields lists all of them.")


def order_of(text: str) -> list[list[str]]:
    """``dlperf-,dph`` as Vast.ai wants it; a ``-`` before or behind a field means descending.

    Raises:
        UsageError: a field is unknown, or named twice.
    """
    found: list[list[str]] = []
    for word in filter(None, (each.strip() for each in text.split(","))):
        bare = word.strip("+-")
        name = ALIASES.get(bare, bare)
        if name not in _ORDERS:
            raise UsageError(f"--order: unknown field {bare!r}. {_nearest(bare, 'score')}".rstrip())
        if name in (each[0] for each in found):
            raise UsageError(f"--order names {name} twice.")
        found.append([name, "desc" if "-" in word[:1] + word[-1:] else "asc"])
    return found


def _nearest(word: str, *more: str) -> str:
    guess = nearest(word, {*FIELDS, *ALIASES, *more})
    return guess if guess.startswith("Did you mean") else ""
