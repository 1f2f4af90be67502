"""Reads `tracing`."""

import re
from importlib.util import find_spec

from gateway.config.diagnostic import InvalidError
from gateway.config.entries import Entries
from gateway.config.location import authorities
from gateway.config.node import Node
from gateway.config.number import share
from gateway.config.reader import reads, string
from gateway.config.scalar import header, text
from gateway.config.secret import Secret
from gateway.config.section import Section, keys_of
from gateway.limits.address import LOOPBACK, belongs, parse_address
from gateway.settings.tracing import Tracing
from gateway.settings.url import Origin

_PACKAGES = ("opentelemetry.sdk.trace", "opentelemetry.exporter.otlp.proto.http")
_URL = re.compile(r"([a-z]*://[^/?#]*)(/[A-Za-z0-9._~!$&'()*+,;=:@%/-]*)?", re.ASCII)
_HTTP = re.compile(r"https?://(?!unix:)")
_HEADER_VALUE = re.compile(rb"[!-~](?:[ -~]{0,4094}[!-~])?")
_CREDENTIAL = Secret("credential", "the whole value of the credential header")


@reads("URL", string(r"^https?://[^/?#@\s]+/[^?#\s]+$"))
def _endpoint(node: Node) -> str:
    value = text(node)
    parts = _URL.fullmatch(value)
    if parts is None:
        raise node.refuse("a collector is http://HOST:PORT/PATH or https://HOST:PORT/PATH, without ? and #")
    if _HTTP.match(parts[1]) is None:
        raise node.refuse("a collector is http://HOST:PORT or https://HOST:PORT")
    try:
        origin = Origin.parse(parts[1])
    except ValueError as error:
        raise node.refuse(str(error).replace("an upstream", "a collector")) from None
    if not (parts[2] or "").strip("/"):
        raise node.refuse("the path is missing", f"{origin}/v1/traces")
    return value


def _tracing(entries: Entries) -> Tracing:
    credential = _CREDENTIAL.pick(entries)
    if not _installed():
        raise entries.node.refuse(
            "tracing needs packages that are not installed: install the extra otel, see docs/installing.md"
        )
    if credential is not None and _HEADER_VALUE.fullmatch(credential) is None:
        raise entries.node.refuse("the credential cannot be a header's value: it is not one line of ASCII")
    if "endpoint" not in entries.values:
        raise InvalidError
    endpoint: str = entries.values["endpoint"]
    if not endpoint.startswith("https://"):
        _check_plain(entries, endpoint, secret=credential is not None)
    return entries.build(Tracing, credential=None if credential is None else credential.decode("ascii"))


def _check_plain(entries: Entries, endpoint: str, *, secret: bool) -> None:
    """Note what does not go together with plain HTTP."""
    if "ca" in entries:
        entries.at("ca").refuse("certificates are for https, and the endpoint does not start with https://")
    host = Origin.parse(endpoint[: endpoint.index("/", len("http://"))]).host
    if secret and host != "localhost" and not belongs(parse_address(host), LOOPBACK):
        entries.at("endpoint").warn("the credential is sent over the network in the clear; use https://")


def _installed() -> bool:
    try:
        return all(find_spec(package) is not None for package in _PACKAGES)
    except ModuleNotFoundError:
        return False


TRACING = Section(
    "tracing",
    {
        **keys_of(
            Tracing,
            leave_out=("credential",),
            endpoint=_endpoint,
            sample=share,
            ca=authorities,
            credential_header=header,
        ),
        **_CREDENTIAL.keys,
    },
    (Tracing,),
    _tracing,
    required=("endpoint",),
    meanings=_CREDENTIAL.meanings,
    exclusive=(_CREDENTIAL.pair,),
)
