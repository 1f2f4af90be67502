"""Where another Host gets a client round a limit, `gateway check` says so; where it does not, nothing is said."""

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
