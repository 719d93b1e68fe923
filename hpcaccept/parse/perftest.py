"""What ``ib_write_bw`` of perftest measured: its text → rows in bytes per second.

Traps:
    * ``MB/sec`` in its heading means **MiB/s** (2**20, as its --help says), ``Gb/sec`` (--report_gbits) means 10**9 bits. Newer
      ones write ``MiB/sec``. A figure without its heading has no unit.
    * In a bidirectional test (``-b``) the figure is the sum of both directions.
    * With a duration (``-D``) the peak is not measured and printed as 0.00.
    * The text differs between 4.x and 6.x in its preamble and in added columns, not in the names of the first four.

Source: https://github.com/linux-rdma/perftest (4.5-0.20 … 6.23): src/perftest_parameters.h (RESULT_FMT…), perftest_parameters.c.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from hpcaccept.errors import NotUnderstood

#: Unit in the heading → bytes per second.
_UNITS = {"Gb/sec": 1e9 / 8, "MB/sec": float(1 << 20), "MiB/sec": float(1 << 20)}
_HEADING = re.compile(
    r"^\s*#bytes\s+#iterations\s+BW peak\[(?P<peak>[^\]]+)\]\s+BW average\[(?P<mean>[^\]]+)\](?P<more>.*)$"
)
_NUMBER = r"(\d+(?:\.\d+)?)"
_ROW = re.compile(rf"^\s*(\d+)\s+(\d+)\s+{_NUMBER}\s+{_NUMBER}(?:\s+{_NUMBER})*\s*$")
_SETTING = re.compile(r"([A-Z][A-Za-z. ]*?[A-Za-z.])\s*:\s*(\S+)")
#: What perftest says where there is no adapter to measure with: that is nobody's fault.
NO_DEVICE = re.compile(
    r"No IB devices found|Did not detect devices|Unable to find the Infiniband|IB device \S+ not found", re.IGNORECASE
)
#: Lines that say what went wrong, first ones first.
_COMPLAINT = re.compile(r"^(?!\s*[-*#]*\s*$).*(?:rror|ailed|ouldn't|nable|not found|imed out).*$", re.MULTILINE)


@dataclass(frozen=True)
class Row:
    """One message size.

    Attributes:
        size_bytes: of a message.
        iterations: messages sent.
        rate_bytes: mean, bytes per second.
    """

    size_bytes: int
    iterations: int
    rate_bytes: float


@dataclass(frozen=True)
class Bandwidth:
    """One run of ``ib_write_bw``.

    Attributes:
        test: its title (``RDMA_Write BW Test``), empty where it printed none.
        settings: what the preamble says (``Device``, ``Link type``, ``Mtu`` …).
        rows: by message size.
    """

    test: str
    settings: dict[str, str]
    rows: tuple[Row, ...]


def parse_write_bw(text: str) -> Bandwidth:
    """The result in the output of client or server.

    Raises:
        NotUnderstood: no heading with a known unit, no row of numbers below it, or a test in both directions at once.
    """
    lines = text.splitlines()
    at = next((n for n, line in enumerate(lines) if _HEADING.match(line)), None)
    heading = _HEADING.match(lines[at]) if at is not None else None
    if at is None or heading is None:
        raise NotUnderstood(f"ib_write_bw printed no heading '#bytes #iterations BW peak…': {text[-300:]!r}")
    if heading["mean"] not in _UNITS or heading["peak"] != heading["mean"]:
        raise NotUnderstood(f"ib_write_bw printed rates in {heading['mean']!r}, expected {', '.join(_UNITS)}")
    scale = _UNITS[heading["mean"]]
    rows = tuple(_row(match, scale) for match in map(_ROW.match, lines[at + 1 :]) if match)
    if not rows:
        raise NotUnderstood(f"ib_write_bw printed a heading and no row of numbers: {text[-300:]!r}")
    title = next((line.strip() for line in lines if line.strip().endswith("BW Test")), "")
    if "Bidirectional" in title:
        raise NotUnderstood(
            f"ib_write_bw printed the sum of both directions ({title}), expected a test in one direction."
        )
    settings = dict(_SETTING.findall("\n".join(lines[:at])))
    return Bandwidth(title, settings, rows)


def complaint(text: str) -> str:
    """The first line that says what went wrong, or the last line, or nothing."""
    found = _COMPLAINT.search(text)
    lines = [line.strip() for line in text.splitlines() if line.strip(" -*#")]
    return found[0].strip() if found else (lines[-1] if lines else "")


def _row(match: re.Match[str], scale: float) -> Row:
    return Row(int(match[1]), int(match[2]), float(match[4]) * scale)
