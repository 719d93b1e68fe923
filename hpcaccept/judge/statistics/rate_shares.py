"""The share that each question has of the stated false-alarm rate of a run. The only place that says it.

A suite states the chance that a run in which all is well blames anybody (``PeerRule.false_alarm_rate``). Each question sets its cut for a share of
that, which its own comparisons divide among them. The shares add up to 1.75, not to 1: the peers keep all of it, because whom they suspect in
the first launch is a FAIL only where the other launches confirm it. What whole healthy runs have is measured: docs/explanation/detection.md.
"""

from __future__ import annotations

#: Slower than its peers, in the first look at them.
PEERS = 1.0
#: Slower than what units of its model have taught. Exact limits (published ones, those of a suite) state no rate and need no share.
LEARNED_BASELINE = 1 / 4
#: Slower than its own past, at once.
OWN_PAST = 1 / 4
#: A little slower with every run.
SLOW_DECLINE = 1 / 8
#: Failed again and again.
OFFENDERS = 1 / 8
