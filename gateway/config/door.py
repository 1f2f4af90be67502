"""Reads `doors`."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from importlib.util import find_spec
from typing import Any, TypeVar, get_args

from gateway.config.address import network_or_unix
from gateway.config.attribute import attribute
from gateway.config.diagnostic import InvalidError
from gateway.config.entries import Entries
from gateway.config.listener import listeners
from gateway.config.node import Node
from gateway.config.number import whole
from gateway.config.reader import Reader, Value, reads
from gateway.config.scalar import choice, each, header, text
from gateway.config.section import Section, keys_of
from gateway.settings.door import DESCRIPTOR_PARTS, Doors, ExtAuthz, ForwardAuth, Known, RateLimit

_RESERVED = frozenset({
    "connection", "content-length", "content-type", "date", "keep-alive", "location", "set-cookie", "te", "trailer",
    "transfer-encoding", "upgrade", "www-authenticate", "x-gateway-status", "x-over-limit", "x-request-id",
})  # fmt: skip
"""Headers of a response that mean something else to the proxy that gets it, or that the gateway writes itself."""

_known = choice(*get_args(Known))
_asking = replace(each(network_or_unix, least=1), words="list of networks, or `unix`")
_D = TypeVar("_D", ForwardAuth, ExtAuthz, RateLimit)
_number = whole(0, 599)


@reads("`429`, `403` or `401`", {"enum": [429, 403, 401]})
def _refuse_with(node: Node) -> int:
    status = _number(node)
    if status not in {429, 403, 401}:
        raise node.refuse(f"{status} is not one of the options; write 429, or 403 or 401 for nginx")
    return status


def _read_response_headers(node: Node) -> dict[str, Known]:
    found: dict[str, Known] = {}
    for key_node, child in node.entries().values():
        with suppress(InvalidError):
            name = header(key_node)
            if name.lower() in _RESERVED:
                raise key_node.refuse(f"{name} has a meaning of its own in a response; write another, such as X-Caller")
            if name.lower() in map(str.lower, found):
                raise key_node.refuse(f"{name} is there twice; the case of a header's name does not matter")
            found[name] = _known(child)  # type: ignore[assignment] # it is one of them
    return found


_response_headers = Value(
    _read_response_headers,
    f"{_known.words}, by header",
    {"type": "object", "propertyNames": header.schema, "additionalProperties": _known},
)


def _read_descriptors(node: Node) -> dict[str, str]:
    found: dict[str, str] = {}
    for key_node, child in node.entries().values():
        with suppress(InvalidError):
            part = text(child)
            found[text(key_node)] = part if part in DESCRIPTOR_PARTS else attribute(child)
    return found


_part = Value(
    text.read,
    f"{', '.join(f'`{part}`' for part in DESCRIPTOR_PARTS)} or the name of an attribute",
    {"anyOf": [{"enum": list(DESCRIPTOR_PARTS)}, attribute.schema]},
)
_descriptors = Value(
    _read_descriptors,
    f"{_part.words}, by key",
    {"type": "object", "additionalProperties": _part},
    lambda parts: ", ".join(f"{key}: {part}" for key, part in parts.items()),
)


def _check_rate_limit(entries: Entries) -> None:
    if find_spec("hpack") is None or find_spec("google.protobuf") is None:
        entries.node.refuse(
            "rate_limit needs packages that are not installed: install the extra grpc, see docs/installing.md"
        )
    if any(listener.tls for listener in entries.values.get("listen", ())):
        entries.at("listen").refuse("rate_limit has no TLS: leave out tls, and listen where only Envoys can connect")


def _section(
    name: str,
    kind: type[_D],
    listen_default: _D,
    check: Callable[[Entries], None] = lambda _: None,
    **special: Reader[Any],
) -> Section[_D]:
    keys = keys_of(
        kind,
        leave_out=("from_",),
        listen=listeners(listen_default.listen[0]),
        **special,
    )

    def build(entries: Entries) -> _D:
        if "from" not in entries.values:
            raise InvalidError
        check(entries)
        settings = dict(entries.values)
        asking = settings.pop("from")
        if any(not isinstance(each, str) and each.prefixlen == 0 for each in asking):
            entries.at("from").warn(
                "everybody who reaches this listener may ask, and say who sends a request; name the proxies that ask"
            )
        return kind(from_=asking, **settings)

    return Section(
        f"doors.{name}",
        {"from": _asking, **keys},
        (kind,),
        build,
        required=("from",),
        meanings={
            "from": "The proxies that may ask, as networks, and `unix` for all peers on Unix sockets; nobody else gets "
            "an answer. Each is trusted like a trusted proxy: with the client's request and address, and with the "
            "headers of `trusted_header`."
        },
    )


FORWARD_AUTH = _section(
    "forward_auth", ForwardAuth, ForwardAuth(()), refuse_with=_refuse_with, response_headers=_response_headers
)
EXT_AUTHZ = _section("ext_authz", ExtAuthz, ExtAuthz(()), response_headers=_response_headers)
RATE_LIMIT = _section("rate_limit", RateLimit, RateLimit(()), _check_rate_limit, descriptors=_descriptors)
DOORS = Section(
    "doors",
    keys_of(Doors, forward_auth=FORWARD_AUTH, ext_authz=EXT_AUTHZ, rate_limit=RATE_LIMIT),
    (Doors,),
    lambda entries: entries.build(Doors),
)
