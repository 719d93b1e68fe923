"""``python -m hpcaccept.rank.probe_torch``: import torch and say as JSON what it is. In a process of its own: it may hang or crash."""

from __future__ import annotations

import gc
import json
import os


def main() -> None:
    """One line."""
    # Nothing that is made here is worth collecting.
    gc.disable()
    import torch

    cuda = torch.version.cuda or ""
    nccl = torch.cuda.nccl.version() if cuda and torch.distributed.is_nccl_available() else ()
    print(  # noqa: T201
        json.dumps(
            {
                "torch": str(torch.__version__),
                "torch_cuda": cuda,
                "torch_gpus": torch.cuda.device_count() if cuda else 0,
                "nccl": ".".join(map(str, nccl)),
            }
        ),
        flush=True,
    )


if __name__ == "__main__":
    main()
    # Without taking the interpreter apart: with torch in it that takes a second.
    os._exit(0)
