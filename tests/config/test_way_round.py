"""Where another Host, or leaving a header out, gets a client round a limit, `gateway check` says so; else not."""

from pathlib import Path

import pytest

from tests.config.reading import load_gateway_text, load_rules_text

LIMIT = "limits: [{name: l, per: [user, endpoint], rate: 1/s, burst: 9, endpoints: [%s]}]\n"


def warnings(folder: Path, text: str) -> list[str]:
    return [str(each).removeprefix(f"{folder}/") for each in load_rules_text(folder, text).warnings]


@pytest.mark.parametrize(
    ("text", "other"),
    [
        ("[{name: e, host: a.example, path: '/v1/{id}'}]\n" + LIMIT % "e", "default"),
        (
            "[{name: e, host: a.example, path: '/v1/{rest...}'}, {name: o, path: '/{rest...}'}]\n"
            + LIMIT % "e, default",
            "o",
        ),
        (
            "[{name: e, host: a.example, path: /v1, methods: [GET, POST]}, {name: o, path: /v1, methods: [GET]}]\n"
            + LIMIT % "e, o",
            "default",
        ),
    ],
)
def test_limit_that_does_not_count_the_path_under_another_host_is_warned_of(
    tmp_path: Path, text: str, other: str
) -> None:
    assert warnings(tmp_path, f"endpoints: {text}") == [
        (
            "rules.yaml:1:29: endpoints[0].host: requests for the path with another Host belong to "
            f"{other}, on the same upstream, which l does not count; let it count {other} too, or give the path an "
            "endpoint without a host"
        )
    ]


def test_path_that_costs_less_under_another_host_is_warned_of(tmp_path: Path) -> None:
    text = "endpoints: [{name: e, host: a.example, path: /v1, cost: 5}]\nlimits: [{name: l, per: user, rate: 9/s}]\n"
    (warning,) = warnings(tmp_path, text)
    assert "on the same upstream, which costs 1 and not 5; let it cost as much" in warning


@pytest.mark.parametrize(
    "text",
    [
        "[{name: e, host: a.example, path: /v1}]\n",
        "[{name: e, path: /v1}]\n" + LIMIT % "e",
        "[{name: e, host: a.example, path: /v1}]\n" + LIMIT % "e, default",
        "[{name: e, host: a.example, path: /v1, cost: 0}]\n" + LIMIT % "e",
        "[{name: e, host: a.example, path: /v1}, {name: o, path: '/{any}'}]\n" + LIMIT % "e, o",
        "[{name: e, host: a.example, path: /v1}]\nlimits: [{name: l, per: user, rate: 1/s}]\n",
        "[{name: e, host: a.example, path: /v1}]\n" + LIMIT.replace("burst: 9", "burst: 9, enforce: false") % "e",
    ],
    ids=["no limit", "no host", "counted", "free", "counted elsewhere", "counted everywhere", "shadow"],
)
def test_what_another_host_gains_nothing_by_is_no_warning(tmp_path: Path, text: str) -> None:
    assert warnings(tmp_path, f"endpoints: {text}") == []


def test_another_upstream_is_another_server(tmp_path: Path) -> None:
    (tmp_path / "rules.yaml").write_text(
        "endpoints: [{name: e, host: a.example, path: /v1, upstream: files}]\n" + LIMIT % "e"
    )
    upstreams = "upstreams: {default: {urls: [http://127.0.0.1:1]}, files: {urls: [http://127.0.0.1:2]}}\n"
    assert load_gateway_text(tmp_path, "rules: rules.yaml\n", upstreams=upstreams).warnings == ()


OWN_PATH = ", or give the path an endpoint without conditions"
NOT_COUNTED = "which l does not count; let it count {} too"


@pytest.mark.parametrize(
    ("endpoints", "counted", "place", "left_out", "other", "why"),
    [
        (
            "[{name: e, path: /v1, headers: {X-A: a}}]",
            "e",
            "1:43: endpoints[0].headers",
            "the header X-A",
            "default",
            NOT_COUNTED.format("default") + OWN_PATH,
        ),
        (
            "[{name: e, path: /v1, query: {f: [a, b]}}, {name: o, path: /v1}]",
            "e",
            "1:41: endpoints[0].query",
            "the query key f",
            "o",
            NOT_COUNTED.format("o"),
        ),
        (
            "[{name: e, path: '/v1/{id}', query: {f: a}, cost: 3}, {name: o, path: '/{rest...}'}]",
            "e, o",
            "1:48: endpoints[0].query",
            "the query key f",
            "o",
            "which costs 1 and not 3; let it cost as much" + OWN_PATH,
        ),
    ],
)
def test_a_limit_that_a_client_gets_round_by_leaving_something_out_is_warned_of(
    tmp_path: Path, endpoints: str, counted: str, place: str, left_out: str, other: str, why: str
) -> None:
    assert warnings(tmp_path, f"endpoints: {endpoints}\n" + LIMIT % counted) == [
        (
            f"rules.yaml:{place}: requests without {left_out} belong to {other}, on the same upstream, {why}, or "
            "ignore this if the upstream refuses them or serves them something else"
        )
    ]


@pytest.mark.parametrize("selector", ["host: a.example", "headers: {X-A: a}"])
def test_one_method_that_belongs_elsewhere_is_enough(tmp_path: Path, selector: str) -> None:
    others = "{name: o, path: /v1}, {name: g, path: /v1, methods: [GET]}"
    text = f"[{{name: e, path: /v1, {selector}}}, {others}]\n" + LIMIT % "e, o"
    (warning,) = warnings(tmp_path, f"endpoints: {text}")
    assert "belong to g, on the same upstream, which l does not count" in warning


def test_each_of_two_conditions_is_left_out_in_turn(tmp_path: Path) -> None:
    conditions = "headers: {X-A: a}, query: {f: a}"
    text = f"[{{name: e, path: /v1, {conditions}}}, {{name: o, path: '/{{id}}', query: {{f: a}}}}]\n" + LIMIT % "e, o"
    (warning,) = [each for each in warnings(tmp_path, f"endpoints: {text}") if "endpoints[0]" in each]
    assert "requests without the query key f belong to default, on the same upstream" in warning


@pytest.mark.parametrize(
    "text",
    [
        "[{name: e, path: /v1, headers: {X-A: a}}]\n",
        "[{name: e, path: /v1, headers: {X-A: a}}, {name: o, path: /v1}]\n" + LIMIT % "e, o",
        "[{name: e, path: /v1, headers: {X-A: a}}, {name: o, path: /v1, cost: 9}]\n" + LIMIT % "e, o",
        "[{name: e, path: /v1, query: {f: a}}]\n" + LIMIT % "e, default",
        "[{name: e, path: /v1, query: {f: a}, cost: 0}]\n" + LIMIT % "e",
        "[{name: e, path: /v1, query: {f: a}}]\n" + LIMIT.replace("burst: 9", "burst: 9, enforce: false") % "e",
        "[{name: e, path: /v1, query: {f: a}}, {name: o, path: /v1, query: {f: b}}]\n",
    ],
    ids=["no limit", "counted", "dearer", "counted by default", "free", "shadow", "two values"],
)
def test_what_leaving_something_out_gains_nothing_by_is_no_warning(tmp_path: Path, text: str) -> None:
    assert warnings(tmp_path, f"endpoints: {text}") == []


def test_under_another_host_the_same_conditions_are_met(tmp_path: Path) -> None:
    rest = "{name: o, path: /v1, query: {f: a}}, {name: r, path: /v1}"
    text = f"[{{name: e, host: a.example, path: /v1, query: {{f: a}}}}, {rest}]\n" + LIMIT % "e, o, r"
    assert warnings(tmp_path, f"endpoints: {text}") == []
