"""The code of each finding, what it means, and what to do. One entry for each; nothing else names one.

A code is fixed where the finding is made, never read out of its sentence, and stays what it is when sentences change: scripts and tickets
rely on it. ``docs/reference/codes.md`` is written from this table. A new finding is a new entry and a test that makes it.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

#: What stands for the node in an action.
NODE = "NODE"
_AGAIN = (
    "Measure it again, alone: hpcaccept submit --nodelist NODE. If it stays, take the node out of service; "
    "hpcaccept bundle --node NODE packs the evidence."
)
_BURN = (
    "Look for it again: hpcaccept submit --nodelist NODE --suite burn; hpcaccept bundle --node NODE packs the evidence."
)
_SUITE = "Correct it in the suite or in hpcaccept.toml (hpcaccept config shows the file), then: hpcaccept report."
_RESUBMIT = "Submit again; what was measured is kept and judged."
_RESET = (
    "Drain NODE, reset the GPU (nvidia-smi --gpu-reset) or reboot, and test it again: hpcaccept submit --nodelist NODE."
)
_VENDOR = "Drain NODE and have the part replaced: hpcaccept bundle --node NODE packs the evidence for the vendor."
_NONE_KNOWN = "None known."


@dataclass(frozen=True)
class About:
    """One entry of the table.

    Attributes:
        code: the word: lower case, parts joined by hyphens.
        meaning: what is the matter.
        evidence: by what it is seen.
        action: what to do; ``NODE`` stands for the name of the node.
        false_alarms: when it is said although nothing is wrong, as far as that is known.
        test: path below ``tests`` and name of the test that makes it.
    """

    code: str
    meaning: str
    evidence: str
    action: str
    false_alarms: str
    test: str


class FindingCode(enum.Enum):
    """Every finding that a report can show, in the order of the page."""

    def __new__(cls, about: About) -> FindingCode:
        """A member whose value is the word alone, so that JSON holds nothing else."""
        member = object.__new__(cls)
        member._value_ = about.code
        return member

    def __init__(self, about: About) -> None:
        self.about = about

    def __str__(self) -> str:
        return self.about.code

    def action_for(self, node: str) -> str:
        """What to do about it.

        Args:
            node: that it speaks of; empty: all together, or nobody in particular.
        """
        return self.about.action.replace(NODE, node or NODE)

    # --- slower than others, than known, than before ---

    PEERS_SLOW = About(
        "peers-slow",
        "A rate is lower than that of like units of the run, in each launch that measured it.",
        "The value, the median of the peers, the floor of the metric and the robust cut.",
        "Keep work off NODE and measure it with two nodes that passed: hpcaccept submit --nodelist NODE,… If it "
        "stays slow, take it out of service; "
        "hpcaccept bundle --node NODE packs the evidence.",
        "At most the stated share of healthy runs; more where units differ with heavy tails, or few units are "
        "noisier than their class (detection.md).",
        "unit/judge/questions/test_peers.py::test_one_slow_subject_among_equal_ones_is_a_fail_and_the_others_are_not",
    )
    PEERS_SLOWER = About(
        "peers-slower",
        "A rate of a GPU is between half of the metric's floor and the floor below that of its like, and beyond their noise.",
        "As of peers-slow; the value lies inside the failing limit.",
        "Nothing yet: watch it in the next runs with hpcaccept history trend. A unit that falls further becomes peers-slow.",
        "Silicon of one model differs by some percent; a cooler place in the rack is enough.",
        "unit/judge/questions/test_peers.py::test_between_half_of_the_floor_and_the_floor_lies_a_warning",
    )
    PEERS_FEWER = About(
        "peers-fewer",
        "A count (processors, bytes of memory) is lower than that of like units.",
        "The count and that of the others; counts have no noise.",
        "See what NODE lacks: processors that are off or taken by a cgroup (lscpu, scontrol show node NODE), "
        "memory modules (dmidecode -t memory), "
        "or what the firmware holds back.",
        "A job that was given fewer processors on one node than on the others.",
        "unit/judge/questions/test_peers.py::test_a_missing_core_is_seen_even_on_a_shared_host",
    )
    PEERS_UNCONFIRMED = About(
        "peers-unconfirmed",
        "A unit was slow among its like in the only launch that measured it; nothing has confirmed it.",
        "As of peers-slow, with the number of launches.",
        "Run again: the run ended before NODE was measured a second time.",
        "Half of all first suspicions: that is why one launch blames nobody.",
        "unit/test_codes.py::test_who_was_measured_once_by_a_run_that_was_cut_short_is_in_doubt",
    )
    PEERS_FEW = About(
        "peers-few",
        "Too few like units were measured to say which of them is slow.",
        "How many there are, and how many are needed.",
        "Run with more nodes, or learn a baseline of nodes that are known to be good: hpcaccept baseline learn.",
        _NONE_KNOWN,
        "unit/judge/questions/test_peers.py::test_fewer_than_three_like_subjects_cannot_say_who_is_slow",
    )
    PEERS_APART = About(
        "peers-apart",
        "Like units differ so much, or are two groups, that nobody can say who is slow: not even a rate of 0 could be blamed, or less than half of what "
        "the others reach is not. Unless they are virtual nodes, a limit, a baseline or their past must judge them; the coarse floor does not.",
        "The median and the robust width of the peers.",
        "Run again when the machines are quiet, with more nodes, or against a baseline.",
        "Other programs on the nodes; virtual nodes that share the cores of one machine.",
        "unit/judge/questions/test_peers.py::test_when_peers_differ_wildly_nobody_passes_by_their_noise",
    )
    PEERS_NO_RATE = About(
        "peers-no-rate",
        "The middle of the like units is 0, negative, or too large to be a rate.",
        "The values in run.h5.",
        "This is a fault of the check, or of all units equally: look at the numbers with hpcaccept report --format csv.",
        _NONE_KNOWN,
        "unit/judge/questions/test_peers.py::test_gpus_at_0_flops_are_never_called_healthy",
    )
    PEERS_TWO_GROUPS = About(
        "peers-two-groups",
        "The like units of the run are two groups, further apart than the floor; nobody can say by looking at them which is right.",
        "How many are in each, around which rate, on which nodes.",
        "Compare the nodes of both groups (model, power limit, clocks, firmware, rack), or judge them by a baseline: hpcaccept baseline learn RUN "
        "of nodes that are known to be good.",
        "Parts of two bins, or nodes of which half had company; units of four times their class's width in up to 15 of 1,000 metrics of few units.",
        "unit/judge/questions/test_groups_and_the_fast.py::test_a_fleet_of_two_groups_is_never_accepted_and_both_are_listed",
    )
    PEERS_TAIL = About(
        "peers-tail",
        "A unit is slower than the limit for normal noise, but some healthy units of this fleet may be as slow: they differ by more than normal noise, or "
        "too few comparisons were made to tell. The failing limit lies further out.",
        "The limit for normal noise; by what kind of noise the units of the run differ, or that too few comparisons can tell.",
        "Compare NODE with its own past (hpcaccept history show) or with a baseline of good nodes, and swap it with another node: what is slow there too "
        "is slow.",
        "In fleets that nobody sorted nearly every large run has such units.",
        "unit/judge/questions/test_tails.py::test_where_the_tail_does_not_fit_a_healthy_unit_is_a_warning_and_the_report_says_why",
    )
    PEERS_OFF = About(
        "peers-off",
        "The suite forgives a loss of more than half: the comparison with the peers could find nothing short of a wreck, and was not made.",
        "The floor of the suite.",
        "Set [peers] floor (or shared_host_floor) to a half or less, or leave it out.",
        _NONE_KNOWN,
        "unit/judge/questions/test_peers.py::test_a_floor_that_only_a_wreck_would_miss_is_no_question_and_no_pass",
    )
    PEERS_FAST = About(
        "peers-fast",
        "A GPU is faster than its like by a tenth or more, and by twice what would be blamed as a loss.",
        "The value and the median of the peers.",
        "Compare model, clocks, power limit and versions of NODE with the others: it may be another part, or has done less work.",
        "One GPU without a power cap that the others have.",
        "unit/judge/questions/test_groups_and_the_fast.py::test_a_unit_far_faster_than_its_like_is_told",
    )
    PEERS_WONDER = About(
        "peers-wonder",
        "A unit is so much faster than its like that it cannot have done the same work.",
        "How many times the middle of the others it reaches.",
        "Do not trust this number: look at the clock of NODE, at its versions, and at what else differs there.",
        "Nodes of two kinds that give the same name of a part.",
        "unit/test_codes.py::test_a_unit_a_hundred_times_as_fast_as_its_like_is_no_pass",
    )
    FLOOR_BELOW = About(
        "floor-below",
        "A rate is below a coarse share of what the part can do at its peak: a wreck, whatever its peers do.",
        "The value, the peak of the model and its source, and the share.",
        "Keep work off NODE. Look at clocks, power limit and throttling (nvidia-smi -q -d "
        "CLOCK,POWER,PERFORMANCE), at the slot (PCIe width), and at "
        "who else uses the GPU; then: hpcaccept submit --nodelist NODE.",
        "A virtual GPU that calls itself by the name of the whole part.",
        "unit/judge/questions/test_floor.py::test_a_card_at_a_hundredth_of_its_peak_fails_alone_and_among_its_like",
    )
    BASELINE_BELOW = About(
        "baseline-below",
        "A rate is outside of the limit of an approved or shipped baseline of the device model.",
        "The value, the limit, the baseline's centre and where it comes from.",
        "Measure it again, alone: hpcaccept submit --nodelist NODE. Where all nodes miss it, compare driver, "
        "image and power limit with those of the "
        "baseline (hpcaccept baseline show). If one stays, take it out of service; hpcaccept bundle --node NODE "
        "packs the evidence.",
        "A new driver or image that costs every unit the same; a shipped limit of another cooling or power class; what was learned from few units "
        "of a fleet with heavy tails.",
        "unit/judge/questions/test_baseline.py::test_a_value_is_held_against_the_limit_of_its_model",
    )
    DRAFT_BELOW = About(
        "draft-below",
        "A rate is outside of the limit of a baseline that nobody has vouched for.",
        "As of baseline-below.",
        "Nobody has vouched for this draft: approve it (hpcaccept baseline approve MODEL --by YOU), or learn it anew from a run "
        "that was accepted.",
        "A draft that was learned from a run under another load or another launcher.",
        "unit/test_codes.py::test_who_misses_a_draft_is_in_doubt",
    )
    BASELINE_NONE = About(
        "baseline-none",
        "There is no baseline of this device model.",
        "The name of the model.",
        "When these units are known to be good: hpcaccept baseline learn RUN.",
        "A driver that gives a known part a new name.",
        "unit/judge/questions/test_baseline.py::test_a_model_without_a_baseline_is_told_from_a_baseline_that_does_not_fit",
    )
    BASELINE_UNFIT = About(
        "baseline-unfit",
        "There is a baseline of the model, and it may not judge this number: made with another method, setting, "
        "power limit, memory or state.",
        "What differs.",
        "Measure as the baseline was measured, or learn one of today's setting from an accepted run: hpcaccept "
        "baseline learn RUN.",
        _NONE_KNOWN,
        "unit/judge/questions/test_baseline.py::test_unlike_things_refuse_to_be_compared_and_say_why",
    )
    PAST_SLOW = About(
        "past-slow",
        "A unit is slower than in its own earlier runs, and that was seen twice.",
        "The value, the median of its earlier runs and the cut.",
        "Find what changed on NODE since (clocks, cooling, cables, a repair): hpcaccept history trend. If nothing did, drain it: "
        "hpcaccept bundle --node NODE packs the evidence.",
        "A change of settings that the environment's facts do not tell.",
        "unit/judge/questions/test_history.py::test_a_small_loss_that_no_peer_could_show_is_a_fail_against_the_own_past",
    )
    PAST_SLOWER = About(
        "past-slower",
        "A unit is slower than in its own earlier runs by less than would fail it.",
        "As of past-slow.",
        "It was faster before: watch it with hpcaccept history trend.",
        "One warm day.",
        "unit/test_codes.py::test_a_loss_inside_the_failing_limit_of_the_past_is_a_warning",
    )
    PAST_UNCONFIRMED = About(
        "past-unconfirmed",
        "A unit is slower than in its own earlier runs, seen in one launch of one run only.",
        "As of past-slow.",
        "Run again: hpcaccept submit --nodelist NODE. Seen a second time it is a FAIL.",
        "One disturbed launch.",
        "unit/judge/questions/test_history.py::test_what_was_seen_in_one_launch_only_is_a_warning",
    )
    PAST_DECLINE = About(
        "past-decline",
        "A unit loses a little with every run, or has settled lower than it was.",
        "How much it has lost, and since when.",
        "Look at heat, dust and memory errors of NODE since that day (hpcaccept history trend), before it fails.",
        "Part of the stated rate of the run; a season that warms the room.",
        "unit/judge/questions/test_history.py::test_a_slow_decline_is_a_warning_that_says_since_when",
    )
    PAST_APART = About(
        "past-apart",
        "A unit's own earlier runs differ so much, or are two groups, that nobody can say whether it is slow: not even a rate of 0 could be blamed, or less "
        "than half of what it reached is not.",
        "The median and the width of its earlier runs.",
        "Run more often under the same conditions; until then peers and baseline judge it.",
        _NONE_KNOWN,
        "unit/test_codes.py::test_every_code_of_a_question_is_that_of_its_outcome",
    )
    PAST_FORGOTTEN = About(
        "past-forgotten",
        "A unit has failed in its earlier runs, and too few good ones are remembered from before to compare it with: the run is not judged.",
        "How many good runs are needed.",
        "Have NODE repaired; when what it reaches now is to be normal: hpcaccept history accept NODE.",
        _NONE_KNOWN,
        "unit/app/test_history.py::test_a_loss_for_good_fails_every_night_until_a_person_accepts_it",
    )
    PAST_TOGETHER = About(
        "past-together",
        "All like units together lost more than the floor of the metric when driver, kernel, image or hpcaccept changed.",
        "What they reach now and before, and what changed since.",
        "No unit is blamed for what came with the change: go back to what was there before, or find out why it costs so much.",
        "A change that was meant to cost this.",
        "unit/judge/questions/test_history.py::test_what_a_new_driver_costs_everybody_is_a_warning_of_the_run_that_says_what_changed",
    )
    REPEAT_OFFENDER = About(
        "repeat-offender",
        "A unit has failed in several of its last runs, whatever it does today.",
        "How often, and in which run at last.",
        "A retest will not mend it: have it repaired, or ask the vendor (hpcaccept bundle --node NODE).",
        "Failures of a fault that was repaired since.",
        "unit/judge/questions/test_history.py::test_a_subject_that_failed_again_and_again_is_named_whatever_it_does_today",
    )
    DISTURBED = About(
        "disturbed",
        "A unit was slow while somebody else used it: nothing is said of the hardware.",
        "Who used it.",
        "Clear the device (nvidia-smi, fuser -v /dev/nvidia*), then run again: hpcaccept submit --nodelist NODE.",
        _NONE_KNOWN,
        "unit/judge/revise/test_disturbed.py::test_a_slow_device_that_somebody_else_uses_is_an_error_that_says_who",
    )
    RATE_IMPOSSIBLE = About(
        "rate-impossible",
        "A rate is higher than the part can reach: the measurement is wrong.",
        "The value, the peak of the model and its source.",
        "Do not trust this run: look at the clock, the sizes and the library that it was measured with.",
        "An overclocked part, or a peak that is too low in its baseline.",
        ""
        "unit/judge/questions/test_baseline.py::test_a_rate_that_no_part_of_the_model_can_reach_is_an_error_and_leaves_the_run_unjudged",
    )
    OTHERS_RAN = About(
        "others-ran",
        "A rate fell short while other programs used the processors of the node, its hypervisor gave them away, or the rank was stopped "
        "(scontrol suspend, a debugger): undecided.",
        "What others used, by the kernel's own counts around the measurement; the signal that let the rank go on.",
        "Run again when nobody else uses NODE (--slurm exclusive=), and see who does: top, squeue -w NODE.",
        "A slow node that is busy as well: it stays unjudged until it is measured alone.",
        "unit/judge/revise/test_disturbed.py::test_who_is_slow_while_others_use_the_processors_is_undecided_and_they_are_named",
    )
    CPU_QUOTA = About(
        "cpu-quota",
        "A rate is too low on a node whose control group had used up its CPU quota while it was measured.",
        "For which share of the time it was stopped.",
        "Look for what set the quota on NODE (systemd slice, Slurm's cgroup.conf, a pod's limits): the processor is not at fault.",
        _NONE_KNOWN,
        "unit/judge/revise/test_disturbed.py::test_a_quota_belongs_to_the_node_and_is_told_beside_the_blame",
    )
    UNJUDGED_RATE = About(
        "unjudged-rate",
        "A number that should have been judged was measured, and no question had an answer: too few peers, no "
        "baseline, no past, no limit.",
        "The number, and why the question that could help has no answer.",
        "Run with at least three like nodes, learn a baseline from nodes that are known to be good (hpcaccept "
        "baseline learn RUN), or give the "
        "metric a limit in the suite.",
        _NONE_KNOWN,
        "unit/judge/test_acceptance.py::test_a_rate_that_nothing_judged_is_not_accepted",
    )
    UNJUDGED_CHECK = About(
        "unjudged-check",
        "A required check was measured on a node, and none of its numbers has a limit, a peer or a baseline.",
        "The check and the node.",
        "Give one of its metrics a limit in the suite (hpcaccept checks explain CHECK lists them), or mark the check required = false.",
        _NONE_KNOWN,
        "unit/judge/test_acceptance.py::test_a_check_without_a_number_that_could_be_judged_says_what_to_do",
    )

    # --- isolation ---

    ISOLATED_NODE = About(
        "isolated-node",
        "Groups of nodes fail, hang or are slow when NODE is among them, and not without it; a test with other partners that are good has confirmed it.",
        "The tests of the isolation for and against, and the posterior.",
        "Keep work off NODE (the isolation prints it for --exclude), and look at it alone: hpcaccept submit --nodelist NODE --suite full. "
        "hpcaccept bundle --node NODE packs what a run has measured there.",
        "At most the share that --until leaves, given the stated rates of false failures; more where something else slowed the same node each time.",
        "unit/report/isolation/test_answer.py::test_a_blamed_node_is_a_finding_with_its_tests_and_what_to_do",
    )
    ISOLATED_LINK = About(
        "isolated-link",
        "Two nodes fail or are slow together, and each of them is good with others.",
        "The tests of the isolation for and against, and the posterior.",
        "Look at the cables, ports and routes between NODE: both ends are good with others. Until then keep jobs from using both.",
        "As of isolated-node.",
        "unit/report/isolation/test_answer.py::test_a_link_is_named_by_both_ends_and_neither_is_excluded",
    )
    ISOLATED_LEAF = About(
        "isolated-leaf",
        "Groups across a leaf switch, or across two of them, fail or are slow, and groups within one do not.",
        "The tests of the isolation for and against, and the posterior.",
        "Look at the switch and its uplinks (NODE), not at the nodes below it: ibdiagnet, or the counters of the switch.",
        "As of isolated-node; a wrong topology.",
        "unit/report/isolation/test_answer.py::test_a_leaf_pair_is_named_as_such",
    )
    UNATTRIBUTED_AT_SCALE = About(
        "unattributed-at-scale",
        "What was tested fails in large groups only, and no node or link explains it.",
        "The smallest set of nodes that failed, and smaller ones of the same nodes that passed.",
        "Run the smallest failing set again by hand, with the logs of the library (NCCL_DEBUG=INFO): limits of memory, connections or time that "
        "grow with the number of ranks are the usual reason.",
        "A fault that comes and goes, and came in the large groups.",
        "unit/report/isolation/test_answer.py::test_what_fails_only_at_scale_blames_nobody_and_names_the_smallest_set",
    )
    ISOLATION_UNATTRIBUTED = About(
        "isolation-unattributed",
        "A group has failed, and no node or link of it could be confirmed as the reason.",
        "The smallest set that failed.",
        "Go on with more time: hpcaccept isolate --run latest --budget 1h. Faults that come and go need more rounds.",
        "A failure that the surroundings caused once.",
        "unit/report/isolation/test_answer.py::test_a_small_group_that_failed_without_a_confirmed_reason_is_unattributed",
    )
    ISOLATION_DOUBT = About(
        "isolation-doubt",
        "A node or link is suspect, and the tests do not make it sure, or no other good partner has confirmed it.",
        "The tests of the isolation for and against, the posterior, and what else could explain them.",
        "Go on where it ended: hpcaccept isolate --run latest.",
        "This is a doubt, and blames nobody.",
        "unit/report/isolation/test_answer.py::test_a_suspect_that_is_not_confirmed_is_in_doubt_and_blames_nobody",
    )

    # --- limits ---

    LIMIT_MISSED = About(
        "limit-missed",
        "A number is outside of a limit that no other code of this table speaks of: one of the suite, of the "
        "site, or of a plug-in's metric.",
        "The value, the limit and who has set it.",
        _AGAIN,
        "A limit that was set too tight.",
        "unit/judge/questions/test_limits.py::test_a_limit_of_the_suite_is_met_or_missed",
    )
    LIMIT_UNMATCHED = About(
        "limit-unmatched",
        "A limit of the suite speaks of something that was not measured, so it has judged nothing.",
        "The limit and its file.",
        "Correct its name in the suite, or remove it; hpcaccept checks explain CHECK lists metrics and variants.",
        _NONE_KNOWN,
        "unit/test_lies.py::test_row_9_a_limit_that_matches_nothing_that_was_measured_is_an_error",
    )
    LIMIT_UNREACHABLE = About(
        "limit-unreachable",
        "A limit asks for more than the part can do; missing it blames nobody.",
        "The limit and the peak of the model.",
        _SUITE,
        "A peak that is too low in its baseline.",
        "unit/judge/questions/test_floor.py::test_a_limit_above_the_peak_of_the_part_that_was_measured_blames_its_author",
    )
    REQUEST_UNCOUNTED = About(
        "request-uncounted",
        "The request demands something of each node (GPUs), and nothing has counted it there.",
        "What is demanded.",
        "Run a suite with the check identity, and see why it left no number on NODE: logs/ in the run folder.",
        _NONE_KNOWN,
        "unit/judge/questions/test_limits.py::test_when_nobody_counted_the_gpus_that_were_asked_for_it_is_an_error",
    )

    # --- wrong results ---

    RESULT_WRONG = About(
        "result-wrong",
        "A computation gave a wrong result.",
        "How many elements were wrong, and of which kind of product.",
        "Take NODE out of service now: what it computes cannot be trusted. " + _BURN,
        "Never of noise: what is compared is exact. A broken library gives wrong results on every unit.",
        "unit/checks/test_matmul.py::test_a_bit_that_flips_between_first_and_last_product_is_counted",
    )
    REPLICA_DIFFERS = About(
        "replica-differs",
        "The same operations on the same bits gave other bits than on most like units, or than in the repetition.",
        "How many replicas differ.",
        "Take NODE out of service now: it computes wrong now and then. " + _BURN,
        "Units of one name with other libraries (two images, two drivers).",
        "unit/checks/test_train.py::test_the_rank_with_a_flipped_bit_is_named_and_the_others_are_not_blamed",
    )
    TRAINING_OFF = About(
        "training-off",
        "A training missed its reference, or did not learn.",
        "The relative error against a training in double precision, or what is left of the loss.",
        "Look for settings of precision first (TF32, NVIDIA_TF32_OVERRIDE), then treat it as result-wrong: keep "
        "work off NODE and run burn on it: "
        "hpcaccept submit --nodelist NODE --suite burn.",
        "TF32 that the environment forces.",
        "unit/checks/test_resnet.py::test_tf32_left_on_misses_the_limit_of_the_logits",
    )
    SUM_WRONG = About(
        "sum-wrong",
        "A rank received a wrong result of a collective.",
        "How many elements were wrong on this rank.",
        "Keep work off NODE. The fault is in its memory, its adapter or the path to it: run pairs and collectives "
        "again with other partners "
        "(hpcaccept submit --nodelist NODE,… --suite fabric).",
        "A broken version of NCCL or MPI: then every rank has it.",
        "unit/checks/test_allreduce.py::test_one_wrong_element_anywhere_is_counted",
    )
    COPY_WRONG = About(
        "copy-wrong",
        "Bytes that were copied between host, GPUs or nodes arrived changed.",
        "How many, and on which way.",
        "Keep work off NODE. Reseat cables and card of that way, read its link counters, and copy again: "
        "hpcaccept submit --nodelist NODE.",
        _NONE_KNOWN,
        "unit/checks/test_transfers.py::test_one_flipped_bit_is_one_wrong_element",
    )
    MEMORY_WRONG = About(
        "memory-wrong",
        "Memory did not hold what was written to it.",
        "How many words, the first address and the bits that differ.",
        _VENDOR,
        _NONE_KNOWN,
        "unit/checks/test_memory_pattern.py::test_a_bit_that_flips_after_writing_fails_each_pattern_and_is_named",
    )
    MEMORY_UNTESTED = About(
        "memory-untested",
        "Less memory could be allocated than the driver called free: that part was not tested.",
        "The share that was covered.",
        "See who holds memory of the GPU on NODE (nvidia-smi, fuser -v /dev/nvidia*), then run again: hpcaccept "
        "submit --nodelist NODE.",
        "A process that started between the question and the allocation.",
        "unit/checks/test_memory_pattern.py::test_blocks_that_cannot_be_had_are_a_share_that_was_not_covered",
    )
    STORAGE_WRONG = About(
        "storage-wrong",
        "Storage gave back other bytes than were written, or reported errors.",
        "How many blocks or errors, and on which path.",
        "Take the path out of use on NODE; read dmesg and smartctl -a of its device, or ask who runs the file system.",
        _NONE_KNOWN,
        "unit/checks/test_storage.py::test_a_block_that_changed_on_disk_is_counted",
    )
    PROCESSOR_WRONG = About(
        "processor-wrong",
        "stress-ng found a wrong result of the processor.",
        "Its own lines, kept in outputs/.",
        "Take NODE out of service now; read its machine-check log (ras-mc-ctl --errors), and have the processor "
        "or its memory replaced.",
        "A version of stress-ng with a faulty method: then every node has it.",
        "unit/checks/test_burn.py::test_a_wrong_result_that_stress_ng_finds_misses_its_limit_and_is_kept",
    )

    # --- GPUs and what carries them ---

    GPU_MISSING = About(
        "gpu-missing",
        "A node has another number of usable GPUs than was asked for.",
        "How many there are, and what the driver says of the others.",
        "Drain NODE. Read nvidia-smi -L and dmesg (Xid 79) there, look for the card in lspci, then power-cycle; a "
        "second time: reseat or replace it.",
        "A request for another number than the nodes have.",
        "unit/judge/questions/test_limits.py::test_seven_of_eight_gpus_is_a_fail_that_names_the_node",
    )
    GPU_MODELS_MIXED = About(
        "gpu-models-mixed",
        "The GPUs of one node are not of one model, or there is none.",
        "How many models the driver names.",
        "Compare nvidia-smi -L of NODE with what was ordered; test unlike GPUs apart (CUDA_VISIBLE_DEVICES).",
        "A node that was built with two models on purpose: give the metric a limit in the suite.",
        "unit/checks/test_identity.py::test_unlike_gpus_on_one_node_are_counted_as_models",
    )
    GPU_PARTITIONED = About(
        "gpu-partitioned",
        "A GPU is divided into slices (MIG), or will be after its next reset, where whole GPUs were asked for.",
        "The mode that the driver says, and the one that is pending.",
        "On NODE: nvidia-smi -mig 0, then nvidia-smi --gpu-reset or a reboot; or ask for slices: --gpus-per-node 1g.10gb:N.",
        _NONE_KNOWN,
        "unit/checks/test_identity.py::test_a_divided_gpu_fails_where_whole_ones_were_asked_for",
    )
    GPU_LOST = About(
        "gpu-lost",
        "A GPU fell off the bus: it answers no question.",
        "The driver's answer, and which GPU.",
        "Drain NODE; read dmesg for its Xid (79), then power-cycle it; a second time: reseat or replace the part.",
        _NONE_KNOWN,
        "unit/checks/test_health.py::test_a_gpu_that_falls_off_the_bus_during_the_run_fails_with_its_name",
    )
    GPU_NO_ANSWER = About(
        "gpu-no-answer",
        "The driver answered questions about the GPU with errors of the part.",
        "How many, and which.",
        "Read the fact query_errors and nvidia-smi -q on NODE. " + _RESET,
        "A driver that is older than the part.",
        "unit/test_lies_gpu.py::test_an_error_of_the_driver_is_no_good_status",
    )
    GPU_RECOVERY = About(
        "gpu-recovery",
        "The driver itself asks for the GPU or the node to be recovered.",
        "Which action it asks for.",
        "Do on NODE what the driver asks for: reset the GPU (nvidia-smi --gpu-reset), drain and reset, or reboot; "
        "then hpcaccept submit --nodelist NODE.",
        _NONE_KNOWN,
        "unit/checks/test_health.py::test_what_changes_under_load_fails_by_its_name",
    )
    ECC_UNCORRECTED = About(
        "ecc-uncorrected",
        "Memory errors that ECC could not correct: data was destroyed.",
        "How many during the run, and before it since the driver was loaded.",
        _RESET + " With a second one, or a row that could not be replaced, have the GPU replaced.",
        _NONE_KNOWN,
        "unit/checks/test_health.py::test_what_changes_under_load_fails_by_its_name",
    )
    ECC_CORRECTED = About(
        "ecc-corrected",
        "So many corrected memory errors per second that an uncorrectable one is near.",
        "The rate during the run.",
        "Drain NODE, run again (hpcaccept submit --nodelist NODE --suite burn); if it stays, have the GPU "
        "replaced: hpcaccept bundle --node NODE.",
        "The limit is ours: no vendor gives one.",
        "unit/checks/test_health.py::test_what_changes_under_load_fails_by_its_name",
    )
    MEMORY_ROW = About(
        "memory-row",
        "Rows or pages of GPU memory were replaced in the run, or wait for a reset to be.",
        "The driver's counters and flags.",
        _RESET + " If it happens again, have the GPU replaced.",
        "A first remap of a new part: NVIDIA calls it usable after the reset.",
        "unit/checks/test_health.py::test_what_changes_under_load_fails_by_its_name",
    )
    MEMORY_WORN = About(
        "memory-worn",
        "The driver says that memory of the GPU is worn out: no spare row is left, or the cache has passed its threshold.",
        "The driver's flag.",
        _VENDOR,
        _NONE_KNOWN,
        "unit/checks/test_health.py::test_what_changes_under_load_fails_by_its_name",
    )
    PCIE_NARROW = About(
        "pcie-narrow",
        "A GPU's PCIe link has fewer lanes or a lower generation than GPU and slot could use together.",
        "Lanes and generations that are lost, at the worst moment under load.",
        "Drain NODE; reseat the card, check riser and slot, look for a BIOS setting; compare lspci -vv with a good node.",
        "None under load; idle links sleep, and those are not judged.",
        "unit/checks/test_health.py::test_a_pcie_link_below_its_best_fails_when_the_gpu_was_busy",
    )
    PCIE_ERRORS = About(
        "pcie-errors",
        "PCIe packets had to be sent again too often.",
        "Replays per second.",
        "Drain NODE; reseat the card, check riser and cables.",
        _NONE_KNOWN,
        "unit/checks/test_health.py::test_what_changes_under_load_fails_by_its_name",
    )
    NVLINK_DOWN = About(
        "nvlink-down",
        "NVLinks are down that the same model has up elsewhere, or the fabric of the node complains.",
        "How many links, or what the driver says of the fabric.",
        "Read nvidia-smi nvlink -s and the log of the fabric manager on NODE, restart that service; if links stay "
        "down, have the GPU or its board replaced.",
        "A node whose partition was set up without some of the links.",
        "unit/checks/test_health.py::test_links_are_missed_that_the_same_model_has_elsewhere",
    )
    NVLINK_ERRORS = About(
        "nvlink-errors",
        "NVLinks had errors under load.",
        "Errors, or checksum errors per second, on the worst link.",
        "Drain NODE; read nvidia-smi nvlink -e, reseat GPU or cable; with new errors after that have the part replaced.",
        _NONE_KNOWN,
        "unit/checks/test_health.py::test_what_changes_under_load_fails_by_its_name",
    )
    THROTTLED = About(
        "throttled",
        "The hardware or the driver cut the clock for heat or power while the GPU was busy.",
        "The share of the busy time, with the reason that the driver gives, or how far the heat came to its threshold.",
        "Look at fans, air or coolant and power supplies of NODE, and at nvidia-smi -q -d PERFORMANCE,TEMPERATURE under load.",
        "A power cap that was set on purpose does not count; a hot room does.",
        "unit/test_lies_gpu.py::test_throttling_is_judged_and_not_only_told",
    )
    SLOWS_DOWN = About(
        "slows-down",
        "GPU or CPU do not keep their rate: until the end of the load, or when the other one works too.",
        "The share that is kept.",
        "Look at heat and power of NODE under load (nvidia-smi -q -d PERFORMANCE, turbostat), and run burn on it again: "
        "hpcaccept submit --nodelist NODE --suite burn.",
        "A busy neighbour; the limits are ours, no fleet has published this number.",
        "unit/checks/test_burn.py::test_a_clock_that_falls_to_a_quarter_misses_its_limit",
    )
    XID = About(
        "xid",
        "The driver reported an Xid after which the GPU must be reset or repaired.",
        "The number and how often.",
        "Look the number up in NVIDIA's Xid catalog. " + _RESET,
        "An Xid that a faulty program can cause does not count here.",
        "unit/checks/test_health.py::test_an_xid_of_the_run_is_judged_by_its_class",
    )
    KERNEL_FAULT = About(
        "kernel-fault",
        "The kernel's log reports broken hardware: machine checks, PCIe or disk errors, Xids.",
        "The lines themselves.",
        "Read dmesg -T on NODE around these lines; drain it, and hpcaccept bundle --node NODE for the vendor.",
        "A corrected error now and then: the limit of those is ours.",
        "unit/checks/test_kernel_log.py::test_every_fault_of_a_bad_day_is_named_with_its_place",
    )

    # --- links and adapters ---

    LINK_SLOW = About(
        "link-slow",
        "One way between host and GPU, two GPUs or two nodes is slow beside its like, or beside its nominal rate.",
        "The share of the median of like ways, or of the nominal rate, with both ends.",
        "Look at that way: cable, port, slot width (lspci -vv), P2P and ACS settings; exchange the cable, or "
        "measure both ends with other partners "
        "(hpcaccept submit --nodelist NODE,…).",
        "Two kinds of links that the driver calls by one name.",
        "unit/checks/test_peer_to_peer.py::test_a_slow_cell_is_named_on_one_node_alone",
    )
    RAIL_SLOW = About(
        "rail-slow",
        "One rail (adapters of one number on all nodes) carries less than the others, or less than its line.",
        "The share of the median of the rails, or of the line rate.",
        "Read the counters of its ports and of its switch (ibqueryerrors, ethtool -S); pairs names the node: "
        "hpcaccept submit --suite fabric.",
        "Other traffic on the fabric.",
        "unit/checks/test_collectives.py::test_a_slow_rail_is_named_by_its_share",
    )
    GROUP_SLOW = About(
        "group-slow",
        "A group of nodes exchanges more slowly than other groups of its size that ran beside it.",
        "The share of the median of the other groups, and the nodes; the fact group_share has the smallest slow groups.",
        "Look at what these nodes share: the uplinks of their leaf, routes, a rail (ibqueryerrors, ibdiagnet, the switch's counters). Which node "
        "or link it is: hpcaccept isolate --run latest --check allreduce.",
        "Other traffic on the fabric; leaves that are not alike by design.",
        "unit/checks/test_group_collectives.py::test_a_slow_group_is_named_and_so_are_the_smallest_that_contain_the_fault",
    )
    CARDS_UNUSED = About(
        "cards-unused",
        "Groups of nodes reach a small part of what their network cards can carry, whatever other groups reach.",
        "The bus bandwidth over the ceiling that follows from the rate of the active ports.",
        "Which cards are used? NCCL_DEBUG=INFO, NCCL_IB_HCA; then GPUDirect and RoCE on the hosts: hpcaccept submit --suite fabric, "
        "checks gpudirect and roce.",
        "Small messages; cards that are there and are meant for storage only.",
        "unit/checks/test_group_collectives.py::test_groups_that_leave_their_cards_idle_miss_the_limit",
    )
    GPU_LINKS_MISSING = About(
        "gpu-links-missing",
        "A GPU does not reach others of its node over as many NVLinks as its board has.",
        "The pairs, and the word of nvidia-smi topo -m for each; what the board has.",
        "On NODE: nvidia-smi nvlink -s, nvidia-smi -q (Fabric), systemctl status nvidia-fabricmanager; dmesg (Xid 74, SXid). Restart the fabric "
        "manager or power-cycle; a second time: the board is to be replaced.",
        "A board with other links than the one that is known by this model: give the check topology its links in the suite.",
        "unit/checks/test_topology.py::test_a_gpu_that_has_lost_its_links_is_named_and_the_others_are_not",
    )
    CARD_FAR = About(
        "card-far",
        "A GPU has no network card of its own behind the same PCIe switches: its traffic crosses the processor.",
        "The nearest card, and the way to it in the words of nvidia-smi topo -m.",
        "See whether a card is missing on NODE (lspci -d 15b3:, ibstat), in another slot, or below a switch with ACS (lspci -vv); check gpudirect.",
        "A machine with another design than the one that was built for training: give the check topology its card in the suite.",
        "unit/checks/test_topology.py::test_a_gpu_without_a_card_of_its_own_is_named",
    )
    TOPOLOGY_ODD = About(
        "topology-odd",
        "GPUs and cards of a node are connected in another way, or under other names, than on most nodes.",
        "The ways that differ, with what most nodes have.",
        "Make NODE like the others: slots of cards, BIOS (NUMA nodes per socket, PCIe bifurcation), names of devices (udev, rdma link).",
        "Nodes of two designs in one run: test them apart.",
        "unit/checks/test_topology.py::test_a_node_that_differs_from_most_is_named_by_its_ways",
    )
    GPUDIRECT_MISSING = About(
        "gpudirect-missing",
        "Network cards of a node cannot register memory of its GPUs: data goes through host memory.",
        "No peer memory module, and why DMA buffers cannot be used.",
        "On NODE: modprobe nvidia_peermem (and load it at boot), or install the driver's open kernel modules on a kernel from 5.12 on.",
        "A distribution's older kernel with DMA buffers ported back.",
        "unit/checks/test_gpudirect.py::test_without_peer_memory_and_dma_buffers_the_node_fails",
    )
    ACS_REDIRECTS = About(
        "acs-redirects",
        "Bridges between a GPU and its network card redirect their traffic to the processor (ACS).",
        "The bridges with request or completion redirection in their ACS control register.",
        "On NODE, as root: setpci -s BRIDGE ECAP_ACS+6.w=0000 for each of them, at every boot; or turn ACS off in the BIOS.",
        "Hosts that give devices to virtual machines need ACS.",
        "unit/checks/test_gpudirect.py::test_a_bridge_that_redirects_is_named_with_its_gpu_and_card",
    )
    IOMMU_TRANSLATES = About(
        "iommu-translates",
        "An IOMMU translates what a GPU or network card reads and writes.",
        "The type of the device's IOMMU group.",
        "Boot NODE with iommu=pt (Intel: intel_iommu=on iommu=pt), or turn the IOMMU off in the BIOS.",
        "Hosts whose policy asks for translation (confidential computing): take the metric out in the suite.",
        "unit/checks/test_gpudirect.py::test_a_device_behind_a_translating_iommu_is_named",
    )
    ROCE_SETUP = About(
        "roce-setup",
        "A RoCE port is not set up for a lossless fabric: address type, MTU or congestion control.",
        "The port, its interface, and what was found.",
        "On NODE: cma_roce_mode -d DEVICE -m 2, ip link set INTERFACE mtu 9000, echo 1 > /sys/class/net/INTERFACE/ecn/roce_np/enable/3 (and roce_rp); "
        "the same on all nodes and, for the MTU, on the switches.",
        "Another priority carries RoCE, a smaller MTU is meant, or the fabric drops by design: give the check roce its priority and least_mtu_bytes in the suite.",
        "unit/checks/test_roce.py::test_a_port_that_is_not_set_up_is_named_by_what_it_lacks",
    )
    ROCE_CONGESTION = About(
        "roce-congestion",
        "RoCE packets were lost or marked although each node sent to one other only.",
        "Port, counter and by how much.",
        "Compare PFC, trust and DSCP of NODE (mlnx_qos -i INTERFACE) and of its switch port with those of the others; then cables: ib_links.",
        "Other jobs on the fabric during the run; the check behind collectives without many_to_one.",
        "unit/checks/test_roce.py::test_packets_that_are_lost_or_marked_between_pairs_fail_that_port",
    )
    PORT_DOWN = About(
        "port-down",
        "A network port is not up, or slower than those of the other nodes.",
        "Which ports, and what they reach elsewhere.",
        "Read ibstat (or ip link) on NODE; reseat or exchange cable and transceiver, look at the port of the switch.",
        "A port that is unused by design on one node: name the expected ports in the suite.",
        "unit/checks/test_ib_links.py::test_a_port_that_is_up_on_the_others_and_not_here_is_named",
    )
    PORT_ERRORS = About(
        "port-errors",
        "Error counters of a network port rose during the run.",
        "Port, counter and by how much.",
        "Clean or exchange cable and transceiver of that port on NODE, then run again: hpcaccept submit "
        "--nodelist NODE,… --suite fabric.",
        "A cable that somebody touched during the run.",
        "unit/checks/test_ib_links.py::test_one_rise_of_what_never_rises_is_a_fault_that_names_port_and_counter",
    )
    TRANSPORT_FALLBACK = About(
        "transport-fallback",
        "A rank used a slower transport than its node has: TCP instead of RDMA, host memory instead of P2P.",
        "What NCCL's log says was used, what the node has, and NCCL's reason.",
        "RDMA: is /dev/infiniband in the image, are libibverbs and the network's plug-in, does ulimit -l allow "
        "it, does ibv_devinfo see the adapter? "
        "P2P and NVLS: nvidia-smi topo -m, fabric manager, IOMMU and ACS on NODE.",
        "Settings of NCCL in the environment that forbid it on purpose.",
        "unit/checks/shared/test_nccl_transport.py::test_tcp_where_the_nodes_have_rdma_fails_on_that_rank",
    )

    # --- surroundings ---

    CPU_TAKEN = About(
        "cpu-taken",
        "A rank got hardly any of its processor: nothing that it measured means anything.",
        "The share of its time that it lost.",
        "See what else runs on NODE (top), and how the ranks are bound (srun --cpu-bind=verbose); then run again.",
        "Several ranks bound to one core by the launcher.",
        "unit/checks/test_os_noise.py::test_a_rank_that_never_has_its_core_misses_the_limit",
    )
    REQUIREMENT_MISSED = About(
        "requirement-missed",
        "A machine lacks what a marketplace demands: memory, cores, disk, one GPU model, a driver that is new enough.",
        "The number and the rule, with its source and date.",
        "hpcaccept checks explain requirements says what each rule means; mend NODE, or give the rule another "
        "limit in the suite.",
        "A limit of the job itself (--mem, --cpus-per-task).",
        "unit/checks/test_requirements.py::test_an_old_driver_is_too_old",
    )
    TOOL_FAULT = About(
        "tool-fault",
        "A tool of the vendor (dcgmi diag, AzNHC) found a fault.",
        "Its own words, quoted and kept in outputs/.",
        "Do what the tool says in the quoted line; its whole output is in outputs/ of the run folder. " + _AGAIN,
        "Limits of the tool for another size of machine.",
        "unit/checks/test_dcgm_diag.py::test_a_faulty_gpu_is_named_with_its_serial",
    )
    DRIFT = About(
        "drift",
        "A node differs from most in what should be the same (driver, kernel, firmware, settings).",
        "The fact, what it is here, and what most nodes have.",
        "Make it on NODE what it is on the other nodes, or test these nodes apart.",
        "Nodes that differ on purpose.",
        "unit/judge/questions/test_missing.py::test_the_node_that_differs_from_the_majority_is_warned_of",
    )
    DRIFT_TIE = About(
        "drift-tie",
        "Nodes differ in what should be the same, and no value has the majority: nobody is the odd one.",
        "The fact and its values, with the number of nodes that have each.",
        "Make it the same everywhere, or test these nodes apart.",
        "Nodes that differ on purpose.",
        "unit/judge/questions/test_missing.py::test_of_two_nodes_that_differ_nobody_is_the_odd_one",
    )

    # --- what is not there ---

    NODE_NOT_ENTERED = About(
        "node-not-entered",
        "Nothing could be started on a node: its container, its Python or its MPI did not start. Nothing is said "
        "of its hardware.",
        "The words of the launcher or the container runtime.",
        "hpcaccept doctor asks every node what is missing; mend that and submit again.",
        _NONE_KNOWN,
        "unit/test_lies.py::test_blame_a_container_that_does_not_start_on_a_node_is_not_its_fault",
    )
    RANK_LOST = About(
        "rank-lost",
        "A rank of the node died, hung or stopped in this check.",
        "How its process ended, what its last words were, and what was running.",
        "Read logs/ in the run folder and the log of NODE itself (dmesg, journalctl): out of memory, a signal, a "
        "driver that reset?",
        "Somebody who killed the process.",
        ""
        "unit/judge/questions/test_missing.py::test_the_node_that_was_lost_during_a_check_is_told_how_and_not_run_for_what_came_after",
    )
    AFTER_LOSS = About(
        "after-loss",
        "The node was left out of this check, because it had lost ranks before.",
        "What it had lost.",
        "Mend what rank-lost reports of NODE first; then: hpcaccept submit --nodelist NODE.",
        _NONE_KNOWN,
        "unit/judge/questions/test_missing.py::test_a_node_that_was_left_out_is_told_so",
    )
    CUT_SHORT = About(
        "cut-short",
        "The rank was ended in the middle of the check, because another one was lost: it is a victim.",
        "Its last words.",
        "Look for rank-lost in this report: what it says is the cause. Then run again.",
        _NONE_KNOWN,
        "unit/judge/questions/test_missing.py::test_a_victim_is_called_one",
    )
    NODE_SILENT = About(
        "node-silent",
        "A node left no record of this check, and nobody knows why.",
        "How many of its ranks never reported.",
        "Read logs/ in the run folder, and ask the scheduler for NODE: scontrol show node NODE.",
        "A shared file system that shows files late: hpcaccept collect, then hpcaccept report.",
        "unit/judge/questions/test_missing.py::test_a_node_that_never_reported_is_named",
    )
    NODE_ABSENT = About(
        "node-absent",
        "Fewer nodes are in the job than were asked for.",
        "How many are.",
        "Nothing is known of the others: run again with as many nodes as there are, or find out why they were not "
        "given (sinfo -R).",
        _NONE_KNOWN,
        "unit/judge/test_acceptance.py::test_a_node_that_was_asked_for_and_is_not_in_the_job_keeps_the_run_open",
    )
    JOB_NOT_STARTED = About(
        "job-not-started",
        "The job has not started, so nothing was measured.",
        "That neither driver nor scheduler reports a start.",
        "hpcaccept status says where it stands; hpcaccept wait waits for it.",
        _NONE_KNOWN,
        "unit/judge/questions/test_missing.py::test_a_job_that_has_not_started_says_so",
    )
    JOB_GOES_ON = About(
        "job-goes-on",
        "The job has not ended: this number may still come.",
        "That the driver has had no last word.",
        "hpcaccept wait, then hpcaccept report.",
        _NONE_KNOWN,
        "unit/judge/questions/test_missing.py::test_while_the_job_goes_on_the_missing_node_is_not_blamed_for_it",
    )
    JOB_ENDED_EARLY = About(
        "job-ended-early",
        "The job's own driver ended it before this was measured: no time left, a full disk, nothing that could be started.",
        "The driver's last word.",
        _RESUBMIT,
        _NONE_KNOWN,
        "unit/judge/questions/test_missing.py::test_the_drivers_last_word_says_why",
    )
    JOB_CUT_BLAME = About(
        "job-cut-blame",
        "A speed that fell short in a run that somebody ended: what would have cleared or confirmed it was never measured.",
        "The finding, and what ended the job.",
        "Run again, to the end: a run that was cut short blames nobody for being slow.",
        "Every slow unit of such a run may be one.",
        "unit/app/run/test_job_end.py::test_a_cancelled_run_blames_nobody_for_being_slow_and_says_what_it_found",
    )
    JOB_CANCELLED = About(
        "job-cancelled",
        "Somebody cancelled the job before this was measured.",
        "What the scheduler says.",
        _RESUBMIT,
        _NONE_KNOWN,
        "unit/test_codes.py::test_what_ended_the_job_has_a_code_of_its_own",
    )
    JOB_TIMEOUT = About(
        "job-timeout",
        "The scheduler ended the job at its time limit before this was measured.",
        "What the scheduler says.",
        "Submit again with more time (--time), or a shorter suite.",
        _NONE_KNOWN,
        "unit/test_codes.py::test_what_ended_the_job_has_a_code_of_its_own",
    )
    JOB_NODE_FAIL = About(
        "job-node-fail",
        "The scheduler ended the job because a node failed.",
        "What the scheduler says, with the node where it names one.",
        "sinfo -R and scontrol show node say which and why; submit again without it (--exclude).",
        "A slurmd that was restarted.",
        "unit/test_codes.py::test_what_ended_the_job_has_a_code_of_its_own",
    )
    JOB_OUT_OF_MEMORY = About(
        "job-out-of-memory",
        "The job was ended because it used more memory than it was given.",
        "What the scheduler says.",
        "Submit again with more memory (--slurm mem=0 takes all of a node).",
        _NONE_KNOWN,
        "unit/test_codes.py::test_what_ended_the_job_has_a_code_of_its_own",
    )
    JOB_FAILED = About(
        "job-failed",
        "The job ended without a last word of its driver, and the scheduler gives no reason of its own.",
        "What the scheduler says.",
        "Read logs/ in the run folder: the last lines of the job's output say more; then submit again.",
        _NONE_KNOWN,
        "unit/test_codes.py::test_what_ended_the_job_has_a_code_of_its_own",
    )
    RECORD_UNREADABLE = About(
        "record-unreadable",
        "A line of a journal cannot be read, or speaks for somebody else; it counts for nobody.",
        "The file and the beginning of the line.",
        "Was the disk full, or the node lost? What was before it is kept and judged; submit again for the rest.",
        _NONE_KNOWN,
        "unit/judge/questions/test_missing.py::test_a_torn_line_is_an_error_with_its_text",
    )
    NUMBER_ABSENT = About(
        "number-absent",
        "A record says that the check was measured, and lacks a number that it must have.",
        "The metric.",
        "This is a fault of the check: keep the run folder and report it (hpcaccept bundle --node NODE).",
        _NONE_KNOWN,
        "unit/judge/questions/test_missing.py::test_a_measured_record_that_lacks_a_metric_is_an_error_and_never_a_pass",
    )
    NUMBER_ABSENT_HERE = About(
        "number-absent-here",
        "Most like units have a number that this one has neither measured nor called unsupported.",
        "How many of the like units have it.",
        "Compare versions and settings of NODE with the others; if they agree, keep the run folder and report "
        "it (hpcaccept bundle --node NODE).",
        _NONE_KNOWN,
        ""
        "unit/judge/questions/test_missing.py::"
        "test_one_gpu_of_many_that_lacks_a_variant_which_its_like_have_is_found_and_the_run_is_not_accepted",
    )
    CHECK_NOT_RUN = About(
        "check-not-run",
        "A check was not measured, for a cause that it names: nothing is said of the hardware.",
        "The cause.",
        "Provide what the cause names on NODE and run again, or leave the check out on purpose (--skip, or "
        "required = false in the suite).",
        _NONE_KNOWN,
        "unit/judge/questions/test_missing.py::test_what_was_not_measured_says_its_cause",
    )
    CHECK_ERROR = About(
        "check-error",
        "A check broke down: a fault of hpcaccept or of its surroundings, not of the hardware.",
        "The words of the error.",
        "Read logs/ in the run folder, then run again; if it stays, keep the folder and report it (hpcaccept "
        "bundle --node NODE).",
        _NONE_KNOWN,
        "unit/judge/questions/test_missing.py::test_what_was_not_measured_says_its_cause",
    )
    TOOL_ERROR = About(
        "tool-error",
        "A tool that a check runs did not end in time, or failed for a reason that says nothing about the hardware.",
        "Its words, kept in outputs/.",
        "Run the tool by hand on NODE; its output is in outputs/ of the run folder.",
        _NONE_KNOWN,
        "unit/test_lies.py::test_row_14_a_tool_that_hangs_is_an_error_with_its_name",
    )
    OUTPUT_UNKNOWN = About(
        "output-unknown",
        "The output of a tool has none of the known forms, so nothing is made of it.",
        "The output itself, kept in outputs/.",
        "Compare the version of the tool with the one in the docs; keep the run folder and report it, so that "
        "this form becomes known.",
        _NONE_KNOWN,
        "unit/checks/test_gpu_burn.py::test_its_help_is_not_understood",
    )
    VARIANT_LEFT_OUT = About(
        "variant-left-out",
        "A number format or operation was asked for by name, and no rank has measured it or said why not.",
        "Its name, and that records of the check were made.",
        "This is a fault of the check: keep the run folder and report it.",
        _NONE_KNOWN,
        "unit/judge/questions/test_missing.py::test_a_number_format_that_every_rank_left_out_is_no_pass",
    )
    VARIANT_UNSUPPORTED = About(
        "variant-unsupported",
        "The device cannot do one variant of a check; the others are judged.",
        "What the library or the driver says.",
        "Nothing: it is shown so that nobody takes it for measured.",
        _NONE_KNOWN,
        "unit/judge/questions/test_missing.py::test_a_variant_that_a_device_cannot_do_is_shown_and_does_not_count",
    )

    # --- hpcaccept node-check: one node, outside of any run ---

    MEMORY_HELD = About(
        "memory-held",
        "Less memory is available on an empty node than the site expects.",
        "MemAvailable as a share of MemTotal, and the limit of node-check.toml.",
        "See on NODE what a former job has left: du -sh /dev/shm, ps -e --sort=-rss, slabtop; a reboot frees the rest.",
        "A check while a job runs: set memory_available_share only where the gate runs on empty nodes.",
        "unit/app/node_check/test_host.py::test_memory_that_a_job_has_left_behind_is_found",
    )
    DISK_FAILED = About(
        "disk-failed",
        "A RAID runs without one of its disks, an NVMe controller was given up, or a file system has become read-only.",
        "The state in /proc/mdstat, in /sys/class/nvme, or the flag of the mounted file system.",
        "Drain NODE; read dmesg and smartctl -a there, exchange the disk, and check the file system before it is written to.",
        "A RAID that is being rebuilt after its disk was exchanged.",
        "unit/app/node_check/test_host.py::test_a_raid_without_one_of_its_disks_is_found",
    )
    DISK_FULL = About(
        "disk-full",
        "A file system has less room, or fewer inodes, than the site expects.",
        "Free bytes or inodes, and the limit of node-check.toml.",
        "Remove on NODE what former jobs have left: du -xsh on the folder that is named.",
        "A job that is just writing, where the gate also runs beside jobs.",
        "unit/app/node_check/test_storage.py::test_a_folder_without_room_is_found",
    )
    MOUNT_MISSING = About(
        "mount-missing",
        "A file system that the site expects is not mounted, or another one is in its place.",
        "What /proc/self/mountinfo has at that place.",
        "Mount it on NODE: systemctl list-units --failed --type=mount, then mount -a; a job would write to the local disk.",
        "A gate in a mount namespace of its own.",
        "unit/app/node_check/test_storage.py::test_a_file_system_that_is_not_mounted_is_found",
    )
    MOUNT_SILENT = About(
        "mount-silent",
        "A file system is mounted and answers with an error, or not at all.",
        "The error, or that statvfs has not returned before the deadline (not a FAIL then: the server may be gone for all nodes).",
        "Look at the server first, then at the client on NODE (nfsstat -m, lctl dl, dmesg); a stale handle needs a new mount.",
        "A server that is being restarted.",
        "unit/app/node_check/test_gate.py::test_a_mount_that_hangs_costs_only_its_own_answer_and_is_named",
    )
    CLOCK_OFF = About(
        "clock-off",
        "The kernel says that nothing holds its clock, or that it may be wrong by more than the site allows.",
        "Status and largest error as adjtimex(2) gives them.",
        "Start the time daemon on NODE and look at its sources: chronyc tracking, chronyc sources.",
        "The first minutes after a boot; a virtual machine whose hypervisor sets the clock: clock = false in node-check.toml.",
        "unit/app/node_check/test_host.py::test_a_clock_that_nothing_holds_is_found",
    )
    DEEP_FAILED = About(
        "deep-failed",
        "The last hpcaccept node-check --deep has found a fault.",
        "The codes of that run, and its folder.",
        "Read the report of that run on NODE; after the repair measure again: hpcaccept node-check --deep.",
        "Those of the checks in its suite.",
        "unit/app/node_check/test_deep_cache.py::test_a_deep_result_that_failed_is_a_fail",
    )
    DEEP_STALE = About(
        "deep-stale",
        "The result of hpcaccept node-check --deep is missing, too old, of the future, or could not be judged.",
        "Its age and the largest age that node-check.toml allows.",
        "Measure NODE while it is idle: hpcaccept node-check --deep; see whether its timer runs.",
        "A node that was never idle for so long: raise deep_max_age_s.",
        "unit/app/node_check/test_deep_cache.py::test_a_stale_result_is_unknown_and_never_a_pass",
    )
    GATE_LATE = About(
        "gate-late",
        "A part of hpcaccept node-check gave no answer before the deadline, or died.",
        "Which part, and how it ended.",
        "See on NODE what it hangs on: ps -eo pid,stat,wchan:30,args | grep ' D', and dmesg.",
        "A node whose processors are all taken by a job with real-time priority.",
        "unit/app/node_check/test_gate.py::test_a_part_that_dies_is_unknown_and_named",
    )
