"""Browsers: which pages may see our own answers, on both ports; and whose word counts for the upstream's."""

import pytest

from gateway.auth.cors import Cors
from gateway.limits.endpoint import Endpoint, Template
from tests.control.running import ENDPOINTS, gateway, limit
from tests.wire import Message, ask, get, says, upstream

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


POLICY = (
    b"HTTP/1.1 204 No Content\r\nAccess-Control-Allow-Origin: https://app.example\r\n"
    b"Access-Control-Allow-Methods: GET\r\nAccess-Control-Max-Age: 60\r\n\r\n"
)


@pytest.mark.parametrize("page", [PAGE, "Origin: https://other.example", "Origin: null"])
async def test_a_preflight_is_the_upstreams_to_answer_and_its_policy_is_unchanged(page: str) -> None:
    async with (
        upstream(says(POLICY)) as api,
        gateway(limit("each", 1), upstream=api.port, cors_origins=("https://app.example",)) as running,
    ):
        answer = await ask(running.public, get("/v1/orders/7", page, *ASKS, method="OPTIONS"))
        assert answer.raw_head == POLICY
        # It is counted like any request: otherwise OPTIONS would be a way around every limit.
        refused = await ask(running.public, get("/v1/orders/7", page, *ASKS, method="OPTIONS"))
    (request,) = api.requests
    assert request.start == b"OPTIONS /v1/orders/7 HTTP/1.1"
    assert request.one(b"Access-Control-Request-Headers") == b"authorization, x-thing"
    assert refused.status == 429
    assert allowed(refused) == ([b"https://app.example"] if page == PAGE else [])
    assert refused.all(b"Access-Control-Allow-Methods") == []


async def test_preflights_are_free_where_an_endpoint_says_so() -> None:
    free = Endpoint("preflight", Template.parse("/{rest...}"), frozenset({"OPTIONS"}), cost=0)
    async with upstream() as api, gateway(limit("each", 1), upstream=api.port, endpoints=(*ENDPOINTS, free)) as running:
        asked = (
            [get("/v1/orders/7", PAGE, *ASKS, method="OPTIONS")] * 3
            + [get("/v1/orders/7", PAGE)] * 2
            + [get("/v1/orders/7", PAGE, *ASKS, method="OPTIONS")]
        )
        assert [(await ask(running.public, each)).status for each in asked] == [200] * 4 + [429, 200]


async def test_the_control_plane_answers_its_own_preflights() -> None:
    async with gateway(cors_origins=("https://app.example",)) as running:
        own = await ask(running.control, get("/api/v1/check-limit", PAGE, *ASKS, method="OPTIONS"))
        stranger = await ask(running.control, get("/healthz", "Origin: https://evil.example", *ASKS, method="OPTIONS"))
    assert (own.status, allowed(own)) == (204, [b"https://app.example"])
    assert (stranger.status, allowed(stranger)) == (403, [])


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
