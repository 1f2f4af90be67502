"""Services are answered without aiohttp while they only ask; all else is aiohttp's, with the same answers."""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from gateway.auth.cors import Cors
from gateway.config.strict_json import parse_strict_json
from gateway.control.asker import Asker
from gateway.control.http.direct import DirectConnections
from gateway.control.http.hosts import Hosts
from gateway.control.http.problem import Problems
from gateway.settings.intake import Intake
from gateway.telemetry.log import open_log
from tests.auth.keys import token
from tests.control.running import CHECK, gateway, limit, read, request, tls_listener
from tests.redis_server import redis_server
from tests.wire import Client, Message, get

PATH = "/api/v1/check-limit"
GOOD = {"user_id": "ana", "endpoint": "order", "weight": 1}
QUESTION = request("POST", PATH, GOOD, token=CHECK)


def is_of_aiohttp(message: Message) -> bool:
    return b"aiohttp" in b"".join(message.all(b"Server"))


def remaining(message: Message) -> int:
    assert message.status == 200, message
    return int(parse_strict_json(message.body)["remaining"])


async def test_a_connection_is_aiohttps_from_the_first_other_request_on() -> None:
    async with gateway(limit("each", 9)) as running, Client.connect(running.control) as client:
        answers = [await client.ask(each) for each in (QUESTION, QUESTION, get("/healthz"), QUESTION, QUESTION)]
    assert [is_of_aiohttp(each) for each in answers] == [False, False, True, True, True]
    assert [remaining(each) for each in (*answers[:2], *answers[3:])] == [8, 7, 6, 5]
    assert {each.one(b"Content-Type") for each in answers} == {b"application/json; charset=utf-8"}


async def test_reserving_and_settling_share_a_connection() -> None:
    async with gateway(limit("each", 9)) as running, Client.connect(running.control) as client:
        reserved = await client.ask(request("POST", PATH, GOOD | {"weight": 4, "reserve": True}, token=CHECK))
        name = read(reserved).body["reservation"]
        settled = await client.ask(request("POST", "/api/v1/settle", {"reservation": name, "cost": 2}, token=CHECK))
        again = await client.ask(request("POST", "/api/v1/settle", {"reservation": "none", "cost": 2}, token=CHECK))
        left = await client.ask(QUESTION)
    assert (read(settled).body, again.status, remaining(left)) == ({"reservation": name, "cost": 2}, 404, 6)
    assert not any(map(is_of_aiohttp, (reserved, settled, again, left)))


def _chunked() -> bytes:
    head, _, body = QUESTION.partition(b"\r\n\r\n")
    lines = [line for line in head.split(b"\r\n") if not line.startswith(b"Content-Length")]
    return b"\r\n".join([*lines, b"Transfer-Encoding: chunked", b"", b"%x" % len(body), body, b"0", b"", b""])


@pytest.mark.parametrize(
    "raw",
    [
        request("POST", PATH, GOOD, token=CHECK, fields=["Connection: close"]),
        request("POST", PATH, GOOD, token=CHECK, fields=["Origin: http://localhost"]),
        request("POST", PATH, GOOD, token=CHECK, fields=["Accept: a/b", "Accept: */*"]),
        request("POST", PATH, GOOD, token=CHECK, fields=["Content-Type: application/json;charset=UTF-8; a=b"]),
        request("POST", f"{PATH}?a=b", GOOD, token=CHECK),
        request("POST", f"http://localhost{PATH}", GOOD, token=CHECK),
        b"\r\n" + QUESTION,
        QUESTION.replace(b"HTTP/1.1", b"HTTP/1.0"),
        _chunked(),
    ],
)  # fmt: skip
async def test_a_question_of_another_form_is_answered_by_aiohttp(raw: bytes) -> None:
    async with gateway(limit("each", 9)) as running, Client.connect(running.control) as client:
        first, other = await client.ask(QUESTION), await client.ask(raw)
    assert (is_of_aiohttp(first), is_of_aiohttp(other)) == (False, True)
    assert (remaining(first), remaining(other)) == (8, 7)


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        (["Content-Encoding: gzip"], 415), (["Content-Type: text/plain"], 415), (["Host: localhost"], 400),
        (["Content-Length: 1"], 400), (["Transfer-Encoding: chunked"], 400), (["no colon"], 400),
        (["X: " + "a" * 9_000], 431), (["Origin: http://evil.test"], 403), (["X: a\x00b"], 400),
    ],
)  # fmt: skip
async def test_what_must_not_be_answered_is_refused_by_aiohttp_and_charges_nothing(
    fields: list[str], status: int
) -> None:
    async with gateway(limit("each", 9)) as running:
        answer = await running.call("POST", PATH, GOOD, token=CHECK, fields=fields)
        assert (answer.status, answer.type) == (status, "application/problem+json")
        assert (await running.check("ana", "order", 0))["remaining"] == 9


async def test_another_host_on_a_connection_whose_first_was_right_is_refused() -> None:
    async with gateway(limit("each", 9)) as running, Client.connect(running.control) as client:
        answers = [await client.ask(QUESTION.replace(b"localhost", host)) for host in (b"localhost", b"evil.test")]
    assert [each.status for each in answers] == [200, 421]


async def test_requests_that_come_together_are_all_answered_in_order() -> None:
    async with gateway(limit("each", 9)) as running, Client.connect(running.control) as client:
        await client.send(QUESTION * 3 + get("/healthz") + QUESTION)
        answers = [await client.answer() for _ in range(5)]
    assert [remaining(each) for each in (*answers[:3], answers[4])] == [8, 7, 6, 5]
    assert answers[3].body == b'{"status": "alive"}'


async def test_a_head_that_came_before_is_read_in_the_same_way_whatever_follows_it() -> None:
    of_bob, of_nothing = QUESTION.replace(b"ana", b"bob"), QUESTION.replace(b"order", b"nowhe")
    async with gateway(limit("each", 9)) as running, Client.connect(running.control) as client:
        answers = [await client.ask(each) for each in (QUESTION, of_bob, of_nothing, QUESTION)]
        await client.send(of_bob + QUESTION[:-10])
        together = await client.answer(), await client.ask(QUESTION[-10:])
    assert [each.status for each in answers] == [200, 200, 400, 200]
    assert [remaining(each) for each in (answers[0], answers[1], answers[3], *together)] == [8, 8, 7, 7, 6]


async def test_many_heads_on_a_connection_are_all_read() -> None:
    async with gateway(limit("each", 30)) as running, Client.connect(running.control) as client:
        for n in range(20):
            tokens = [CHECK, token("reload")]
            question = request("POST", PATH, GOOD, token=tokens[n % 5 == 4], fields=[f"X-Number: {n % 11}"])
            assert (await client.ask(question)).status == (403 if n % 5 == 4 else 200)


async def test_what_comes_while_a_question_waits_for_redis_is_answered_after_it() -> None:
    async with (
        redis_server() as redis,
        gateway(limit("each", 9), store=redis.url) as running,
        Client.connect(running.control) as client,
    ):
        assert remaining(await client.ask(QUESTION)) == 8
        redis.pause()
        for each in (QUESTION, get("/healthz"), QUESTION):
            await client.send(each)
            await asyncio.sleep(0.05)  # so that it comes by itself; if it does not, nothing else is to be seen
        redis.resume()
        answers = [await client.answer() for _ in range(3)]
    assert (remaining(answers[0]), answers[1].body, remaining(answers[2])) == (7, b'{"status": "alive"}', 6)


@pytest.mark.parametrize("at", [20, len(QUESTION) - 30], ids=["in the head", "in the body"])
async def test_a_question_may_come_in_pieces(at: int) -> None:
    async with gateway(limit("each", 9)) as running, Client.connect(running.control) as client:
        await client.send(QUESTION[:at])
        await asyncio.sleep(0.05)  # so that it comes by itself; if it does not, nothing else is to be seen
        assert remaining(await client.ask(QUESTION[at:])) == 8
        assert remaining(await client.ask(QUESTION)) == 7


async def test_a_client_that_does_not_read_is_answered_when_it_does() -> None:
    service, sent = _Echo(), _Sent()
    hosts, problems = Hosts(["localhost"], Cors()), Problems(open_log())
    direct = DirectConnections([service], hosts, problems, b"", Intake())
    connection = direct.before(asyncio.Protocol)()
    connection.connection_made(sent)
    connection.data_received(request("POST", "/echo", {"n": 1}))
    connection.pause_writing()
    connection.data_received(request("POST", "/echo", {"n": 2}))
    assert (len(sent.written), sent.is_reading()) == (1, False)
    connection.resume_writing()
    assert [each[-8:] for each in sent.written] == [b'{"n": 1}', b'{"n": 2}']
    assert sent.is_reading()
    connection.connection_lost(None)


class _Echo:
    path = "/echo"

    async def admit(self, asker: Asker) -> None:
        pass

    async def answer(self, asker: Asker, body: bytes) -> bytes:  # noqa: ARG002 - a Service's
        return body


class _Sent(asyncio.Transport):
    """A transport that notes what is written to it."""

    def __init__(self) -> None:
        super().__init__({"socket": None})
        self.written: list[bytes] = []
        self._reads = True

    def write(self, data: Any) -> None:
        self.written.append(bytes(data))

    def is_reading(self) -> bool:
        return self._reads

    def pause_reading(self) -> None:
        self._reads = False

    def resume_reading(self) -> None:
        self._reads = True


async def test_a_client_that_closes_its_half_gets_its_answer() -> None:
    async with (
        redis_server() as redis,
        gateway(limit("each", 9), store=redis.url) as running,
        Client.connect(running.control) as client,
    ):
        assert remaining(await client.ask(QUESTION)) == 8
        redis.pause()
        await client.send(QUESTION)
        client.writer.write_eof()
        await asyncio.sleep(0.05)  # so that the end comes while the question waits
        redis.resume()
        assert remaining(await client.answer()) == 7
        assert await client.closed() == b""


async def test_a_question_that_is_open_when_the_gateway_stops_is_answered() -> None:
    async with redis_server() as redis, AsyncExitStack() as serving:
        running = await serving.enter_async_context(gateway(limit("each", 9), store=redis.url))
        async with Client.connect(running.control) as client, Client.connect(running.control) as idle:
            for each in (client, idle):
                assert (await each.ask(QUESTION)).status == 200
            redis.pause()
            await client.send(QUESTION)
            stopping = asyncio.create_task(serving.aclose())
            assert await idle.closed() == b""
            redis.resume()
            assert remaining(await client.answer()) == 6
            assert await client.closed() == b""
            await stopping


async def test_questions_over_tls_are_answered_in_the_same_way(tmp_path: Path) -> None:
    listener, context = tls_listener(tmp_path)
    async with (
        gateway(limit("each", 9), control={"listen": (listener,)}) as running,
        Client.connect(running.control, ssl=context) as client,
    ):
        answers = [await client.ask(each) for each in (QUESTION, get("/healthz"), QUESTION)]
    assert [is_of_aiohttp(each) for each in answers] == [False, True, True]
    assert (remaining(answers[0]), remaining(answers[2])) == (8, 7)
