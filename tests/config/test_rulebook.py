"""Rule files: what each mistake is answered with, and that files of a folder are one set."""

from pathlib import Path

import pytest

from gateway.config.diagnostic import ConfigError
from gateway.config.flags import Flags
from gateway.config.loader import Loaded, load, load_rules
from gateway.limits.charge import FailurePolicy
from gateway.limits.rate import Rate
from tests.config.reading import load_rules_text, rules_problems

ISSUE = """\
endpoints:
  - name: read-order
    methods: [GET]
    path: /v1/orders/{id}
  - name: create-order
    methods: [POST]
    path: /v1/orders
    cost: 5
limits:
  - name: everyone              # each user, all endpoints together
    per: user
    rate: 600/minute
    burst: 100
  - name: orders-total          # all users together
    per: endpoint
    endpoints: [create-order]
    rate: 50/s
  - name: orders-each           # each user on this endpoint
    per: [user, endpoint]
    endpoints: [create-order]
    rate: 10/minute
    burst: 3
    tiers:
      gold: {rate: 60/minute, burst: 20}
"""


def folder_of(folder: Path, **files: str) -> Flags:
    for name, text in files.items():
        (folder / f"{name}.yaml").write_text(text)
    return Flags(upstream="http://127.0.0.1:9000", rules=str(folder))


def load_folder(folder: Path, **files: str) -> Loaded:
    return load(None, folder_of(folder, **files))


def folder_problems(folder: Path, **files: str) -> list[str]:
    flags = folder_of(folder, **files)
    with pytest.raises(ConfigError) as error:
        load(None, flags)
    return [str(problem).replace(f"{folder}/", "") for problem in error.value.problems]


def test_example_of_the_issue_loads_with_a_warning(tmp_path: Path) -> None:
    loaded = load_rules_text(tmp_path, ISSUE)
    assert [str(warning).removeprefix(f"{tmp_path}/") for warning in loaded.warnings] == [
        (
            "rules.yaml:22:12: limits[2].burst: no request to create-order can pass under orders-each, because it "
            "costs 5 and a bucket holds at most 3; raise the burst to 5 or more, or lower the cost"
        )
    ]
    read, create = loaded.rules.endpoints["read-order"], loaded.rules.endpoints["create-order"]
    assert (read.methods, read.cost, read.upstream) == (frozenset({"GET"}), 1, "default")
    assert (create.methods, create.cost) == (frozenset({"POST"}), 5)
    everyone, total, each = loaded.rules.limits
    assert (everyone.per, everyone.endpoints) == (("user",), frozenset())
    assert (total.per, total.endpoints) == (("endpoint",), frozenset({"create-order"}))
    assert each.per == ("user", "endpoint")
    assert (total.quota.rate, total.quota.burst) == (Rate(50, 1), 50)
    assert (each.tiers["gold"].rate, each.tiers["gold"].burst) == (Rate(60, 60), 20)
    assert (each.enforce, each.when_redis_is_down, each.exempt.networks) == (True, FailurePolicy.WHOLE, ())


def test_all_errors_of_all_files_come_in_one_go(tmp_path: Path) -> None:
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "a.yaml").write_text("limits:\n  - {name: a, per: user, rate: often, brust: 3}\n")
    (tmp_path / "rules" / "b.yaml").write_text("limits: {\n")
    (tmp_path / "rules" / "c.yaml").write_text("endpoints:\n  - {name: e, path: v1, upstream: defautl}\nlimit: []\n")
    file = tmp_path / "gateway.yaml"
    file.write_text("upstreams: {default: {urls: [ftp://x]}}\nrules: rules\nworkers: many\n")
    with pytest.raises(ConfigError) as error:
        load(file, Flags(listen=":80"))
    assert str(error.value).replace(f"{tmp_path}/", "").splitlines() == [
        "--listen: the host is missing; write 127.0.0.1:80, or 0.0.0.0:80 for every IPv4 interface",
        (
            "gateway.yaml:1:30: upstreams.default.urls[0]: "
            "an upstream is http://HOST:PORT, https://HOST:PORT or unix:/PATH"
        ),
        "gateway.yaml:3:10: workers: 'many' is not a whole number; write decimal digits only",
        (
            "rules/a.yaml:2:32: limits[0].rate: 'often' is not a rate; write tokens/period, as in 100/minute, 50/s "
            "or 10/15s"
        ),
        (
            "rules/a.yaml:2:39: limits[0].brust: unknown key 'brust'; the keys here are at_once, burst, "
            "candidate, endpoints, "
            "enforce, exempt, from_claim, "
            "from_day, if_missing, name, over, per, quota, rate, reserve, schedule, tiers, "
            "when_redis_is_down, "
            "zone "
            "(did you mean 'burst'?)"
        ),
        "rules/b.yaml:2:1: not YAML: no value can start here; close what is open, or put the value in quotes",
        "rules/c.yaml:2:21: endpoints[0].path: a path starts with / (did you mean '/v1'?)",
        (
            "rules/c.yaml:2:35: endpoints[0].upstream: unknown upstream 'defautl'; it is not in gateway.yaml "
            "(did you mean 'default'?)"
        ),
        (
            "rules/c.yaml:3:1: limit: unknown key 'limit'; the keys here are block, endpoints, exempt, limits, tiers "
            "(did you mean 'limits'?)"
        ),
    ]


def test_files_of_a_folder_are_one_set_in_the_order_of_their_names(tmp_path: Path) -> None:
    loaded = load_folder(
        tmp_path,
        b="endpoints: [{name: e, path: /e}]\nlimits: [{name: second, per: user, rate: 1/s}]\n",
        a="limits: [{name: first, per: user, rate: 1/s, endpoints: [e]}]\n",
    )
    assert [limit.name for limit in loaded.rules.limits] == ["first", "second"]
    assert loaded.rules.limits[0].endpoints == {"e"}


def test_only_yaml_files_that_are_not_hidden_count(tmp_path: Path) -> None:
    (tmp_path / ".swap.yaml").write_text("}")
    (tmp_path / "notes.txt").write_text("}")
    (tmp_path / "more.yml").write_text("limits: [{name: b, per: user, rate: 1/s}]\n")
    loaded = load_folder(tmp_path, a="limits: [{name: a, per: user, rate: 1/s}]\n")
    assert [limit.name for limit in loaded.rules.limits] == ["a", "b"]


def test_folder_without_rules_is_an_error(tmp_path: Path) -> None:
    assert folder_problems(tmp_path) == [f"{tmp_path}: no file in this folder ends in .yaml"]


def test_names_are_unique_across_files_and_at_every_place(tmp_path: Path) -> None:
    one = "endpoints: [{name: e, path: /e}]\nlimits: [{name: l, per: user, rate: 1/s}]\n"
    assert folder_problems(tmp_path, a=one, b=one.replace("/e}", "/f}")) == [
        "b.yaml:1:20: endpoints[0].name: duplicate endpoint 'e'; the first is at a.yaml:1",
        "b.yaml:2:17: limits[0].name: duplicate limit 'l'; the first is at a.yaml:2",
    ]


def test_a_name_counts_as_given_though_the_rest_of_its_limit_is_wrong(tmp_path: Path) -> None:
    problems = folder_problems(
        tmp_path,
        a="limits: [{name: l, per: user, rate: 0/s}, {name: l, per: user, rate: 1/s}, {name: l, rate: 1/s}]\n",
    )
    places = [problem.partition(": ")[0] for problem in problems]
    assert places == ["a.yaml:1:37", "a.yaml:1:50", "a.yaml:1:76", "a.yaml:1:83"]
    assert sum("duplicate limit 'l'; the first is at a.yaml:1" in problem for problem in problems) == 2


def test_endpoints_that_take_the_same_requests_are_refused_across_files(tmp_path: Path) -> None:
    problems = folder_problems(
        tmp_path,
        a="endpoints: [{name: e, path: '/v1/{id}', methods: [GET, POST]}]\n",
        b="endpoints: [{name: f, path: '/V1/{name}', methods: [POST]}]\n",
    )
    assert problems == [
        (
            "b.yaml:1:29: endpoints[0].path: 'f' matches the same requests as 'e' (a.yaml:1); "
            "give them different paths, methods or hosts"
        )
    ]


def test_broken_endpoint_is_no_dangling_reference(tmp_path: Path) -> None:
    text = "endpoints: [{name: e, path: nowhere}]\nlimits: [{name: l, per: user, rate: 1/s, endpoints: [e]}]\n"
    assert rules_problems(tmp_path, text) == [
        "rules.yaml:1:29: endpoints[0].path: a path starts with / (did you mean '/nowhere'?)"
    ]


def test_exemption_of_a_file_counts_for_all_limits_of_all_files(tmp_path: Path) -> None:
    loaded = load_folder(
        tmp_path,
        a="limits: [{name: a, per: user, rate: 1/s, exempt: {users: [alice], networks: [10.0.0.0/8]}}]\n",
        b="exempt: {users: [monitoring], networks: [192.0.2.1]}\n",
    )
    (limit,) = loaded.rules.limits
    assert limit.exempt.users == {"alice", "monitoring"}
    assert [str(network) for network in limit.exempt.networks] == ["10.0.0.0/8", "192.0.2.1/32"]


def test_revision_changes_with_the_contents_only(tmp_path: Path) -> None:
    first = load_rules_text(tmp_path, ISSUE)
    assert len(first.rules.revision) == 12
    assert load_rules(first.settings).rules.revision == first.rules.revision
    assert load_rules_text(tmp_path, ISSUE + "#\n").rules.revision != first.rules.revision


def test_rules_are_read_again_for_the_settings_in_force(tmp_path: Path) -> None:
    loaded = load_rules_text(tmp_path, "limits: [{name: a, per: user, rate: 1/s}]\n")
    (tmp_path / "rules.yaml").write_text("limits: [{name: b, per: user, rate: 1/s}]\n")
    assert [limit.name for limit in load_rules(loaded.settings).rules.limits] == ["b"]
    (tmp_path / "rules.yaml").write_text("endpoints: [{name: e, path: /e, upstream: gone}]\n")
    with pytest.raises(ConfigError, match="unknown upstream 'gone'"):
        load_rules(loaded.settings)


def test_without_rules_nothing_is_limited_and_a_warning_says_so() -> None:
    loaded = load(None, Flags(upstream="http://127.0.0.1:9000"))
    assert loaded.rules.limits == load_rules(loaded.settings).rules.limits == ()
    assert [str(each) for each in loaded.warnings] == ["--rules: no rules are named, so nothing is limited"]


def test_ten_thousand_endpoints_load(tmp_path: Path) -> None:
    endpoints = "".join(f"  - {{name: e{number}, path: '/v1/e{number}/{{id}}'}}\n" for number in range(10_000))
    limits = "".join(
        f"  - {{name: l{number}, per: user, rate: 1/s, endpoints: [e{number}]}}\n" for number in range(1_000)
    )
    rules = load_rules_text(tmp_path, f"endpoints:\n{endpoints}limits:\n{limits}").rules
    assert len(rules.endpoints) == 10_001
    found = rules.match("GET", "", "/v1/e9999/7")
    assert found is not None
    assert found.name == "e9999"


def test_thousands_of_errors_are_told_without_searching_for_the_nearest_word_for_each(tmp_path: Path) -> None:
    endpoints = "".join(f"  - {{name: e{number}, path: /v1/e{number}}}\n" for number in range(2_000))
    limits = "".join(
        f"  - {{name: l{number}, per: user, rate: 1/s, endpoints: [x{number}]}}\n" for number in range(2_000)
    )
    problems = rules_problems(tmp_path, f"endpoints:\n{endpoints}limits:\n{limits}")
    assert len(problems) == 2_000
    assert "did you mean" not in problems[-1]
