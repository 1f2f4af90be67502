"""`over: tell`: the request passes, and the upstream, and nobody else, is told which limits it is over."""

import pytest

from gateway.limits.limit import Limit, Over
from gateway.limits.quota import Quota
from gateway.limits.rate import Rate
from tests.proxy.running import proxy
from tests.wire import Message, ask, get, says, upstream

A_DAY = 86_400


def limit(name: str, burst: int, over: Over = Over.TELL, enforce: float = 1.0) -> Limit:
    return Limit(name, ("user",), Quota(Rate(1, A_DAY), burst), over=over, enforce=enforce)


def told(request: Message) -> list[bytes]:
    return request.all(b"x-over-limit")


async def test_upstream_is_told_all_names_and_the_client_gets_its_response() -> None:
    limits = limit("two", 2), limit("one", 1), limit("trial", 1, Over.REFUSE, enforce=0.0)
    async with upstream() as up, proxy(up.port, limits=limits) as running:
        statuses = [(await ask(running.port, get("/"))).status for _ in range(3)]
        assert statuses == [200, 200, 200]
        assert [told(request) for request in up.requests] == [[], [b"one"], [b"two, one"]]


async def test_a_refused_request_is_not_charged_to_a_limit_that_tells() -> None:
    limits = limit("soft", 5), limit("hard", 1, Over.REFUSE)
    async with upstream() as up, proxy(up.port, limits=limits) as running:
        assert [(await ask(running.port, get("/"))).status for _ in range(3)] == [200, 429, 429]
        assert running.seen.verdicts[-1].decision.owed[0] <= running.seen.verdicts[1].decision.owed[0]


@pytest.mark.parametrize("name", ["X-Over-Limit", "x-over-limit", "X_Over_Limit", "X.Over.Limit"])
async def test_no_client_can_send_the_header_though_it_is_a_trusted_proxy(name: str) -> None:
    async with upstream() as up, proxy(up.port, limits=[limit("soft", 5)]) as running:
        assert (await ask(running.port, get("/", f"{name}: soft"))).status == 200
        assert b"soft" not in b"".join(value for _, value in up.requests[0].fields)


async def test_a_client_cannot_have_the_header_removed() -> None:
    async with upstream() as up, proxy(up.port, limits=[limit("soft", 1)]) as running:
        for _ in range(2):
            await ask(running.port, get("/", "Connection: X-Over-Limit"))
        assert told(up.requests[1]) == [b"soft"]


async def test_an_upstream_cannot_send_the_header_to_a_client() -> None:
    response = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-Over-Limit: soft\r\nX-Other: 1\r\n\r\n"
    async with upstream(says(response)) as up, proxy(up.port) as running:
        got = await ask(running.port, get("/"))
        assert (told(got), got.all(b"x-other")) == ([], [b"1"])
