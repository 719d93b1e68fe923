"""The provers of a machine, one process a GPU, as the server asks them."""

from __future__ import annotations

import contextlib
import json
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

from hpcaccept import serial
from hpcaccept.errors import LaunchError
from hpcaccept.transport.conversation import Talk, talking

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

#: For loading torch (cold: 25 s and more) and making a context.
START_S = 300.0
_LOOK_S = 0.5


class Busy(Exception):
    """This GPU computes something else."""


class Failed(Exception):
    """The prover could not do it.

    Attributes:
        fault: ``unsupported``, ``request``, ``timeout`` or ``dead``.
    """

    def __init__(self, fault: str, text: str) -> None:
        super().__init__(text)
        self.fault = fault


class Prover:
    """One GPU's process."""

    def __init__(self, device: str, talk: Talk) -> None:
        self.device = device
        self.ready = threading.Event()
        self.trouble = ""
        self._talk = talk
        self._turn = threading.Lock()
        threading.Thread(target=self._warm, daemon=True, name=f"warm {device}").start()

    def ask(self, operation: str, timeout_s: float, **request: Any) -> dict[str, Any]:
        """One answer.

        Raises:
            Busy: it computes something else.
            Failed: it cannot, it is dead, or it was not done in time; late answers are thrown away with the next request.
        """
        if not self._turn.acquire(blocking=False):
            raise Busy(self.device)
        try:
            return self._asked(operation, timeout_s, request)
        finally:
            self._turn.release()

    def _asked(self, operation: str, timeout_s: float, request: Mapping[str, Any]) -> dict[str, Any]:
        self._talk.read_lines(0.0)
        self._talk.say(json.dumps({"op": operation, **request}))
        until = time.monotonic() + timeout_s
        while time.monotonic() < until:
            for _, line in self._talk.read_lines(_LOOK_S):
                return self._read(line)
            if self._talk.ended is not None:
                raise Failed(
                    "dead",
                    f"The prover of {self.device} ended with status {self._talk.ended}: {self._talk.stderr[-200:]}",
                )
        raise Failed("timeout", f"The prover of {self.device} was not done within {timeout_s:g} s.")

    def _read(self, line: str) -> dict[str, Any]:
        try:
            answer: dict[str, Any] = serial.loads(line)
            fault = str(answer.get("fault", ""))
        except (ValueError, AttributeError):
            raise Failed("dead", f"The prover of {self.device} does not answer in JSON.") from None
        if fault:
            raise Failed(fault, str(answer.get("text", "")))
        return answer

    def _warm(self) -> None:
        try:
            self.ask("warm", START_S)
        except (Failed, Busy) as fault:
            self.trouble = str(fault)[:300]
        self.ready.set()


@contextlib.contextmanager
def provers(devices: Sequence[str], environ: Mapping[str, str]) -> Iterator[list[Prover]]:
    """A prover for each device, while open; their processes are ended with it.

    Args:
        devices: as torch calls them.
        environ: for the processes, without secrets.
    """
    with contextlib.ExitStack() as open_until_the_end:
        found = []
        for device in devices:
            command = [sys.executable, "-m", "hpcaccept", "tester", "worker", device]
            found.append(Prover(device, open_until_the_end.enter_context(talking(command, env=environ, grace_s=2.0))))
        yield found


def own_devices() -> list[str]:
    """Every GPU that the driver shows, else this machine's processor."""
    from hpcaccept.measure.gpu import driver

    try:
        gpus = driver.own_gpus()
    except (driver.DriverMissing, LaunchError):
        gpus = ()
    return [f"cuda:{index}" for index in range(len(gpus))] or ["cpu"]
