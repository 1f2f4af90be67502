"""`Allowed`: a request that may pass, and `Destination`: what is done with it."""

from dataclasses import dataclass
from typing import Final, Protocol

from gateway.limiter.verdict import Outcome
from gateway.limits.caller import Caller
from gateway.limits.endpoint import Endpoint
from gateway.proxy.exchange import Exchange
from gateway.proxy.request import RequestHead


@dataclass(init=False, slots=True)
class Allowed:
    """A request that may pass.

    Attributes:
        head: Its head.
        endpoint: The endpoint that it belongs to.
        caller: Who sent it.
        tier: The caller's tier, if a limit names it; else empty.
        max_body: Bytes that its body may have.
    """

    head: Final[RequestHead]
    endpoint: Final[Endpoint]
    caller: Final[Caller]
    tier: Final[str]
    max_body: Final[int]

    def __init__(self, head: RequestHead, endpoint: Endpoint, caller: Caller, tier: str, max_body: int) -> None:
        self.head = head
        self.endpoint = endpoint
        self.caller = caller
        self.tier = tier
        self.max_body = max_body


class Destination(Protocol):
    """What is done with allowed requests: a `Forwarder` forwards them, a `Permit` lets another proxy do so."""

    async def forward(self, exchange: Exchange, allowed: Allowed) -> Outcome:
        """See to it that a request gets to its upstream. Never raises."""
