"""A result says what it is bound to, and what should be known and is not: job, versions, parameters and limits in force."""

from __future__ import annotations

import io
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from support.builders import H100, baseline, evidence, judged, judged_run_of, nodes, plan, rank_started, record, suite
from support.finished_runs import gpu_run

from hpcaccept.app.run.conclude import catalogue_of, evidence_of
from hpcaccept.config.suites import SuiteText
from hpcaccept.model.job import JobRef
from hpcaccept.model.metric import Limit
from hpcaccept.model.plan import Image
from hpcaccept.model.suite import CheckSpec
from hpcaccept.plan.resolve import resolve_suite
from hpcaccept.report.formats import render
from hpcaccept.report.provenance import (
    changed,
    limits_in_force,
    parameters_in_force,
    provenance_of,
    software_line,
)
from hpcaccept.report.views.first_page import first_page
from hpcaccept.store.gather import gather

FACTS = {"driver": "580.1", "cuda": "13.0", "torch": "2.9.0"}


def run_with(facts: list[dict[str, str]], **more: Any):  # type: ignore[no-untyped-def]
    """A run whose nodes tell these facts."""
    the_plan = replace(plan(suite("identity", "speed"), nodes=len(facts)), **more)
    names = nodes(len(facts))
    said = [
        record("identity", node, {"cores": 8, "gpu_count": 1}, facts=mine)
        for node, mine in zip(names, facts, strict=True)
    ]
    said += [record("speed", node, {"rate_flops": 100.0, "wrong_elements": 0}) for node in names]
    return evidence(said, the_plan)


def terminal(found, width: int = 80) -> str:  # type: ignore[no-untyped-def]
    out = io.StringIO()
    Console(file=out, width=width, highlight=False).print(first_page(judged_run_of(found)))
    return " ".join(out.getvalue().split())


def test_versions_are_those_that_the_nodes_told_each_with_how_many_have_it() -> None:
    found = provenance_of(run_with([FACTS, FACTS, {**FACTS, "driver": "550.2"}]))
    assert found.software["driver"] == {"580.1": 2, "550.2": 1}
    assert found.software["python"] == {"3.11.7": 3}
    assert "driver 580.1 (on 2) / 550.2 (on 1), CUDA 13.0" in software_line(found.software)


def test_what_nobody_told_is_absent() -> None:
    found = provenance_of(evidence([], names=(), rank_starts=()))
    assert found.software == {}


@pytest.mark.parametrize(
    ("changes", "facts", "lacking"),
    [
        ({}, FACTS, ()),
        ({"commit": ""}, FACTS, ("commit",)),
        ({}, {}, ("driver",)),
        ({"image": Image("pyxis", "reg/image:1")}, FACTS, ("image digest",)),
        ({"image": Image("pyxis", "reg/image:1", digest="sha256:ab")}, FACTS, ()),
        ({"image": Image("pyxis", "reg/image:1")}, {**FACTS, "image_digest": "sha256:cd"}, ()),
        ({"commit": "", "image": Image("pyxis", "reg/image:1")}, {}, ("commit", "image digest", "driver")),
    ],
)
def test_a_run_without_commit_digest_or_driver_is_marked(
    changes: dict[str, Any], facts: dict[str, str], lacking: tuple[str, ...]
) -> None:
    found = run_with([facts] * 4, **changes)
    assert provenance_of(found).lacking == lacking
    document = json.loads(render("json", judged_run_of(found)))
    assert document["not_bound_to"] == list(lacking)
    marked = "not bound to it: " + ", ".join(lacking)
    assert (marked in terminal(found)) == bool(lacking)
    assert (marked in render("html", judged_run_of(found))) == bool(lacking)
    assert document["hpcaccept"]["commit"]


def test_without_gpus_no_driver_is_missed() -> None:
    quiet = evidence([], plan(suite("speed"), gpus_per_node=0))
    assert provenance_of(quiet).lacking == ()


def test_a_commit_that_nobody_knows_is_the_version() -> None:
    found = run_with([FACTS] * 4, commit="")
    assert provenance_of(found).commit == "v0.1.0"
    assert "hpcaccept 0.1.0 v0.1.0" in terminal(found)


def test_job_image_and_versions_stand_on_the_first_page() -> None:
    found = replace(run_with([FACTS] * 4, image=Image("pyxis", "reg/image:1", digest="sha256:ab")), job_id="4711")
    text = terminal(found)
    for part in (
        "slurm job 4711",
        "image reg/image:1 sha256:ab;",
        "driver 580.1, CUDA 13.0, torch 2.9.0, MPI Open MPI v4.1.4, Python 3.11.7",
    ):
        assert part in text
    page = re.sub(r"<[^>]+>", " ", render("html", judged_run_of(found)))
    for part in ("4711", "reg/image:1 sha256:ab", "driver 580.1, CUDA 13.0"):
        assert part in page
    document = json.loads(render("json", judged_run_of(found)))
    assert (document["job"], document["image"]["digest"]) == ("4711", "sha256:ab")


def test_the_job_of_a_run_is_kept_with_its_records(tmp_path: Path) -> None:
    folder = gpu_run(tmp_path)
    folder.write_job(JobRef("slurm", "815"))
    assert evidence_of(folder).job_id == "815"
    folder.job_file.unlink()
    assert evidence_of(folder).job_id == "815", "run.h5 has it too"
    assert gather(folder, catalogue_of(folder)).job_id == "", "nobody knows"


def test_the_number_that_the_job_itself_saw_comes_first(tmp_path: Path) -> None:
    folder = gpu_run(tmp_path)
    folder.write_job(JobRef("slurm", "815"))
    text = folder.driver_log.read_text("utf-8")
    folder.driver_log.write_text(text.replace('"kind":"started"', '"kind":"started","job":"4711"', 1), "utf-8")
    assert gather(folder, catalogue_of(folder)).job_id == "4711"


# --- parameters and limits --------------------------------------------------------------------------------------------

BASE = SuiteText(
    Path("base.toml"),
    {
        "checks": {"os_noise": {"required": False}, "matmul": {"blocks": 3}},
        "peers": {"min_subjects": 4},
        "limits": {
            "matmul.rate_flops": {"lower": 1e12, "unit": "FLOP/s"},
            "os_noise.lost_share": {"upper": 0.5, "unit": "share"},
        },
    },
)
SITE = SuiteText(
    Path("site.toml"),
    {
        "checks": {"matmul": {"blocks": 7}},
        "limits": {"os_noise.lost_share": {"upper": 0.1, "unit": "share"}},
        "peers": {"retests": 1},
    },
)
TYPED = SuiteText(Path("command line"), {"checks": {"os_noise": {"deadline_s": 50.0}}})


def test_every_parameter_says_its_value_and_who_has_set_it() -> None:
    found = parameters_in_force(evidence([], plan(resolve_suite(BASE, [SITE, TYPED]))))
    said = {(one.check, one.name): (one.value, one.origin) for one in found}
    assert said["matmul", "blocks"] == (7, "site.toml")
    assert said["os_noise", "required"] == (False, "suite")
    assert said["os_noise", "deadline_s"] == (50.0, "command line")
    assert said["matmul", "required"] == (True, "default")
    assert said["[peers]", "retests"] == (1, "site.toml")
    assert said["[peers]", "min_subjects"] == (4, "suite")
    assert said["[peers]", "false_alarm_rate"] == (0.01, "default")
    assert [(one.check, one.name) for one in changed(found)] == [
        ("os_noise", "deadline_s"),
        ("matmul", "blocks"),
        ("[peers]", "retests"),
    ]


def test_what_a_site_has_changed_stands_on_the_first_page() -> None:
    text = terminal(evidence([], plan(resolve_suite(BASE, [SITE, TYPED]))), width=200)
    assert (
        "Changed: os_noise.deadline_s = 50.0 (command line), matmul.blocks = 7 (site.toml), [peers].retests = 1 (site.toml)."
        in text
    )
    assert "Changed:" not in terminal(evidence([], plan(resolve_suite(BASE))))


def test_a_limit_of_the_site_is_told_from_one_of_the_suite_and_names_its_own_file() -> None:
    limits = resolve_suite(BASE, [SITE]).limits
    assert {key: limit.origin for key, limit in limits.items()} == {
        "matmul.rate_flops": "suite",
        "os_noise.lost_share": "site",
    }
    assert limits["os_noise.lost_share"].source.startswith("site.toml")
    assert limits["matmul.rate_flops"].source.startswith("base.toml")


def test_every_limit_in_force_is_listed_with_its_origin() -> None:
    own = Limit(90.0, None, "FLOP/s", "site", "hpcaccept.toml")
    the_plan = plan(suite("identity", "speed", limits={"speed.rate_flops": own}))
    said = [record("identity", node, {"cores": 8, "gpu_count": 1}) for node in nodes(4)]
    said += [record("speed", node, {"rate_flops": 100.0, "wrong_elements": 0}) for node in nodes(4)]
    found = {
        (one.key, one.origin): one for one in limits_in_force(judged(evidence(said, the_plan), {H100: baseline()}))
    }
    assert set(found) == {
        ("identity.gpu_count", "request"),
        ("identity.cores", "peers"),
        ("identity.drift", "built-in"),
        ("speed.rate_flops", "site"),
        ("speed.rate_flops", "peers"),
        ("speed.rate_flops", "baseline"),
        ("speed.wrong_elements", "built-in"),
    }
    mine = found["speed.rate_flops", "site"]
    assert (mine.lower, mine.upper, mine.subjects, mine.source) == ((90.0, 90.0), None, 4, "hpcaccept.toml")
    assert found["identity.gpu_count", "request"].lower == found["identity.gpu_count", "request"].upper == (1.0, 1.0)


def test_bounds_that_differ_between_units_are_told_from_the_loosest_to_the_tightest() -> None:
    said = [record("speed", f"node{i}", {"rate_flops": rate}) for i, rate in enumerate((99.0, 100.0, 101.0, 103.0))]
    (peers,) = (one for one in limits_in_force(judged(evidence(said, plan(suite("speed"))))) if one.origin == "peers")
    assert peers.lower is not None
    assert peers.lower[0] < peers.lower[1]


def test_a_check_that_this_hpcaccept_does_not_have_keeps_what_was_set() -> None:
    spec = CheckSpec("speed", {"blocks": 4})
    found = parameters_in_force(evidence([], plan(suite(spec))))
    assert ("blocks", 4, "suite") in [(one.name, one.value, one.origin) for one in found if one.check == "speed"]


def test_ranks_alone_tell_python_and_mpi() -> None:
    quiet = evidence([], plan(suite("speed")), rank_starts=(rank_started(0, "node0", python="3.13.1"),))
    assert provenance_of(quiet).software == {"mpi": {"Open MPI v4.1.4": 1}, "python": {"3.13.1": 1}}
