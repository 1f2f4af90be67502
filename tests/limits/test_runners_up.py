"""The runners-up of a request, held against the written rules of precedence."""

import pytest
from hypothesis import given

from gateway.limits.condition import GivenFields
from gateway.limits.endpoint import Endpoint
from gateway.limits.router import Router
from gateway.limits.runners_up import Request, runners_up
from tests.limits.test_cases import conditioned
from tests.limits.test_router import REQUESTS, endpoint, endpoint_lists, rank


@given(endpoint_lists)
def test_runners_up_stand_in_the_order_of_the_written_precedence(endpoints: list[Endpoint]) -> None:
    router = Router(endpoints)
    for method, host, segments in REQUESTS[::7]:
        winner = router.match(method, host, segments)
        if not isinstance(winner, Endpoint):
            continue
        request = Request(method, host, segments)
        found = [each.endpoint for each in runners_up(endpoints, winner, request, case_sensitive=False)]
        ranks = [(key, n) for n, each in enumerate(endpoints) if (key := rank(each, method, host, segments))]
        expected = [endpoints[n] for _, n in sorted(ranks)]
        assert [winner, *found][: len(expected)] == expected, request
        assert all(rank(each, method, host, segments) is None for each in found[len(expected) - 1 :])


@pytest.mark.parametrize(
    ("winner", "other", "request_line", "why"),
    [
        (endpoint("w", "/a/b"), endpoint("o", "/a/{id}"), "GET /a/b", "at segment 2, the literal b in w beats {id}"),
        (endpoint("w", "/{id}"), endpoint("o", "/{rest...}"), "GET /a", "at segment 1, {id} in w beats {rest...}"),
        (endpoint("w", "/a"), endpoint("o", "/a/{r...}"), "GET /a", "the end of the path in w beats {rest...}"),
        (endpoint("w", "/A/{r...}"), endpoint("o", "/{r...}"), "GET /a/b", "the literal A in w beats {rest...}"),
        (endpoint("w", "/{r...}", "", "h.test"), endpoint("o", "/a"), "GET h.test/a", "host h.test, which beats any"),
        (endpoint("w", "/a", "GET"), endpoint("o", "/a"), "GET /a", "lists the method GET, and this one lists none"),
        (endpoint("w", "/a", "GET"), endpoint("o", "/a"), "HEAD /a", "w lists GET, to which HEAD belongs"),
        (endpoint("w", "/a", "HEAD"), endpoint("o", "/a", "GET"), "HEAD /a", "this one lists only GET, to which HEAD"),
        (endpoint("w", "/{id}"), endpoint("o", "/a", "PUT POST"), "GET /a", "it takes POST, PUT, and not GET"),
        (endpoint("w", "/a"), endpoint("o", "/a", "", "h.test"), "GET /a", "host h.test, and the request names no"),
        (endpoint("w", "/a"), endpoint("o", "/a", "", "h.test"), "GET x/a", "host h.test, and the request is for x"),
    ],
)
def test_the_rule_that_decided_is_named(winner: Endpoint, other: Endpoint, request_line: str, why: str) -> None:
    method, _, target = request_line.partition(" ")
    host, _, path = target.partition("/")
    request = Request(method, host, tuple(path.split("/")))
    assert Router([other, winner]).match(*request) is winner
    (found,) = runners_up([other, winner], winner, request, case_sensitive=False)
    assert found.endpoint is other
    assert why in found.why


@pytest.mark.parametrize(
    ("winner", "other", "request_line", "why"),
    [
        (conditioned("w", "/a", f="1"), endpoint("o", "/a", "GET"), "GET /a?f=1", "the conditions of w, and this one"),
        (conditioned("w", "/a", "GET", f="1"), conditioned("o", "/a", f="1"), "GET /a?f=1", "w lists the method GET"),
        (endpoint("w", "/a"), conditioned("o", "/a", f="1 2"), "GET /a", "key f to be 1 or 2, and the request does"),
        (endpoint("w", "/a"), conditioned("o", "/a", f="1"), "GET /a?f=3", "f to be 1, and the request has another"),
        (endpoint("w", "/a"), conditioned("o", "/a", x_a="1"), "GET /a", "it needs the header x-a to be 1, and the"),
        (endpoint("w", "/a"), conditioned("o", "/{id}", f="1"), "GET /a?f&f", "read the query key f in this request"),
        (endpoint("w", "/a"), conditioned("o", "/a", "PUT", f="1"), "GET /a?f=1", "it takes PUT, and not GET"),
        (endpoint("w", "/a", "GET"), conditioned("o", "/a", "GET", f="1"), "HEAD /a", "it needs the query key f to be"),
        (endpoint("w", "/a"), conditioned("o", "/{id}", f="1"), "GET /a?f=1", "the literal a in w beats {id}"),
    ],
)
def test_the_condition_that_decided_is_named(winner: Endpoint, other: Endpoint, request_line: str, why: str) -> None:
    method, _, target = request_line.partition(" ")
    path, _, query = target[1:].partition("?")
    request = Request(method, "", (path,), GivenFields(query=query))
    assert Router([other, winner]).match(*request) is winner
    (found,) = runners_up([other, winner], winner, request, case_sensitive=False)
    assert found.endpoint is other
    assert why in found.why


def test_at_most_20_are_named() -> None:
    winner = endpoint("w", "/a")
    others = [endpoint(f"o{n}", "/a", "", f"h{n}.test") for n in range(1000)]
    assert len(runners_up([winner, *others], winner, Request("GET", "", ("a",)), case_sensitive=False)) == 20
