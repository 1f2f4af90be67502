"""Envoy's rate limit service: descriptors are decided on like requests."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from ipaddress import ip_network
from typing import Any

import pytest

from gateway.limits.endpoint import Endpoint, Template
from gateway.limits.holder import ADDRESS, ENDPOINT, USER
from gateway.limits.limit import Limit, Missing, Over
from gateway.limits.quota import Quota
from gateway.limits.rate import Rate
from gateway.limits.rules import Rules
from gateway.rate_limit_service.messages import METHOD, OK, OVER_LIMIT, Request, Response
from gateway.settings.door import Doors, RateLimit
from gateway.settings.listener import Listener
from tests.control.running import Running, settings, worker
from tests.http2 import Http2Client, Reply
from tests.waiting import eventually
from tests.wire import ask, get, upstream

A_DAY = 86_400
ENDPOINTS = (
    Endpoint("orders", Template.parse("/orders/{id}"), frozenset({"POST"}), cost=2),
    Endpoint("search", Template.parse("/search")),
)
Entries = dict[str, str]


def limit(name: str, burst: int, *per: str, **more: Any) -> Limit:
    return Limit(name, per, Quota(Rate(1, A_DAY), burst), **more)


@asynccontextmanager
async def service(
    *limits: Limit, up: int = 9, asking: str = "127.0.0.0/8", **more: Any
) -> AsyncIterator[tuple["Asking", Running]]:
    """A worker with the door, and a client of it."""
    door = RateLimit((ip_network(asking),), (Listener(port=0),), **more)
    made = settings(up, doors=Doors(rate_limit=door))
    async with (
        worker(made, Rules(ENDPOINTS, limits, revision="cafe00000001")) as running,
        Http2Client.connect(running.doors["rate_limit"]) as client,
    ):
        yield Asking(client), running


class Asking:
    def __init__(self, client: Http2Client) -> None:
        self.client = client

    async def call(self, *descriptors: Entries, hits: int = 0, each: int | None = None) -> Any:
        """The response to these descriptors."""
        return read(await self.client.call(METHOD, encode(descriptors, hits, each)))

    async def codes(self, *descriptors: Entries, hits: int = 0, each: int | None = None) -> list[int]:
        """The overall code, and that of each descriptor."""
        response = await self.call(*descriptors, hits=hits, each=each)
        return [response.overall_code, *(status.code for status in response.statuses)]


def encode(descriptors: Sequence[Entries], hits: int = 0, each: int | None = None) -> bytes:
    request = Request(domain="api", hits_addend=hits)
    for entries in descriptors:
        descriptor = request.descriptors.add()
        for key, value in entries.items():
            descriptor.entries.add(key=key, value=value)
        if each is not None:
            descriptor.hits_addend.value = each
    message: bytes = request.SerializeToString()
    return message


def read(reply: Reply) -> Any:
    assert reply.headers["grpc-status"] == "0", reply
    return Response.FromString(reply.body[5:])


ANA, BOB = {"user": "ana"}, {"user": "bob"}
ORDERS = {"generic_key": "orders"}


async def test_a_user_has_the_budget_that_the_rules_give_and_no_more() -> None:
    async with service(limit("each", 2, USER)) as (asking, _):
        assert [await asking.codes(ANA) for _ in range(3)] == [[OK, OK], [OK, OK], [OVER_LIMIT, OVER_LIMIT]]
        assert await asking.codes(BOB) == [OK, OK]


async def test_the_endpoint_is_the_one_that_an_entry_names_or_that_a_path_belongs_to() -> None:
    only = limit("orders", 4, USER, endpoints=frozenset({"orders"}))
    async with service(only) as (asking, _):
        assert await asking.codes(ORDERS | ANA) == [OK, OK]  # the endpoint's cost is 2
        by_path = {"path": "/Orders//7?x=1", "method": "POST", "host": "api.example"} | ANA
        assert await asking.codes(by_path) == [OK, OK]
        assert await asking.codes(by_path) == [OVER_LIMIT, OVER_LIMIT]
        assert await asking.codes({"path": "/orders/7"} | ANA) == [OK, OK]  # a GET
        assert await asking.codes({"generic_key": "unknown", "other": "orders"} | ANA) == [OK, OK]


@pytest.mark.parametrize("path", ["/x/../orders/7", "/orders%2f7", "orders/7", "/orders#7"])
async def test_a_path_that_cannot_be_read_in_one_way_is_refused(path: str) -> None:
    async with service(limit("each", 9, USER)) as (asking, _):
        assert await asking.codes(ANA, {"path": path} | ANA) == [OVER_LIMIT, OK, OVER_LIMIT]
        assert await asking.codes({"path": "/", "method": "TRACE"}) == [OVER_LIMIT, OVER_LIMIT]


async def test_hits_addend_is_the_cost_of_the_call_or_of_one_descriptor() -> None:
    async with service(limit("each", 10, USER)) as (asking, _):
        assert await asking.codes(ANA, hits=6) == [OK, OK]
        assert await asking.codes(ANA, hits=5) == [OVER_LIMIT, OVER_LIMIT]
        assert await asking.codes(ANA, hits=5, each=4) == [OK, OK]
        assert await asking.codes(ANA, each=0) == [OK, OK]
        assert await asking.codes(BOB, hits=4_294_967_295) == [OVER_LIMIT, OVER_LIMIT]


async def test_all_descriptors_of_a_call_are_charged_or_none_and_a_bucket_of_several_once() -> None:
    limits = limit("each", 4, USER), limit("in-all", 3, ENDPOINT, endpoints=frozenset({"search"}))
    async with service(*limits) as (asking, _):
        search = {"generic_key": "search"}
        assert await asking.codes(search, search | ANA) == [OK, OK, OK]
        assert await asking.codes(search, search | ANA) == [OK, OK, OK]
        assert await asking.codes(search | BOB) == [OK, OK]
        assert await asking.codes(search, search | BOB, BOB) == [OVER_LIMIT, OVER_LIMIT, OVER_LIMIT, OK]
        assert [await asking.codes(BOB) for _ in range(4)] == [[OK, OK]] * 3 + [[OVER_LIMIT, OVER_LIMIT]]


async def test_a_descriptor_that_names_nobody_is_charged_to_what_all_share() -> None:
    limits = limit("each", 1, USER), limit("in-all", 2, endpoints=frozenset({"orders", "search"}))
    async with service(*limits) as (asking, _):
        assert await asking.codes({"generic_key": "search"}) == [OK, OK]
        assert await asking.codes({"generic_key": "search"}) == [OK, OK]
        assert await asking.codes({"generic_key": "search"}) == [OVER_LIMIT, OVER_LIMIT]
        assert [await asking.codes({"unknown": "x"}) for _ in range(3)] == [[OK, OK]] * 3


@pytest.mark.parametrize("text", ["192.0.2.1", "192.0.2.1/32", "192.0.2.1:443"])
async def test_an_address_is_a_caller_and_comes_with_a_user(text: str) -> None:
    async with service(limit("each", 1, USER), limit("from", 2, ADDRESS)) as (asking, _):
        there = {"remote_address": text}
        assert await asking.codes(there) == [OK, OK]
        assert await asking.codes(ANA | there) == [OK, OK]
        assert await asking.codes(BOB | there) == [OVER_LIMIT, OVER_LIMIT]
        assert await asking.codes({"remote_address": "nonsense/8"}) == [OK, OK]


async def test_an_attribute_has_buckets_of_its_own_with_a_user_or_alone() -> None:
    limits = limit("org", 3, "org", if_missing=Missing.SKIP), limit("each", 2, USER)
    async with service(*limits, descriptors={"customer": "org", "user": "user"}) as (asking, _):
        acme = {"customer": "acme"}
        assert await asking.codes(ANA | acme) == [OK, OK]
        assert [await asking.codes(acme) for _ in range(3)] == [[OK, OK]] * 2 + [[OVER_LIMIT, OVER_LIMIT]]
        assert await asking.codes(ANA | acme) == [OVER_LIMIT, OVER_LIMIT]
        assert await asking.codes(ANA | {"customer": "initech"}) == [OK, OK]
        assert await asking.codes(ANA | {"customer": "initech"}) == [OVER_LIMIT, OVER_LIMIT]  # ana's own
        assert await asking.codes({"generic_key": "nothing"}) == [OK, OK]


async def test_tiers_shadow_limits_and_limits_that_tell_hold() -> None:
    limits = (
        limit("each", 1, USER, tiers={"gold": Quota(Rate(1, A_DAY), 2)}),
        limit("shadow", 1, USER, enforce=0.0),
        limit("soft", 1, USER, over=Over.TELL),
    )
    async with service(*limits) as (asking, _):
        gold = ANA | {"tier": "gold"}
        assert not (await asking.call(gold)).request_headers_to_add
        told = await asking.call(gold)
        assert (told.overall_code, [(it.key, it.value) for it in told.request_headers_to_add]) == (
            OK,
            [("X-Over-Limit", "soft")],
        )
        assert await asking.codes(gold) == [OVER_LIMIT, OVER_LIMIT]


async def test_a_refusal_has_the_usual_body_and_says_nothing_of_limits() -> None:
    async with service(limit("each", 1, USER)) as (asking, _):
        await asking.call(ANA)
        response = await asking.call(ANA)
        assert response.raw_body == b"Too Many Requests\n"
        expected = Response(overall_code=OVER_LIMIT, raw_body=b"Too Many Requests\n")
        expected.statuses.add(code=OVER_LIMIT)
        expected.response_headers_to_add.add(key="Content-Type", value="text/plain; charset=utf-8")
        assert response == expected


async def test_one_budget_with_requests_that_are_forwarded() -> None:
    async with upstream() as up, service(limit("each", 2, USER), up=up.port) as (asking, running):
        assert await asking.codes(ANA) == [OK, OK]
        statuses = [(await ask(running.public, get("/", "X-User-Id: ana"))).status for _ in range(2)]
        assert statuses == [200, 429]
        assert await asking.codes(ANA) == [OVER_LIMIT, OVER_LIMIT]


async def test_decisions_are_counted_once_for_each_bucket() -> None:
    async with service(limit("each", 9, USER), limit("in-all", 9)) as (asking, running):
        await asking.call({"generic_key": "search"}, {"generic_key": "search"} | ANA)

        async def counted() -> bool:
            page = (await ask(running.control, get("/metrics"))).body.decode()
            return all(
                f'_total{{endpoint="search",limit="{name}",mode="normal",outcome="allowed"}} 1.0' in page
                for name in ("each", "in-all")
            )

        await eventually(counted)


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/envoy.service.ratelimit.v2.RateLimitService/ShouldRateLimit", b"\0\0\0\0\0", "12"),
        (METHOD, b"\1\0\0\0\0", "12"),
        (METHOD, b"\0\0\0\0", "3"),
        (METHOD, b"\0\0\0\0\2x", "3"),
        (METHOD, b"\0\0\0\0\1\xff", "3"),
        (METHOD, b"\0\0\0\0\0", "3"),  # no descriptor
    ],
)
async def test_what_is_no_question_gets_a_status_of_grpc(path: str, body: bytes, status: str) -> None:
    async with service() as (asking, _):
        reply = await asking.client.ask("POST", path, [("content-type", "application/grpc")], body)
        assert (reply.status, reply.headers["grpc-status"]) == (200, status)
        assert reply.headers["grpc-message"]
        assert await asking.codes(ANA) == [OK, OK]  # the connection is as before


async def test_too_many_descriptors_are_not_read() -> None:
    async with service() as (asking, _):
        reply = await asking.client.call(METHOD, encode([ANA] * 65))
        assert reply.headers["grpc-status"] == "3"


async def test_calls_in_flight_are_answered_in_any_order() -> None:
    async with service(limit("each", 50, USER)) as (asking, _):
        message = encode([ANA])
        framed = b"\0" + len(message).to_bytes(4) + message
        headers = [("content-type", "application/grpc")]
        streams = [asking.client.start("POST", METHOD, headers, framed) for _ in range(80)]
        codes = [read(await asking.client.reply(stream)).overall_code for stream in streams]
        assert codes.count(OK) == 50


async def test_a_stranger_is_not_admitted() -> None:
    async with service(asking="192.0.2.0/24") as (asking, _):
        with pytest.raises((AssertionError, ConnectionError)):
            await asking.call(ANA)


async def test_what_is_not_http2_ends_the_connection() -> None:
    async with service() as (_, running):
        with pytest.raises(Exception):  # noqa: B017, PT011 - it is closed in some way
            await ask(running.doors["rate_limit"], get("/"))
