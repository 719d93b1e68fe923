"""Container runtimes: how a command enters an image. One file per runtime, found by module name; all are text in, argument lists out.

A runtime's file says where it differs from `hpcaccept.container._defaults`; `load()` adds the rest.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Protocol, cast

from hpcaccept import discover
from hpcaccept.container import _defaults
from hpcaccept.container._fault import Fault
from hpcaccept.container._login_probe import LoginProbe
from hpcaccept.errors import UsageError, nearest

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from types import ModuleType

    from hpcaccept.model.plan import Image

__all__ = [
    "Container",
    "Fault",
    "LoginProbe",
    "built_in_runtimes",
    "complete",
    "is_file",
    "load",
    "names",
    "runtimes",
    "usual",
]


KIND = discover.Kind("container runtime", __name__, "hpcaccept.containers")


class Container(Protocol):
    """A container runtime."""

    #: What a launcher must provide to start ranks in it (``LauncherTraits.provides``).
    NEEDS: Sequence[str]
    #: Endings of the image files that it enters (``.sqsh``); empty: it enters none.
    IMAGE_ENDINGS: Sequence[str]
    #: Programs of which one must be on the PATH where ranks start; empty: none that could be looked for.
    PROGRAMS: Sequence[str]
    #: Place among the runtimes that could enter an image, where nobody names one: the lowest is taken.
    USUAL: int

    def takes_name(self, reference: str) -> bool:
        """True when this is the way in which it writes names of registries."""

    def unfit(self, image: Image) -> str:
        """Why this image cannot be entered as it is asked for; empty when it can."""

    def environment(self, image: Image) -> Mapping[str, str]:
        """Variables with which the command that enters the image must be started."""

    def srun_flags(self, image: Image) -> Sequence[str]:
        """Flags that make ``srun`` start its tasks inside the image."""

    def enter(
        self, image: Image, command: Sequence[str], *, step: str, names: Sequence[str] = (), gpus: bool = False
    ) -> Sequence[str]:
        """The command that runs ``command`` inside the image.

        Args:
            image: to enter.
            command: to run.
            step: of which it is the command.
            names: variables of the caller's environment that must be seen inside.
            gpus: True when the GPUs of the machine must be there.
        """

    def before_job(self, image: Image) -> Sequence[str]:
        """The command that removes from a node what runs of this user that are over have left there, and prints the name of each thing.

        It leaves everything alone while another job of the user is on the node. Empty where nothing outlives a run.
        """

    def after_step(self, image: Image, step: str) -> Sequence[str]:
        """The command that removes what a step may have left, however it ended; empty when nothing can be."""

    def after_job(self, image: Image) -> Sequence[str]:
        """The same on every node at the end of the job."""

    def digest_command(self, reference: str) -> Sequence[str]:
        """The command that tells for which image a name stands now; empty when nobody can be asked."""

    def parse_digest(self, text: str) -> str:
        """``sha256:…`` in what that command printed; empty when there is none."""

    def pinned(self, reference: str, digest: str) -> str:
        """The name by which every node gets the image of this digest, even if the tag is moved meanwhile."""

    def login_probe(self) -> LoginProbe | None:
        """What the machine that submits must have; None when nothing."""

    def explain(self, stderr: str) -> Fault | None:
        """What is the matter when a launcher's standard error tells that the container itself failed, else None."""


def names() -> tuple[str, ...]:
    """Every runtime there is."""
    return KIND.names()


def built_in_runtimes() -> tuple[str, ...]:
    """Those of them that hpcaccept brings: help texts do not look through what is installed."""
    return tuple(name for name in KIND.built_in() if name != "none")


def runtimes() -> tuple[str, ...]:
    """Every runtime that enters an image: all but ``none``."""
    return tuple(name for name in names() if name != "none")


def load(name: str) -> Container:
    """The runtime of that name.

    Raises:
        UsageError: there is no such runtime.
    """
    if not KIND.exists(name):
        close = nearest(name, names())
        known = f"Known: {', '.join(names())}."
        raise UsageError(f"There is no container runtime {name!r}.", close if close == known else f"{close} {known}")
    return complete(KIND.load(name))


def complete(module: ModuleType) -> Container:
    """A runtime's own file, and the defaults for what it does not say."""
    return cast("Container", SimpleNamespace(**{**vars(_defaults), **vars(module)}))


def is_file(reference: str) -> bool:
    """True when the reference has the ending of an image file that some runtime enters."""
    return reference.endswith(tuple(ending for name in names() for ending in load(name).IMAGE_ENDINGS))


def usual(provides: Collection[str], reference: str, on_path: Callable[[str], bool]) -> str:
    """The runtime that enters an image where nobody named one.

    Args:
        provides: what the launcher provides that will start the ranks (``LauncherTraits.provides``).
        reference: of the image.
        on_path: says whether this machine has a program.

    Returns:
        Of the runtimes that the launcher can use and that take such a reference, one that is here, else the usual one;
        of them all, if none takes it: that one says why not.
    """
    fitting = [name for name in runtimes() if set(load(name).NEEDS) <= set(provides)]
    takers = [name for name in fitting if _takes(load(name), reference)]

    def rank(name: str) -> tuple[bool, int]:
        programs = load(name).PROGRAMS
        return bool(programs) and not any(on_path(program) for program in programs), load(name).USUAL

    # A launcher that enters no image at all is told so when the plan is made.
    return min(takers or fitting or runtimes(), key=rank)


def _takes(runtime: Container, reference: str) -> bool:
    if is_file(reference):
        return reference.endswith(tuple(runtime.IMAGE_ENDINGS))
    return runtime.takes_name(reference)
