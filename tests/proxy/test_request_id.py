"""X-Request-ID: every response has it, and it is the one in the log and upstream."""

import pytest

from gateway.limits.condition import QUERY, Condition
from gateway.limits.endpoint import Endpoint, Template
from gateway.limits.limit import Limit
from gateway.limits.quota import Quota
from gateway.limits.rate import Rate
from gateway.proxy.request_id import RequestIds
from gateway.settings.answers import Answers
from gateway.settings.intake import Intake
from tests.kit.identity import make_identity
from tests.proxy.running import proxy
from tests.waiting import until
from tests.wire import Client, Conversation, ask, get, says, upstream

SHOWN = Answers()
STRANGERS = make_identity(trusted_proxies=())
NAMED = b"HTTP/1.1 200 OK\r\nX-Request-ID: upstreams-own\r\nContent-Length: 0\r\n\r\n"


def test_no_two_ids_are_the_same_and_none_tells_how_many_there_were() -> None:
    ids = RequestIds(shown=True)
    made = [ids.new() for _ in range(2_000)]
    assert len(set(made)) == 2_000
    assert {len(each) for each in made} == {24}
    assert made != sorted(made)


async def test_a_response_has_the_id_that_the_upstream_was_sent() -> None:
    async with upstream() as up, proxy(up.port, answers=SHOWN) as running:
        message = await ask(running.port, get())
        assert message.one(b"x-request-id") == up.requests[0].one(b"x-request-id")
        assert running.seen.ids == [message.one(b"x-request-id").decode()]


async def test_an_id_of_the_upstreams_own_is_kept() -> None:
    async with upstream(says(NAMED)) as up, proxy(up.port, answers=SHOWN) as running:
        assert (await ask(running.port, get())).one(b"x-request-id") == b"upstreams-own"


@pytest.mark.parametrize(("identity", "kept"), [(make_identity(), True), (STRANGERS, False)])
async def test_only_a_trusted_proxy_names_a_request(identity: object, kept: bool) -> None:
    async with upstream() as up, proxy(up.port, answers=SHOWN, identity=identity) as running:  # type: ignore[arg-type]
        message = await ask(running.port, get("/", "X-Request-ID: mine"))
        assert (message.one(b"x-request-id") == b"mine") is kept


async def test_a_refusal_has_an_id_and_is_the_same_bytes_otherwise() -> None:
    limit = Limit("one", ("user",), Quota(Rate(1, 86_400), 1))
    async with upstream() as up, proxy(up.port, limits=[limit], answers=SHOWN) as running:
        await ask(running.port, get())
        messages = [await ask(running.port, get()) for _ in range(2)]
    ids = [message.one(b"x-request-id") for message in messages]
    assert ids[0] != ids[1]
    assert len({message.raw_head.replace(each, b"") for message, each in zip(messages, ids, strict=True)}) == 1


BAD = {
    "unreadable": b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
    "target_too_long": b"GET /" + b"a" * 40_000 + b" HTTP/1.1\r\nHost: gw.test\r\n\r\n",
    "head_too_large": b"GET / HTTP/1.1\r\nX: " + b"x" * 40_000 + b"\r\n\r\n",
    "slow_head": b"GET / HTTP/1.1\r\nHost: gw.test\r\n",
    "method": b"TRACE / HTTP/1.1\r\nHost: gw.test\r\n\r\n",
    "transfer_coding": b"POST / HTTP/1.1\r\nHost: gw.test\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "two_callers": b"GET / HTTP/1.1\r\nHost: gw.test\r\nX-User-Id: a\r\nX-User-Id: b\r\n\r\n",
    "host": b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
    "target": b"OPTIONS * HTTP/1.1\r\nHost: gw.test\r\n\r\n",
    "path": b"GET /a%2fb HTTP/1.1\r\nHost: gw.test\r\n\r\n",
    "condition": b"GET /report?format=a&format=b HTTP/1.1\r\nHost: gw.test\r\n\r\n",
    "slow_body": b"POST / HTTP/1.1\r\nHost: gw.test\r\nContent-Length: 9\r\n\r\n123",
    "large_body": b"POST / HTTP/1.1\r\nHost: gw.test\r\nContent-Length: 999999999999\r\n\r\n",
}


@pytest.mark.parametrize("reason", BAD)
async def test_a_bad_request_says_its_reason_in_the_log_and_has_an_id(reason: str) -> None:
    intake = Intake(head_timeout=0.3, body_timeout=0.3)
    report = Endpoint("report", Template.parse("/report"), query=(Condition(QUERY, "format", frozenset("a")),))
    async with upstream(reads_body) as up, proxy(up.port, answers=SHOWN, intake=intake, endpoints=[report]) as running:
        async with Client.connect(running.port) as client:
            message = await client.ask(BAD[reason])
        assert 400 <= message.status < 500
        assert running.seen.reasons == [reason]
        assert message.one(b"x-request-id")


async def test_a_body_that_breaks_off_is_a_reason_of_its_own() -> None:
    limit = Limit("one", ("user",), Quota(Rate(1, 86_400), 1))
    async with upstream(reads_body) as up, proxy(up.port, limits=[limit], answers=SHOWN) as running:
        async with Client.connect(running.port) as client:
            await client.send(b"POST / HTTP/1.1\r\nHost: gw.test\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n")
            await until(lambda: bool(running.seen.verdicts))
            message = await client.ask(b"zz\r\n")
        assert (message.status, running.seen.reasons) == (400, ["broken_body"])


async def reads_body(talk: Conversation) -> None:
    await talk.request()
    await talk.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")


async def test_without_the_setting_no_response_has_an_id() -> None:
    async with upstream() as up, proxy(up.port, answers=Answers(request_id=False)) as running:
        assert (await ask(running.port, get())).all(b"x-request-id") == []
        assert up.requests[0].all(b"x-request-id")
