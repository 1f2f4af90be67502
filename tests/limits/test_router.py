"""Which endpoint a request belongs to, held against the written rules of precedence."""

from collections import UserList
from collections.abc import Sequence
from itertools import combinations, product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.limits.endpoint import DEFAULT, Endpoint, Template
from gateway.limits.router import Router

METHODS = ("GET", "HEAD", "POST")
LITERAL, HOLE, END, REST = range(4)


def endpoint(name: str, path: str, methods: str = "", host: str | None = None) -> Endpoint:
    return Endpoint(name, Template.parse(path), frozenset(methods.split()), host)


def route(router: Router, request: str) -> str | None:
    """The name of the endpoint for ``GET host/path``."""
    method, _, target = request.partition(" ")
    host, _, path = target.partition("/")
    found = router.match(method, host, tuple(path.split("/")) if path else ())
    return found.name if found else None


def rank(entry: Endpoint, method: str, host: str, segments: Sequence[str]) -> tuple[object, ...] | None:
    """How well an endpoint fits a request by the three written rules, the smallest best; None when it does not."""
    template = entry.template
    assert template is not None
    if entry.host not in {None, host}:
        return None
    length = len(template.segments)
    if length > len(segments) or (length < len(segments) and not template.open_ended):
        return None
    kinds = []
    for wanted, segment in zip(template.segments, segments, strict=False):
        if wanted is not None and wanted != segment:
            return None
        kinds.append(HOLE if wanted is None else LITERAL)
    kinds.append(REST if template.open_ended else END)
    if not entry.methods:
        listed = 2
    elif method in entry.methods:
        listed = 0
    elif method == "HEAD" and "GET" in entry.methods:
        listed = 1
    else:
        return None
    return entry.host is None, tuple(kinds), listed


def templates() -> st.SearchStrategy[str]:
    part = st.sampled_from(["a", "b", "{}", "{}"])

    def spell(parts: list[str], ending: str) -> str:
        named = [part.replace("{}", f"{{p{position}}}") for position, part in enumerate(parts)]
        return "/" + "/".join([*named, *([ending] if ending else [])])

    return st.builds(spell, st.lists(part, max_size=3), st.sampled_from(["", "", "{rest...}"]))


endpoint_lists = st.lists(
    st.tuples(
        templates(),
        st.sets(st.sampled_from(METHODS), max_size=2),
        st.sampled_from([None, None, "one.test", "two.test"]),
    ),
    max_size=12,
).map(
    lambda rows: [
        Endpoint(f"e{position}", Template.parse(path), frozenset(methods), host)
        for position, (path, methods, host) in enumerate(rows)
    ]
)

REQUESTS = [
    (method, host, segments)
    for method, host in product((*METHODS, "BREW"), ("one.test", "else.test", ""))
    for length in range(5)
    for segments in product("abc", repeat=length)
    if length < 4 or len(set(segments)) == 1
]


@given(endpoint_lists)
def test_the_written_precedence_decides(endpoints: list[Endpoint]) -> None:
    """For every request, the endpoint is the best by the three rules; of equals, the first."""
    router = Router(endpoints)
    for method, host, segments in REQUESTS:
        fits = [
            (key, position) for position, entry in enumerate(endpoints) if (key := rank(entry, method, host, segments))
        ]
        expected = endpoints[min(fits)[1]] if fits else None
        assert router.match(method, host, segments) is expected, (method, host, segments)


@given(endpoint_lists)
def test_two_endpoints_clash_exactly_when_a_request_fits_both_equally_well(endpoints: list[Endpoint]) -> None:
    hosts = ("one.test", "two.test", "else.test")
    requests = [("BREW", host, segments) for host, segments in product(hosts, {s for _, _, s in REQUESTS})]
    requests += [(method, host, segments) for _, host, segments in requests for method in METHODS]
    equals = set()
    for one, other in combinations(endpoints, 2):
        for method, host, segments in requests:
            key = rank(one, method, host, segments)
            # HEAD as part of GET is no claim of its own.
            if (
                key is not None
                and key[-1] != 1
                and key == rank(other, method, host, segments)
                and _shaped_alike(one, other)
            ):
                equals.add((one.name, other.name))
                break
    found = {(one.name, other.name) for one, other in Router(endpoints).clashes}
    assert found <= equals
    # Of three that clash, the third is paired with the first, who has what they all want.
    assert {other for _, other in found} == {other for _, other in equals}


def _shaped_alike(one: Endpoint, other: Endpoint) -> bool:
    """Equal rank for one path, with different literals, cannot be: a path has one literal at each place."""
    assert one.template is not None
    assert other.template is not None
    return one.template.segments == other.template.segments


@pytest.mark.parametrize(
    ("request_line", "name"),
    [
        ("GET any.test/", "root"),
        ("GET any.test/orders", "orders"),
        ("GET any.test/orders/7", "order"),
        ("GET any.test/orders/new", "new order"),
        ("GET any.test/orders/7/items", None),
        ("GET any.test/files", "files"),
        ("GET any.test/files/a", "files"),
        ("GET any.test/files/a/b/c", "files"),
        ("GET any.test/files/public/x", "public"),
        ("GET api.test/orders", "by host"),
        ("GET api.test/orders/7", "order"),
        ("GET other.test/orders", "orders"),
        ("GET /orders", "orders"),
        ("GET any.test/nothing", None),
    ],
)
def test_examples(request_line: str, name: str | None) -> None:
    router = Router(
        [
            endpoint("files", "/files/{rest...}"),
            endpoint("public", "/files/public/{rest...}"),
            endpoint("order", "/orders/{id}"),
            endpoint("new order", "/orders/new"),
            endpoint("orders", "/orders"),
            endpoint("by host", "/orders", host="api.test"),
            endpoint("root", "/"),
            Endpoint(DEFAULT),
        ]
    )
    assert route(router, request_line) == name
    assert router.clashes == []


def test_the_end_of_a_path_beats_a_rest_that_holds_nothing() -> None:
    router = Router([endpoint("rest", "/a/{rest...}"), endpoint("exact", "/a")])
    assert route(router, "GET h/a") == "exact"


def test_head_falls_to_get_unless_it_is_listed() -> None:
    router = Router([endpoint("get", "/a", "GET"), endpoint("any", "/a"), endpoint("post", "/a", "POST")])
    assert [route(router, f"{method} h/a") for method in ("GET", "HEAD", "POST", "PUT")] == [
        "get",
        "get",
        "post",
        "any",
    ]
    listed = Router([endpoint("get", "/a", "GET"), endpoint("head", "/a", "HEAD")])
    assert route(listed, "HEAD h/a") == "head"
    assert listed.clashes == []


def test_where_the_best_path_does_not_take_the_method_the_next_best_does() -> None:
    router = Router(
        [
            endpoint("literal", "/a/b", "POST"),
            endpoint("hole", "/a/{id}", "PUT"),
            endpoint("rest", "/a/{rest...}", "GET"),
            endpoint("host", "/a/b", "PATCH", host="h"),
            endpoint("all", "/{rest...}"),
        ]
    )
    methods = ("POST", "PUT", "GET", "HEAD", "PATCH", "DELETE")
    assert [route(router, f"{method} h/a/b") for method in methods] == [
        "literal",
        "hole",
        "rest",
        "rest",
        "host",
        "all",
    ]


def test_literals_fold_case_only_when_paths_do() -> None:
    """The paths that come in are folded already, see `PathPolicy`."""
    mixed = [endpoint("upper", "/Orders"), endpoint("lower", "/orders")]
    folding = Router(mixed)
    assert route(folding, "GET h/orders") == "upper"
    assert [(one.name, other.name) for one, other in folding.clashes] == [("upper", "lower")]
    exact = Router(mixed, case_sensitive=True)
    assert [route(exact, "GET h/Orders"), route(exact, "GET h/orders")] == ["upper", "lower"]
    assert exact.clashes == []


def test_a_clash_names_every_endpoint_that_was_there_before() -> None:
    router = Router(
        [endpoint("get", "/{a}", "GET"), endpoint("post", "/{b}", "POST"), endpoint("both", "/{c}", "GET POST")]
    )
    assert {(one.name, other.name) for one, other in router.clashes} == {("get", "both"), ("post", "both")}


def test_two_that_clash_in_several_methods_clash_once() -> None:
    router = Router([endpoint("one", "/a", "GET POST"), endpoint("two", "/a", "GET POST")])
    assert [(one.name, other.name) for one, other in router.clashes] == [("one", "two")]


class Segments(UserList[str]):
    """Notes which of them are looked at, one look for each node of the tree that is not at its end."""

    def __init__(self, path: str) -> None:
        super().__init__(path.split("/"))
        self.looks: list[int] = []

    def __getitem__(self, place: Any) -> Any:
        self.looks.append(place)
        return super().__getitem__(place)


def test_the_cost_of_a_match_does_not_grow_with_the_number_of_endpoints() -> None:
    looks = []
    for size in (10, 10_000):
        router = Router(
            [endpoint(f"e{n}", f"/v1/things{n}/{{id}}/parts", "GET") for n in range(size)]
            + [endpoint(f"h{n}", "/v1/{rest...}", host=f"h{n}.test") for n in range(size)]
        )
        there, nowhere = Segments("v1/things7/42/parts"), Segments("v1/nothing/42/parts")
        found = router.match("GET", "any.test", there)
        assert found is not None
        assert found.name == "e7"
        assert router.match("GET", "any.test", nowhere) is None
        looks.append(len(there.looks) + len(nowhere.looks))
    assert looks[0] == looks[1] <= 2 * 4


def test_a_path_deeper_than_the_tree_is_not_followed() -> None:
    router = Router([endpoint("deep", "/a/{x}/a/{y}"), endpoint("rest", "/a/{rest...}")])
    segments = Segments("a/" * 10_000 + "a")
    found = router.match("GET", "h", segments)
    assert found is not None
    assert found.name == "rest"
    assert max(segments.looks) <= 4
