"""`LoggedRequest`: a request as an access log tells of it."""

from typing import NamedTuple

from gateway.limits.caller import Caller


class RequestLine(NamedTuple):
    """What a request was for, as far as rules look at it.

    Attributes:
        method: In upper case.
        host: In lower case, without port; empty if the log does not say it.
        path: Without the query.
        query: Without the question mark; empty if there is none.
    """

    method: str
    host: str
    path: str
    query: str = ""


class LoggedRequest(NamedTuple):
    """A request in an access log.

    Attributes:
        time: When it was decided, as far as the log tells: microseconds since 1970.
        resolution: Microseconds to which the time is exact.
        subject: What it was for; the name of its endpoint, if the log has that instead; None if the gateway would not
            have served it, so that no limit counts it.
        caller: Who sent it.
        name: The caller for people: a user or an address, or the digest if the log has only that.
        refused: Whether it got a 429.
    """

    time: int
    resolution: int
    subject: RequestLine | str | None
    caller: Caller
    name: str
    refused: bool


class BadLineError(Exception):
    """A line is none of an access log. The message says why; it quotes nothing of the line."""
