"""A STREAM kernel whose result is harmed after each call: what a bad core or bad memory does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hpcaccept.measure.kernels import stream

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest

real_call = stream.kernel_call


def harm_result(monkeypatch: pytest.MonkeyPatch, harm: Callable[[Any], object]) -> None:
    """From now on ``harm`` is given the output of every kernel after every call."""

    def kernel_call(kernel: str, x: Any, y: Any, out: Any) -> Callable[[], object]:
        call = real_call(kernel, x, y, out)

        def harmed() -> None:
            call()
            harm(out)

        return harmed

    monkeypatch.setattr(stream, "kernel_call", kernel_call)
