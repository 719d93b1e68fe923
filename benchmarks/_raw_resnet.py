"""The plain loop over torchvision that ``fidelity`` compares ``resnet`` with: ``python _raw_resnet.py THREADS``, JSON.

Nothing of hpcaccept: torch's own SGD, random images, IEEE float32, channels-last, 3 calls to warm up, then ``COUNT`` calls,
each timed by itself; images per second of each. The batch is that of the check on a CPU.
"""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING

import torch
import torchvision

if TYPE_CHECKING:
    from collections.abc import Callable

COUNT = 8
BATCH, PIXELS = 2, 64


def rates(call: Callable[[], object]) -> list[float]:
    """Images per second of each call."""
    for _ in range(3):
        call()
    figures = []
    for _ in range(COUNT):
        begin = time.perf_counter()
        call()
        figures.append(BATCH / (time.perf_counter() - begin))
    return figures


def main() -> None:
    """ResNet-18, training and inference, under the names of the check's variants."""
    torch.set_num_threads(int(sys.argv[1]))
    model = torchvision.models.resnet18(weights=None).to(memory_format=torch.channels_last)
    images = torch.randn(BATCH, 3, PIXELS, PIXELS).to(memory_format=torch.channels_last)
    labels = torch.arange(BATCH)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)

    def train() -> None:
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(images), labels).backward()
        optimizer.step()

    def infer() -> None:
        with torch.no_grad():
            model(images)

    training = rates(train)
    model.eval()
    print(json.dumps({"resnet18/train/fp32": training, "resnet18/infer/fp32": rates(infer)}))


if __name__ == "__main__":
    main()
