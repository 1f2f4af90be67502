"""`Meter`: finds what a request has cost, from what passes through the proxy until it has ended."""

from gateway.limits.measured_cost import Ended, MeasuredCost, Measurement
from gateway.proxy.upstream_response import RawHeaders


class Meter:
    """What is known of one request so far.

    Args:
        cost: How its cost is found.

    Attributes:
        size: Bytes of the response's body that were sent to the client.
    """

    __slots__ = ("_cost", "_costs", "size")

    def __init__(self, cost: MeasuredCost) -> None:
        self._cost = cost
        self._costs: tuple[bytes, ...] | None = None
        self.size = 0

    def read_head(self, headers: RawHeaders) -> RawHeaders:
        """Read the headers of the upstream's response. Returns those that the client may see."""
        stated = self._cost.header
        self._costs = tuple([value for name, value in headers if name.lower() == stated])
        return self.visible(headers)

    def visible(self, headers: RawHeaders) -> RawHeaders:
        """Those of an upstream's headers that the client may see, be it of a response or of an interim one."""
        stated = self._cost.header
        return headers if stated is None else [header for header in headers if header[0].lower() != stated]

    def measure(self, status: int, *, was_sent: bool, client_left: bool) -> Measurement:
        """What the request has cost, see `MeasuredCost.measure`.

        Args:
            status: Of the response; 0 if none has begun.
            was_sent: Whether any of the request was sent to an upstream.
            client_left: Whether the client left. If it did so before the upstream responded, the response is one of our
                own that nobody got.
        """
        seen = 0 if client_left and self._costs is None else status
        return self._cost.measure(Ended(seen, was_sent, self._costs, self.size))
