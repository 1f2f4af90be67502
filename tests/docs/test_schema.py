"""An editor that goes by config/schema/ and the loader say the same of a file, as far as single values tell."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft7Validator  # type: ignore[import-untyped]

from gateway.commands.cli import main
from gateway.config.diagnostic import ConfigError
from gateway.config.flags import Flags
from gateway.config.loader import load
from gateway.config.rule_test import load_rule_tests
from gateway.config.schema import FILES
from gateway.config.section import Section
from tests.docs.generate import SCHEMAS
from tests.docs.pages import PAGES, ROOT, File, blocks
from tests.docs.sections import sections_in

DIGEST = "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae"
UPSTREAMS = "upstreams: {default: {urls: [http://a]}}\n"
KEYS = "keys: [{algorithm: HS256, secret_env: HASH}]"


class Yaml12(yaml.SafeLoader):
    """Reads scalars as editors do, by YAML 1.2's core schema: `no` is a text, `010` is ten."""

    yaml_implicit_resolvers = {}  # noqa: RUF012


for tag, pattern, first in (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", r"[-+]?[0-9]+", "-+0123456789"),
    ("float", r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", "-+0123456789."),
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
):
    Yaml12.add_implicit_resolver(f"tag:yaml.org,2002:{tag}", re.compile(f"(?:{pattern})$"), list(first))


def validator(kind: str) -> Draft7Validator:
    schema = json.loads((SCHEMAS / f"{kind}.schema.json").read_text())
    Draft7Validator.check_schema(schema)
    return Draft7Validator(schema)


SCHEMA = {kind: validator(kind) for kind in FILES}


def complaints(kind: str, text: str) -> list[str]:
    """What an editor says."""
    found: Any = yaml.load(text, Yaml12)
    return [error.message for error in SCHEMA[kind].iter_errors(found)]


def problems(kind: str, text: str, folder: Path) -> list[str]:
    """What the loader says."""
    file = folder / f"{kind}.yaml"
    file.write_text(text)
    try:
        if kind == "gateway":
            load(file)
        elif kind == "rule_tests":
            (folder / "gateway.yaml").write_text(f"{UPSTREAMS}rules: rules.yaml\nrule_tests: rule_tests.yaml\n")
            (folder / "rules.yaml").write_text(limit("burst: 3"))
            loaded = load(folder / "gateway.yaml")
            load_rule_tests(loaded.settings, loaded.rules)
        else:
            load(None, Flags(upstream="http://a", rules=str(file)))
    except ConfigError as error:
        return [str(problem) for problem in error.problems]
    return []


def limit(text: str) -> str:
    return f"limits: [{{name: a, per: user, rate: 1/s, {text}}}]\n"


def rule_test(text: str) -> str:
    return f"tests: [{{name: it, steps: [{{request: GET /, expect: allowed}}, {{{text}}}]}}]\n"


def endpoint(text: str) -> str:
    return f"endpoints: [{{name: e, {text}}}]\n"


GOOD = [
    ("gateway", UPSTREAMS),
    ("gateway", UPSTREAMS + "listen: '[::1]:80'\nworkers: 1\ndrain_time: 0\naccess_log: true\n"),
    ("gateway", UPSTREAMS + "listen: {host: 10.0.0.1, port: 0}\ncontrol: {listen: localhost:1}\n"),
    ("gateway", UPSTREAMS + "control: {admin: {audience: a, issuer: b, max_lifetime: 5m, " + KEYS + "}}\n"),
    (
        "gateway",
        "upstreams: {a-1: {urls: [https://a, 'http://[::1]:80/'], eject_time: 0, max_idle: 5, host: upstream}}\n",
    ),
    ("gateway", UPSTREAMS + "intake: {idle_timeout: 1.5s, max_line: 64KiB, max_header: 9000, max_headers: 7}\n"),
    ("gateway", UPSTREAMS + "intake: {idle_timeout: '1.5s', max_line: '64KiB', max_header: '9000'}\n"),
    ("gateway", UPSTREAMS + "log: {level: debug, format: json}\n"),
    ("gateway", UPSTREAMS + "store: {url: memory, max_buckets: 5}\n"),
    (
        "gateway",
        UPSTREAMS + "store: {url: 'redis://gw@cache:6380/2', password_env: HASH, prefix: 'a:b', deadline: 20ms}\n",
    ),
    ("gateway", UPSTREAMS + "store: {url: 'unix:///run/redis.sock'}\n"),
    ("gateway", UPSTREAMS + "store: {url: redis://m, sentinel: {service: m, nodes: [a, 'b:1'], username: 7}}\n"),
    ("gateway", UPSTREAMS + "store: {url: rediss://a, cluster: true, nodes: [b]}\n"),
    ("gateway", UPSTREAMS + "identity: {hash_key_env: HASH, trusted_proxies: ['::1', 10.0.0.0/8], sources: []}\n"),
    (
        "gateway",
        UPSTREAMS + "identity: {sources: [{trusted_header: {header: X-A, tier_header: X-B}}, client_address], "
        "trusted_proxies: [127.0.0.1]}\n",
    ),
    ("gateway", UPSTREAMS + "identity: {sources: [{jwt: {claim: uid, " + KEYS + "}}]}\n"),
    ("gateway", UPSTREAMS + f"identity: {{sources: [{{api_key: {{keys: [{{sha256: {DIGEST}, user: 4711}}]}}}}]}}\n"),
    ("gateway", UPSTREAMS + "paths: {case_sensitive: true, encoded_slash: pass}\n"),
    ("gateway", UPSTREAMS + "tracing: {endpoint: 'http://[::1]:4318/v1/traces', sample: 1, credential_env: HASH}\n"),
    ("gateway", UPSTREAMS + "workers: ${ONE}\ndrain_time: ${ONE}s\naccess_log: '${ONE}'\nlog: {level: '${LEVEL}'}\n"),
    ("gateway", "upstreams: {default: {urls: ['http://${LEVEL}:8${ONE}'], verify: '${YES}'}}\nlisten: a:${ONE}\n"),
    ("rules", "limits: []\n"),
    ("rules", limit("burst: 3, enforce: false, when_redis_is_down: refuse")),
    ("rules", limit("endpoints: [default], tiers: {Gold Plan: {rate: 5/15s, burst: 9}}")),
    ("rules", limit("exempt: {users: [1234, no, alice], networks: [192.0.2.7, '2001:db8::/32']}")),
    ("rules", "limits: [{name: a, per: [endpoint, user], rate: 100 / minute}]\n"),
    ("rules", endpoint("path: /, cost: 0")),
    ("rules", endpoint("path: '/v1/{id}/x.json', methods: [GET, M-SEARCH], host: API.example")),
    ("rules", endpoint("path: '/%24metadata/a%2Ab/orders:cancel', methods: [PROPFIND]")),
    ("rules", endpoint("path: '/{rest...}', upstream: default, cost: 1000000")),
    ("rules", endpoint("path: /e, headers: {Mcp-Method: tools/call, X-V: [2, '']}, query: {'filter[a]': [csv, no]}")),
    ("rules", "endpoints: [{name: default, cost: 3}]\nexempt: {users: [bob]}\n"),
    ("rule_tests", rule_test("request: GET /, expect: allowed")),
    ("rule_tests", rule_test("after: 1.5s, request: 'M-SEARCH http://a/b?c', times: 7, expect: refused, by: a")),
    ("rule_tests", rule_test("request: GET /, expect: refused, by: [a], endpoint: default, as: {user: 7, tier: no}")),
    ("rule_tests", rule_test("request: GET /, headers: {X-A: [a, a], X-B: 7}, expect: rejected")),
    ("rule_tests", rule_test("request: GET /, expect: rejected, as: {address: '2001:db8::1'}")),
]  # fmt: skip

BAD = [
    ("gateway", "workers: 1\n"),
    ("gateway", "upstreams: {}\n"),
    ("gateway", "upstreams: {default: {}}\n"),
    ("gateway", "upstreams: {default: {urls: []}}\n"),
    ("gateway", "upstreams: {My API: {urls: [http://a]}}\n"),
    ("gateway", "upstreams: {default: {urls: [http://a/v1]}}\n"),
    ("gateway", "upstreams: {default: {urls: [ftp://a]}}\n"),
    ("gateway", "upstreams: {default: {urls: [http://u@a]}}\n"),
    ("gateway", "upstreams: {default: {urls: [http://a], verify: 'no'}}\n"),
    ("gateway", "upstreams: {default: {urls: [http://a], time_out: 3s}}\n"),
    ("gateway", "upstreams: {default: {urls: [http://a], host: other}}\n"),
    ("gateway", "upstreams: {default: {urls: [http://a], connect_timeout: 0s}}\n"),
    ("gateway", UPSTREAMS + "lisen: 127.0.0.1:80\n"),
    ("gateway", UPSTREAMS + "listen: 8080\n"),
    ("gateway", UPSTREAMS + "listen: {port: 70000}\n"),
    ("gateway", UPSTREAMS + "listen: {tls: {certificate: x.pem}}\n"),
    ("gateway", UPSTREAMS + "control: 127.0.0.1:1\n"),
    ("gateway", UPSTREAMS + "control: {admin: {" + KEYS + "}}\n"),
    ("gateway", UPSTREAMS + "workers: 0\n"),
    ("gateway", UPSTREAMS + "workers: many\n"),
    ("gateway", UPSTREAMS + "drain_time: soon\n"),
    ("gateway", UPSTREAMS + "access_log: on\n"),
    ("gateway", UPSTREAMS + "log: {level: verbose}\n"),
    ("gateway", UPSTREAMS + "log: warning\n"),
    ("gateway", UPSTREAMS + "intake: {max_line: 64KB}\n"),
    ("gateway", UPSTREAMS + "intake: {max_headers: 1.5}\n"),
    ("gateway", UPSTREAMS + "paths: {encoded_slash: accept}\n"),
    ("gateway", UPSTREAMS + "store: {url: mysql://a}\n"),
    ("gateway", UPSTREAMS + "store: {url: 'redis://a?db=1'}\n"),
    ("gateway", UPSTREAMS + "store: {prefix: 'a{b}'}\n"),
    ("gateway", UPSTREAMS + "store: {url: redis://a, password: hunter2}\n"),
    ("gateway", UPSTREAMS + "store: {url: redis://a, password_file: x, password_env: HASH}\n"),
    ("gateway", UPSTREAMS + "store: {url: redis://a, sentinel: {service: a}}\n"),
    ("gateway", UPSTREAMS + "identity: {sources: [address]}\n"),
    ("gateway", UPSTREAMS + "identity: {sources: [{header: X}]}\n"),
    ("gateway", UPSTREAMS + "identity: {sources: [{trusted_header: {}}]}\n"),
    ("gateway", UPSTREAMS + "identity: {sources: [{trusted_header: {header: X User}}]}\n"),
    ("gateway", UPSTREAMS + "identity: {sources: [{jwt: {keys: []}}]}\n"),
    ("gateway", UPSTREAMS + "identity: {sources: [{jwt: {keys: [{algorithm: none}]}}]}\n"),
    ("gateway", UPSTREAMS + "identity: {sources: [{api_key: {keys: [{sha256: hunter2, user: bob}]}}]}\n"),
    ("gateway", UPSTREAMS + "identity: {trusted_proxies: [office]}\n"),
    ("gateway", UPSTREAMS + "identity: {hash_key: hunter2}\n"),
    ("gateway", UPSTREAMS + "tracing: {}\n"),
    ("gateway", UPSTREAMS + "tracing: {endpoint: http://a:4318}\n"),
    ("gateway", UPSTREAMS + "tracing: {endpoint: 'http://u:p@a/v1/traces'}\n"),
    ("gateway", UPSTREAMS + "tracing: {endpoint: http://a/v1/traces, sample: 1.5}\n"),
    ("gateway", UPSTREAMS + "tracing: {endpoint: http://a/v1/traces, sample: 10%}\n"),
    ("gateway", UPSTREAMS + "tracing: {endpoint: http://a/v1/traces, credential: hunter2}\n"),
    ("rules", "limit: []\n"),
    ("rules", "limits: {}\n"),
    ("rules", "limits:\n"),
    ("rules", "limits: [{per: user, rate: 1/s}]\n"),
    ("rules", "limits: [{name: a, rate: 1/s}]\n"),
    ("rules", "limits: [{name: a, per: user}]\n"),
    ("rules", "limits: [{name: Everyone, per: user, rate: 1/s}]\n"),
    ("rules", "limits: [{name: a, per: {network: {ipv4: 24}}, rate: 1/s}]\n"),
    ("rules", "limits: [{name: a, per: Org, rate: 1/s}]\n"),
    ("rules", "limits: [{name: a, per: user, if_missing: allow, rate: 1/s}]\n"),
    ("rules", "limits: [{name: a, per: [], rate: 1/s}]\n"),
    ("rules", "limits: [{name: a, per: [user, user], rate: 1/s}]\n"),
    ("rules", "limits: [{name: a, per: user, rate: 10/fortnight}]\n"),
    ("rules", "limits: [{name: a, per: user, rate: 100}]\n"),
    ("rules", "limits: [{name: a, per: user, rate: 0/s}]\n"),
    ("rules", limit("burst: 0")),
    ("rules", limit("burst: '5'")),
    ("rules", limit("brust: 5")),
    ("rules", limit("enforce: no")),
    ("rules", limit("when_redis_is_down: open")),
    ("rules", limit("endpoints: []")),
    ("rules", limit("tiers: {gold: {burst: 2}}")),
    ("rules", limit("exempt: {networks: [office]}")),
    ("rules", limit("exempt: {user: [bob]}")),
    ("rules", "endpoints: [{path: /e}]\n"),
    ("rules", endpoint("path: e")),
    ("rules", endpoint("path: /a//b")),
    ("rules", endpoint("path: '/a%2Fb'")),
    ("rules", endpoint("path: '/a{id}'")),
    ("rules", endpoint("path: '/{rest...}/b'")),
    ("rules", endpoint("path: /a.")),
    ("rules", endpoint("path: '/v1/*'")),
    ("rules", endpoint("path: '/v1/:id'")),
    ("rules", endpoint("path: '/v1/$id'")),
    ("rules", endpoint("path: '/v1/(.*)'")),
    ("rules", endpoint("path: '/v1/orders$'")),
    ("rules", endpoint("path: '/v1/<id>'")),
    ("rules", endpoint("path: /e, methods: [get]")),
    ("rules", endpoint("path: /e, methods: [ANY]")),
    ("rules", endpoint("path: /e, methods: ['*']")),
    ("rules", endpoint("path: /e, methods: [CONNECT]")),
    ("rules", endpoint("path: /e, methods: []")),
    ("rules", endpoint("path: /e, methods: GET")),
    ("rules", endpoint("path: /e, methods: [GET, GET]")),
    ("rules", endpoint("path: /e, cost: -1")),
    ("rules", endpoint("path: /e, cost: 1.5")),
    ("rules", endpoint("path: /e, cost: 1000001")),
    ("rules", endpoint("path: /e, host: 'api.example:443'")),
    ("rules", endpoint("path: /e, host: '*.example'")),
    ("rules", endpoint("path: /e, headers: {}")),
    ("rules", endpoint("path: /e, headers: {X A: b}")),
    ("rules", endpoint("path: /e, headers: {X-A: []}")),
    ("rules", endpoint("path: /e, headers: {X-A: [a, a]}")),
    ("rules", endpoint("path: /e, headers: {X-A: {b: c}}")),
    ("rules", endpoint("path: /e, query: [a]")),
    ("rules", endpoint("path: /e, query: {a: ' b'}")),
    ("rules", "exempt: [bob]\n"),
    ("rule_tests", "test: []\n"),
    ("rule_tests", "tests: {}\n"),
    ("rule_tests", "tests: [{name: a}]\n"),
    ("rule_tests", "tests: [{name: a, steps: []}]\n"),
    ("rule_tests", rule_test("request: GET /, expect: maybe")),
    ("rule_tests", rule_test("request: get /, expect: allowed")),
    ("rule_tests", rule_test("request: /a, expect: allowed")),
    ("rule_tests", rule_test("request: GET /, expect: allowed, times: 0")),
    ("rule_tests", rule_test("request: GET /, expect: refused, by: []")),
    ("rule_tests", rule_test("request: GET /, expect: refused, by: [a, a]")),
    ("rule_tests", rule_test("request: GET /, expect: allowed, as: {address: 10.0.0.0/8}")),
    ("rule_tests", rule_test("request: GET /, expect: allowed, as: {name: ana}")),
    ("rule_tests", rule_test("after: 0")),
]

ONLY_THE_LOADER_SEES = [
    ("rules", "limits: [{name: a, per: users, rate: 1/s}]\n"),
    ("rules", "limits: [{name: a, per: org, rate: 1/s}]\n"),
    ("rule_tests", "tests: []\n"),
    ("rule_tests", rule_test("request: GET /")),
    ("rule_tests", rule_test("request: GET /, expect: refused, by: b")),
    ("rule_tests", rule_test("request: GET /, expect: allowed, by: a")),
    ("rule_tests", rule_test("request: GET /, expect: allowed, as: {tier: gold}")),
    ("gateway", UPSTREAMS + "workers: 2\n"),
    ("gateway", UPSTREAMS + "control: {listen: 127.0.0.1:8080}\n"),
    ("gateway", UPSTREAMS + "store: {cluster: true}\n"),
    ("gateway", UPSTREAMS + "store: {url: redis://a, sentinel: {service: b, nodes: [c]}}\n"),
    ("gateway", UPSTREAMS + "identity: {hash_key_file: is-not-there}\n"),
    ("gateway", UPSTREAMS + "tracing: {endpoint: http://a/v1/traces, ca: is-not-there}\n"),
    ("rules", endpoint("methods: [GET]")),
    ("rules", endpoint("path: '/{a}/{a}'")),
    ("rules", "endpoints: [{name: default, path: /e}]\n"),
    ("rules", "endpoints: [{name: e, path: /e}, {name: f, path: /E}]\n"),
    ("rules", endpoint("path: /e, upstream: gone")),
    ("rules", limit("endpoints: [gone]")),
    ("rules", limit("exempt: {networks: [10.0.0.1/8]}")),
    ("rules", "limits: [{name: a, per: user, rate: 1/s}, {name: a, per: user, rate: 2/s}]\n"),
    ("rules", "limits: [{name: a, per: endpoint, rate: 1/s, tiers: {gold: {rate: 2/s}}}]\n"),
]


@pytest.fixture(autouse=True)
def _secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HASH", "0123456789abcdef" * 3)
    monkeypatch.setenv("ONE", "1")
    monkeypatch.setenv("LEVEL", "debug")
    monkeypatch.setenv("YES", "true")


@pytest.mark.parametrize(("kind", "text"), GOOD)
def test_both_take_what_is_good(kind: str, text: str, tmp_path: Path) -> None:
    assert (problems(kind, text, tmp_path), complaints(kind, text)) == ([], [])


@pytest.mark.parametrize(("kind", "text"), BAD)
def test_both_refuse_what_is_bad(kind: str, text: str, tmp_path: Path) -> None:
    assert problems(kind, text, tmp_path)
    assert complaints(kind, text)


@pytest.mark.parametrize(("kind", "text"), ONLY_THE_LOADER_SEES)
def test_what_does_not_go_together_only_the_loader_sees(kind: str, text: str, tmp_path: Path) -> None:
    assert problems(kind, text, tmp_path)
    assert complaints(kind, text) == []


@pytest.mark.parametrize("path", sorted((ROOT / "config").rglob("*.yaml")), ids=lambda path: path.name)
def test_shipped_files_are_good_to_an_editor(path: Path) -> None:
    kind = path.parent.name if path.parent.name in FILES else "gateway"
    assert complaints(kind, path.read_text()) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_in_the_pages_are_good_to_an_editor(page: Path) -> None:
    for block in blocks(page):
        file = File.of(block) if block.language == "yaml" else None
        if file and file.kind != "other" and file.verdict != "refused":
            text = file.text if file.kind == "rules" or "upstreams:" in file.text else file.text + UPSTREAMS
            assert complaints(file.kind, text) == [], block


@pytest.mark.parametrize(
    "section",
    [section for _, outermost in FILES.values() for section in sections_in(outermost)],
    ids=lambda section: section.path,
)
def test_every_key_has_its_meaning(section: Section[Any]) -> None:
    assert [key for key in section.keys if not section.meaning(key)] == []


@pytest.mark.parametrize("kind", FILES)
def test_the_command_prints_the_schema(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema", kind]) == 0
    assert capsys.readouterr().out == (SCHEMAS / f"{kind}.schema.json").read_text()
