"""Endpoints: what each mistake is answered with."""

from pathlib import Path

import pytest

from gateway.limits.condition import HEADER, QUERY, Condition, GivenFields
from gateway.limits.endpoint import METHODS
from tests.config.reading import load_rules_text, rules_problems


@pytest.mark.parametrize(
    ("endpoint", "problem"),
    [
        ("{path: /e}", "1:13: endpoints[0]: the key 'name' is missing"),
        ("{name: e}", "1:13: endpoints[0]: the key 'path' is missing"),
        ("{name: e, path: e}", "1:29: endpoints[0].path: a path starts with /"),
        (
            "{name: e, path: '/{a}/{a}'}",
            "1:29: endpoints[0].path: {a} occurs twice in this path; give each parameter its own name",
        ),
        ("{name: e, path: /e, methods: []}", "1:42: endpoints[0].methods: the list is empty"),
        ("{name: e, path: /e, methods: GET}", "1:42: endpoints[0].methods: expected a list, found a single value"),
        (
            "{name: e, path: /e, methods: [get]}",
            "1:43: endpoints[0].methods[0]: methods are written in capitals (did you mean GET?)",
        ),
        (
            "{name: e, path: /e, methods: ['GET POST']}",
            "1:43: endpoints[0].methods[0]: 'GET POST' is not a method; write GET, POST and so on",
        ),
        ("{name: e, path: /e, methods: [GET, GET]}", "1:48: endpoints[0].methods[1]: duplicate item in this list"),
        ("{name: e, path: /e, cost: -1}", "1:39: endpoints[0].cost: '-1' is not a whole number; write decimal digits"),
        ("{name: e, path: /e, cost: 1.5}", "1:39: endpoints[0].cost: '1.5' is not a whole number; write decimal"),
        ("{name: e, path: /e, cost: .inf}", "1:39: endpoints[0].cost: '.inf' is not a whole number; write decimal"),
        ("{name: e, path: /e, cost: 0x10}", "1:39: endpoints[0].cost: '0x10' is not a whole number; write decimal"),
        ("{name: e, path: /e, cost: 1000001}", "1:39: endpoints[0].cost: 1000001 is out of range; write 0 to 1000000"),
        (
            "{name: e, path: /e, host: 'api.example:443'}",
            (
                "1:39: endpoints[0].host: write the host without a port; ports are not compared "
                "(did you mean 'api.example'?)"
            ),
        ),
        (
            "{name: e, path: /e, host: '*.example'}",
            "1:39: endpoints[0].host: the host is neither an address nor a name",
        ),
        (
            "{name: e, path: /e, upstream: billing}",
            "1:43: endpoints[0].upstream: unknown upstream 'billing'; it is not in gateway.yaml",
        ),
        (
            "{name: default, path: /e}",
            "1:35: endpoints[0].path: 'default' takes all requests that match no other, so it has no 'path'",
        ),
        (
            "{name: default, methods: [GET]}",
            "1:38: endpoints[0].methods: 'default' takes all requests that match no other, so it has no 'methods'",
        ),
    ],
)
def test_mistake_is_told_with_its_place_and_the_way_out(tmp_path: Path, endpoint: str, problem: str) -> None:
    (found,) = rules_problems(tmp_path, f"endpoints: [{endpoint}]\n")
    assert found.startswith(f"rules.yaml:{problem}")


def test_default_endpoint_may_have_a_cost(tmp_path: Path) -> None:
    assert load_rules_text(tmp_path, "endpoints: [{name: default, cost: 3}]\n").rules.default.cost == 3


def test_every_key_reaches_the_endpoint(tmp_path: Path) -> None:
    text = "endpoints: [{name: e, path: '/f/{r...}', methods: [GET], host: API.Example, upstream: default, cost: 0}]\n"
    endpoint = load_rules_text(tmp_path, text).rules.endpoints["e"]
    assert endpoint.template is not None
    assert (endpoint.template.text, endpoint.methods, endpoint.host) == ("/f/{r...}", frozenset({"GET"}), "api.example")
    assert (endpoint.upstream, endpoint.cost) == ("default", 0)


@pytest.mark.parametrize(("text", "host"), [("'[::1]'", "[::1]"), ("API.example.", "api.example")])
def test_host_is_as_a_host_field_names_it(tmp_path: Path, text: str, host: str) -> None:
    rules = load_rules_text(tmp_path, f"endpoints: [{{name: e, path: /e, host: {text}}}]\n").rules
    assert rules.endpoints["e"].host == host


@pytest.mark.parametrize("method", sorted(METHODS))
def test_every_method_that_is_forwarded_can_be_written(tmp_path: Path, method: str) -> None:
    endpoint = load_rules_text(tmp_path, f"endpoints: [{{name: e, path: /e, methods: [{method}]}}]\n")
    assert endpoint.rules.endpoints["e"].methods == {method}
    assert endpoint.warnings == ()


@pytest.mark.parametrize(
    ("methods", "problem"),
    [
        ("['*']", "[0]: '*' is not a method; without the key 'methods', an endpoint takes all of them"),
        ("[ANY]", "[0]: 'ANY' is not a method; without the key 'methods', an endpoint takes all of them"),
        ("[all]", "[0]: 'all' is not a method; without the key 'methods', an endpoint takes all of them"),
        ("'*'", ": expected a list, found a single value; without the key 'methods', an endpoint takes all of them"),
        ("GET", ": expected a list, found a single value (did you mean [GET]?)"),
        (
            "[PSOT]",
            "[0]: 'PSOT' is not a method that the gateway takes, so this would never apply (did you mean 'POST'?)",
        ),
        (
            "[propfnd]",
            "[0]: 'propfnd' is not a method that the gateway takes, so this would never apply (did you mean ",
        ),
        ("[FOO]", "[0]: 'FOO' is not a method that the gateway takes, so this would never apply"),
        ("[SETUP]", "[0]: 'SETUP' is not a method that the gateway takes, so this would never apply"),
        ("[CONNECT]", "[0]: CONNECT is never forwarded, so this would never apply; remove it"),
        ("[trace]", "[0]: TRACE is never forwarded, so this would never apply; remove it"),
        ("[propfind]", "[0]: methods are written in capitals (did you mean PROPFIND?)"),
        ("['GET|POST']", "[0]: 'GET|POST' is not a method; write GET, POST and so on (did you mean GET, POST?)"),
    ],
)
def test_method_that_cannot_come_is_refused(tmp_path: Path, methods: str, problem: str) -> None:
    (found,) = rules_problems(tmp_path, f"endpoints: [{{name: e, path: /e, methods: {methods}}}]\n")
    assert found.partition("endpoints[0].methods")[2].startswith(problem)


@pytest.mark.parametrize("host", ["https://Api.example", "http://api.example:80/v1", "api.example/v1", "api.example/"])
def test_host_is_no_url(tmp_path: Path, host: str) -> None:
    (found,) = rules_problems(tmp_path, f"endpoints: [{{name: e, path: /e, host: '{host}'}}]\n")
    message = "a host has no scheme and no path (did you mean 'api.example'?)"
    assert found == f"rules.yaml:1:39: endpoints[0].host: {message}"


@pytest.mark.parametrize(
    "host", ["'*.example'", "'*'", ".example", "'{tenant}.example'", "'~^.+$'", "':t.example'", "_"]
)
def test_host_has_no_wildcards(tmp_path: Path, host: str) -> None:
    (found,) = rules_problems(tmp_path, f"endpoints: [{{name: e, path: /e, host: {host}}}]\n")
    assert found.startswith("rules.yaml:1:39: endpoints[0].host: the host is neither an address nor a name")
    assert found.endswith("; there are no patterns of hosts: name each, or leave 'host' out for all")


def conditions(folder: Path, text: str) -> tuple[Condition, ...]:
    return load_rules_text(folder, f"endpoints: [{{name: e, path: /e, {text}}}]\n").rules.endpoints["e"].conditions


def test_conditions_are_one_value_or_a_list(tmp_path: Path) -> None:
    text = "headers: {Mcp-Method: tools/call, X-V: [2, '']}, query: {format: [csv, no], 'filter[a]': \"\"}"
    assert conditions(tmp_path, text) == (
        Condition(HEADER, "Mcp-Method", frozenset({"tools/call"})),
        Condition(HEADER, "X-V", frozenset({"2", ""})),
        Condition(QUERY, "format", frozenset({"csv", "no"})),
        Condition(QUERY, "filter[a]", frozenset({""})),
    )


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("headers: {}", ": there is no condition here; write one, or remove the key"),
        ("headers: X-A", ": expected a mapping of keys to values, found a single value"),
        ("headers: {X-A: }", ".X-A: expected a text, found nothing"),
        ("headers: {X-A: []}", ".X-A: the list is empty"),
        ("headers: {X-A: [a, a]}", ".X-A[1]: duplicate item in this list"),
        ("headers: {X-A: ' a'}", ".X-A: the text starts or ends with a space"),
        ("headers: {X-A: a, x-a: b}", ".x-a: x-a is there twice; the case of a header's name does not matter"),
        ("headers: {X A: a}", ".'X A': 'X A' is not the name of a header"),
        ("headers: {Host: a.example}", ".Host: the Host is no condition; write the key 'host' of the endpoint"),
        ("headers: {Authorization: x}", ".Authorization: Authorization is a secret, and conditions are shown; limit"),
        ("headers: {X_A: a}", ".X_A: X_A is never forwarded, because of its underscore (did you mean 'X-A'?)"),
        ("headers: {Connection: close}", ".Connection: the gateway itself writes or removes Connection, so a"),
        ("query: {format: {a: b}}", ".format: expected a list, found a mapping"),
        ("query: {f%6Frmat: csv}", ".'f%6Frmat': 'f%6Frmat' has an escape; write the key as it is when it is decoded"),
        ("query: {a&b: c}", ".'a&b': 'a&b' is more than one key; write each on its own"),
        ("query: {format: [c%73v]}", ".format: 'c%73v' has an escape; write the value as it is when it is decoded"),
        (
            "query: {a: [" + ", ".join(map(str, range(40))) + "], b: [" + ", ".join(map(str, range(40))) + "]}",
            ": these lists have more than 1000 combinations of values; make more endpoints of this one",
        ),
    ],
)
def test_a_mistake_in_conditions_is_told_with_its_place(tmp_path: Path, text: str, problem: str) -> None:
    (found,) = rules_problems(tmp_path, f"endpoints: [{{name: e, path: /e, {text}}}]\n")
    assert found.partition(f"endpoints[0].{text.partition(':')[0]}")[2].startswith(problem)


def test_an_endpoint_whose_conditions_are_wrong_is_not_said_to_match_what_another_does(tmp_path: Path) -> None:
    text = "endpoints: [{name: one, path: /e}, {name: two, path: /e, query: {a: []}}]\n"
    assert len(rules_problems(tmp_path, text)) == 1


def test_the_default_endpoint_has_no_conditions(tmp_path: Path) -> None:
    (found,) = rules_problems(tmp_path, "endpoints: [{name: default, query: {a: b}}]\n")
    assert found.endswith("'default' takes all requests that match no other, so it has no 'query'")


def test_two_endpoints_of_which_a_request_meets_both_conditions_are_told_with_the_request(tmp_path: Path) -> None:
    text = """\
endpoints:
  - {name: one, path: /e, headers: {X-A: [a, b]}}
  - {name: two, path: /e, headers: {x-a: [c, b]}, query: {f: ""}}
  - {name: rest, path: /e}
  - {name: apart, path: /e, headers: {X-A: d}}
"""
    (found,) = rules_problems(tmp_path, text)
    assert found == (
        f"rules.yaml:3:36: endpoints[1].headers: a request with the header X-A 'b' and the query key f '' matches both "
        f"'two' and 'one' ({tmp_path}/rules.yaml:2); let both read the same header or query key, with different "
        "values, or give them different paths"
    )


def test_thousands_of_endpoints_may_share_a_path(tmp_path: Path) -> None:
    rows = "".join(f"  - {{name: t{n}, path: /mcp, headers: {{Mcp-Name: tool{n}}}}}\n" for n in range(2000))
    rules = load_rules_text(tmp_path, f"endpoints:\n{rows}").rules
    assert rules.match("POST", "", "/mcp", GivenFields((("mcp-name", "tool777"),))) is rules.endpoints["t777"]
