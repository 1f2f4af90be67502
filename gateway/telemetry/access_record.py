"""`AccessRecord`: what is known of a request that has ended; metrics count it, and the access log may show it.

`proxy/handler.py` makes most of them, and `telemetry/log_format.py` writes the lines of the access log.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from gateway.limiter.verdict import Outcome, OverLimits
from gateway.limits.caller import NOTHING


@dataclass(init=False, slots=True)
class AccessRecord:
    """One request that has ended. It has no field for a user id, nor for the path, which may contain one.

    Attributes:
        request_id: Its id, here and upstream: letters, digits and ._+=/- only.
        endpoint: The name of the endpoint; empty if there is none.
        method: As the client sent it; empty if the head could not be read.
        caller: The keyed digest of the caller; empty if there is no endpoint.
        outcome: What became of the request.
        status: Of the response; 0 if there was none.
        seconds: How long it took.
        reason: Why the gateway itself responded with an error, as a label; empty if it did not.
        over: The limits that it was over; None if it was over none.
        source: What identified the caller, see `Caller.source`; empty if there is no endpoint.
        tier: The caller's tier, if a limit names it; else empty. Any other name is the client's own text.
        digests: Of the client's address, of attributes and so on, as far as some rule needs them, see `Caller.digests`.
    """

    request_id: Final[str]
    endpoint: Final[str]
    method: Final[str]
    caller: Final[bytes]
    outcome: Final[Outcome]
    status: Final[int]
    seconds: Final[float]
    reason: Final[str]
    over: Final[OverLimits | None]
    source: Final[str]
    tier: Final[str]
    digests: Final[Mapping[str, bytes]]

    def __init__(
        self,
        request_id: str, endpoint: str, method: str, caller: bytes, outcome: Outcome, status: int, seconds: float,
        reason: str = "", over: OverLimits | None = None, source: str = "", tier: str = "",
        digests: Mapping[str, bytes] = NOTHING,
    ) -> None:  # fmt: skip
        self.request_id = request_id
        self.endpoint = endpoint
        self.method = method
        self.caller = caller
        self.outcome = outcome
        self.status = status
        self.seconds = seconds
        self.reason = reason
        self.over = over
        self.source = source
        self.tier = tier
        self.digests = digests
