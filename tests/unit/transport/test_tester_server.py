from __future__ import annotations

import contextlib
import hashlib
import socket
import ssl
import stat
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hpcaccept.transport.certificate import make_certificate
from hpcaccept.transport.tester_client import TesterClient as Client
from hpcaccept.transport.tester_client import TesterFault as Fault
from hpcaccept.transport.tester_server import Limits, Reply, Request, Service
from hpcaccept.transport.tester_server import TesterServer as Server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

#: Real servers and clients, which wait for each other.
pytestmark = pytest.mark.slow
TOKEN = "t" * 64
LIMITS = Limits(
    connections=4, hello_s=1.0, stream_s=1.0, answer_s=2.0, send_s=1.0, body_bytes=1000, stream_bytes=100_000
)


def answer(request: Request) -> Reply:
    if request.path == "/stream":
        return Reply(200, str(sum(len(block) for block in request.stream)).encode())
    if request.path == "/fault":
        raise ValueError("secret of the server")
    if request.path == "/wait":
        time.sleep(1.2)
    if request.path == "/endless":
        return Reply(200, (b"x" * 65536 for _ in range(10_000_000)))
    return Reply(
        200, f"{request.method} {request.path} {dict(request.query)} {len(request.body)}".encode(), "text/plain"
    )


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return make_certificate(tmp_path_factory.mktemp("certificate"))


@pytest.fixture
def server(certificate: tuple[Path, Path]) -> Iterator[Server]:
    service = Service(answer, streams=frozenset({"/stream"}), admits=lambda token: token == TOKEN)
    found = Server(("127.0.0.1", 0), service, *certificate, LIMITS)
    yield found
    found.close()


def context() -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname = False
    made.verify_mode = ssl.CERT_NONE
    return made


@contextlib.contextmanager
def line(server: Server) -> Iterator[ssl.SSLSocket]:
    with (
        socket.create_connection(("127.0.0.1", server.port), timeout=10) as raw,
        context().wrap_socket(raw) as stream,
    ):
        yield stream


def said(server: Server, raw: bytes) -> bytes:
    """All that is answered to these bytes until the server ends."""
    found = b""
    with line(server) as stream, contextlib.suppress(OSError):
        stream.sendall(raw)
        while block := stream.recv(65536):
            found += block
    return found


def alive(server: Server) -> bool:
    client = Client("127.0.0.1", server.port, TOKEN, pinned=server.fingerprint, global_only=False)
    return client.ask("/x", most_bytes=1000, deadline_s=5.0).body.startswith(b"GET /x")


def test_a_request_is_answered_and_the_connection_ended(server: Server) -> None:
    found = said(server, b"GET /a?b=c&b=d HTTP/1.1\r\nConnection: keep-alive\r\n\r\nGET /second HTTP/1.1\r\n\r\n")
    assert found.startswith(b"HTTP/1.0 200 ")
    assert found.endswith(b"GET /a {'b': 'd'} 0")
    assert b"second" not in found


def test_the_key_is_the_owners_alone(certificate: tuple[Path, Path]) -> None:
    assert stat.S_IMODE(certificate[1].stat().st_mode) == 0o600
    assert stat.S_IMODE(certificate[1].parent.stat().st_mode) == 0o700


def test_a_fault_of_ours_is_not_told_to_strangers(server: Server) -> None:
    found = said(server, b"GET /fault HTTP/1.0\r\n\r\n")
    assert found.startswith(b"HTTP/1.0 500 ")
    assert b"secret" not in found
    assert b"Traceback" not in found


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"POST /x HTTP/1.0\r\nContent-Length: 1001\r\nAuthorization: Bearer " + TOKEN.encode() + b"\r\n\r\n", 413),
        (b"POST /stream HTTP/1.0\r\nContent-Length: 100001\r\nAuthorization: Bearer " + TOKEN.encode() + b"\r\n\r\n", 413),
        (b"POST /x HTTP/1.0\r\nContent-Length: 5\r\n\r\nhello", 401),
        (b"POST /stream HTTP/1.0\r\nContent-Length: 5\r\nAuthorization: Bearer wrong\r\n\r\nhello", 401),
        (b"POST /x HTTP/1.0\r\nContent-Length: -5\r\n\r\n", 400),
        (b"POST /x HTTP/1.0\r\nContent-Length: 99999999999999999999\r\n\r\n", 413),
        (b"POST /x HTTP/1.0\r\nContent-Length: 0x10\r\n\r\n", 400),
        (b"POST /x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", 400),
        (b"DELETE / HTTP/1.0\r\n\r\n", 501),
        (b"GET / HTTP/9.9\r\n\r\n", 505),
        (b"GET /" + b"a" * 70_000 + b" HTTP/1.0\r\n\r\n", 414),
        (b"GET / HTTP/1.0\r\n" + b"a: b\r\n" * 200 + b"\r\n", 431),
        (b"GET / HTTP/1.0\r\nX: " + b"a" * 70_000 + b"\r\n\r\n", 431),
        (b"GET /?" + b"a=b&" * 100 + b" HTTP/1.0\r\n\r\n", 400),
        (b"GET http://[ HTTP/1.0\r\n\r\n", 400),
    ],
)  # fmt: skip
def test_what_is_too_much_or_malformed_is_refused(server: Server, raw: bytes, status: int) -> None:
    assert said(server, raw).split()[1] == str(status).encode()
    assert alive(server)


@pytest.mark.parametrize(
    "drip",
    [
        b"",
        b"G",
        b"GET / HTTP/1.0\r\nX: y\r\n",
        b"POST /x HTTP/1.0\r\nContent-Length: 900\r\nAuthorization: Bearer " + TOKEN.encode() + b"\r\n\r\n",
    ],
    ids=["nothing", "request line", "headers", "body"],
)
def test_a_slow_loris_is_cut_off_however_busy_it_keeps_the_line(server: Server, drip: bytes) -> None:
    begin = time.monotonic()
    with line(server) as stream, contextlib.suppress(OSError):
        stream.sendall(drip)
        while time.monotonic() - begin < 60.0:
            stream.sendall(b"a")
            time.sleep(0.1)
            stream.setblocking(False)
            with contextlib.suppress(ssl.SSLWantReadError):
                if not stream.recv(1):
                    break
            stream.setblocking(True)
    assert time.monotonic() - begin < 30.0
    assert alive(server)


def test_a_handshake_that_never_comes_holds_nobody_up(server: Server) -> None:
    silent = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(LIMITS.connections)]
    try:
        time.sleep(0.2)
        # All places are taken: the next one is closed unasked, and not queued.
        with pytest.raises(OSError), line(server):  # noqa: PT011 (reset or end, as the kernel likes)
            pass
        time.sleep(LIMITS.hello_s + 0.8)
        assert alive(server)
    finally:
        for one in silent:
            one.close()


def test_a_reader_that_does_not_read_is_cut_off(server: Server) -> None:
    with line(server) as stream:
        stream.sendall(b"GET /endless HTTP/1.0\r\n\r\n")
        time.sleep(LIMITS.send_s + 1.0)
        with contextlib.suppress(OSError):
            end = time.monotonic() + 5
            while stream.recv(1 << 20):
                assert time.monotonic() < end
    assert alive(server)


def test_threads_are_bounded_and_end(server: Server) -> None:
    before = threading.active_count()
    lines = []
    for _ in range(30):
        with contextlib.suppress(OSError):
            lines.append(socket.create_connection(("127.0.0.1", server.port)))
    time.sleep(0.3)
    # One thread and one timer a connection.
    assert threading.active_count() - before <= 2 * LIMITS.connections
    for one in lines:
        one.close()
    time.sleep(LIMITS.hello_s + 1.0)
    assert threading.active_count() <= before + 1


def test_old_tls_is_not_spoken(server: Server) -> None:
    old = context()
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    with (
        socket.create_connection(("127.0.0.1", server.port), timeout=10) as raw,
        pytest.raises(ssl.SSLError),
        old.wrap_socket(raw),
    ):
        pass
    assert alive(server)


@pytest.fixture(scope="module")
def fuzzed(certificate: tuple[Path, Path]) -> Iterator[Server]:
    service = Service(answer, streams=frozenset({"/stream"}), admits=lambda token: token == TOKEN)
    found = Server(("127.0.0.1", 0), service, *certificate, LIMITS)
    yield found
    found.close()


#: Pieces that parsers of HTTP stumble over.
PIECES = st.sampled_from(
    [
        b"GET ", b"POST ", b"PUT ", b"/", b"/stream", b"/hello?nonce=", b" HTTP/1.0", b" HTTP/1.1", b" HTTP/0.9", b"\r\n", b"\n", b"\r", b"\r\n\r\n",
        b"Content-Length: 5", b"Content-Length: 5, 5", b"Content-Length:\r\n", b"Transfer-Encoding: chunked", b"Authorization: Bearer ", TOKEN.encode(),
        b"Expect: 100-continue", b"Upgrade: h2c", b"\x00", b"\xff\xfe", b"%00", b"%", b"?&&==", b"#", b"//", b"..", b": ", b" ", b"\t", b"0" * 100,
    ]
)  # fmt: skip


@settings(
    max_examples=120, derandomize=True, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(pieces=st.lists(st.one_of(PIECES, st.binary(max_size=40)), max_size=20))
def test_malformed_http_is_answered_or_cut_off_and_the_server_lives(fuzzed: Server, pieces: list[bytes]) -> None:
    begin = time.monotonic()
    found = said(fuzzed, b"".join(pieces) + b"\r\n\r\n")
    assert b"Traceback" not in found
    assert time.monotonic() - begin < 30.0
    if found and not found.startswith(b"GET "):  # a request without a version is answered without a head
        assert found.startswith((b"HTTP/1.0 ", b"HTTP/1.1 ", b"{", b"POST "))


@settings(max_examples=40, derandomize=True, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    raw=st.one_of(st.binary(max_size=300), st.binary(max_size=300).map(lambda tail: b"\x16\x03\x01\x02\x00\x01" + tail))
)
def test_malformed_tls_is_cut_off_and_the_server_lives(fuzzed: Server, raw: bytes) -> None:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", fuzzed.port), timeout=5) as stream:
        stream.sendall(raw)
        stream.shutdown(socket.SHUT_WR)
        while stream.recv(65536):
            pass


def test_after_all_that_it_answers(fuzzed: Server) -> None:
    time.sleep(LIMITS.hello_s + 0.5)
    assert alive(fuzzed)


# --- the client ---


def client(server: Server, **change: Any) -> Client:
    return Client("127.0.0.1", server.port, TOKEN, **{"pinned": server.fingerprint, "global_only": False, **change})


def test_bytes_are_streamed_both_ways_and_counted(server: Server) -> None:
    sent = client(server).ask("/stream", blocks=(90_000, iter([b"a" * 30_000] * 3)), most_bytes=100, deadline_s=5.0)
    assert sent.body == b"90000"
    assert sent.seconds > 0


def test_no_token_goes_to_another_certificate(server: Server, tmp_path: Path) -> None:
    seen: list[str] = []

    def listen(request: Request) -> Reply:
        seen.append(request.token)
        return Reply(200)

    other = Server(("127.0.0.1", 0), Service(listen), *make_certificate(tmp_path))
    try:
        with pytest.raises(Fault) as fault:
            Client("127.0.0.1", other.port, TOKEN, pinned=server.fingerprint, global_only=False).ask(
                "/x", most_bytes=10, deadline_s=5.0
            )
        assert fault.value.fault == "certificate"
        with pytest.raises(Fault) as fault:
            Client("127.0.0.1", other.port, TOKEN, global_only=False).ask("/x", most_bytes=10, deadline_s=5.0)
        assert fault.value.fault == "certificate"
    finally:
        other.close()
    assert seen == []


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "10.1.2.3", "192.168.0.1", "169.254.169.254", "::1", "fe80::1", "0.0.0.0", "224.0.0.1", "100.64.0.1", "::ffff:127.0.0.1", "2002:7f00:1::", "64:ff9b::7f00:1",
     "machine.example", "1.2.3.4.5", "", "1.2.3.4/8", "8.8.8.8\r\nX: y"],
)  # fmt: skip
def test_a_marketplace_cannot_send_us_to_our_own_network(address: str) -> None:
    with pytest.raises(Fault) as fault:
        Client(address, 5000, TOKEN)
    assert fault.value.fault == "malformed"


@pytest.mark.parametrize("port", [0, -1, 65536])
def test_a_port_is_a_port(port: int) -> None:
    with pytest.raises(Fault):
        Client("8.8.8.8", port, TOKEN)


@contextlib.contextmanager
def raw_answer(certificate: tuple[Path, Path], raw: bytes, pause_s: float = 0.0) -> Iterator[Client]:
    """A server that says these bytes to whoever comes, one after the other where there is a pause."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(*certificate)
    over = threading.Event()
    door = socket.create_server(("127.0.0.1", 0))

    def speak() -> None:
        with contextlib.suppress(OSError):
            visitor, _ = door.accept()
            with made.wrap_socket(visitor, server_side=True) as stream:
                stream.recv(65536)
                for at in range(0, len(raw), 1 if pause_s else max(1, len(raw))):
                    stream.sendall(raw[at : at + 1] if pause_s else raw)
                    if over.wait(pause_s):
                        return

    thread = threading.Thread(target=speak, daemon=True)
    thread.start()
    fingerprint = hashlib.sha256(ssl.PEM_cert_to_DER_cert(certificate[0].read_text())).hexdigest()
    try:
        yield Client("127.0.0.1", door.getsockname()[1], TOKEN, pinned=fingerprint, global_only=False)
    finally:
        over.set()
        door.close()
        thread.join(5)


@pytest.mark.parametrize(
    ("raw", "fault"),
    [
        (b"", "network"),
        (b"\x00" * 100, "malformed"),
        (b"SSH-2.0-OpenSSH\r\n", "malformed"),
        (b"HTTP/1.0 abc\r\n\r\n", "malformed"),
        (b"HTTP/1.0 301 x\r\nLocation: http://127.0.0.1/\r\n\r\n", "refused"),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 10\r\n\r\nhalf", "network"),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 99999999999999\r\n\r\n" + b"x" * 2000, "oversize"),
        (b"HTTP/1.0 200 OK\r\n\r\nno length", "malformed"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "network"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel", "network"),
        (b"HTTP/1.0 200 OK\r\n" + b"a: b\r\n" * 300 + b"\r\n", "malformed"),
        (b"HTTP/1.0 200 OK\r\nX: " + b"a" * 70_000 + b"\r\n\r\n", "malformed"),
    ],
)  # fmt: skip
def test_whatever_is_answered_is_a_fault_with_a_name(certificate: tuple[Path, Path], raw: bytes, fault: str) -> None:
    with raw_answer(certificate, raw) as asked, pytest.raises(Fault) as found:
        asked.ask("/x", most_bytes=1000, deadline_s=5.0)
    assert found.value.fault == fault, found.value


@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.0 200 OK\r\nContent-Length: 500\r\n\r\n" + b"x" * 500,
        b"HTTP/1.1 100 Continue\r\n\r\n" * 100,
        b"H" * 500,
    ],
)
def test_whoever_drips_is_left_at_the_deadline(certificate: tuple[Path, Path], raw: bytes) -> None:
    begin = time.monotonic()
    with raw_answer(certificate, raw, pause_s=0.1) as asked, pytest.raises(Fault) as found:
        asked.ask("/x", most_bytes=1000, deadline_s=1.0)
    assert found.value.fault == "timeout"
    assert time.monotonic() - begin < 25.0


@settings(max_examples=60, derandomize=True, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(raw=st.binary(max_size=200).map(lambda tail: b"HTTP/1.0 200 OK\r\n" + tail))
def test_no_answer_brings_the_client_anything_but_an_answer_or_a_fault(
    certificate: tuple[Path, Path], raw: bytes
) -> None:
    with raw_answer(certificate, raw) as asked, contextlib.suppress(Fault):
        assert len(asked.ask("/x", most_bytes=100, deadline_s=5.0).body) <= 100


def test_nobody_there_is_the_networks_fault(server: Server) -> None:
    server.close()
    with pytest.raises(Fault) as fault:
        client(server).ask("/x", most_bytes=10, deadline_s=2.0)
    assert fault.value.fault == "network"
