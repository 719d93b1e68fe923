"""What Enroot really writes (tests/data/enroot), alone and passed on by Pyxis and srun --label."""

from __future__ import annotations

import pytest
from support.stand_ins import DATA

from hpcaccept import container

ENROOT = DATA / "enroot"
KINDS = {
    "create_absent": "image missing",
    "create_devices": "unpacking failed",
    "create_missing_unsquashfs": "no runtime",
    "create_text": "image missing",
    "create_torn": "unpacking failed",
    "hook_no_nvidia_cli": "hook failed",
    "hook_permission_denied": "hook failed",
    "missing_curl": "no runtime",
    "missing_jq": "no runtime",
    "missing_parallel": "no runtime",
    "missing_zstd": "no runtime",
    "mount_fails": "mount failed",
    "no_host": "registry unreachable",
    "no_password": "pull refused",
    "no_registry": "registry unreachable",
    "no_tag": "image missing",
    "registry_path_404": "image missing",
    "start_fuse_not_permitted": "not permitted",
    "start_fuse_refused": "not permitted",
    "start_no_fuse_device": "not permitted",
    "start_missing_squashfuse": "no runtime",
    "start_no_shell": "does not start",
    "switchroot_permission": "not permitted",
    "unsquashfs_killed": "does not start",
    "unsquashfs_not_executable": "image missing",
    "wrong_password": "pull refused",
}


def passed_on(text: str) -> str:
    """As Pyxis and srun --label pass Enroot's log on when a container does not start."""
    lines = [
        "pyxis: failed to import docker image",
        "pyxis: printing enroot log file:",
        *(f"pyxis:     {line}" for line in text.splitlines()),
    ]
    return "".join(f"0: slurmstepd: error: {line}\n" for line in lines)


def test_every_recording_has_its_kind() -> None:
    assert {file.stem for file in ENROOT.glob("*.err")} == {*KINDS, "create_good"}


@pytest.mark.parametrize(("name", "kind"), KINDS.items())
@pytest.mark.parametrize("runtime", ["enroot", "pyxis"])
def test_each_failure_is_told_by_its_own_words(name: str, kind: str, runtime: str) -> None:
    text = (ENROOT / f"{name}.err").read_text()
    found = container.load(runtime).explain(text if runtime == "enroot" else passed_on(text))
    assert found is not None
    assert found.kind == kind
    assert "[INFO]" not in found.cause
    assert found.remedy


def test_the_words_of_success_are_no_failure() -> None:
    assert container.load("enroot").explain((ENROOT / "create_good.err").read_text()) is None
    found = container.load("pyxis").explain(passed_on((ENROOT / "create_good.err").read_text()))
    assert found is not None
    assert found.kind == "does not start"
    assert "unpacked" not in found.cause


@pytest.mark.parametrize(
    ("text", "kind", "cause"),
    [
        # Issue 16 A.6: words of Enroot, its helpers and curl.
        ("/usr/lib/enroot/docker.sh: line 388: enroot-aufs2ovlfs: command not found\n[ERROR] x", "no runtime", "aufs2ovlfs"),
        ("enroot-aufs2ovlfs: failed to remove aufs whiteout: etc/.wh.x: Operation not permitted", "not permitted", "layers"),
        ("enroot-switchroot: failed to execute: /etc/rc: Permission denied", "not permitted", "first program"),
        ("curl: (22) The requested URL returned error: 401\n[ERROR] x", "pull refused", "401"),
        ("[ERROR] /etc/enroot/hooks.d/10-site.sh: permission denied", "does not start", "hooks.d"),
        ("[ERROR] Could not change directory: /scratch/404", "does not start", "/scratch/404"),
        ("[INFO] Extracting squashfs filesystem...\nslurmstepd: error: Detected 1 oom_kill event\n[ERROR] x", "does not start", "x"),
    ],
)  # fmt: skip
def test_words_that_mislead_are_not_followed(text: str, kind: str, cause: str) -> None:
    found = container.load("enroot").explain(text)
    assert found is not None
    assert (found.kind, cause in found.cause) == (kind, True)


def test_without_a_container_no_remedy_speaks_of_one() -> None:
    said = "[node1:12] PMIX ERROR: PMIX_ERR_UNREACH in file client/pmix_client.c at line 252\n"
    found = container.load("none").explain(said)
    assert found is not None
    assert "image" not in found.remedy
    assert "Enroot" not in found.remedy
