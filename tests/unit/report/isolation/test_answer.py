"""The answer of an isolation: who is blamed, by which tests, what to do, and which exit code that is."""

from __future__ import annotations

import pytest
from support.isolations import MISSABLE, answer, concluded, ended, suspicion

from hpcaccept.model.finding_code import FindingCode
from hpcaccept.model.isolation import Fault
from hpcaccept.model.isolation_order import EndedIsolation
from hpcaccept.report.isolation.answer import (
    excluded,
    exit_code_of,
    findings,
    percent,
    sentence_of,
    word_of,
)

NODE = Fault("node", ("node2",))
LINK = Fault("link", ("node1", "node3"))
TESTS = (
    ended("r1g1", "node0 node1"),
    ended("r1g2", "node2 node3", "crashed", silent=("node2",), how="its process ended with signal 9 (Killed)"),
    ended("r2g1", "node0 node2", "failed", how="allreduce.wrong_elements is 3"),
    ended("r2g2", "node1 node3"),
)


def test_a_blamed_node_is_a_finding_with_its_tests_and_what_to_do() -> None:
    blamed = suspicion(NODE, 0.9987, evidence_for=("r1g2", "r2g1"), evidence_against=("r9g9",), instead=((LINK, 0.01),))
    found = answer(concluded(blamed), TESTS)
    assert (word_of(found), exit_code_of(found)) == ("FAULT FOUND", 1)
    assert sentence_of(found) == "node2 is to blame, after 4 tests in 2 rounds."
    assert excluded(found) == "node2"
    (one,) = findings(found)
    assert (one.code, one.where, one.blamed) == (FindingCode.ISOLATED_NODE, "node2", True)
    assert one.evidence == (
        "for: r1g2: node[2-3] crashed, first silent: node2 (its process ended with signal 9 (Killed))",
        "for: r2g1: node[0,2] failed (allreduce.wrong_elements is 3)",
    )
    assert one.instead == ("node1 – node3 (1 %)",)
    assert "--nodelist node2" in one.action
    assert not one.next_test


def test_a_link_is_named_by_both_ends_and_neither_is_excluded() -> None:
    found = answer(concluded(suspicion(LINK)), TESTS)
    (one,) = findings(found)
    assert (one.code, one.where, exit_code_of(found)) == (FindingCode.ISOLATED_LINK, "node1 – node3", 1)
    assert excluded(found) == ""


def test_a_leaf_pair_is_named_as_such() -> None:
    (one,) = findings(answer(concluded(suspicion(Fault("leaf_pair", ("leaf1", "leaf4")))), TESTS))
    assert (one.code, one.where) == (FindingCode.ISOLATED_LEAF, "leaves leaf1 – leaf4")


def test_what_fails_only_at_scale_blames_nobody_and_names_the_smallest_set() -> None:
    scale = suspicion(Fault("scale", size=64), 0.97)
    found = answer(concluded(scale, unattributed=("node0", "node1", "node2"), at_scale=True), TESTS)
    assert (word_of(found), exit_code_of(found)) == ("UNATTRIBUTED-AT-SCALE", 3)
    assert "about 64 nodes and more" in sentence_of(found)
    assert "Smallest set that failed: node[0-2]" in sentence_of(found)
    (one,) = findings(found)
    assert (one.code, one.blamed) == (FindingCode.UNATTRIBUTED_AT_SCALE, False)


def test_a_small_group_that_failed_without_a_confirmed_reason_is_unattributed() -> None:
    found = answer(concluded(unattributed=("node0", "node2")), TESTS)
    assert (word_of(found), exit_code_of(found)) == ("UNATTRIBUTED", 3)
    assert [one.code for one in findings(found)] == [FindingCode.ISOLATION_UNATTRIBUTED]


def test_a_suspect_that_is_not_confirmed_is_in_doubt_and_blames_nobody() -> None:
    doubt = suspicion(NODE, 0.97, blamed=False, next_test=("node0", "node2"))
    found = answer(concluded(doubt), TESTS, end=EndedIsolation("budget", "the time for it is spent"))
    assert (word_of(found), exit_code_of(found), excluded(found)) == ("UNDECIDED", 3, "")
    (one,) = findings(found)
    assert one.code is FindingCode.ISOLATION_DOUBT
    assert "not confirmed with another good partner" in one.sentence
    assert one.next_test.startswith("test node[0,2] together")


def test_nothing_wrong_needs_every_node_tested_and_a_last_word() -> None:
    good = concluded(nothing_wrong=0.99)
    found = answer(good)
    assert (word_of(found), exit_code_of(found)) == ("NOTHING WRONG", 0)
    assert "A node that fails 75% of its tests would have been seen" in sentence_of(found)
    from dataclasses import replace

    untested = replace(good, missable=replace(MISSABLE, untested=("node3",)))
    assert word_of(answer(untested)) == "UNDECIDED"
    assert word_of(answer(good, end=None)) == "UNDECIDED"
    assert word_of(answer(good, end=EndedIsolation(None, "ended from outside"))) == "UNDECIDED"
    assert word_of(answer(concluded(nothing_wrong=0.8))) == "UNDECIDED"


def test_where_nothing_was_measured_nothing_is_said_of_any_node() -> None:
    tests = [ended("r1g1", "node0 node1", "not_run", how="torch cannot be imported")]
    found = answer(concluded(nothing_wrong=0.99), tests)
    assert (word_of(found), exit_code_of(found)) == ("NOT MEASURED", 3)
    assert "torch cannot be imported" in sentence_of(found)


@pytest.mark.parametrize(
    ("posterior", "text"),
    [
        (1.0, "100 %"),
        (0.99995, "over 99.9 %"),
        (0.95, "95 %"),
        (0.9531, "95.3 %"),
        (0.0002, "under 0.1 %"),
        (0.0, "0 %"),
    ],
)
def test_a_probability_is_neither_rounded_to_certainty_nor_to_nothing(posterior: float, text: str) -> None:
    assert percent(posterior) == text
