"""`open_rate_limit`: the door for Envoy's rate limit service."""

from typing import TYPE_CHECKING

from gateway.limiter.limiter import Limiter
from gateway.limits.identity import Identity
from gateway.limits.rules import RuleBook
from gateway.proxy.observer import RequestObserver
from gateway.proxy.refusal import Refusal
from gateway.settings.door import RateLimit

if TYPE_CHECKING:  # hpack and protobuf are an extra
    from gateway.rate_limit_service.server import GrpcServer


def open_rate_limit(
    door: RateLimit,
    book: RuleBook,
    identity: Identity,
    limiter: Limiter,
    observer: RequestObserver,
    refusal: Refusal,
    max_connections: int,
) -> "GrpcServer":
    """Make the server of the door. Its packages are there: reading the settings has checked that."""
    from gateway.rate_limit_service.server import GrpcServer  # noqa: PLC0415 - it needs an extra
    from gateway.rate_limit_service.service import RateLimitService  # noqa: PLC0415 - as above

    service = RateLimitService(book, identity, limiter, observer, refusal, door.descriptors)
    return GrpcServer(door, service, observer, max_connections)
