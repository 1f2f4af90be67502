"""Authentication that holds for a connection (NTLM, Negotiate) serves the client that it was for, and nobody else."""

import asyncio
from collections.abc import Callable
from ipaddress import ip_network

import pytest

from gateway.limits.identity import Identity
from tests.kit.identity import make_identity
from tests.proxy.running import proxy
from tests.waiting import DEADLINE, until
from tests.wire import OK, Client, Conversation, Message, Script, ask, get, upstream

STRANGERS = make_identity(trusted_proxies=(ip_network("192.0.2.0/24"),))
PROXIES = make_identity(trusted_proxies=(ip_network("127.0.0.0/8"),))
NEGOTIATE, CHALLENGE, DONE = "NTLM TlRMTVNTUAAB", b"NTLM TlRMTVNTUAAC", "NTLM TlRMTVNTUAAD"


def unauthorized(*challenges: bytes, fields: bytes = b"") -> bytes:
    lines = b"".join(b"WWW-Authenticate: %b\r\n" % challenge for challenge in challenges)
    return b"HTTP/1.1 401 Unauthorized\r\n%b%bContent-Length: 0\r\n\r\n" % (lines, fields)


def mail(number: int) -> bytes:
    body = b"alice's, on %d" % number
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


async def exchange_server(talk: Conversation) -> None:
    """Three steps of NTLM, as IIS has them: what has been shown on a connection holds for all that comes on it."""
    state = "nobody"
    while True:
        request = await talk.request()
        shown = b"".join(request.all(b"authorization")).decode()
        if shown == NEGOTIATE:
            state = "challenged"
            await talk.send(unauthorized(CHALLENGE))
        elif state == "alice" or (state == "challenged" and shown == DONE):
            state = "alice"
            await talk.send(mail(talk.number))
        else:
            await talk.send(unauthorized(b"Negotiate", b"NTLM"))


def once(answer: bytes) -> Script:
    """Answers the first request on a connection so, those behind it with whose the connection is."""

    async def script(talk: Conversation) -> None:
        await talk.request()
        await talk.send(answer)
        while True:
            await talk.request()
            await talk.send(mail(talk.number))

    return script


async def log_in(client: Client, *fields: str) -> Message:
    assert (await client.ask(get("/", *fields))).status == 401
    challenged = await client.ask(get("/", f"Authorization: {NEGOTIATE}", *fields))
    assert (challenged.status, challenged.one(b"www-authenticate")) == (401, CHALLENGE)
    return await client.ask(get("/", f"Authorization: {DONE}", *fields))


@pytest.mark.parametrize("identity", [STRANGERS, PROXIES], ids=["stranger", "program on this machine"])
async def test_a_handshake_stays_on_one_connection_and_nobody_else_is_served_by_it(identity: Identity) -> None:
    async with (
        upstream(exchange_server) as one,
        upstream(exchange_server) as two,
        proxy(one.port, two.port, identity=identity) as running,
    ):
        for _ in range(3):
            async with Client.connect(running.port) as alice:
                first = await log_in(alice)
                assert first.body.startswith(b"alice's")
                for fields in ((), ("Authorization: Basic YWxpY2U6eA==",), ("Authorization: Bearer x",)):
                    assert (await alice.ask(get("/", *fields))).body == first.body
                for _ in range(4):
                    assert (await ask(running.port, get())).status == 401
            assert (await ask(running.port, get())).status == 401


async def test_the_connection_ends_with_the_clients() -> None:
    left = asyncio.Event()

    async def script(talk: Conversation) -> None:
        try:
            await exchange_server(talk)
        finally:
            left.set()

    async with upstream(script) as up, proxy(up.port, identity=STRANGERS) as running:
        async with Client.connect(running.port) as alice:
            assert (await log_in(alice)).status == 200
            assert not left.is_set()
        async with asyncio.timeout(DEADLINE):
            await left.wait()
    assert up.connections == 1


@pytest.mark.parametrize(
    ("shown", "answer"),
    [
        ("Authorization: NTLM TlRM", OK),
        ("authorization: ntlm TlRM", OK),
        ("Authorization: Negotiate YII=", OK),
        ("Authorization: NEGOTIATE YII=", OK),
        ("Authorization: Kerberos YII=", OK),
        ("Authorization: Negotiate", OK),
        ("Authorization: Basic eDp5, NTLM TlRM", OK),
        ("Authorization: Basic eDp5\r\nAuthorization: Negotiate YII=", OK),
        ("Proxy-Authorization: NTLM TlRM", OK),
        ("X: y", unauthorized(b"NTLM")),
        ("X: y", unauthorized(b"negotiate")),
        ("X: y", unauthorized(b'Basic realm="a, b", Negotiate, NTLM')),
        ("X: y", unauthorized(b'Basic realm="x"', b"Bearer", b"NTLM")),
        ("X: y", unauthorized(b"Basic realm=x,\tNegotiate YII=")),
        ("X: y", unauthorized(b"Basic", fields=b"WWW-AUTHENTICATE: NTLM\r\n")),
        ("X: y", unauthorized(fields=b"Proxy-Authenticate: Negotiate\r\n")),
        ("Authorization: Unheard-Of x", OK.replace(b"\r\n\r\n", b"\r\nPersistent-Auth: true\r\n\r\n")),
        ("X: y", OK.replace(b"\r\n\r\n", b"\r\nWWW-Authenticate: Negotiate oYG=\r\n\r\n")),
    ],
)
async def test_whatever_names_such_a_scheme_keeps_the_connection_for_its_client(shown: str, answer: bytes) -> None:
    async with upstream(once(answer)) as up, proxy(up.port, identity=STRANGERS) as running:
        async with Client.connect(running.port) as alice:
            await alice.ask(get("/", shown))
            assert (await ask(running.port, get())).body != b"alice's, on 1"
            assert (await alice.ask(get())).body == b"alice's, on 1"
        for _ in range(3):
            assert (await ask(running.port, get())).body != b"alice's, on 1"


@pytest.mark.parametrize(
    ("shown", "answer"),
    [
        ("Authorization: Basic TlRMTQ==", OK),
        ("Authorization: Bearer ntlm.negotiate", OK),
        ("X: y", unauthorized(b'Basic realm="x"', b"Digest nonce=y")),
        ("X-Negotiate: NTLM", OK),
    ],
)
async def test_a_connection_on_which_requests_show_who_they_are_is_shared(shown: str, answer: bytes) -> None:
    async with upstream(once(answer)) as up, proxy(up.port, identity=STRANGERS) as running:
        await ask(running.port, get("/", shown))
        await ask(running.port, get())
    assert up.connections == 1


@pytest.mark.parametrize(
    "names",
    [
        lambda user: f"X-Forwarded-For: 203.0.113.{user}",
        lambda user: f"X-User-Id: user-{user}",
        lambda user: f"Forwarded: for=203.0.113.{user}",
        lambda _: "X-Forwarded-For: 203.0.113.1",
        lambda _: "Via: 1.1 front",
    ],
)
async def test_behind_a_proxy_that_puts_many_users_on_one_connection_nobody_gets_anothers(
    names: Callable[[int], str],
) -> None:
    async with upstream(exchange_server) as up, proxy(up.port, identity=PROXIES) as running:
        async with Client.connect(running.port) as front:
            await front.ask(get("/", f"Authorization: {NEGOTIATE}", names(1)))
            await front.ask(get("/", f"Authorization: {DONE}", names(1)))
            for user in (1, 2, 3):
                assert (await front.ask(get("/", names(user)))).status == 401
        assert (await ask(running.port, get())).status == 401


async def test_a_connection_that_turns_out_to_be_a_proxys_loses_what_was_pinned_to_it() -> None:
    async with (
        upstream(exchange_server) as up,
        proxy(up.port, identity=PROXIES) as running,
        Client.connect(running.port) as front,
    ):
        assert (await log_in(front)).status == 200
        for fields in (("X-Forwarded-For: 203.0.113.9",), ()):
            assert (await front.ask(get("/", *fields))).status == 401


async def test_one_request_with_a_ticket_of_its_own_passes_a_proxy() -> None:
    """Kerberos in one step: each request shows who it is, on a connection of its own."""

    async def script(talk: Conversation) -> None:
        while True:
            request = await talk.request()
            await talk.send(mail(talk.number) if request.all(b"authorization") else unauthorized(b"Negotiate"))

    async with (
        upstream(script) as up,
        proxy(up.port, identity=PROXIES) as running,
        Client.connect(running.port) as front,
    ):
        for number in (1, 2, 3):
            shown = ("Authorization: Negotiate YII=", "X-Forwarded-For: 203.0.113.1")
            assert (await front.ask(get("/", *shown))).body == b"alice's, on %d" % number


async def test_a_pinned_connection_that_the_upstream_closed_is_replaced_by_a_fresh_one() -> None:
    async def script(talk: Conversation) -> None:
        await talk.request()
        await talk.send(unauthorized(b"NTLM"))
        if talk.number == 1:
            return
        while True:
            await talk.request()
            await talk.send(mail(talk.number))

    async with (
        upstream(script) as up,
        proxy(up.port, identity=STRANGERS) as running,
        Client.connect(running.port) as alice,
    ):
        for _ in range(2):
            answer = await alice.ask(get())
            assert answer.status == 401
        assert (await alice.ask(get())).body == b"alice's, on 2"


async def test_where_the_upstream_ends_an_authenticated_connection_so_do_we() -> None:
    answer = unauthorized(CHALLENGE, fields=b"Connection: close\r\n")
    async with (
        upstream(once(answer)) as up,
        proxy(up.port, identity=STRANGERS) as running,
        Client.connect(running.port) as alice,
    ):
        challenged = await alice.ask(get("/", f"Authorization: {NEGOTIATE}"))
        assert challenged.all(b"connection") == [b"close"]
        assert await alice.closed() == b""


async def test_a_handshake_in_front_of_bodies_that_are_not_read_stays_on_its_connection() -> None:
    """Clients of NTLM post their body with the first step, or none at all."""

    async def script(talk: Conversation) -> None:
        await talk.reader.readuntil(b"\r\n\r\n")
        await talk.send(unauthorized(CHALLENGE))
        assert await talk.reader.readexactly(5) == b"hello"
        while True:
            await talk.request()
            await talk.send(mail(talk.number))

    async with (
        upstream(script) as up,
        proxy(up.port, identity=STRANGERS) as running,
        Client.connect(running.port) as alice,
    ):
        fields = (f"Authorization: {NEGOTIATE}", "Content-Length: 5")
        assert (await alice.ask(get("/", *fields, method="POST"))).status == 401
        await alice.send(b"hello")
        assert (await alice.ask(get())).body == b"alice's, on 1"


async def test_so_many_connections_are_pinned_and_no_more() -> None:
    async with (
        upstream(exchange_server) as up,
        proxy(up.port, identity=STRANGERS, max_idle=1, max_connections=2) as running,
        Client.connect(running.port) as alice,
        Client.connect(running.port) as bob,
    ):
        assert (await log_in(alice)).status == 200
        assert (await bob.ask(get("/", f"Authorization: {NEGOTIATE}"))).status == 401
        assert (await bob.ask(get("/", f"Authorization: {DONE}"))).status == 401  # its connection was not kept
        assert (await alice.ask(get())).status == 200
        for _ in range(5):  # those that are pinned take nothing from others
            assert (await ask(running.port, get())).status == 401


async def test_clients_that_come_and_go_in_a_handshake_leave_no_connection_behind() -> None:
    there = 0

    async def script(talk: Conversation) -> None:
        nonlocal there
        there += 1
        try:
            await exchange_server(talk)
        finally:
            there -= 1

    async with upstream(script) as up, proxy(up.port, identity=STRANGERS) as running:
        for _ in range(20):
            async with Client.connect(running.port) as client:
                await client.ask(get("/", f"Authorization: {NEGOTIATE}"))
            async with Client.connect(running.port) as client:
                await client.send(get("/", f"Authorization: {NEGOTIATE}"))
        await until(lambda: not running.server.connections and there == 0)
    assert up.connections >= 20
