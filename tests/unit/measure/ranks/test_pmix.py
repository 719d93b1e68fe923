"""Do the PMIx of host and image fit? What is known to break is refused, what is not known is not held against anybody."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from hpcaccept.measure.ranks import pmix

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("host", "image"),
    [("4.2.2", "4.2.2"), ("4.2.2", "5.0.1"), ("3.1.5", "4.1.2"), ("5.0.6", "3.2.3"), ("2.1.1", "3.1.5"), ("1.2.5", "2.0.3"), ("", "5.0"), ("4.2", "")],
)  # fmt: skip
def test_versions_that_understand_each_other_fit(host: str, image: str) -> None:
    assert pmix.misfit(host, image) == ""


@pytest.mark.parametrize(
    ("host", "image", "whose", "wanted"),
    [("4.2.2", "1.2.4", "image", "1.2.5"), ("2.0.2", "3.1.5", "host", "2.0.3"), ("2.1.0", "4.2.2", "host", "2.1.1"), ("3.1.5", "2.0.1", "image", "2.0.3")],
)  # fmt: skip
def test_versions_before_they_learned_each_others_protocol_do_not_fit(
    host: str, image: str, whose: str, wanted: str
) -> None:
    why = pmix.misfit(host, image)
    assert f"that of the {whose} must be {wanted} or newer" in why
    assert host in why
    assert image in why


def test_the_servers_version_is_what_it_tells_its_tasks() -> None:
    assert pmix.host_version({"PMIX_VERSION": "4.2.2rc2"}) == "4.2.2"
    assert pmix.host_version({}) == ""


def test_the_librarys_version_is_asked_of_the_library() -> None:
    found = pmix.image_version()
    if not shutil.which("ompi_info"):
        pytest.skip("there is no Open MPI of the system, whose PMIx could be asked")
    assert found == "" or found[0].isdigit()


def test_a_task_that_cannot_reach_its_server_says_why(tmp_path: Path) -> None:
    assert "variables" in pmix.unjoinable({"SLURM_PROCID": "0"})
    seen = {"PMIX_RANK": "0", "PMIX_SERVER_TMPDIR": str(tmp_path)}
    assert pmix.unjoinable(seen) == ""
    assert str(tmp_path / "gone") in pmix.unjoinable({**seen, "PMIX_SERVER_TMPDIR": str(tmp_path / "gone")})
