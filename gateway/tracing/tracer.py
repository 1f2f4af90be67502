"""The port through which requests become spans of a distributed trace; whoever stands behind it records and sends them.

Nothing behind it is told a path, a user id or an address of a client.
"""

from collections.abc import Sequence
from typing import Protocol

RawFields = list[tuple[bytes, bytes]]


class Trace(Protocol):
    """One request's part of a trace. Nothing here waits or fails; `end` comes last, once."""

    def decided(self, refused_by: Sequence[str], *, degraded: bool) -> None:
        """Limits were asked.

        Args:
            refused_by: Names of those that refuse the request; none if it may pass.
            degraded: Whether that was decided without the shared store.
        """

    def forward(self, upstream: str, host: str | None, port: int | None) -> RawFields:
        """The request goes to an upstream from now on.

        Args:
            upstream: Its name.
            host: Where it is; None if it has several addresses.
            port: As above.

        Returns:
            The fields that tell the upstream which trace it is in.
        """

    def returned(self, outcome: str, status: int) -> None:
        """The exchange with the upstream has come to its end.

        Args:
            outcome: What became of it, a word of ours; ``allowed`` if the answer came to its end.
            status: Of the answer to the client; 0 if there was none.
        """

    def served(self, endpoint: str, outcome: str, status: int) -> None:
        """What became of the request; see `Witness.served`."""

    def failed(self, error: str) -> None:
        """Answering it ended in an error of this name."""

    def end(self) -> None:
        """The request has come to its end."""


class Tracer(Protocol):
    """Begins traces, or goes on with those of others."""

    def begin(self, method: str, scheme: str, parents: Sequence[str], states: Sequence[str], *, trusted: bool) -> Trace:
        """A request has come.

        Args:
            method: As it came.
            scheme: ``http`` or ``https``.
            parents: Its ``traceparent`` fields.
            states: Its ``tracestate`` fields.
            trusted: Whether it came from a trusted proxy, whose trace is gone on with. A stranger's is not.
        """
