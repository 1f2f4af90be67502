"""Browsers: which pages may see our own answers, on both ports."""

import pytest

from gateway.auth.cors import Cors
from tests.control.running import gateway, limit
from tests.wire import Message, ask, get, upstream

PAGE = "Origin: https://app.example"
ASKS = ("Access-Control-Request-Method: PUT", "Access-Control-Request-Headers: authorization, x-thing")


def allowed(answer: Message) -> list[bytes]:
    return answer.all(b"Access-Control-Allow-Origin")


async def test_by_default_there_are_no_cors_headers_and_a_preflight_is_a_request_like_any_other() -> None:
    async with upstream() as api, gateway(limit("each", 1), upstream=api.port) as running:
        first = await ask(running.public, get("/v1/orders/7", PAGE, *ASKS, method="OPTIONS"))
        refused = await ask(running.public, get("/v1/orders/7", PAGE))
        health = await ask(running.control, get("/healthz", PAGE))
    assert (first.status, len(api.requests), refused.status) == (200, 1, 429)
    assert [allowed(each) for each in (first, refused, health)] == [[], [], []]
    assert refused.all(b"Vary") == []


async def test_an_allowed_page_sees_our_own_429_and_errors() -> None:
    async with (
        upstream() as api,
        gateway(limit("each", 1), upstream=api.port, cors_origins=("https://app.example",)) as running,
    ):
        passed = await ask(running.public, get("/v1/orders/7", PAGE))
        refused = await ask(running.public, get("/v1/orders/7", PAGE))
        broken = await ask(running.public, get("/v1/%2e%2e/orders", PAGE))
        elsewhere = await ask(running.public, get("/v1/orders/7", "Origin: https://evil.example"))
        health = await ask(running.control, get("/api/v1/check-limit", PAGE))
    assert allowed(passed) == []  # what the upstream says is its own
    for answer, status in ((refused, 429), (broken, 400), (health, 405)):
        assert (answer.status, allowed(answer)) == (status, [b"https://app.example"])
        assert answer.all(b"Vary") == [b"Origin"]
    assert (elsewhere.status, allowed(elsewhere)) == (429, [])


async def test_an_unreachable_upstream_is_an_error_that_a_page_can_see() -> None:
    async with gateway(cors_origins=("https://app.example",)) as running:
        answer = await ask(running.public, get("/v1/orders/7", PAGE))
    assert (answer.status, allowed(answer)) == (502, [b"https://app.example"])


async def test_preflights_of_allowed_pages_are_answered_and_not_charged() -> None:
    async with (
        upstream() as api,
        gateway(limit("each", 1), upstream=api.port, cors_origins=("https://app.example",)) as running,
    ):
        for _ in range(3):
            answer = await ask(running.public, get("/v1/orders/7", PAGE, *ASKS, method="OPTIONS"))
            assert answer.status == 204
            assert answer.one(b"Access-Control-Allow-Methods") == b"PUT"
            assert answer.one(b"Access-Control-Allow-Headers") == b"authorization, x-thing"
        assert api.requests == []
        assert (await ask(running.public, get("/v1/orders/7", PAGE))).status == 200
        # From elsewhere it is a request like any other: otherwise OPTIONS would be a way around every limit.
        stranger = get("/v1/orders/7", "Origin: https://evil.example", *ASKS, method="OPTIONS")
        assert (await ask(running.public, stranger)).status == 429
        control = await ask(running.control, get("/api/v1/check-limit", PAGE, *ASKS, method="OPTIONS"))
    assert (control.status, allowed(control)) == (204, [b"https://app.example"])


@pytest.mark.parametrize(
    ("method", "headers"),
    [
        ("GET", {"Origin": "https://app.example", "Access-Control-Request-Method": "PUT"}),
        ("OPTIONS", {"Access-Control-Request-Method": "PUT"}),
        ("OPTIONS", {"Origin": "null", "Access-Control-Request-Method": "PUT"}),
        ("OPTIONS", {"Origin": "https://app.example.evil.example", "Access-Control-Request-Method": "PUT"}),
        ("OPTIONS", {"Origin": "https://app.example"}),
        ("OPTIONS", {"Origin": "https://app.example", "Access-Control-Request-Method": "P\r\nUT"}),
        (
            "OPTIONS",
            {
                "Origin": "https://app.example",
                "Access-Control-Request-Method": "PUT",
                "Access-Control-Request-Headers": "a: b",
            },
        ),
    ],
)
def test_nothing_else_is_a_preflight(method: str, headers: dict[str, str]) -> None:
    assert Cors(("https://app.example",)).preflight(method, headers) is None
