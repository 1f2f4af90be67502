"""What each key of the YAML files may hold, in words and as JSON Schema: found out from the loader's own readers."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from inspect import getclosurevars
from typing import Any

from gateway.config import analytics, certificate, endpoint, identity, limit, scalar, secret, store, token, tracing
from gateway.limits.endpoint import Template
from gateway.settings.url import HostPort, Origin

Schema = dict[str, Any]

# YAML reads `404` and `true` as a number and a boolean; the loader takes them as they are written.
_SCALAR = ["string", "number", "boolean"]
_HOST = r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_][A-Za-z0-9._-]*)"
_LITERAL = r"[A-Za-z0-9._~!$&'()*+,:=@-]*[A-Za-z0-9_~!$&'()*+,:=@-]"
_HOLE = r"\{[A-Za-z_][A-Za-z0-9_]*\}"
_REST = r"/\{[A-Za-z_][A-Za-z0-9_]*\.\.\.\}"
_UNITS = "s|sec|seconds?|m|min|minutes?|h|hours?|d|days?"
_NOT_ZERO = r"(?!0+(\.0+)? ?(ms|s|m|h|d)?$)"
_DURATION = r"[0-9]{1,9}(\.[0-9]{1,9})? ?(ms|s|m|h|d)?$"
_UNBOUNDED = 1_000_000_000


@dataclass(frozen=True)
class Shape:
    """What a key may hold."""

    words: str
    schema: Schema = field(default_factory=dict)


def scalar_shape(words: str, pattern: str | None = None, **more: Any) -> Shape:
    return Shape(words, {"type": _SCALAR, **({"pattern": pattern} if pattern else {"minLength": 1}), **more})


def string_shape(words: str, pattern: str) -> Shape:
    return Shape(words, {"type": "string", "pattern": pattern})


TEXT = scalar_shape("text", r"^\S(.*\S)?$", maxLength=1024)
NAME = scalar_shape("name", "^[a-z0-9][a-z0-9_-]{0,63}$")
FILE = scalar_shape("file")
_TEMPLATE = string_shape("path", rf"^(/|(/({_LITERAL}|{_HOLE}))+({_REST})?|{_REST})$")
_ORIGIN = string_shape("URL", r"^https?://[^/?#@\s]+/?$")
HOST_PORT = string_shape("HOST:PORT", rf"^{_HOST}:[0-9]{{1,5}}$")
_NODE = string_shape("HOST:PORT", rf"^{_HOST}(:[0-9]{{1,5}})?$")
NETWORK = string_shape("network", r"^[0-9A-Fa-f.:]+(/[0-9]{1,3})?$")
METHOD = string_shape("method", "^[A-Z][A-Z0-9_-]{0,31}$")

_PLAIN: Mapping[Callable[..., Any], Shape] = {
    scalar.text: TEXT,
    scalar.name: NAME,
    scalar.header: string_shape("header", "^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}$"),
    scalar.web_origin: string_shape(
        "web origin", r"^https?://([a-z0-9.-]{1,253}|\[[0-9a-f:.]{2,45}\])(:[1-9][0-9]{0,4})?$"
    ),
    scalar.boolean: Shape("true or false", {"type": "boolean"}),
    scalar.share: Shape(
        "true, false or a share", {"anyOf": [{"type": "boolean"}, {"type": "number", "minimum": 0, "maximum": 1}]}
    ),
    scalar.size: Shape(
        "size",
        {"anyOf": [{"type": "integer", "minimum": 1}, {"type": "string", "pattern": "^[1-9][0-9]{0,9} ?([KMG]iB|B)$"}]},
    ),
    scalar.network: NETWORK,
    scalar.path: FILE,
    scalar.existing: scalar_shape("file or folder"),
    scalar.file: FILE,
    certificate.authorities: FILE,
    secret.secret_file: FILE,
    secret.secret_env: scalar_shape("environment variable"),
    identity._digest: string_shape("64 hex digits", "^[0-9a-f]{64}$"),
    identity._holders_file: FILE,
    token._public_key: FILE,
    store.store_url: string_shape(
        "`memory` or URL", r"^(memory|rediss?://[^?#\s]*[^?#@\s]|unix://([^?#@/]*@)?/[^?#]+)$"
    ),
    analytics.postgres_url: string_shape("URL", r"^postgres(ql)?://[^/?#@\s]+@[^/?#@\s]+/[^/?#\s]+$"),
    store._prefix: scalar_shape("text", "^[A-Za-z0-9:._-]{1,64}$"),
    tracing._endpoint: string_shape("URL", r"^https?://[^/?#@\s]+/[^?#\s]+$"),
    endpoint._host: scalar_shape("host", f"^{_HOST}$"),
    limit.rate: string_shape("rate", rf"^\s*0*[1-9][0-9]*\s*/\s*[0-9]{{0,9}}\s*({_UNITS})\s*$"),
    limit._failure_policy: Shape("`local`, `allow` or `refuse`", {"enum": ["local", "allow", "refuse"]}),
}


def shape_of(reader: Callable[..., Any]) -> Shape:
    """The shape of what a reader reads.

    Raises:
        LookupError: it is not known here. Teach it to `_PLAIN` or `_MADE`, or to the sections of `reference`.
    """
    plain = _PLAIN.get(reader)
    if plain is not None:
        return plain
    made = _MADE.get(reader.__qualname__)
    if made is None:
        raise LookupError(f"nobody has said here what {reader.__module__}.{reader.__qualname__} reads")
    return made(**getclosurevars(reader).nonlocals)


def _whole(least: int, most: int) -> Shape:
    if most >= _UNBOUNDED:
        return Shape(f"whole number from {least}", {"type": "integer", "minimum": least})
    return Shape(f"{least} to {most}", {"type": "integer", "minimum": least, "maximum": most})


def _seconds(*, zero: bool) -> Shape:
    number = {"minimum": 0} if zero else {"exclusiveMinimum": 0}
    pattern = f"^{'' if zero else _NOT_ZERO}{_DURATION}"
    return Shape("duration", {"anyOf": [{"type": "number", **number}, {"type": "string", "pattern": pattern}]})


def _choice(options: tuple[str, ...]) -> Shape:
    *others, last = [f"`{option}`" for option in options]
    return Shape(f"{', '.join(others)} or {last}", {"enum": list(options)})


def _parsed(parse: Callable[..., Any]) -> Shape:
    for known, shape in ((Template.parse, _TEMPLATE), (Origin.parse, _ORIGIN), (HostPort.parse, HOST_PORT)):
        if parse == known:
            return shape
    assert "HostPort" in parse.__code__.co_names, parse
    return _NODE


def _each(reader: Callable[..., Any], least: int) -> Shape:
    return list_of(shape_of(reader), least)


def list_of(item: Shape, least: int = 0) -> Shape:
    fewest = {"minItems": least} if least else {}
    return Shape(f"list of {item.words}s", {"type": "array", "items": item.schema, "uniqueItems": True, **fewest})


_MADE: Mapping[str, Callable[..., Shape]] = {
    "whole.<locals>.read": _whole,
    "seconds.<locals>.read": _seconds,
    "choice.<locals>.read": _choice,
    "parsed.<locals>.read": _parsed,
    "each.<locals>.read": _each,
}
