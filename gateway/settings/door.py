"""`Doors`: listeners on which other proxies ask whether a request may pass, instead of sending it here."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from gateway.limits.address import Network, Unix
from gateway.settings.listener import Listener

Known: TypeAlias = Literal["caller", "tier", "source", "endpoint"]
"""What an upstream can be told of an allowed request: the keyed digest of its caller, the tier, what identified the
caller, and the endpoint."""

RequestHeaders: TypeAlias = Literal["x_forwarded", "x_original_uri", "x_original_url"]
"""The headers in which a proxy describes the client's request."""


@dataclass(frozen=True, slots=True)
class ForwardAuth:
    """A door for nginx's `auth_request`, and for the forward authentication of Caddy, Traefik and ingress-nginx.

    Attributes:
        from_: The proxies that may ask, as networks, and `unix` for all peers on Unix sockets. Each is trusted like a
            trusted proxy: with the client's address and request, and with the headers of `trusted_header`.
        listen: Where the proxies connect, in the same forms as `listen` above.
        request_headers: The headers that describe the client's request. Each must be there exactly once: `x_forwarded`
            for X-Forwarded-Method, X-Forwarded-Uri and X-Forwarded-Host, `x_original_uri` for X-Original-Method,
            X-Original-URI and Host, `x_original_url` for X-Original-Method and X-Original-URL.
        refuse_with: With 403 or 401, which are all that nginx understands, every response but a 200 has this status,
            and its own in X-Gateway-Status. With 429, each has its own: a refusal is a 429, a bad request a 400.
        response_headers: What the response to an allowed request says, for the upstream, by header.
    """

    from_: tuple[Network | Unix, ...]
    listen: tuple[Listener, ...] = (Listener(port=8082),)
    request_headers: RequestHeaders = "x_forwarded"
    refuse_with: int = 429
    response_headers: Mapping[str, Known] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ExtAuthz:
    """A door for Envoy's filter `ext_authz` over HTTP, whose requests are like the client's, without the body.

    Attributes:
        from_: As for `forward_auth`.
        listen: As for `forward_auth`.
        response_headers: As for `forward_auth`.
    """

    from_: tuple[Network | Unix, ...]
    listen: tuple[Listener, ...] = (Listener(port=8083),)
    response_headers: Mapping[str, Known] = field(default_factory=dict)


DESCRIPTOR_PARTS = ("endpoint", "method", "path", "host", "user", "tier", "address")
"""What the value of a descriptor's entry can be; or it is an attribute with this name."""


@dataclass(frozen=True, slots=True)
class RateLimit:
    """A door for Envoy's rate limit service (gRPC, `envoy.service.ratelimit.v3`). Needs the extra `grpc`.

    Attributes:
        from_: As for `forward_auth`.
        listen: Where Envoys connect, over HTTP/2 without TLS.
        descriptors: What the value of an entry is, by its key; entries with other keys are ignored. The `endpoint` is
            the name of one in the rules; without it, the endpoint is that of the `method`, `path` and `host`, or the
            default one. Any other name, such as `org`, is an attribute. A descriptor without a `user`, an `address` and
            an attribute is charged to the limits that all callers share.
    """

    from_: tuple[Network | Unix, ...]
    listen: tuple[Listener, ...] = (Listener(port=8084),)
    descriptors: Mapping[str, str] = field(
        default_factory=lambda: {
            "generic_key": "endpoint",
            "method": "method",
            "path": "path",
            "host": "host",
            "user": "user",
            "tier": "tier",
            "remote_address": "address",
        }
    )

    @property
    def attributes(self) -> frozenset[str]:
        """Names of the attributes that descriptors may tell."""
        return frozenset(self.descriptors.values()) - set(DESCRIPTOR_PARTS)


HttpDoor: TypeAlias = ForwardAuth | ExtAuthz
Door: TypeAlias = HttpDoor | RateLimit


@dataclass(frozen=True, slots=True)
class Doors:
    """Where other proxies ask whether a request may pass.

    Attributes:
        forward_auth: The door for nginx, Caddy, Traefik and ingress-nginx; without it, there is none.
        ext_authz: The door for Envoy's filter `ext_authz`; without it, there is none.
        rate_limit: The door for Envoy's rate limit service; without it, there is none.
    """

    forward_auth: ForwardAuth | None = None
    ext_authz: ExtAuthz | None = None
    rate_limit: RateLimit | None = None

    @property
    def by_name(self) -> dict[str, Door]:
        """The doors that there are, by the names they have in the settings."""
        doors: dict[str, Door | None] = {
            "forward_auth": self.forward_auth,
            "ext_authz": self.ext_authz,
            "rate_limit": self.rate_limit,
        }
        return {name: door for name, door in doors.items() if door is not None}
