"""Tasks enter Enroot containers under Slurm with Pyxis, its SPANK plugin (https://github.com/NVIDIA/pyxis).

A named container is created by the first step and entered again by the next ones instead of being unpacked again. Its name is the
run's own and it is removed at the end: where Pyxis keeps names for all jobs (``container_scope=global``, its default), a name that
two runs share would measure the second one in the image of the first. A failure here is an ERROR of the image or the site, never the
node's FAIL.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from hpcaccept.container import _enroot_errors, _inside
from hpcaccept.container._fault import Fault, Sign, first_of
from hpcaccept.container._login_probe import LoginProbe

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hpcaccept.model.plan import Image

NEEDS = ("srun",)
IMAGE_ENDINGS = (".sqsh", ".squashfs")
USUAL = 0
#: "$1": the container of this run. Under its name Pyxis keeps a container as pyxis_NAME, or as pyxis_JOB_NAME (container_scope=job).
#: Slurm is asked without what the user may have set for squeue's output.
_SWEEP = (
    "command -v enroot >/dev/null || exit 0; "
    'jobs=$(env -i PATH="$PATH" ${SLURM_CONF:+SLURM_CONF="$SLURM_CONF"} '
    'squeue -a -h -w "$SLURMD_NODENAME" -u "$(id -u)" -t R,S,CG,CF -o %A) || exit 0; '
    'for job in $jobs; do [ "$job" = "$SLURM_JOB_ID" ] || exit 0; done; '
    "enroot list | while read -r name; do case $name in "
    '"pyxis_$1" | "pyxis_${SLURM_JOB_ID}_$1") ;; '
    "pyxis_hpcaccept-* | pyxis_[0-9]*_hpcaccept-*) "
    'enroot remove --force "$name" >&2 && echo "$SLURMD_NODENAME $name" ;; '
    "esac; done"
)
#: What Slurm says without Pyxis.
_ABSENT = Sign(
    "no runtime",
    r"unrecognized option '--container-image",
    "this Slurm has no Pyxis: srun does not know --container-image",
    "Install Pyxis, or leave --container-image out; 'srun --help | grep container' shows whether it is there.",
)
#: What Pyxis says of itself, wording of 0.15 to 0.24.
_SIGNS = (
    Sign(
        "does not start",
        r"pyxis: couldn't chdir to ",
        "the working folder does not exist inside the container",
        "Name one of the image with container_workdir, or leave it out.",
    ),
    Sign(
        "does not start",
        r"pyxis: (container exited too soon|if the image has an unusual entrypoint)",
        "the image's entry point ended instead of starting the command",
        "Leave container_entrypoint off: hpcaccept needs none.",
    ),
    Sign(
        "does not start",
        r"pyxis: (child \d+ terminated with signal (9|15)|received SIGTERM)",
        "Enroot was ended before the container had started (out of memory, or out of time)",
        "See the node's kernel log; for big images import once ('enroot/import'), or raise --start-timeout.",
    ),
    Sign(
        "does not start",
        r"pyxis: .*(failed|couldn't|error|terminated unexpectedly|was not started)|failed to invoke spank plugin stack",
        "Pyxis could not start the container",
        "See the Enroot log above in the step's output under logs/.",
    ),
)


def takes_name(reference: str) -> bool:
    """REGISTRY#PATH:TAG, which Enroot pulls."""
    return not reference.startswith(("oras://", "library://"))


def srun_flags(image: Image) -> Sequence[str]:
    """``--container-image`` and what belongs to it. Secrets never stand here: Enroot reads its own credentials file.

    The ranks' command needs no prefix, and no flag asks for GPUs: Slurm gives the task its devices, and Enroot's hook mounts the
    driver where the image sets NVIDIA_VISIBLE_DEVICES (see `hpcaccept.container.enroot`).
    """
    return (
        f"--container-image={image.reference}",
        *([f"--container-name={image.name}"] if image.name else []),
        "--no-container-mount-home",
        *([f"--container-mounts={','.join(image.mounts)}"] if image.mounts else []),
        *([f"--container-workdir={image.workdir}"] if image.workdir else []),
        f"--container-{'writable' if image.writable else 'readonly'}",
        f"--{'' if image.entrypoint else 'no-'}container-entrypoint",
        # Pyxis gives the caller's environment to the container, but where the image sets a variable too, the image wins.
        *([f"--container-env={','.join(image.environment)}"] if image.environment else []),
    )


def unfit(image: Image) -> str:
    """Why the image cannot be entered as it is asked for."""
    # Pyxis takes what begins with a dot or a slash for a file, and the rest for a name in a registry.
    if image.reference.endswith(IMAGE_ENDINGS) and not image.reference.startswith(("./", "../", "/")):
        return (
            f"Pyxis would look for {image.reference!r} in a registry: write the path of a file as ./{image.reference}"
        )
    return ""


def digest_command(reference: str) -> Sequence[str]:
    """Ask the registry, with Enroot, which writes names as Pyxis does."""
    return ("enroot", "digest", f"docker://{reference.removeprefix('docker://')}")


def pinned(reference: str, digest: str) -> str:
    """Put the digest in the place of the tag: each node pulls by itself, some while the job has waited for long."""
    return f"{re.sub(r':[^:/#]+$', '', reference)}@{digest}"


def login_probe() -> LoginProbe:
    """``srun`` here knows the flags of the plugin, or refuses the job."""
    return LoginProbe(
        ("srun", "--help"),
        "--container-image",
        "srun --help knows no --container-image",
        "Install Pyxis on login node and nodes, or use --container-runtime enroot.",
    )


def before_job(image: Image) -> Sequence[str]:
    """Remove containers of runs that could not do it themselves: whose job was ended while they unpacked, or whose node was lost."""
    return ("sh", "-c", _SWEEP, "sh", image.name) if image.name else ()


def after_job(image: Image) -> Sequence[str]:
    """Remove the container, under the names that it has with ``container_scope`` global or job."""
    return ("enroot", "remove", "--force", f"pyxis_{image.name}") if image.name else ()


def explain(stderr: str) -> Fault | None:
    """Cause and remedy when Pyxis or Enroot could not start the container, or nothing could be started in it."""
    inside = first_of(_inside.SIGNS, stderr)
    if "pyxis" not in stderr:
        return first_of([_ABSENT], stderr) or inside
    # In the log of an import that worked nothing is wrong; the container's failures come before those in it.
    outside = first_of((*_enroot_errors.SIGNS, *_SIGNS), stderr) if first_of(_SIGNS, stderr) else None
    general = outside is None or outside.kind == "does not start"
    return inside or outside if general else outside
