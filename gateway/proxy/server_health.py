"""`ServerHealth`: whether requests go to a server, and when it is probed; only arithmetic, no clock and no timer.

`proxy/pool.py` decides what counts as a failure, and `proxy/upstream_server.py` probes a server that was left out.
"""

from dataclasses import dataclass
from math import inf

_LONGEST = 60.0
"""Seconds between two probes, unless the first pause is longer already."""

_STEADY = 60.0
"""Seconds after which a server that was taken back counts as recovered: its next failure is a first one again."""


@dataclass(slots=True)
class ServerHealth:
    """The health of one server. Times are in seconds.

    Attributes:
        first_pause: Until the first probe after a failure.
        usable: Whether requests go to it.
        pause: Until the next probe. It doubles with each failure: of a probe, or soon after the server was taken back.
        left_out_at: When it was left out.
        back_at: When it was taken back.
    """

    first_pause: float
    usable: bool = True
    pause: float = 0.0
    left_out_at: float = -inf
    back_at: float = -inf

    def leave_out(self, now: float) -> None:
        """A request failed: send no more."""
        self.usable = False
        self.left_out_at = now
        self.pause = self.first_pause if now - self.back_at >= _STEADY else self._longer()

    def probe_failed(self) -> None:
        """It does not work yet."""
        self.pause = self._longer()

    def take_back(self, now: float) -> float:
        """It works again. Returns how long it was left out."""
        self.usable = True
        self.back_at = now
        return now - self.left_out_at

    def _longer(self) -> float:
        return min(self.pause * 2, max(_LONGEST, self.first_pause))
