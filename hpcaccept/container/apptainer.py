"""Enters an image with Apptainer, or with Singularity, its former name (https://apptainer.org/docs/user/latest/).

Each rank enters the ``.sif`` by itself. Network, IPC and ``/dev`` are the node's, and ``/tmp`` is mounted: through it and ``/dev/shm``
Open MPI's ranks of one node find each other. (Where Slurm's TmpFS is another folder, ``--container-mounts`` has to name it.) The home and the working folder stay outside, as with every other runtime. The
environment comes along: with ``--cleanenv`` neither PMIx nor Slurm's or NCCL's settings would reach the ranks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpcaccept.container import _inside
from hpcaccept.container._fault import Fault, Sign, first_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hpcaccept.model.plan import Image

NEEDS = ("container",)
#: Its own format, and the bare squashfs files of Enroot's.
IMAGE_ENDINGS = (".sif", ".sqsh", ".squashfs")
PROGRAMS = ("apptainer", "singularity")
USUAL = 4

_SCHEMES = ("docker://", "oras://", "library://")
#: Only the node knows which of the two programs it has, and where Slurm's PMIx keeps the files of this step (below the spool folder of
#: slurmd, which sites place and name per node). A fixed script: everything that varies is an argument.
_START = (
    'verb=$1; shift; exec "$(command -v apptainer || command -v singularity || echo apptainer)" "$verb"'
    ' ${PMIX_SERVER_TMPDIR:+--bind "$PMIX_SERVER_TMPDIR"} "$@"'
)
#: Ranks in user namespaces of their own may not read each other's memory, and Open MPI 4 waits for ever when it tries.
_APART = {"OMPI_MCA_btl_vader_single_copy_mechanism": "none"}
_PULL_ONCE = "Pull the image once on the login node ('apptainer pull FILE.sif docker://…'), and name the .sif."
_MOUNT_TMPFS = "Mount that into the container: 'scontrol show config | grep TmpFS' says DIR, --container-mounts DIR:DIR (/tmp is mounted always)."

#: Wording of Apptainer 1.4, recorded (tests/data/apptainer); SingularityCE has the same up to details.
_SIGNS = (
    Sign(
        "no runtime",
        r"(exec: |: )(apptainer|singularity): (command )?not found|No such file or directory: 'apptainer'",
        "neither apptainer nor singularity is on the PATH of the node",
        "Install Apptainer there, or load its module where ranks start.",
    ),
    Sign(
        "not permitted",
        r"Failed to create (user|container) namespace|not allowed to create user namespace",
        "the node does not let users make namespaces",
        "On the node: sysctl user.max_user_namespaces greater than 0, on Debian and Ubuntu kernel.unprivileged_userns_clone=1; "
        "or the package apptainer-suid.",
    ),
    Sign(
        "not permitted",
        r"failed to open /dev/fuse: ",
        "this user may not use FUSE on the node, with which Apptainer mounts images",
        "On the node: chmod 666 /dev/fuse (as udev has it), or the package apptainer-suid.",
    ),
    Sign(
        "not permitted",
        r"is not readable by the current user",
        "this user may not read the image file",
        "Let the user read it: chmod a+r FILE.sif.",
    ),
    Sign(
        "image missing",
        r"could not open image .*image format not recognized",
        "the file is not an image that Apptainer knows",
        "Make it again: apptainer pull FILE.sif docker://IMAGE.",
    ),
    Sign(
        "image missing",
        r"could not open image .*no such file or directory",
        "the image file does not exist where the ranks start",
        "Give a path on a file system that every node mounts.",
    ),
    Sign(
        "pull refused",
        r"FATAL: .*(toomanyrequests|TOOMANYREQUESTS|\b429\b)",
        "the registry limits how often it is asked",
        _PULL_ONCE,
    ),
    Sign(
        "pull refused",
        r"FATAL: .*(unauthorized|UNAUTHORIZED|authentication required|denied|DENIED|\b40[13]\b)",
        "the registry refused the image",
        "apptainer registry login --username USER docker://REGISTRY, or check the image's name.",
    ),
    Sign(
        "image missing",
        r"FATAL: .*(manifest unknown|MANIFEST_UNKNOWN|NAME_UNKNOWN|name unknown|\b404\b)",
        "the registry does not know the image",
        "Check name and tag or digest: --container-image docker://REGISTRY/PATH:TAG.",
    ),
    Sign(
        "image missing",
        r"FATAL: .*(invalid reference format|unable to parse image name)",
        "the image's name is not one that Apptainer understands",
        "Write it as docker://REGISTRY/PATH:TAG, oras://REGISTRY/PATH:TAG, or as the path of a .sif.",
    ),
    Sign(
        "registry unreachable",
        r"FATAL: .*(no such host|i/o timeout|[Cc]onnection (refused|reset|timed out)|TLS handshake|network is unreachable|x509: )",
        "the registry cannot be reached from the nodes",
        _PULL_ONCE,
    ),
    Sign(
        "no space",
        r"no space left on device|[Dd]isk quota exceeded",
        "no space where images are pulled or unpacked",
        "Free the folders APPTAINER_CACHEDIR (~/.apptainer/cache) and APPTAINER_TMPDIR (/tmp) on the node, or point them elsewhere; a .sif "
        "that is mounted needs neither.",
    ),
    Sign(
        "unpacking failed",
        r"bad superblock|image is corrupted|root filesystem extraction failed|extract command failed|squashfuse\S* exited",
        "the image could not be mounted or unpacked",
        "Is the .sif whole (apptainer sif list FILE.sif)? Else pull or copy it again.",
    ),
    Sign(
        "mount failed",
        r"FATAL: .*(mount source \S+ doesn't exist|while parsing bind|mount hook function failure|destination \S+ doesn't exist)",
        "something that should be mounted into the container cannot be",
        "Name paths that exist on every node: --container-mounts SRC:DST.",
    ),
    Sign(
        "does not start",
        r"failed to set working directory",
        "the working folder does not exist inside the container",
        "Name one of the image with container_workdir, or leave it out.",
    ),
    Sign(
        "MPI cannot join",
        r"ORTE_ERROR_LOG: .*session_dir\.c",
        "Open MPI cannot make its folder, below Slurm's TmpFS",
        _MOUNT_TMPFS,
    ),
    Sign(
        "MPI cannot join",
        r"Signal: Segmentation fault",
        "the ranks crashed as MPI started; Open MPI 5 does so where it cannot make its folder, below Slurm's TmpFS",
        _MOUNT_TMPFS,
    ),
    Sign(
        "python missing",
        r"FATAL: +stat \S*python\S*: no such file or directory",
        "there is no such Python where the ranks start",
        "Name the interpreter that is there: HPCACCEPT_PYTHON=/path/to/python3, or python in hpcaccept.toml.",
    ),
)  # fmt: skip
_GENERAL = Sign(
    "does not start",
    r"FATAL: |Error for command \"(exec|run)\"",
    "Apptainer could not start the container",
    "The whole output of Apptainer is under logs/.",
)


def takes_name(reference: str) -> bool:
    """With a scheme, as ``docker://REGISTRY/PATH:TAG``."""
    return reference.startswith(_SCHEMES)


def unfit(image: Image) -> str:
    """Why the image cannot be entered as it is asked for."""
    reference = image.reference
    # A folder is a sandbox, which Apptainer enters too.
    if takes_name(reference) or reference.endswith(IMAGE_ENDINGS) or reference.startswith(("/", "./", "../")):
        return ""
    return f"Apptainer would take {reference!r} for a file: write docker://{reference.replace('#', '/')}, or the path of a .sif"


def environment(image: Image) -> Mapping[str, str]:
    """Variables under the prefix by which they win over those of the image, and are not evaluated by the image's shell."""
    asked = image.environment
    over = {f"{program}ENV_{name}": value for program in ("APPTAINER", "SINGULARITY") for name, value in asked.items()}
    return {**_APART, **asked, **over, "APPTAINER_NO_EVAL": "1", "SINGULARITY_NO_EVAL": "1"}


def enter(
    image: Image, command: Sequence[str], *, step: str, names: Sequence[str] = (), gpus: bool = False
) -> Sequence[str]:
    """``apptainer exec``, or ``run`` for the image's entry point; ``--nv`` mounts NVIDIA's driver."""
    return (
        "sh",
        "-c",
        _START,
        "sh",
        "run" if image.entrypoint else "exec",
        *(["--nv"] if gpus else []),
        "--no-mount=home,cwd",
        *(["--writable-tmpfs"] if image.writable else []),
        *(f"--bind={mount}" for mount in image.mounts),
        *([f"--pwd={image.workdir}"] if image.workdir else []),
        image.reference,
        *command,
    )


def explain(stderr: str) -> Fault | None:
    """Cause and remedy when Apptainer could not start the container, or nothing could be started in it."""
    # "executable file not found" is said by Apptainer of what it was to start: the general sign comes last.
    return first_of(_SIGNS, stderr) or first_of((*_inside.SIGNS, _GENERAL), stderr)
