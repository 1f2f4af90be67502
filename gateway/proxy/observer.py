"""The port through which the data plane says what it did; whoever stands behind it counts and logs."""

from collections.abc import Iterable, Sequence
from typing import Protocol

from gateway.limiter.verdict import Outcome, Verdict
from gateway.limits.bucket import Demand
from gateway.limits.identity import Caller


class RequestObserver(Protocol):
    """Is told about each request: that it was served, or that it failed. Must not wait and must not fail."""

    def decided(self, endpoint: str, caller: Caller, demands: Sequence[Demand], verdict: Verdict) -> None:
        """Limits were asked. `endpoint` is its name."""

    def bypassed(self, limits: Iterable[str]) -> None:
        """Limits, by their names, did not count a request that falls under them."""

    def upstream_took(self, upstream: str, seconds: float) -> None:
        """An upstream has answered to the end."""

    def upstream_unreachable(self, upstream: str, why: str) -> None:
        """No connection to an address of an upstream came about. Once, until one does."""

    def name_unresolved(self, name: str, why: str) -> None:
        """No name server answered for a name; the addresses known before are used. Once, until one answers."""

    def rejected(self, cause: str) -> None:
        """A connection was not taken, or was cut off for what came on it. `cause` is a word of ours."""

    def served(
        self, request_id: str, endpoint: str, method: str, caller: bytes, outcome: Outcome, status: int, seconds: float
    ) -> None:
        """A request has come to its end.

        Args:
            request_id: Names it, here and upstream; empty when the request was not read so far.
            endpoint: Its name; empty when the request was not read so far.
            method: As it came.
            caller: The keyed digest of who asked; empty as above.
            outcome: What became of it.
            status: Of the answer; 0 if there was none.
            seconds: How long it took.
        """

    def failed(self, request_id: str, status: int, error: Exception) -> None:
        """A request has come to its end by an error that nobody foresaw.

        Args:
            request_id: As above.
            status: What its client got to see.
            error: What went wrong.
        """
