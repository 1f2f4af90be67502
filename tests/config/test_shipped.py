"""The shipped `config/`: it works, it names every key there is, and what it has in comments works too."""

import dataclasses
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import yaml
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateway.config.exemption import EXEMPT
from gateway.config.flags import Flags
from gateway.config.gateway_file import GATEWAY
from gateway.config.identity import SOURCES
from gateway.config.loader import load
from gateway.config.per import PREFIXES
from gateway.config.rule_test import load_rule_tests
from gateway.config.rulebook import RULES
from gateway.config.token_key import KEY
from gateway.rule_tests.run import run_rule_tests
from gateway.settings.gateway import Settings
from gateway.settings.token_key import Jwks
from gateway.settings.upstream import HealthCheck
from gateway.settings.url import Origin
from tests.config.reading import public_pem, write_certificates
from tests.docs.sections import sections_in

CONFIG = Path(__file__).parents[2] / "config"
HIDDEN = re.compile(r"^( *)#(?! [^ ]|$)(.*)$", re.MULTILINE)
"""A setting in comments, as `gateway.yaml` explains; everything else behind a # is prose."""
LINE = re.compile(r"^( *(?:- )?)([a-z_0-9]+):")
FREE = {"upstreams", "tiers", "headers", "query", "attributes", "response_headers", "descriptors"}
"""Mappings whose keys are names that the operator chooses."""

TABLES: dict[str, Mapping[str, object]] = {
    "": {**GATEWAY.keys, **RULES.keys},
    "identity.sources": SOURCES,
    "identity.sources.jwt.keys": KEY.keys,
    "exempt": EXEMPT.keys,
    "limits.per": {"network": PREFIXES},
    **{
        section.path.replace("NAME", "*"): section.keys
        for section in (*sections_in(GATEWAY), *sections_in(RULES))
        if section.path
    },
}
MENTIONED = {
    "secret_env": "or secret_env",
    "cookie": "or cookie: session",
    "password_env": "or password_env",
    "hash_key_env": "or hash_key_env",
    "audit_key_env": "or audit_key_env",
    "folder": "or folder: analytics",
    "body_file": "or body_file: 429.json",
    "credential_env": "or credential_env",
    "file": "or file: keys/jwks.json",
}
"""Keys that exclude one that is there."""


EXPLAINED_ELSEWHERE = {
    "identity.sources.jwt.keys.secret_file",
    "control.admin.jwks",
    *(f"control.admin.jwks.{field.name}" for field in dataclasses.fields(Jwks)),
}
"""Keys of which a comment says that they are as in another section."""


def with_all_in_use(text: str) -> str:
    """The file with every setting in use. One below another of the same name takes its place."""
    kept: list[str] = []
    last: dict[str, int] = {}
    for line in HIDDEN.sub(r"\1\2", text).splitlines():
        key = LINE.match(line)
        if key is not None:
            place = last.get(key[0])
            if place is not None and all(other.lstrip().startswith("#") for other in kept[place + 1 :]):
                del kept[place:]
            last[key[0]] = len(kept)
        kept.append(line)
    return "\n".join(kept) + "\n"


def paths_in(node: yaml.Node, path: str = "") -> Iterator[str]:
    """The keys in a file, such as ``limits.tiers.*.rate``."""
    if isinstance(node, yaml.SequenceNode):
        for item in node.value:
            yield from paths_in(item, path)
    elif isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            name = "*" if path.rpartition(".")[2] in FREE else key.value
            below = f"{path}.{name}" if path else name
            yield below
            yield from paths_in(value, below)


@pytest.fixture
def everything(tmp_path: Path) -> Path:
    """The shipped folder with every setting in use, and the files that they name."""
    for folder in ("rules", "rule_tests"):
        (tmp_path / folder).mkdir()
    for file in [CONFIG / "gateway.yaml", *(CONFIG / "rules").glob("*.yaml"), *(CONFIG / "rule_tests").glob("*.yaml")]:
        (tmp_path / file.relative_to(CONFIG)).write_text(with_all_in_use(file.read_text()))
    digest = "fcde2b2edba56bf408601fb721fe9b5c338d10ee429ea04fae5511b68fbf8fb9"
    (tmp_path / "api-keys.jsonl").write_text(json.dumps({"sha256": digest, "user": "bob"}))
    named = re.findall(r" ((?:tls|secrets|keys)/[a-z.-]+)", (tmp_path / "gateway.yaml").read_text())
    for name in named:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x" * 40)
    write_certificates(tmp_path, *(name for name in named if name.startswith("tls/")))
    (tmp_path / "keys" / "admin.pem").write_bytes(public_pem(Ed25519PrivateKey.generate()))
    (tmp_path / "keys" / "login.pem").write_bytes(public_pem(generate_private_key(SECP256R1())))
    return tmp_path


def test_shipped_configuration_loads_without_a_warning() -> None:
    loaded = load(CONFIG / "gateway.yaml")
    assert loaded.warnings == ()
    assert loaded.settings == dataclasses.replace(
        Settings.of_one(Origin("http", "127.0.0.1", 9000)), rules=CONFIG / "rules", rule_tests=CONFIG / "rule_tests"
    )


def test_the_shipped_rules_pass_the_shipped_tests() -> None:
    loaded = load(CONFIG / "gateway.yaml")
    results = run_rule_tests(load_rule_tests(loaded.settings, loaded.rules), loaded.rules)
    assert len(results) >= 5
    assert [result.failure for result in results if result.failure] == []


def test_an_order_can_be_made_three_times_at_once() -> None:
    rules = load(CONFIG / "gateway.yaml").rules
    assert rules.endpoints["create-order"].cost == 5
    (each,) = [limit for limit in rules.limits if limit.name == "orders-each"]
    assert each.quota.burst == 15


def test_every_key_is_in_the_shipped_files_and_no_other(everything: Path) -> None:
    found: set[str] = set()
    for file in [everything / "gateway.yaml", *(everything / "rules").glob("*.yaml")]:
        node = yaml.compose(file.read_text(), Loader=yaml.SafeLoader)
        assert node is not None
        found |= set(paths_in(node))
    known = {f"{place}.{key}" if place else key for place, keys in TABLES.items() for key in keys}
    one_of_two = {path for path in known if path.rpartition(".")[2] in MENTIONED}
    assert found == (known - one_of_two - EXPLAINED_ELSEWHERE) | {path for path in found if path.endswith(".*")}
    text = (CONFIG / "gateway.yaml").read_text()
    assert all(mention in text for mention in MENTIONED.values())


def test_every_field_of_the_settings_is_a_key() -> None:
    assert {field.name for field in dataclasses.fields(Settings)} == set(GATEWAY.keys)


def test_settings_in_comments_work_when_they_are_taken_out(everything: Path) -> None:
    loaded = load(everything / "gateway.yaml")
    proxy, costs, at_once = sorted(map(str, loaded.warnings), key=lambda each: ("door" in each, "counts" in each))
    assert "The proxy there must set or clear them" in proxy
    assert "the cost of answer, archive, login is known only from responses" in costs
    assert "at-once counts requests until they end, which no door sees" in at_once
    settings = loaded.settings
    assert settings.store.sentinel is not None
    assert settings.store.sentinel.service == "orders-redis"
    assert settings.control.admin is not None
    assert len(settings.identity.sources) == 5
    assert settings.listen[0].tls is not None


def test_hidden_numbers_are_the_defaults(everything: Path) -> None:
    settings = load(everything / "gateway.yaml").settings
    plain = Settings.of_one(Origin("http", "127.0.0.1", 9000))
    default = settings.upstreams["default"]
    assert dataclasses.replace(default, health=None) == plain.upstreams["default"]
    assert default.health == HealthCheck("/healthz")
    assert (settings.intake, settings.paths, settings.log) == (plain.intake, plain.paths, plain.log)
    assert dataclasses.replace(settings.dns, servers=()) == plain.dns
    for name in ("keep", "interval", "top_callers", "buffer"):
        assert getattr(settings.analytics, name) == getattr(plain.analytics, name)
    for name in ("drain_time", "access_log", "keep_rate_limit_headers"):
        assert getattr(settings, name) == getattr(plain, name)
    for name in ("prefix", "deadline", "max_buckets", "cluster", "nodes"):
        assert getattr(settings.store, name) == getattr(plain.store, name)


def test_shipped_configuration_runs_on_redis_by_a_flag() -> None:
    assert load(CONFIG / "gateway.yaml", Flags(store="redis://127.0.0.1:6379", workers="2")).settings.workers == 2
