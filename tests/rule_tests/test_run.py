"""Rule tests are decided as the proxy decides, on a clock of their own."""

from pathlib import Path

import pytest

from gateway.config.loader import load
from gateway.config.rule_test import MAX_REQUESTS, load_rule_tests
from gateway.rule_tests.run import RuleTestResult, run_rule_tests
from tests.config.reading import UPSTREAMS

RULES = """\
endpoints:
  - {name: order, path: '/v1/orders/{id}', methods: [GET]}
  - {name: costly, path: /costly, cost: 5}
  - {name: files, path: '/{rest...}', host: files.example}
  - {name: tools, path: /mcp, headers: {Mcp-Method: tools/call}, cost: 3}
  - {name: export, path: /report, query: {format: [csv, xlsx]}, cost: 3}
limits:
  - {name: everyone, per: user, rate: 60/minute, burst: 3, tiers: {gold: {rate: 1/s, burst: 100}}}
  - {name: address, per: address, rate: 1/h, burst: 200, exempt: {networks: [198.51.100.0/24]}}
  - {name: files, per: endpoint, rate: 1/s, burst: 1, endpoints: [files]}
block: {users: [mallory], networks: [203.0.113.0/24]}
"""


def run(folder: Path, steps: str, *, who: str = "{user: ana}", longest: float = 10.0) -> list[RuleTestResult]:
    """Run one test of these steps, which begin in line 5."""
    (folder / "rules.yaml").write_text(RULES)
    (folder / "tests.yaml").write_text(f"tests:\n- name: it\n  as: {who}\n  steps:\n{steps}\n")
    (folder / "gateway.yaml").write_text(f"{UPSTREAMS}rules: rules.yaml\nrule_tests: tests.yaml\n")
    loaded = load(folder / "gateway.yaml")
    return run_rule_tests(load_rule_tests(loaded.settings, loaded.rules), loaded.rules, longest=longest)


def failure(folder: Path, steps: str, *, who: str = "{user: ana}", longest: float = 10.0) -> str:
    (result,) = run(folder, steps, who=who, longest=longest)
    return str(result.failure or "").removeprefix(f"{folder}/")


@pytest.mark.parametrize(
    ("who", "steps"),
    [
        (
            "{user: ana, tier: gold}",
            """\
  - {request: GET /v1/orders/7, times: 100, expect: allowed, endpoint: order}
  - {request: GET /v1/orders/7, expect: refused, by: everyone}
  - {after: 1s}
  - {request: GET /v1/orders/7, expect: allowed}
  - {request: GET /V1//orders/7/, expect: refused, by: everyone}""",
        ),
        (
            "{user: ana}",
            """\
  - {request: GET /v1/orders/7, times: 3, expect: allowed}
  - {after: 999ms, request: GET /, expect: refused, by: [everyone]}
  - {after: 1ms, request: GET /, expect: allowed}
  - {as: {user: ben}, request: GET /, times: 3, expect: allowed}
  - {after: 366d, request: HEAD /, times: 3, expect: allowed, endpoint: default}""",
        ),
        (
            "{address: 192.0.2.9}",
            """\
  - {request: GET http://files.example/a, expect: allowed, endpoint: files}
  - {request: GET https://FILES.example:8443/b, expect: refused, by: files}
  - {as: {user: ana}, request: GET http://files.example/c, expect: refused, by: files}
  - {request: GET /, expect: allowed}""",
        ),
        (
            "{user: mallory}",
            """\
  - {request: GET /, expect: refused, by: (blocked)}
  - {as: {user: ana, address: 203.0.113.7}, request: GET /, expect: refused, by: (blocked)}
  - {as: {user: ana, address: 198.51.100.7}, request: GET /, expect: allowed}""",
        ),
        (
            "{user: ana}",
            """\
  - {request: GET /a/../b, expect: rejected}
  - {request: GET /a%2Fb, expect: rejected}
  - {request: GET /a#b, expect: rejected}
  - {request: OPTIONS *, expect: rejected}
  - {request: 'GET http://a_b@c/', expect: rejected}
  - {request: GET /costly, expect: refused, by: everyone}""",
        ),
        (
            "{user: ana}",
            """\
  - {request: POST /mcp, headers: {mcp-method: tools/call}, expect: allowed, endpoint: tools}
  - {request: POST /mcp, headers: {Mcp-Method: tools/call}, expect: refused, by: everyone}
  - {request: POST /mcp, headers: {Mcp-Method: [tools/call, ping]}, expect: rejected}
  - {as: {user: ben}, request: POST /mcp, headers: {Mcp-Method: ping}, expect: allowed, endpoint: default}
  - {as: {user: cid}, request: GET /report?format=csv, expect: allowed, endpoint: export}
  - {as: {user: cid}, request: GET /report?format=json, expect: refused, endpoint: default}
  - {request: GET /report?format=csv&format=json, expect: rejected}""",
        ),
    ],
)
def test_what_the_rules_say_is_true(who: str, steps: str, tmp_path: Path) -> None:
    assert failure(tmp_path, steps, who=who) == ""


@pytest.mark.parametrize(
    ("steps", "said"),
    [
        (
            "  - {request: GET /, times: 4, expect: allowed}",
            (
                "tests.yaml:5:40: tests[0].steps[0].expect: expected allowed, but the request was refused by everyone "
                "(60/minute burst 3; it could pay in 1s) (number 4 of 4)"
            ),
        ),
        (
            "  - {request: GET /, expect: refused}",
            (
                "tests.yaml:5:30: tests[0].steps[0].expect: expected refused, but the request was allowed; "
                "everyone has 2 of 3 tokens left"
            ),
        ),
        (
            (
                "  - {as: {user: b, address: 198.51.100.7}, request: GET /, times: 3, expect: allowed}\n"
                "  - {as: {user: b, address: 198.51.100.7}, request: GET http://files.example/, expect: refused, "
                "by: files}"
            ),
            (
                "tests.yaml:6:101: tests[0].steps[1].by: expected refused by files, but the request was refused by "
                "everyone (60/minute burst 3; it could pay in 1s)"
            ),
        ),
        (
            "  - {as: {address: 198.51.100.7}, request: GET /, expect: refused}",
            "everyone has 2 of 3 tokens left",
        ),
        (
            "  - {request: GET /costly, expect: allowed}",
            (
                "tests.yaml:5:36: tests[0].steps[0].expect: expected allowed, but the request was refused by everyone "
                "(burst 3, below the cost of 5)"
            ),
        ),
        (
            "  - {request: GET /v1/orders, expect: allowed, endpoint: order}",
            "tests.yaml:5:58: tests[0].steps[0].endpoint: expected order, but the request belongs to default",
        ),
        (
            "  - {request: GET /a%2Fb, expect: allowed}",
            "expected allowed, but the request was rejected with 400 (reason: path)",
        ),
        (
            "  - {request: GET /, expect: rejected}",
            "expected rejected, but the request is valid: it belongs to default",
        ),
        (
            "  - {request: GET /report?format=csv;a, expect: allowed}",
            "expected allowed, but the request was rejected with 400 (reason: condition)",
        ),
        (
            "  - {request: POST /mcp, headers: {Mcp-Method: ping}, expect: allowed, endpoint: tools}",
            "expected tools, but the request belongs to default",
        ),
        (
            "  - {as: {user: mallory}, request: GET /, expect: allowed}",
            "expected allowed, but the request was refused by a block",
        ),
    ],
)
def test_a_failure_says_where_what_was_expected_and_what_happened(steps: str, said: str, tmp_path: Path) -> None:
    assert said in failure(tmp_path, steps)


def test_each_test_begins_with_full_buckets(tmp_path: Path) -> None:
    steps = "  - {request: GET /, times: 3, expect: allowed}\n"
    again = f"- name: again\n  as: {{user: ana}}\n  steps:\n{steps}"
    assert [result.failure for result in run(tmp_path, steps + again)] == [None, None]


def test_tests_that_take_too_long_fail_at_the_step_that_they_had_reached(tmp_path: Path) -> None:
    steps = f"  - {{request: GET /v1/orders/7, times: {MAX_REQUESTS}, expect: refused}}"
    steps = f"  - {{request: GET /, times: 3, expect: allowed}}\n{steps}".replace(str(MAX_REQUESTS), "150000")
    said = failure(tmp_path, steps, longest=0.001)
    assert said.startswith("tests.yaml:6:15: tests[0].steps[1].request: the tests have not ended after 1ms")


def test_other_threads_get_their_turn(tmp_path: Path) -> None:
    run(tmp_path, "  - {request: GET /, expect: allowed}")
    (tmp_path / "tests.yaml").write_text(
        "tests: [{name: a, steps: [{request: GET /, as: {user: b, tier: gold}, times: 100, expect: allowed}, "
        "{request: GET /costly, times: 1000, expect: refused}]}]"
    )
    loaded = load(tmp_path / "gateway.yaml")
    pauses: list[None] = []
    tests = load_rule_tests(loaded.settings, loaded.rules)
    (result,) = run_rule_tests(tests, loaded.rules, pause=lambda: pauses.append(None))
    assert (result.failure, len(pauses)) == (None, 6)
