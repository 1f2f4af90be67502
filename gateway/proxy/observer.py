"""`RequestObserver`: what the data plane reports, to be counted, logged and traced."""

from collections.abc import Iterable, Sequence
from typing import Protocol

from gateway.limiter.verdict import Verdict
from gateway.limits.caller import Caller
from gateway.limits.charge import Demand
from gateway.limits.claimed_rate import UnusableClaim
from gateway.limits.measured_cost import Measurement
from gateway.limits.rejection import Rejection
from gateway.telemetry.access_record import AccessRecord


class RequestObserver(Protocol):
    """Receives the events of the data plane. Its methods must not block and must not raise."""

    def decided(self, endpoint: str, caller: Caller, demands: Sequence[Demand], verdict: Verdict) -> None:
        """The limiter has decided on a request to the endpoint of this name."""

    def bypassed(self, endpoint: str, limits: Iterable[str]) -> None:
        """A request was exempt from limits that apply to it; these are their names."""

    def upstream_took(self, upstream: str, seconds: float) -> None:
        """An upstream's response was complete after so many seconds."""

    def upstream_unreachable(self, upstream: str, reason: str, why: str) -> None:
        """No connection to an address of an upstream could be made. Reported once, until one succeeds."""

    def upstream_failed(self, upstream: str, address: str, reason: str, why: str) -> None:
        """An address of an upstream gave no complete response, or not even a connection."""

    def server_left_out(self, upstream: str, address: str, reason: str, why: str) -> None:
        """One of several servers of an upstream failed, and gets no requests until `server_back`."""

    def server_back(self, upstream: str, address: str, seconds: float) -> None:
        """A probe of it succeeded, after so many seconds."""

    def name_unresolved(self, name: str, why: str) -> None:
        """A lookup failed, and the last known addresses are used. Reported once, until a lookup succeeds."""

    def rejected(self, cause: str) -> None:
        """A connection or a request was rejected, or cut off. `cause` is the value of a metric's label."""

    def identity_rejected(self, rejection: Rejection) -> None:
        """Something that says who a client is was not accepted."""

    def measured(
        self, endpoint: str, caller: Caller, demands: Sequence[Demand], verdict: Verdict, measured: Measurement
    ) -> None:
        """A request has ended whose cost was estimated before."""

    def claims_unusable(self, claims: Iterable[UnusableClaim]) -> None:
        """A user has another rate than the one in the user's attribute, or there is none."""

    def served(self, record: AccessRecord) -> None:
        """A request has ended."""

    def failed(self, request_id: str, status: int, error: Exception) -> None:
        """A request failed with an unexpected error.

        Args:
            request_id: Its id, here and upstream.
            status: Of the response that the client got; 0 if there was none.
            error: The error.
        """
