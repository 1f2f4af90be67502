"""Reads `tracing`: where OpenTelemetry spans go."""

import re
from importlib.util import find_spec

from gateway.config.certificate import authorities
from gateway.config.fields import Fields, table_of
from gateway.config.node import Node
from gateway.config.problem import InvalidError
from gateway.config.scalar import Reader, header, share, text
from gateway.config.secret import pick_secret, secret_keys
from gateway.limits.address import LOOPBACK, belongs, parse_address
from gateway.settings.tracing import Tracing
from gateway.settings.url import Origin

_PACKAGES = ("opentelemetry.sdk.trace", "opentelemetry.exporter.otlp.proto.http")
_URL = re.compile(r"([a-z]*://[^/?#]*)(/[A-Za-z0-9._~!$&'()*+,;=:@%/-]*)?", re.ASCII)
_FIELD_VALUE = re.compile(rb"[!-~](?:[ -~]{0,4094}[!-~])?")


def _endpoint(node: Node) -> str:
    value = text(node)
    parts = _URL.fullmatch(value)
    if parts is None:
        raise node.refuse("a collector is http://HOST:PORT/PATH or https://HOST:PORT/PATH, without ? and #")
    try:
        origin = Origin.parse(parts[1])
    except ValueError as error:
        raise node.refuse(str(error).replace("an upstream", "a collector")) from None
    if not (parts[2] or "").strip("/"):
        raise node.refuse("the path is missing", f"{origin}/v1/traces")
    return value


KEYS: dict[str, Reader] = {
    **table_of(
        Tracing,
        leave_out=("credential",),
        endpoint=_endpoint,
        sample=share,
        ca=authorities,
        credential_header=header,
    ),
    **secret_keys("credential"),
}


def tracing(node: Node) -> Tracing:
    """The section `tracing`; refused as long as the packages for it are not installed."""
    fields = Fields(node, KEYS, required=("endpoint",))
    credential = pick_secret(fields, "credential")
    if not _installed():
        raise node.refuse(
            "tracing needs packages that are not installed; install them with: "
            "pip install 'rate-limiting-gateway[otel]'"
        )
    if credential is not None and _FIELD_VALUE.fullmatch(credential) is None:
        raise node.refuse("the credential cannot be a header's value: it is not one line of ASCII")
    if "endpoint" not in fields.values:
        raise InvalidError
    endpoint: str = fields.values["endpoint"]
    if not endpoint.startswith("https://"):
        _check_plain(fields, endpoint, secret=credential is not None)
    return fields.build(Tracing, credential=None if credential is None else credential.decode("ascii"))


def _check_plain(fields: Fields, endpoint: str, *, secret: bool) -> None:
    """Note what does not go together with plain HTTP."""
    if "ca" in fields:
        fields.at("ca").refuse("certificates are for https, and the endpoint does not start with https://")
    host = Origin.parse(endpoint[: endpoint.index("/", len("http://"))]).host
    if secret and host != "localhost" and not belongs(parse_address(host), LOOPBACK):
        fields.at("endpoint").warn("the credential goes there for all on the way to read; use https://")


def _installed() -> bool:
    try:
        return all(find_spec(package) is not None for package in _PACKAGES)
    except ModuleNotFoundError:
        return False
