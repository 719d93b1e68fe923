"""The image that runs on a machine: the newest CUDA that its driver supports and whose libraries still know its GPUs.

Either one of the caller's own, with hpcaccept in it, or a published one of PyTorch, onto which hpcaccept is sent (``app.vast.delivery``).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hpcaccept.errors import UsageError

if TYPE_CHECKING:
    from hpcaccept.provider.vast.offers import Offer

#: CUDA versions that there are images of, newest first: those of vastai 1.9.1's self-test (read 28 November 2026).
CUDA_VERSIONS = ("13.3", "13.0", "12.8", "11.8")
#: Compute capability × 100 → newest CUDA whose libraries have kernels for what is below it: Maxwell, Pascal and Volta are gone from CUDA 13 (NVIDIA's
#: release notes), and PyTorch's wheels of 12.8 lack the two older ones.
_NEWEST_BELOW = ((700, 11.8), (750, 12.8))
PLACE = "{cuda}"


@dataclass(frozen=True)
class Published:
    """A published image with torch and torchvision in it.

    Attributes:
        cuda: version of its libraries.
        reference: of the image.
        least: compute capability × 100 of the oldest GPUs that its torch has kernels for.
        below: of the first ones that it has none for.
    """

    cuda: str
    reference: str
    least: int
    below: int


#: https://hub.docker.com/r/pytorch/pytorch/tags; GPUs by the "CUDA support matrix" of https://github.com/pytorch/pytorch/blob/main/RELEASE.md and, for
#: 12.8, https://github.com/pytorch/pytorch/issues/157517 (read 30 November 2026). Newest first.
PUBLISHED = (
    Published("13.0", "pytorch/pytorch:2.13.0-cuda13.0-cudnn9-runtime", 750, 1300),
    Published("12.8", "pytorch/pytorch:2.10.0-cuda12.8-cudnn9-runtime", 700, 1300),
    Published("12.6", "pytorch/pytorch:2.8.0-cuda12.6-cudnn9-runtime", 500, 1000),
    Published("11.8", "pytorch/pytorch:2.7.1-cuda11.8-cudnn9-runtime", 500, 1000),
)
#: What stands in the record of a run for them.
PUBLISHED_NAME = "pytorch/pytorch, with hpcaccept sent to it"
_REFERENCE = re.compile(r"[a-z0-9][\w./:@-]{0,250}", re.ASCII)


def cuda_for(offer: Offer, versions: tuple[str, ...] = CUDA_VERSIONS) -> str:
    """The CUDA version of the image for a machine; empty where no image suits it.

    Args:
        offer: whose driver and GPUs are claimed.
        versions: that there are images of.
    """
    host, capability = offer.number("cuda_max_good"), offer.number("compute_cap")
    if host is None:
        return ""
    newest = next((cuda for below, cuda in _NEWEST_BELOW if capability is not None and capability < below), 99.0)
    fitting = [each for each in versions if float(each) <= min(host, newest)]
    return max(fitting, key=float, default="")


def published_for(offer: Offer, known: tuple[Published, ...] = PUBLISHED) -> str:
    """The published image for a machine; empty where none suits it.

    Args:
        offer: whose driver and GPUs are claimed.
        known: images, newest first.
    """
    host, capability = offer.number("cuda_max_good"), offer.number("compute_cap")
    if host is None:
        return ""
    for each in known:
        if float(each.cuda) <= host and (capability is None or each.least <= capability < each.below):
            return each.reference
    return ""


def image_for(template: str, cuda: str) -> str:
    """The image reference for a CUDA version.

    Args:
        template: reference in which ``{cuda}`` stands for the version, or one image for all.
        cuda: version.

    Raises:
        UsageError: it is no image reference.
    """
    reference = template.replace(PLACE, cuda)
    if not _REFERENCE.fullmatch(reference):
        raise UsageError(
            f"--image: found {template!r}, expected REGISTRY/NAME:TAG; {{cuda}} stands for 12.8 and the like."
        )
    return reference
