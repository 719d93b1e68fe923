"""The past at eighty columns: nothing is broken letter by letter, whatever a GPU is called and wherever it has been."""

from __future__ import annotations

from hpcaccept.model.history import SubjectStory
from hpcaccept.report.views.history import subject_table
from hpcaccept.report.views.on_paper import printed

UUID = "GPU-3f1c22a9-6a41-4bcd-9e2f-0123456789ab"


def test_subjects_with_uuids_fit_a_line_each() -> None:
    stories = [
        SubjectStory(UUID, "1652324000001", "H100", ("node07 cuda:3",), 12, 2, 0, "2026-11-30T18:02:16+00:00"),
        SubjectStory("node07", "", "", ("node07",), 12, 0, 1, ""),
    ]
    lines = printed(subject_table(stories), width=80).splitlines()
    assert len(lines) == 3
    assert lines[1].split() == ["GPU-3f1c22a9…", "1652324000001", "node07", "cuda:3", "12", "2", "0", "2026-11-30"]
    assert lines[2].split() == ["node07", "node07", "12", "0", "1", "never"]


def test_a_gpu_that_was_moved_says_from_where_in_whole_words() -> None:
    story = SubjectStory(UUID, "1652324000001", "H100", ("node03 cuda:1", "node07 cuda:3"), 12, 2, 0, "")
    words = printed(subject_table([story]), width=80).split()
    assert {"node07", "cuda:3", "←", "node03", "cuda:1"} <= set(words)
