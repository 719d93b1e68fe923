"""Compares how a published figure was measured with how ours is. Only where the methods agree does the figure become a limit.

What differs between programs decides by more than what differs between healthy boards: a B200 that reaches 1,745 TFLOP/s for fifty products
holds 1,456 at its power limit, and more with operands that are all alike. So a product is judged only by what was sustained, on numbers
that vary, added up as torch adds them up; what is bound by a bus (memory, links, collectives) is bound in a burst too, and there
the kernel, and who else uses the bus, decide.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from hpcaccept.model.metric_key import MetricKey

if TYPE_CHECKING:
    from collections.abc import Callable

    from hpcaccept.parse.baseline_source import Method, Source, StatedLimit

#: Checks whose rate is bound by the power limit, and is measured at it.
SUSTAINED = frozenset({"matmul", "burn", "resnet"})
#: In what torch's products add up, by the format of their operands (``torch.mm``; fp8: ``_scaled_mm`` without fast accumulation).
ACCUMULATES = {"fp64": "fp64", "fp32": "fp32", "tf32": "fp32", "fp16": "fp32", "bf16": "fp32", "fp8": "fp32"}
#: Operands that toggle bits as ours do. AMD asks for less with sines than with random numbers.
_VARIED = ("random", "trigonometric")
#: Band of a product that one GPU of the node measured while the others rested.
ALONE = "products of one GPU alone"
#: Two power limits are one up to this share.
_SAME_POWER = 0.01


def why_unlike(key: str, stated: StatedLimit, source: Source) -> str:
    """Why a published figure must not judge a metric; empty where it may.

    Args:
        key: metric key.
        stated: the figure, with its method.
        source: that it stands in, with the power limit of the boards.
    """
    method, parts = stated.method, MetricKey.parse(key)
    if parts.check in SUSTAINED and method.timing != "sustained":
        return f"{parts.check} is measured back to back at the power limit, the figure is {_said(method.timing)}"
    rules: dict[str, Callable[[], str]] = {
        "matmul": lambda: _product(parts.variant, stated),
        "memory_bandwidth": lambda: _kernel(parts.variant, method),
        "transfers": lambda: _alone(method),
        "peer_to_peer": lambda: _alone(method),
        "nccl_tests": lambda: _together(parts.variant, method),
    }
    rule = rules.get(parts.check)
    return (rule() if rule else "") or _power(method, source)


def _product(form: str, stated: StatedLimit) -> str:
    method = stated.method
    if method.dtype != form:
        return f"it is of {_said(method.dtype)}"
    if method.accumulate != ACCUMULATES.get(form):
        return f"torch adds up in {ACCUMULATES.get(form)}, the figure in {_said(method.accumulate)}"
    if method.operands not in _VARIED:
        return f"ours has random operands, the figure's are {_said(method.operands)}"
    if not method.shape:
        return "its shape is not said"
    if stated.band and method.gpus != "all" and stated.band != ALONE:
        return f"all GPUs of a node are measured at once, and the figure is not of all: its band is {ALONE!r}"
    return ""


def _kernel(kernel: str, method: Method) -> str:
    return "" if method.operation == kernel else f"the metric is of {kernel}, the figure of {_said(method.operation)}"


def _alone(method: Method) -> str:
    return "" if method.gpus == "one" else f"one copy runs at a time, the figure's GPUs are {_said(method.gpus)}"


def _together(variant: str, method: Method) -> str:
    if method.gpus != "all":
        return f"all GPUs take part, of the figure {_said(method.gpus)}"
    collective = variant.partition("/")[0]
    return "" if method.operation == collective else f"it is of {_said(method.operation)}, the metric of {collective}"


def _power(method: Method, source: Source) -> str:
    limit = float(source.facts.get("gpu_power_limit_w", 0.0))
    if limit and method.power_limit_w and not math.isclose(limit, method.power_limit_w, rel_tol=_SAME_POWER):
        return f"its boards are limited to {method.power_limit_w:g} W, those of the source to {limit:g} W"
    return ""


def _said(text: str) -> str:
    return text or "not said"
