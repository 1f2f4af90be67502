"""The 429: its body, content type and Retry-After are the operator's, and the same whatever refused the request."""

import pytest

from gateway.limits.endpoint import Endpoint, Template
from gateway.limits.limit import Limit
from gateway.limits.quota import Quota
from gateway.limits.rate import Rate
from gateway.proxy.refusal import Refusal
from gateway.settings.answers import Answers
from tests.proxy.running import proxy
from tests.wire import ask, get, upstream

ONE = Limit("one", ("user",), Quota(Rate(1, 86_400), 2), endpoints=frozenset({"one"}))
TWO = Limit("two", ("endpoint",), Quota(Rate(1, 3_600), 1), endpoints=frozenset({"two"}))
ENDPOINTS = (Endpoint("one", Template.parse("/one")), Endpoint("two", Template.parse("/two")))


def waits(answers: Answers, times: int) -> list[str]:
    heads = (Refusal(answers).response().head.decode() for _ in range(times))
    return [line.removeprefix("Retry-After: ") for head in heads for line in head.split("\r\n") if "Retry" in line]


def test_without_the_setting_there_is_no_retry_after() -> None:
    assert waits(Answers(), 10) == []


def test_retry_after_is_drawn_evenly_from_the_range() -> None:
    drawn = waits(Answers(retry_after=(1.0, 5.0)), 5_000)
    assert len(drawn) == 5_000
    assert set(drawn) == {"1", "2", "3", "4", "5"}
    # Five standard deviations of a fifth of 5,000.
    assert all(858 < drawn.count(each) < 1142 for each in set(drawn))


def test_retry_after_is_whole_seconds() -> None:
    assert set(waits(Answers(retry_after=(0.2, 1.5)), 200)) == {"1", "2"}


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
async def test_every_refusal_has_the_operators_response(method: str) -> None:
    answers = Answers('{"error": "slow down"}', "application/json", (7.0, 7.0), request_id=False)
    async with upstream() as up, proxy(up.port, limits=(ONE, TWO), endpoints=ENDPOINTS, answers=answers) as running:
        for path in ("/one", "/one", "/two"):
            assert (await ask(running.port, get(path))).status == 200
        last = b"Connection: close\r\n\r\n"
        found = set()
        for path in ("/one", "/two"):
            message = await ask(running.port, get(path, "Connection: close", method=method))
            found.add((message.raw_head, message.body))
    ((head, body),) = found
    assert head == (
        b"HTTP/1.1 429 Too Many Requests\r\nContent-Type: application/json\r\nContent-Length: 22\r\n"
        b"Retry-After: 7\r\n" + last
    )
    assert body == (b"" if method == "HEAD" else b'{"error": "slow down"}')
