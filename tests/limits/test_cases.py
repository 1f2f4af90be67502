"""Which endpoint with conditions a request belongs to, held against a naive reading of the written rules."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations, product
from random import Random
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.limits.condition import HEADER, QUERY, Condition, GivenFields
from gateway.limits.endpoint import Endpoint, Template
from gateway.limits.router import Router
from gateway.limits.unmatched import Unmatched
from tests.limits.test_router import endpoint, rank

VALUES = ("1", "2", "")
NAMES = ((HEADER, "X-A"), (HEADER, "x-a"), (HEADER, "X-B"), (QUERY, "f"), (QUERY, "F2"))
KEYS = tuple(dict.fromkeys(Condition(*name, frozenset()).key for name in NAMES))
METHODS = ("GET", "HEAD", "POST")
TEMPLATES = ("/a", "/{id}", "/{rest...}", "/{other}")


def conditions() -> st.SearchStrategy[tuple[Condition, ...]]:
    one = st.builds(
        lambda name, values: Condition(name[0], name[1], values),
        st.sampled_from(NAMES),
        st.frozensets(st.sampled_from(VALUES), min_size=1, max_size=2),
    )
    return st.lists(one, max_size=2, unique_by=lambda condition: condition.key).map(tuple)


def _endpoint(number: int, path: str, methods: frozenset[str], host: str | None, held: Sequence[Condition]) -> Endpoint:
    headers = tuple(each for each in held if each.source == HEADER)
    query = tuple(each for each in held if each.source == QUERY)
    return Endpoint(f"e{number}", Template.parse(path), methods, host, headers, query)


endpoint_lists = st.lists(
    st.tuples(
        st.sampled_from(TEMPLATES),
        st.frozensets(st.sampled_from(METHODS), max_size=2),
        st.sampled_from([None, None, "one.test"]),
        conditions(),
    ),
    max_size=10,
).map(lambda rows: [_endpoint(number, *row) for number, row in enumerate(rows)])


def without_clashes(endpoints: Sequence[Endpoint]) -> list[Endpoint]:
    kept: list[Endpoint] = []
    for each in endpoints:
        if not Router([*kept, each]).clashes:
            kept.append(each)
    return kept


Values = dict[tuple[str, str], str]
"""What a request has, by what a condition reads."""


def fields_of(values: Values, *again: tuple[str, str]) -> GivenFields:
    """The fields of a request; `again` has what it has twice."""
    sent = [*values.items(), *((key, values[key]) for key in again)]
    return GivenFields(
        tuple((name.upper(), value) for (source, name), value in sent if source == HEADER),
        urlencode([(name, value) for (source, name), value in sent if source == QUERY]),
    )


def holds(entry: Endpoint, values: Values) -> bool:
    return all(values.get(condition.key) in condition.values for condition in entry.conditions)


def expected(
    endpoints: Sequence[Endpoint], request: tuple[str, str, str], values: Values, again: Sequence[tuple[str, str]] = ()
) -> list[Endpoint] | Unmatched:
    """All endpoints that are best by the written rules: one template after the other."""
    method, host, path = request
    fits = [(key, entry) for entry in endpoints if (key := rank(entry, method, host, (path,)))]
    for best in sorted({key[:2] for key, _ in fits}):
        here = [(key[2], entry) for key, entry in fits if key[:2] == best]
        if any(condition.key in again for _, entry in here for condition in entry.conditions):
            return Unmatched.CONDITION
        ranks = [(not entry.conditions, listed, entry) for listed, entry in here if holds(entry, values)]
        if ranks:
            least = min((plain, listed) for plain, listed, _ in ranks)
            return [entry for plain, listed, entry in ranks if (plain, listed) == least]
    return []


REQUESTS = list(product((*METHODS, "BREW"), ("one.test", "else.test"), ("a", "b")))
requests = st.sampled_from(REQUESTS)
values_sent = st.dictionaries(st.sampled_from(KEYS), st.sampled_from((*VALUES, "3")))


@given(endpoint_lists, requests, values_sent)
def test_every_request_belongs_to_one_endpoint_which_the_written_rules_name(
    endpoints: list[Endpoint], request: tuple[str, str, str], values: Values
) -> None:
    endpoints = without_clashes(endpoints)
    method, host, path = request
    best = expected(endpoints, request, values)
    assert not isinstance(best, Unmatched)
    assert len(best) <= 1
    assert Router(endpoints).match(method, host, (path,), fields_of(values)) is (best[0] if best else None)


@given(endpoint_lists, requests, values_sent, st.data())
def test_what_a_condition_on_the_way_reads_twice_is_rejected_and_nothing_else(
    endpoints: list[Endpoint], request: tuple[str, str, str], values: Values, data: st.DataObject
) -> None:
    endpoints = without_clashes(endpoints)
    again = data.draw(st.lists(st.sampled_from(sorted(values)), unique=True)) if values else []
    method, host, path = request
    best = expected(endpoints, request, values, again)
    found = Router(endpoints).match(method, host, (path,), fields_of(values, *again))
    assert found is (best if isinstance(best, Unmatched) else next(iter(best), None))


@given(endpoint_lists, requests, values_sent, st.randoms(use_true_random=False))
def test_the_order_in_the_file_does_not_matter(
    endpoints: list[Endpoint], request: tuple[str, str, str], values: Values, random: Random
) -> None:
    endpoints = without_clashes(endpoints)
    method, host, path = request
    fields = fields_of(values)
    found = Router(endpoints).match(method, host, (path,), fields)
    random.shuffle(endpoints)
    other = Router(endpoints)
    assert other.match(method, host, (path,), fields) is found
    assert other.clashes == []


EVERY_VALUES = [
    {key: value for key, value in zip(KEYS, values, strict=True) if value is not None}
    for values in product((None, *VALUES), repeat=len(KEYS))
]


@given(endpoint_lists.map(lambda endpoints: endpoints[:4]))
def test_two_clash_exactly_when_some_request_meets_the_conditions_of_both(endpoints: list[Endpoint]) -> None:
    equals = {
        (one.name, other.name)
        for one, other in combinations(endpoints, 2)
        if one.template is not None
        and other.template is not None
        and (one.host, one.template.segments, one.template.open_ended)
        == (other.host, other.template.segments, other.template.open_ended)
        and (one.methods or {""}) & (other.methods or {""})
        and bool(one.conditions) == bool(other.conditions)
        and any(holds(one, values) and holds(other, values) for values in EVERY_VALUES)
    }
    found = {(one.name, other.name) for one, other in Router(endpoints).clashes}
    assert found <= equals
    assert {other for _, other in found} == {other for _, other in equals}


def conditioned(name: str, path: str, methods: str = "", host: str | None = None, **held: str) -> Endpoint:
    """An endpoint that needs headers X-... (``x_a="1 2"``), and keys of the query (``f="csv"``)."""
    entry = endpoint(name, path, methods, host)
    found = [
        Condition(HEADER, key.replace("_", "-"), frozenset(values.split(" ")))
        if key.startswith("x_")
        else Condition(QUERY, key, frozenset(values.split(" ")))
        for key, values in held.items()
    ]
    return replace(_endpoint(0, path, entry.methods, host, found), name=name)


@pytest.mark.parametrize(
    ("request_line", "headers", "name"),
    [
        ("GET /report", {}, "report"),
        ("GET /report?format=csv", {}, "export"),
        ("GET /report?a=b&format=xlsx&c", {}, "export"),
        ("GET /report?format=CSV", {}, "report"),
        ("GET /report?format=", {}, "report"),
        ("GET /report?format", {}, "report"),
        ("GET /report?format=%63s%76", {}, "export"),
        ("GET /report?%66ormat=csv", {}, "export"),
        ("POST /mcp", {"MCP-METHOD": "call"}, "tools"),
        ("POST /mcp", {"mcp-method": " \tcall "}, "tools"),
        ("GET /mcp", {"mcp-method": "call"}, "tools"),
        ("POST /mcp", {"mcp-method": "Call"}, "mcp"),
        ("POST /mcp", {}, "mcp"),
        ("GET /mcp", {}, None),
        ("GET /v1/latest", {"x-new": "1"}, "latest"),
        ("GET /v1/latest", {}, "item"),
        ("GET /v1/7", {"x-new": "1"}, "item"),
        ("POST /v1/latest", {"x-new": "1"}, None),
    ],
)
def test_examples(request_line: str, headers: dict[str, str], name: str | None) -> None:
    router = Router(
        [
            endpoint("report", "/report"),
            conditioned("export", "/report", format="csv xlsx"),
            endpoint("mcp", "/mcp", "POST"),
            Endpoint("tools", Template.parse("/mcp"), headers=(Condition(HEADER, "Mcp-Method", frozenset({"call"})),)),
            conditioned("latest", "/v1/latest", "GET", x_new="1"),
            endpoint("item", "/v1/{id}", "GET"),
        ]
    )
    method, _, target = request_line.partition(" ")
    path, _, query = target.partition("?")
    fields = GivenFields(tuple(headers.items()), query)
    found = router.match(method, "", tuple(path.split("/")[1:]), fields)
    assert router.clashes == []
    assert (found.name if isinstance(found, Endpoint) else found) == name


@pytest.mark.parametrize(
    ("one", "other", "clash"),
    [
        ({"x_a": "1"}, {"x_a": "2"}, False),
        ({"x_a": "1"}, {"x_a": "1"}, True),
        ({"x_a": "1"}, {"X_a": "1"}, True),
        ({"x_a": "1 2"}, {"x_a": "2 3"}, True),
        ({"x_a": "1"}, {"x_b": "2"}, True),
        ({"x_a": "1"}, {"f": "1"}, True),
        ({"x_a": "1"}, {"x_a": "1", "f": "1"}, True),
        ({"x_a": "1", "f": "1"}, {"x_a": "1", "f": "2"}, False),
        ({"x_a": "1", "f": "1"}, {"x_a": "1", "g": "2"}, True),
        ({"x_a": "1", "f": "1"}, {"x_a": "2", "g": "1"}, False),
        ({"f": "1"}, {"F": "1"}, True),
        ({"x_a": "1"}, {}, False),
    ],
)
def test_two_on_one_path_clash_if_both_conditions_can_hold(
    one: dict[str, str], other: dict[str, str], clash: bool
) -> None:
    first, second = (
        conditioned(name, "/a", **{key.replace("X_", "x_"): value for key, value in held.items()})
        for name, held in (("one", one), ("other", other))
    )
    assert bool(Router([first, second]).clashes) is clash
    assert bool(Router([second, first]).clashes) is clash


class Unread:
    """The fields of a request that nothing may read."""

    @property
    def query(self) -> str:
        raise AssertionError

    def header(self, name: str) -> Sequence[str]:
        raise AssertionError(name)


def test_a_request_is_read_only_where_its_path_has_conditions() -> None:
    router = Router([conditioned("a", "/a", f="1"), conditioned("b", "/{id}/b", x_a="1"), endpoint("c", "/c")])
    assert router.match("GET", "", ("d",), Unread()) is None
    found = router.match("GET", "", ("c",), Unread())
    assert isinstance(found, Endpoint)
    with pytest.raises(AssertionError):
        router.match("GET", "", ("a",), Unread())
    with pytest.raises(AssertionError):
        router.match("GET", "", ("x", "b"), Unread())


class Counted:
    """Counts how often something of a request is read."""

    def __init__(self, value: str) -> None:
        self.value = value
        self.reads = 0
        self.query = ""

    def header(self, _name: str) -> Sequence[str]:
        self.reads += 1
        return (self.value,)


def test_ten_thousand_values_of_one_header_cost_as_ten() -> None:
    reads = []
    for size in (10, 10_000):
        router = Router([conditioned(f"e{n}", "/mcp", x_tool=f"t{n}") for n in range(size)])
        fields = Counted("t7")
        found = router.match("POST", "", ("mcp",), fields)
        assert isinstance(found, Endpoint)
        assert found.name == "e7"
        reads.append(fields.reads)
    assert reads == [1, 1]
