"""Backpressure on TLS loses nothing when a connection ends, and a truncated response is not passed on as complete.

uvloop's own TLS drops what it has not decrypted when the peer closes while reading is paused. Of 24 downloads of 6 MB
from a server that closes its connection, 19 were truncated when the client read more slowly.
"""

import asyncio
import ssl
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from socket import IPPROTO_TCP, TCP_NODELAY, socket
from threading import Event, Semaphore
from time import sleep

import pytest
import uvloop

from gateway.proxy import lingering_close
from gateway.proxy.connection_state import HALF_CLOSED
from tests.proxy.keys import Keys
from tests.proxy.peers import (
    BODY,
    Script,
    client,
    close_notify,
    dechunk,
    fin,
    peer,
    proxy_on,
    read_all,
    read_head,
    read_until,
    reset,
)
from tests.waiting import DEADLINE, until

GOES = 8
SERVERS = Path(__file__).parent / "servers"

UPGRADE = b"GET /chat HTTP/1.1\r\nHost: gw.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"

FRAMINGS = {
    "length": b"Content-Length: %d\r\n\r\n%b" % (len(BODY), BODY),
    "chunked": b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY),
    "close": b"\r\n" + BODY,
}
"""The last fields of a message, and its body."""


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def new_loop(request: pytest.FixtureRequest) -> Callable[[], asyncio.AbstractEventLoop]:
    found: Callable[[], asyncio.AbstractEventLoop] = request.param
    return found


def get(path: str = "/", version: str = "1.1") -> bytes:
    return f"GET {path} HTTP/{version}\r\nHost: gw.test\r\nConnection: close\r\n\r\n".encode()


def answers(framing: str, leave: Callable[[socket], None]) -> Script:
    """A server that sends the body and ends the connection."""

    def script(stream: socket) -> None:
        read_head(stream)
        stream.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\n" + FRAMINGS[framing])
        leave(stream)

    return script


def fetch(port: int, tls: ssl.SSLContext | None, request: bytes) -> tuple[bytes, bool]:
    """The body that a slow client gets, and whether it is complete by its framing."""
    with client(port, tls) as stream:
        stream.sendall(request)
        head, rest = read_head(stream)
        assert head.startswith(b"HTTP/1.1 200 ")
        try:
            rest = read_all(stream, rest)
        except OSError:
            return rest, False
        if b"chunked" in head:
            return dechunk(rest)
        return rest, b"Content-Length" not in head or len(rest) == len(BODY)


@pytest.mark.parametrize("leave", [close_notify, fin])
@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_a_response_with_a_length_or_chunks_is_complete_however_its_connection_ends(
    keys: Keys, new_loop: Callable[[], asyncio.AbstractEventLoop], framing: str, leave: Callable[[socket], None]
) -> None:
    with (
        peer(answers(framing, leave), keys.server) as up,
        proxy_on(new_loop, up.port, scheme="https", ca=keys.authority) as running,
    ):
        for _ in range(GOES):
            assert fetch(running.port, None, get()) == (BODY, True)


@pytest.mark.parametrize("version", ["1.0", "1.1"])
@pytest.mark.parametrize("over_tls", [False, True], ids=["http", "https"])
def test_a_response_that_ends_with_close_notify_is_complete(
    keys: Keys, new_loop: Callable[[], asyncio.AbstractEventLoop], *, over_tls: bool, version: str
) -> None:
    serving, trusting = (keys.server, keys.client) if over_tls else (None, None)
    with (
        peer(answers("close", close_notify), keys.server) as up,
        proxy_on(new_loop, up.port, scheme="https", ca=keys.authority, ssl=serving) as running,
    ):
        for _ in range(GOES):
            assert fetch(running.port, trusting, get(version=version)) == (BODY, True)


def half_a_record(stream: socket) -> None:
    socket.sendall(stream, b"\x17\x03\x03\x40\x00half")  # not through TLS
    fin(stream)


def a_broken_record(stream: socket) -> None:
    socket.sendall(stream, b"\x17\x03\x03\x00\x20" + bytes(32))
    close_notify(stream)


@pytest.mark.parametrize("leave", [fin, reset, half_a_record, a_broken_record])
@pytest.mark.parametrize("version", ["1.0", "1.1"])
@pytest.mark.parametrize("over_tls", [False, True], ids=["http", "https"])
def test_a_response_without_close_notify_is_not_passed_on_as_complete(
    keys: Keys,
    new_loop: Callable[[], asyncio.AbstractEventLoop],
    *,
    over_tls: bool,
    version: str,
    leave: Callable[[socket], None],
) -> None:
    serving, trusting = (keys.server, keys.client) if over_tls else (None, None)
    with (
        peer(answers("close", leave), keys.server) as up,
        proxy_on(new_loop, up.port, scheme="https", ca=keys.authority, ssl=serving) as running,
    ):
        for _ in range(3):
            _, whole = fetch(running.port, trusting, get(version=version))
            assert not whole


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_a_response_over_http_that_ends_in_a_reset_is_not_passed_on_as_complete(
    new_loop: Callable[[], asyncio.AbstractEventLoop], version: str
) -> None:
    with peer(answers("close", reset)) as up, proxy_on(new_loop, up.port) as running:
        for _ in range(3):
            _, whole = fetch(running.port, None, get(version=version))
            assert not whole


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_an_upload_followed_by_close_notify_is_complete_and_gets_its_response(
    keys: Keys, new_loop: Callable[[], asyncio.AbstractEventLoop], framing: str, version: ssl.TLSVersion
) -> None:
    taken: SimpleQueue[bytes] = SimpleQueue()

    def take(stream: socket) -> None:
        head, rest = read_head(stream)
        if b"chunked" in head:
            body, whole = dechunk(read_until(stream, rest, lambda got: got.endswith(b"\r\n0\r\n\r\n")))
            assert whole
        else:
            body = read_until(stream, rest, lambda got: len(got) >= len(BODY))
        taken.put(body)
        stream.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok")

    trusting = ssl.create_default_context(cafile=keys.authority)
    trusting.minimum_version = trusting.maximum_version = version
    with peer(take) as up, proxy_on(new_loop, up.port, ssl=keys.server) as running:
        for _ in range(5):
            with client(running.port, trusting) as stream:
                stream.sendall(b"POST / HTTP/1.1\r\nHost: gw.test\r\n" + FRAMINGS[framing])
                close_notify(stream)
                head, rest = read_head(stream)
                assert head.startswith(b"HTTP/1.1 200 OK\r\n")
                assert read_all(stream, rest) == b"ok"
            assert taken.get(timeout=DEADLINE) == BODY
    assert up.errors == []


@pytest.mark.parametrize("leave", [close_notify, fin])
@pytest.mark.parametrize("upstream_over_tls", [False, True], ids=["http", "https"])
def test_the_last_bytes_of_a_client_in_a_tunnel_reach_the_upstream(
    keys: Keys,
    new_loop: Callable[[], asyncio.AbstractEventLoop],
    *,
    upstream_over_tls: bool,
    leave: Callable[[socket], None],
) -> None:
    taken: SimpleQueue[bytes] = SimpleQueue()

    def listen(stream: socket) -> None:
        _, rest = read_head(stream)
        stream.sendall(SWITCHED)
        taken.put(read_all(stream, rest))

    serving = keys.server if upstream_over_tls else None
    scheme = "https" if upstream_over_tls else "http"
    with (
        peer(listen, serving) as up,
        proxy_on(new_loop, up.port, scheme=scheme, ca=keys.authority, ssl=keys.server) as running,
    ):
        for _ in range(GOES):
            with client(running.port, keys.client) as stream:
                stream.sendall(UPGRADE)
                assert read_head(stream)[0].startswith(b"HTTP/1.1 101 ")
                stream.sendall(BODY)
                leave(stream)
            assert taken.get(timeout=DEADLINE) == BODY
    assert up.errors == []


@pytest.mark.parametrize("leave", [close_notify, fin])
@pytest.mark.parametrize("client_over_tls", [False, True], ids=["http", "https"])
def test_the_last_bytes_of_an_upstream_in_a_tunnel_reach_the_client(
    keys: Keys,
    new_loop: Callable[[], asyncio.AbstractEventLoop],
    *,
    client_over_tls: bool,
    leave: Callable[[socket], None],
) -> None:
    def speak(stream: socket) -> None:
        read_head(stream)
        stream.sendall(SWITCHED + BODY)
        leave(stream)

    serving, trusting = (keys.server, keys.client) if client_over_tls else (None, None)
    with (
        peer(speak, keys.server) as up,
        proxy_on(new_loop, up.port, scheme="https", ca=keys.authority, ssl=serving) as running,
    ):
        for _ in range(GOES):
            with client(running.port, trusting) as stream:
                stream.sendall(UPGRADE)
                _, rest = read_head(stream)
                assert read_all(stream, rest) == BODY


@pytest.mark.parametrize("upstream_over_tls", [False, True], ids=["http", "https"])
@pytest.mark.parametrize("client_over_tls", [False, True], ids=["http", "https"])
def test_a_client_that_closes_its_half_of_a_tunnel_gets_the_last_bytes_of_the_upstream(
    keys: Keys,
    new_loop: Callable[[], asyncio.AbstractEventLoop],
    *,
    client_over_tls: bool,
    upstream_over_tls: bool,
) -> None:
    half_closed = Semaphore(0)

    def reply(stream: socket) -> None:
        _, rest = read_head(stream)
        stream.sendall(SWITCHED)
        asked = read_all(stream, rest)
        assert half_closed.acquire(timeout=DEADLINE)  # unwrap() reads, too, and fails on data behind its close_notify
        stream.sendall(BODY + asked)
        close_notify(stream)

    serving, trusting = (keys.server, keys.client) if client_over_tls else (None, None)
    scheme = "https" if upstream_over_tls else "http"
    with (
        peer(reply, keys.server if upstream_over_tls else None) as up,
        proxy_on(new_loop, up.port, scheme=scheme, ca=keys.authority, ssl=serving) as running,
    ):
        for _ in range(5):
            with client(running.port, trusting) as stream:
                stream.sendall(UPGRADE)
                _, rest = read_head(stream)
                stream.sendall(b"the last bytes")
                close_notify(stream)
                half_closed.release()
                assert read_all(stream, rest) == BODY + b"the last bytes"
    assert up.errors == []


@pytest.mark.parametrize("over_tls", [False, True], ids=["http", "https"])
def test_a_client_that_reads_in_bursts_gets_the_whole_last_response(
    keys: Keys,
    new_loop: Callable[[], asyncio.AbstractEventLoop],
    monkeypatch: pytest.MonkeyPatch,
    *,
    over_tls: bool,
) -> None:
    monkeypatch.setattr(lingering_close, "LINGER", 0.05)
    serving, trusting = (keys.server, keys.client) if over_tls else (None, None)
    with (
        peer(answers("length", close_notify), keys.server) as up,
        proxy_on(new_loop, up.port, scheme="https", ca=keys.authority, ssl=serving) as running,
        client(running.port, trusting) as stream,
    ):
        stream.sendall(get())
        _, got = read_head(stream)
        while len(got) < len(BODY):
            if len(got) % 1_000_000 < 8_192:
                sleep(0.2)  # not to wait for something: longer than LINGER
            piece = stream.recv(8_192)
            assert piece
            got += piece
        assert read_all(stream, got) == BODY  # and close_notify


def test_a_client_that_does_not_read_holds_back_an_https_upstream(
    keys: Keys, new_loop: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    """The sockets' buffers hold a few megabytes; the gateway adds next to nothing."""
    sent, stuck = 0, Event()

    def flood(stream: socket) -> None:
        nonlocal sent
        read_head(stream)
        stream.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        stream.settimeout(0.5)
        try:
            while sent < 100_000_000:
                sent += stream.send(bytes(65_536))
        except TimeoutError:
            stuck.set()

    with (
        peer(flood, keys.server) as up,
        proxy_on(new_loop, up.port, scheme="https", ca=keys.authority) as running,
        client(running.port) as stream,
    ):
        stream.sendall(get())
        assert stuck.wait(DEADLINE)
    assert sent < 30_000_000


@contextmanager
def program(*command: str | Path) -> Iterator[int]:
    """A server that prints its port."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield int(process.stdout.readline())
        finally:
            process.kill()


def go_server(folder: Path) -> Path:
    built = folder / "https"
    subprocess.run(["go", "build", "-o", built, SERVERS / "https.go"], check=True, cwd=folder)
    return built


@pytest.fixture(scope="module")
def real_server(request: pytest.FixtureRequest, keys: Keys, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of an https server in Go or Node that closes its connections."""
    if request.param == "go":
        command: list[str | Path] = [go_server(tmp_path_factory.mktemp("go"))]
    else:
        command = ["node", SERVERS / "https.js"]
    with program(*command, keys.certificate, keys.key) as port:
        yield port


@pytest.mark.parametrize(
    "real_server",
    [
        pytest.param("go", marks=pytest.mark.needs("go")),
        pytest.param("node", marks=pytest.mark.needs("node")),
    ],
    indirect=True,
)
@pytest.mark.parametrize("path", ["/length", "/chunked", "/close"])
def test_a_response_of_a_go_or_node_server_that_closes_its_connection_is_complete(
    keys: Keys, new_loop: Callable[[], asyncio.AbstractEventLoop], real_server: int, path: str
) -> None:
    with proxy_on(new_loop, real_server, scheme="https", ca=keys.authority) as running:
        ask = partial(fetch, running.port, None, get(path))
        for _ in range(GOES):
            assert ask() == (BODY, True)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_client_may_send_close_notify_before_its_response_begins(
    keys: Keys, new_loop: Callable[[], asyncio.AbstractEventLoop], version: ssl.TLSVersion
) -> None:
    asked, go = Event(), Event()

    def script(stream: socket) -> None:
        read_head(stream)
        asked.set()
        assert go.wait(DEADLINE)
        stream.sendall(b"HTTP/1.1 200 OK\r\n" + FRAMINGS["length"])

    trusting = ssl.create_default_context(cafile=keys.authority)
    trusting.minimum_version = trusting.maximum_version = version
    with (
        peer(script) as up,
        proxy_on(new_loop, up.port, ssl=keys.server) as running,
        client(running.port, trusting) as stream,
    ):
        stream.sendall(get())
        assert asked.wait(DEADLINE)
        close_notify(stream)
        (connection,) = running.server.connections
        asyncio.run(until(lambda: connection.state is HALF_CLOSED))
        go.set()
        head, rest = read_head(stream)
        assert head.startswith(b"HTTP/1.1 200 OK\r\n")
        assert read_all(stream, rest) == BODY
    assert up.errors == []


@pytest.mark.parametrize("pieces", [1, 2, 3, 7])
def test_a_request_in_the_same_segment_as_the_end_of_the_handshake_is_answered(
    keys: Keys, new_loop: Callable[[], asyncio.AbstractEventLoop], pieces: int
) -> None:
    """And however the bytes of the two are split up."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = keys.client.wrap_bio(incoming, outgoing, server_hostname="127.0.0.1")
    with (
        peer(answers("length", close_notify)) as up,
        proxy_on(new_loop, up.port, ssl=keys.server) as running,
        client(running.port) as stream,
    ):
        stream.setsockopt(IPPROTO_TCP, TCP_NODELAY, 1)
        shaken = False
        while not shaken:
            try:
                tls.do_handshake()
            except ssl.SSLWantReadError:
                stream.sendall(outgoing.read())
                incoming.write(stream.recv(65_536))
            else:
                shaken = True
        tls.write(get())
        flight = outgoing.read()
        size = -(-len(flight) // pieces)
        for at in range(0, len(flight), size):
            stream.sendall(flight[at : at + size])
        got = b""
        while not got.endswith(BODY[-100:]):
            try:
                got += tls.read(65_536)
            except ssl.SSLWantReadError:
                incoming.write(stream.recv(65_536))
        assert got.endswith(b"\r\n\r\n" + BODY)


def test_an_upstream_that_wants_a_client_certificate_is_a_502(
    keys: Keys, new_loop: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    """In TLS 1.3 the client's handshake is complete before the server refuses it."""
    demanding = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=keys.authority)
    demanding.load_cert_chain(keys.certificate, keys.key)
    demanding.verify_mode = ssl.CERT_REQUIRED
    with (
        peer(read_head, demanding) as up,  # type: ignore[arg-type] # what it returns is of no interest
        proxy_on(new_loop, up.port, scheme="https", ca=keys.authority) as running,
        client(running.port) as stream,
    ):
        stream.sendall(get())
        assert read_head(stream)[0].startswith(b"HTTP/1.1 502 ")
