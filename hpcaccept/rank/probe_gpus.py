"""``python -m hpcaccept.rank.probe_gpus``: start every GPU and say as JSON which can be. In a process of its own: it may hang or crash."""

from __future__ import annotations

import json

from hpcaccept.measure.gpu import driver


def main() -> None:
    """One line: how many the runtime counts, number → why of those that do not start, why it does not start at all."""
    vendor = driver.installed()
    count, why, fault = 0, dict[int, str](), ""
    try:
        if vendor.start:
            count, why = vendor.start()
    except OSError as error:
        fault = str(error)
    print(json.dumps({"count": count, "why": why, "fault": fault, "asked": vendor.start is not None}))  # noqa: T201


if __name__ == "__main__":
    main()
