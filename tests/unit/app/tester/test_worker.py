from __future__ import annotations

import io
import json
from typing import Any

import pytest

from hpcaccept.app.tester.worker import work
from hpcaccept.proof import memory, openings
from hpcaccept.proof.challenge import Challenge
from hpcaccept.proof.memory import GroupOpening
from hpcaccept.proof.openings import Opening
from hpcaccept.serial import to_plain

OF = Challenge("ab" * 32, 100, 64, 12, 3)


def answers(*requests: Any) -> list[dict[str, Any]]:
    lines = [request if isinstance(request, str) else json.dumps(request) for request in requests]
    out = io.StringIO()
    work("cpu", io.StringIO("".join(f"{line}\n" for line in lines)), out)
    return [json.loads(line) for line in out.getvalue().splitlines()]


def test_what_the_prover_commits_to_and_opens_is_what_the_verifier_computes() -> None:
    roots = answers({"op": "prove", "challenge": to_plain(OF)})[0]["roots"]
    cells = openings.draw(OF, b"s" * 32, roots, 40)
    shown = answers({"op": "prove", "challenge": to_plain(OF)}, {"op": "open", "cells": cells})[1]["openings"]
    openings.verify(OF, roots, cells, [Opening(**each) for each in shown])


def test_memory_is_filled_probed_and_opened() -> None:
    filling = memory.filling(bytes.fromhex(OF.nonce), 100 * 64, width=64, steps=5)
    probe = "cd" * 32
    found = answers(
        {"op": "fill", "challenge": to_plain(filling)}, {"op": "probe", "probe": probe}, {"op": "groups", "groups": [1, 0]}, {"op": "drop"},
        {"op": "probe", "probe": probe},
    )  # fmt: skip
    memory.verify(filling, probe, found[1]["root"], [1, 0], [GroupOpening(**each) for each in found[2]["openings"]])
    assert found[4]["fault"] == "request"


@pytest.mark.parametrize(
    "request_",
    ["", "nonsense", "[]", "{}", {"op": "__class__"}, {"op": "prove"}, {"op": "prove", "challenge": {"nonce": ""}}, {"op": "open", "cells": [[0, 0]]},
     {"op": "groups", "groups": [0]}, {"op": "probe", "probe": 5}],
)  # fmt: skip
def test_a_request_that_is_none_is_answered_and_the_next_one_too(request_: Any) -> None:
    found = answers(request_, {"op": "drop"})
    assert found[0]["fault"] == "request"
    assert found[1] == {}


@pytest.mark.parametrize("cells", [[[0, 100]], [[4, 0]], [[-1, 0]], [[0, "0"]], [[0, True]], [[0]], "x", 5])
def test_cells_outside_are_refused(cells: Any) -> None:
    assert answers({"op": "prove", "challenge": to_plain(OF)}, {"op": "open", "cells": cells})[1]["fault"] == "request"


def test_a_device_that_does_not_exist_is_unsupported_and_blames_nobody() -> None:
    out = io.StringIO()
    work("cuda:77", io.StringIO(json.dumps({"op": "warm"}) + "\n"), out)
    assert json.loads(out.getvalue())["fault"] == "unsupported"
