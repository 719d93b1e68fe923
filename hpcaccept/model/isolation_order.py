"""What was ordered of an isolation, and what its journal holds: files of the run folder that driver and report share."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from hpcaccept.model.isolation import GroupTest, Outcome, OutcomeKind, StopReason


@dataclass(frozen=True)
class OutputRule:
    """When the command of a site has passed. Its exit status has to be 0; the rest only where a pattern is given.

    Attributes:
        pattern: regular expression whose first group is a number; the last match in the output counts. Empty: the exit status decides.
        at_least: the number must not be smaller; None: no such limit.
        at_most: nor larger.
        lower_is_better: the number is a time rather than a rate; asked only where no limit is given, so that groups are compared.
    """

    pattern: str = ""
    at_least: float | None = None
    at_most: float | None = None
    lower_is_better: bool = False

    @property
    def compares(self) -> bool:
        """True where the numbers of the groups are compared with each other, for want of a limit."""
        return bool(self.pattern) and self.at_least is None and self.at_most is None


@dataclass(frozen=True)
class EndedTest:
    """A test that was run, as it stands in the journal.

    Attributes:
        test: that was run.
        kind: see ``Outcome``.
        silent: see ``Outcome``.
        value: see ``Outcome``; None: it has none.
        wall_s: from the start of its launcher to its end.
        measured_s: of these, what the ranks measured; 0: unknown.
        imports_s: and what they spent importing modules.
        step: whose records and logs are its evidence.
        how: what was seen, a sentence.
        code: exit status of its launcher.
        noise: relative standard deviation of the value's own repeats; 0: unknown.
        shared_kernel: True where several of its nodes are parts of one machine.
    """

    test: GroupTest
    kind: OutcomeKind
    silent: tuple[str, ...] = ()
    value: float | None = None
    wall_s: float = 0.0
    measured_s: float = 0.0
    imports_s: float = 0.0
    step: str = ""
    how: str = ""
    code: int = 0
    noise: float = 0.0
    shared_kernel: bool = False

    @property
    def outcome(self) -> Outcome:
        """As the judge takes it."""
        value = math.nan if self.value is None else self.value
        return Outcome(self.test, self.kind, self.silent, value, self.wall_s)


@dataclass(frozen=True)
class PlannedRound:
    """Tests that are about to run side by side."""

    number: int
    tests: tuple[GroupTest, ...]


@dataclass(frozen=True)
class EndedRound:
    """All tests of a round have ended.

    Attributes:
        number: of the round.
        wall_s: from planning it to the end of its last test.
        beyond_s: planning it, and the longest that one of its groups took beside measuring and importing modules: to start and to end.
    """

    number: int
    wall_s: float
    beyond_s: float


@dataclass(frozen=True)
class EndedIsolation:
    """No round follows.

    Attributes:
        reason: why; empty: it was ended from outside.
        text: the same for people.
    """

    reason: StopReason | None
    text: str


#: What may stand in the journal.
IsolationEntry = PlannedRound | EndedTest | EndedRound | EndedIsolation


@dataclass(frozen=True)
class IsolationOrder:
    """What is to be found out, and what it may cost.

    Attributes:
        check: name of the check that groups run; empty: the command.
        metric: key of the number that is compared (``allreduce.busbw_bytes[nccl/1GiB]``); ``auto``: the check's first rate at its largest;
            empty: none, tests only pass or fail.
        command: of the site, with ``{nodes}`` and its like in it.
        rule: when the command has passed.
        deadline_s: seconds that one test may take, its start not counted.
        budget_s: seconds for all rounds.
        until: posterior from which on a fault is blamed.
        at_once: groups that run at a time; 0: all of a round.
        seed: of the choice between equal groups.
        after_suite: True where it follows a suite, if that fails, in the same job.
        earlier: the run that it starts from; empty: none.
        before: what that run has shown.
        leaf_of: node → its leaf, where that is known.
        odds: node → how many times as probable as others it is to be bad.
    """

    check: str = ""
    metric: str = "auto"
    command: tuple[str, ...] = ()
    rule: OutputRule = field(default_factory=OutputRule)
    deadline_s: float = 120.0
    budget_s: float = 1200.0
    until: float = 0.95
    at_once: int = 0
    seed: int = 1
    after_suite: bool = False
    earlier: str = ""
    before: tuple[EndedTest, ...] = ()
    leaf_of: dict[str, str] = field(default_factory=dict)
    odds: dict[str, float] = field(default_factory=dict)

    @property
    def what(self) -> str:
        """What the groups run, for people."""
        return self.check or self.command[0]
