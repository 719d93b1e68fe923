"""What docker and podman have in common: one container per step on a single machine, with ``mpiexec`` inside it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpcaccept.container import _inside
from hpcaccept.container._fault import Fault, Sign, first_of
from hpcaccept.container._login_probe import LoginProbe

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hpcaccept.model.plan import Image

NEEDS = ("container", "one machine")
#: Wording of Docker 20 to 28 and Podman 4 to 5.
_SIGNS = (
    Sign(
        "no runtime",
        r'exec: "docker-init"',
        "a program that Docker needs is not on this machine",
        "Install tini, as which docker-init comes with Docker's packages.",
    ),
    Sign(
        "no runtime",
        r"Cannot connect to the Docker daemon|permission denied while trying to connect to the [Dd]ocker|docker\.sock"
        r"|cannot set up namespace|newuidmap|Cannot connect to Podman",
        "the container engine does not answer",
        "Does 'docker info' (or 'podman info') work for this user?",
    ),
    Sign(
        "hook failed",
        r"could not select device driver|nvidia-container-cli: |unresolvable CDI devices|failed to inject CDI|no known GPU vendor",
        "the engine cannot give GPUs to containers",
        "Install NVIDIA's container toolkit and run 'nvidia-ctk runtime configure' (docker) or 'nvidia-ctk cdi generate' (podman).",
    ),
    Sign(
        "pull refused",
        r"pull access denied|unauthorized|denied: |no basic auth credentials|toomanyrequests",
        "the registry refused the image",
        "docker login REGISTRY (or podman login), or check the image's name.",
    ),
    Sign(
        "image missing",
        r"manifest unknown|manifest for \S+ not found|No such image|image not known|repository \S+ not found|not found: manifest|invalid reference format"
        r"|repository name must be lowercase|did not resolve to an alias",
        "there is no such image",
        "Check its name and tag or digest: 'docker image ls', or build it: make image.",
    ),
    Sign(
        "registry unreachable",
        r"no such host|i/o timeout|[Cc]onnection (refused|reset)|TLS handshake|network is unreachable|Temporary failure in name resolution",
        "the registry cannot be reached",
        "Build or load the image on this machine: make image, or docker load.",
    ),
    Sign(
        "no space",
        r"no space left on device|disk quota exceeded",
        "no space where the engine unpacks images",
        "docker system df shows what is kept; docker system prune removes what nobody uses.",
    ),
    Sign(
        "mount failed",
        r"error mounting|invalid mount config|bind source path does not exist|statfs \S+: no such file",
        "something that should be mounted into the container cannot be",
        "Name paths that exist: --container-mounts SRC:DST.",
    ),
    Sign(
        "mount failed",
        r"invalid mode: |invalid option type ",
        "the engine does not know an option of a mount",
        "Write --container-mounts SRC:DST or SRC:DST:ro.",
    ),
    Sign(
        "does not start",
        r"workdir \S+ does not exist on container",
        "the working folder does not exist inside the container",
        "Name one of the image with container_workdir, or leave it out.",
    ),
    Sign(
        "not permitted",
        r"error setting rlimit|setrlimit `?RLIMIT_",
        "the engine may not raise a limit of the container, such as that of locked memory",
        "Start the engine where it may: LimitMEMLOCK=infinity in Docker's unit, or outside a container that lacks CAP_SYS_RESOURCE.",
    ),
    Sign(
        "does not start",
        r"docker: Error response from daemon|Error: (?!.*exited)|OCI runtime",
        "the engine could not start the container",
        "The engine's whole output is under logs/.",
    ),
)  # fmt: skip


def takes_name(reference: str) -> bool:
    """REGISTRY/PATH:TAG, without a scheme."""
    return "://" not in reference


def unfit(image: Image) -> str:
    """Why the image cannot be entered as it is asked for."""
    if image.reference.endswith((".sqsh", ".squashfs")):
        return f"{image.reference!r} is an image of Enroot's: use --container-runtime enroot"
    if image.reference.endswith(".sif"):
        return f"{image.reference!r} is an image of Apptainer's: use --container-runtime apptainer"
    if image.reference.startswith("/"):
        return f"{image.reference!r} is a path: the name of an image is expected here, REGISTRY/PATH:TAG"
    if "#" in image.reference:
        return f"{image.reference!r} is Enroot's way of writing: REGISTRY/PATH:TAG is expected here"
    # An engine would make a volume of that name, and keep it.
    named = next((mount for mount in image.mounts if not mount.startswith("/")), "")
    return f"--container-mounts: {named!r} begins with no path of this machine: write /SRC:DST" if named else ""


def name_of(image: Image, step: str) -> str:
    """Name of the container of a step: by it a container is removed whose client was killed."""
    return f"{image.name}-{step}"


def bind(mount: str) -> str:
    """The flag of a mount ``SRC:DST[:FLAGS]``.

    Docker makes what ``--volume`` names and is not there, as root; it does not where ``--mount`` names it. Flags beyond ``ro`` are those
    of ``--volume`` alone.
    """
    source, target, *flags = mount.split(":")
    if flags not in ([], ["ro"], ["rw"]):
        return f"--volume={mount}"
    return f"--mount=type=bind,source={source},target={target}{',readonly' if flags == ['ro'] else ''}"


def run(
    engine: Sequence[str], image: Image, command: Sequence[str], step: str, names: Sequence[str], extra: Sequence[str]
) -> Sequence[str]:
    """``docker run`` with what MPI needs: the host's network and shared memory; ``extra`` are the engine's own flags."""
    return (
        *engine,
        "--rm",
        f"--name={name_of(image, step)}",
        "--network=host",
        "--ipc=host",
        *extra,
        *([] if image.writable else ["--read-only", "--tmpfs=/tmp"]),
        *([] if image.entrypoint else ["--entrypoint="]),
        *(bind(mount) for mount in image.mounts),
        *([f"--workdir={image.workdir}"] if image.workdir else []),
        # Without a value the engine takes the caller's: nothing that may be secret stands on a command line.
        *(f"--env={name}" for name in (*image.environment, *names)),
        image.reference,
        *command,
    )


def digest_command(engine: str, reference: str, prefix: str = "") -> Sequence[str]:
    """Ask the engine which image it has under this name: that is the one that it starts. ``prefix`` is what its answer lacks."""
    return (engine, "image", "inspect", f"--format={prefix}{{{{.Id}}}}", reference)


def login_probe(engine: str) -> LoginProbe:
    """The machine that submits is the one that runs."""
    return LoginProbe((engine,), "", f"there is no {engine} on this machine", f"Install {engine}.")


def explain(stderr: str) -> Fault | None:
    """Cause and remedy when the engine could not start the container, or nothing could be started in it."""
    # The engine passes on what is said inside: "executable file not found" is no fault of the engine.
    return first_of(_inside.SIGNS, stderr) or first_of(_SIGNS, stderr)
