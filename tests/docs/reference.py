"""The sections of both YAML files: their keys from the loader's tables, their meaning from the docstrings.

A key that no dataclass documents has its meaning here. A key that has none anywhere is an error.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from functools import cached_property
from inspect import getdoc
from typing import Any, get_type_hints

from gateway.config import (
    analytics,
    endpoint,
    gateway_file,
    identity,
    limit,
    listener,
    rulebook,
    store,
    token,
    tracing,
    upstream,
)
from gateway.config.fields import Table, table_of
from gateway.limits.endpoint import Endpoint
from gateway.limits.identity import TrustedHeader
from gateway.limits.limit import Exemption, Limit
from gateway.limits.path import PathPolicy
from gateway.settings.analytics import Analytics, Postgres
from gateway.settings.control import AdminPolicy, Control
from gateway.settings.gateway import Settings
from gateway.settings.identity import IdentityPolicy, Jwt
from gateway.settings.intake import Intake
from gateway.settings.listener import Listener, Tls
from gateway.settings.size import Bytes
from gateway.settings.store import Sentinel, Store, StoreTls
from gateway.settings.tokens import TokenKey, TokenPolicy
from gateway.settings.tracing import Tracing
from gateway.settings.upstream import Upstream
from tests.docs.shapes import HOST_PORT, METHOD, NAME, NETWORK, TEXT, Schema, Shape, list_of, shape_of

REQUIRED = "required"


@dataclass(frozen=True)
class Section:
    """A mapping in a YAML file.

    Attributes:
        path: Where it stands, such as ``control.admin``; empty for the whole file.
        table: The keys the loader reads there.
        kinds: The dataclasses that hold what is read; they know defaults and meanings.
        required: Keys that have to be there.
        intro: What it is about; the first dataclass' docstring when empty.
        meanings: Of keys that the dataclasses do not document, or document for programmers.
        defaults: The same for defaults.
        shapes: Of keys whose reader reads more than a scalar or a list of them.
        exclusive: Pairs of keys of which at most one stands there.
    """

    path: str
    table: Table
    kinds: tuple[type, ...] = ()
    required: tuple[str, ...] = ()
    intro: str = ""
    meanings: Mapping[str, str] = field(default_factory=dict)
    defaults: Mapping[str, str] = field(default_factory=dict)
    shapes: Mapping[str, Shape] = field(default_factory=dict)
    exclusive: tuple[tuple[str, str], ...] = ()

    @property
    def about(self) -> str:
        """What the section is about, in a sentence or two."""
        return self.intro or plain((getdoc(self.kinds[0]) or "").partition("\n\n")[0].replace("\n", " "))

    def shape(self, key: str) -> Shape:
        return self.shapes.get(key) or shape_of(self.table[key])

    def meaning(self, key: str) -> str:
        if key in self.meanings:
            return self.meanings[key]
        for kind in self.kinds:
            found = documented(kind).get(key)
            if found:
                return plain(found)
        raise LookupError(f"nobody says what {self.path}.{key} means: document the dataclass, or say it in reference")

    def default(self, key: str) -> str:
        if key in self.required:
            return REQUIRED
        if key in self.defaults:
            return self.defaults[key]
        for kind in self.kinds:
            for entry in fields(kind):
                if entry.name == key:
                    return _default(entry, get_type_hints(kind, include_extras=True)[key])
        return ""

    @cached_property
    def schema(self) -> Schema:
        """The section as JSON Schema."""
        keys = {key: {"description": self.meaning(key), **self.shape(key).schema} for key in self.table}
        made: Schema = {"type": "object", "properties": keys, "additionalProperties": False}
        if self.required:
            made["required"] = list(self.required)
        if self.exclusive:
            made["allOf"] = [{"not": {"required": list(pair)}} for pair in self.exclusive]
        return made

    def as_shape(self, words: str = "section") -> Shape:
        return Shape(words, self.schema)


def documented(kind: type) -> dict[str, str]:
    """What a dataclass' docstring says of each of its attributes."""
    _, _, attributes = (getdoc(kind) or "").partition("Attributes:\n")
    attributes = attributes.partition("\n\n")[0]
    entries = re.findall(r"^    (\w+): (.*(?:\n {8}.*)*)", attributes, re.MULTILINE)
    return {name: re.sub(r"\s+", " ", text) for name, text in entries}


def plain(text: str) -> str:
    """A docstring as an operator reads it: an absent key instead of None, no modules."""
    text = re.sub(r"[;,] (?:see|what) `gateway\.[^`]*`[^.]*", "", text).replace("``", "`")
    text = re.sub(r"(?<=[;,] )None for", "when absent,", text)
    text = re.sub(r"\bNone for", "When absent,", text)
    return re.sub(r"\bNone (?=when|to)", "absent ", text)


def _default(entry: Field[Any], hint: Any) -> str:
    value = entry.default_factory() if entry.default_factory is not MISSING else entry.default
    if value is MISSING:
        return REQUIRED
    if value is None or value == ():
        return ""
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if hint is float:
        return f"`{duration(value)}`"
    if hint == Bytes:
        return f"`{size(value)}`"
    return f"`{value}`" if hint in (str, int) or isinstance(value, int | str) else ""


def duration(seconds: float) -> str:
    """As an operator writes it: ``50ms``, ``2s``, ``1h``."""
    if seconds < 1:
        return f"{seconds * 1000:g}ms"
    for unit, length in (("d", 86_400), ("h", 3600), ("m", 60)):
        if seconds % length == 0 and (seconds > length or unit == "h"):
            return f"{seconds / length:g}{unit}"
    return f"{seconds:g}s"


def size(count: int) -> str:
    """As an operator writes it: ``8190``, ``64KiB``, ``1MiB``."""
    for unit, length in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if count % length == 0:
            return f"{count // length}{unit}"
    return str(count)


def _map_of(section: Section, key: str) -> Shape:
    key_schema = {"pattern": NAME.schema["pattern"]} if key == "name" else {"minLength": 1}
    return Shape(
        f"sections by {key}",
        {"type": "object", "additionalProperties": section.schema, "propertyNames": key_schema, "minProperties": 1},
    )


def _secret(name: str, what: str) -> dict[str, str]:
    return {
        f"{name}_file": f"A file that holds {what}.",
        f"{name}_env": f"The environment variable that holds {what}; instead of `{name}_file`.",
    }


def _listener(section: Section) -> Shape:
    return Shape("HOST:PORT or section", {"anyOf": [HOST_PORT.schema, section.schema]})


TLS = Section("listen.tls", table_of(Tls), (Tls,), required=("certificate", "key"))
LISTEN = Section(
    "listen",
    listener.KEYS,
    (Listener,),
    intro="Where clients connect: `HOST:PORT`, or these keys. `control.listen` has the same keys.",
    defaults={"port": "`8080`, `8081` for `control.listen`"},
    shapes={"tls": TLS.as_shape()},
)
TOKEN_KEYS = Section(
    "control.admin.keys",
    token.KEY_KEYS,
    (TokenKey,),
    required=("algorithm",),
    intro="A list of the keys that tokens may be signed with. The algorithm belongs to the key: what a token says of "
    "it is not asked. `identity.sources.jwt.keys` has the same keys.",
    meanings={
        **_secret("secret", "the shared secret of HS256, at least 32 bytes"),
        "public_key_file": "A file that holds the public key of the other algorithms, in PEM.",
    },
    exclusive=(("secret_file", "secret_env"), ("secret_file", "public_key_file"), ("secret_env", "public_key_file")),
)
_KEYS = Shape("list of sections", {"type": "array", "items": TOKEN_KEYS.schema, "minItems": 1})
ADMIN = Section(
    "control.admin",
    token.ADMIN_KEYS,
    (AdminPolicy, TokenPolicy),
    required=("keys", "audience", "issuer"),
    meanings={
        "audience": "What a token's `aud` has to name.",
        "issuer": "What a token's `iss` has to be.",
    },
    shapes={"keys": _KEYS},
)
CONTROL = Section(
    "control",
    listener.CONTROL_KEYS,
    (Control,),
    intro="The control plane: health, metrics, and changes at run time. Keep it where only operators can reach it.",
    meanings={"listen": "Where operators connect."},
    defaults={"listen": "`127.0.0.1:8081`"},
    shapes={"listen": _listener(LISTEN), "admin": ADMIN.as_shape()},
)
UPSTREAM = Section("upstreams.NAME", upstream.KEYS, (Upstream,), required=("urls",))
INTAKE = Section("intake", table_of(Intake), (Intake,))
SENTINEL = Section(
    "store.sentinel",
    store.SENTINEL_KEYS,
    (Sentinel,),
    required=("service", "nodes"),
    meanings=_secret("password", "their password, which is not the store's"),
    exclusive=(("password_file", "password_env"),),
)
STORE_TLS = Section("store.tls", store.TLS_KEYS, (StoreTls,))
STORE = Section(
    "store",
    store.KEYS,
    (Store,),
    meanings={
        "url": "`memory`: in this process, for one worker, forgotten at a restart. Or where Redis is: "
        "`redis://USER@HOST:PORT/DATABASE`, `rediss://` for TLS, `unix:///run/redis.sock`. With Sentinels, the host is "
        "the service's name.",
        **_secret("password", "Redis' password"),
    },
    defaults={"url": "`memory`"},
    shapes={"sentinel": SENTINEL.as_shape(), "tls": STORE_TLS.as_shape()},
    exclusive=(("password_file", "password_env"),),
)
HEADER = Section(
    "identity.sources.trusted_header",
    identity.HEADER_KEYS,
    (TrustedHeader,),
    required=("header",),
    meanings={"header": "Holds the user id.", "tier_header": "Holds the tier; no tier when absent."},
)
JWT = Section(
    "identity.sources.jwt",
    identity.JWT_KEYS,
    (Jwt, TokenPolicy),
    required=("keys",),
    intro="A claim of a signed token in a header. A token that is not good, or does not expire, says nothing.",
    shapes={"keys": _KEYS},
)
HOLDER = Section(
    "identity.sources.api_key.keys",
    identity.HOLDER_KEYS,
    required=("sha256", "user"),
    intro="A list of API keys. A `keys_file` holds such a list, too.",
    meanings={
        "sha256": "The key's SHA-256: `printf %s THE-KEY | sha256sum`.",
        "user": "Whose it is.",
        "tier": "The user's tier; no tier when absent.",
    },
)
API_KEY = Section(
    "identity.sources.api_key",
    identity.API_KEY_KEYS,
    intro="A key that the client sends in a header. Only hashes of keys are kept. Give `keys`, `keys_file` or both.",
    meanings={
        "header": "Holds the key.",
        "keys": "The keys there are.",
        "keys_file": "A file with such a list.",
    },
    defaults={"header": "`X-Api-Key`"},
    shapes={"keys": Shape("list of sections", {"type": "array", "items": HOLDER.schema})},
)
_SOURCES = {"trusted_header": HEADER, "jwt": JWT, "api_key": API_KEY}
IDENTITY = Section(
    "identity",
    identity.KEYS,
    (IdentityPolicy,),
    meanings={
        "sources": "In the order in which they are asked; the first that knows the caller wins. Each is "
        "`trusted_header`, `jwt` or `api_key` with its keys below. The client's address comes last by itself; "
        "`client_address` at the end says so.",
        **_secret("hash_key", "the key, 16 to 64 bytes, of the hash under which user ids are kept. All gateways on one "
        "Redis need the same one"),
    },
    defaults={
        "sources": "`trusted_header` with `X-User-Id` and `X-User-Tier`",
        "trusted_proxies": "`127.0.0.0/8`, `::1/128`",
    },
    shapes={
        "trusted_proxies": list_of(NETWORK),
        "sources": Shape(
            "list of sources",
            {
                "type": "array",
                "items": {
                    "anyOf": [
                        {"const": "client_address"},
                        *(
                            {
                                "type": "object",
                                "properties": {name: section.schema},
                                "required": [name],
                                "additionalProperties": False,
                            }
                            for name, section in _SOURCES.items()
                        ),
                    ]
                },
            },
        )
    },
    exclusive=(("hash_key_file", "hash_key_env"),),
)  # fmt: skip
TRACING = Section(
    "tracing",
    tracing.KEYS,
    (Tracing,),
    required=("endpoint",),
    meanings=_secret("credential", "what proves to the collector who we are, the field's whole value"),
    defaults={"sample": "`0.1`"},
    exclusive=(("credential_file", "credential_env"),),
)
PATHS = Section("paths", gateway_file.PATHS_KEYS, (PathPolicy,))
POSTGRES = Section(
    "analytics.postgres",
    analytics.POSTGRES_KEYS,
    (Postgres,),
    required=("url",),
    meanings=_secret("password", "the role's password"),
    exclusive=(("password_file", "password_env"),),
)
ANALYTICS = Section(
    "analytics",
    analytics.KEYS,
    (Analytics,),
    shapes={"postgres": POSTGRES.as_shape()},
    exclusive=(("folder", "postgres"),),
)
GATEWAY = Section(
    "",
    gateway_file.KEYS,
    (Settings,),
    required=("upstreams",),
    defaults={"listen": "`127.0.0.1:8080`", "access_log": "`false`"},
    shapes={
        "listen": _listener(LISTEN),
        "control": CONTROL.as_shape(),
        "upstreams": _map_of(UPSTREAM, "name"),
        "intake": INTAKE.as_shape(),
        "store": STORE.as_shape(),
        "identity": IDENTITY.as_shape(),
        "paths": PATHS.as_shape(),
        "analytics": ANALYTICS.as_shape(),
        "tracing": TRACING.as_shape(),
    },
)
GATEWAY_SECTIONS = (
    GATEWAY, LISTEN, TLS, CONTROL, ADMIN, TOKEN_KEYS, UPSTREAM, INTAKE, STORE, SENTINEL, STORE_TLS,
    IDENTITY, HEADER, JWT, API_KEY, HOLDER, PATHS, ANALYTICS, POSTGRES, TRACING,
)  # fmt: skip
"""All sections of gateway.yaml, in the order of the shipped file."""

ENDPOINT = Section(
    "endpoints",
    endpoint.KEYS,
    (Endpoint,),
    required=("name",),
    meanings={
        "path": "The paths that belong to it: `{id}` is one segment, `{rest...}` at the end is all that follows.",
        "methods": "The methods that belong to it, in capitals; all when absent. GET includes HEAD.",
        "host": "The Host it is served under, without port; any when absent.",
        "upstream": "The upstream that serves it.",
        "cost": "Tokens a request takes from each bucket; 0 is free.",
    },
    shapes={"methods": list_of(METHOD, 1)},
)
TIER = Section(
    "limits.tiers.NAME",
    limit.TIER_KEYS,
    required=("rate",),
    meanings={"rate": "Tokens a period.", "burst": "Tokens a full bucket holds; as many as the rate's when absent."},
)
EXEMPT = Section(
    "limits.exempt",
    limit.EXEMPT_KEYS,
    (Exemption,),
    meanings={"users": "Their ids.", "networks": "Networks or addresses of clients."},
)
LIMIT = Section(
    "limits",
    limit.KEYS,
    (Limit,),
    required=("name", "per", "rate"),
    meanings={
        "per": "Who shares a bucket: each `user` has one, each `endpoint` has one, or each pair of them.",
        "rate": "Tokens a period: `100/minute`, `50/s`, `10/15s`.",
        "burst": "Tokens a full bucket holds; as many as the rate's when absent.",
        "endpoints": "The endpoints it counts; all when absent, the default one included.",
        "tiers": "Rate and burst of users on a plan, by the plan's name; the others have the limit's own.",
        "enforce": "`false` makes a shadow limit: counted, never refusing.",
    },
    shapes={
        "per": Shape(
            "`user`, `endpoint` or both",
            {
                "anyOf": [
                    {"enum": ["user", "endpoint"]},
                    {"type": "array", "items": {"enum": ["user", "endpoint"]}, "minItems": 1, "uniqueItems": True},
                ]
            },
        ),
        "endpoints": list_of(TEXT, 1),
        "tiers": Shape("sections by plan", {"type": "object", "additionalProperties": TIER.schema}),
        "exempt": EXEMPT.as_shape(),
    },
)
RULES = Section(
    "",
    rulebook.KEYS,
    intro="Endpoints and limits.",
    meanings={
        "endpoints": "Named sets of requests.",
        "limits": "How much is allowed.",
        "exempt": "Whom no limit in any file counts.",
    },
    shapes={
        "endpoints": Shape("list of sections", {"type": "array", "items": ENDPOINT.schema}),
        "limits": Shape("list of sections", {"type": "array", "items": LIMIT.schema}),
        "exempt": EXEMPT.as_shape(),
    },
)
RULES_SECTIONS: Iterable[Section] = (RULES, ENDPOINT, LIMIT, TIER, EXEMPT)
"""All sections of rule files."""
