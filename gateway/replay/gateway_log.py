"""`GatewayLog`: parses lines of the gateway's own access log, in JSON."""

import json
import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from functools import lru_cache
from typing import Any

from gateway.limits.caller import CLIENT_ADDRESS, Caller
from gateway.limits.holder import ADDRESS
from gateway.limits.identity import Identity
from gateway.limits.rate import MICROSECONDS
from gateway.replay.request import BadLineError, LoggedRequest

_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", re.ASCII)
_DIGEST = re.compile(r"[0-9a-f]{32}", re.ASCII)
_MILLISECOND = 1_000
_LONGEST = 366 * 86_400_000
"""Milliseconds that a request may have taken."""

_CALLERS = 100_000
"""Callers that are remembered."""


class GatewayLog:
    """Parses lines. Those that tell of something else than a request are none of an access log, and passed over.

    A line is written when its request has ended; it began, and was decided, as long before as it took.

    Args:
        identity: Hashes user ids as the gateway did that wrote the log.
        users: Ids that the rules name. The log has hashes only, and these are recognized by theirs.
    """

    __slots__ = ("_find_caller", "_second", "_seconds", "_users")

    def __init__(self, identity: Identity, users: Iterable[str]) -> None:
        self._users: Mapping[str, str] = {identity.digest("user", user).decode(): user for user in users}
        self._find_caller = lru_cache(maxsize=_CALLERS)(self._caller)
        self._second, self._seconds = "", 0

    def parse(self, line: str) -> LoggedRequest | None:
        """The request that a line tells of; None if it tells of something else.

        Raises:
            BadLineError: it is not a line of the gateway's log.
        """
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError):
            raise BadLineError("it is not valid JSON") from None
        if not isinstance(entry, dict) or "event" not in entry:
            raise BadLineError("it is JSON, but not a line of the gateway's log: it has no event")
        return self._request(entry) if entry["event"] == "request" else None

    def _request(self, entry: Mapping[str, Any]) -> LoggedRequest:
        took, endpoint = entry.get("ms"), entry.get("endpoint")
        if not isinstance(took, int | float) or not 0 <= took <= _LONGEST:
            raise BadLineError("ms is not a number of milliseconds")
        if not isinstance(endpoint, str):
            raise BadLineError("it names no endpoint")
        time = self._time(entry.get("time")) - round(took * _MILLISECOND)
        refused = entry.get("outcome") == "refused"
        if not endpoint:
            return LoggedRequest(time, _MILLISECOND, None, _UNKNOWN, "", refused)
        known = entry.get("caller"), entry.get("source", ""), entry.get("tier", ""), entry.get("address", "")
        holders = entry.get("holders", {})
        if not all(isinstance(each, str) for each in known) or not isinstance(holders, dict):
            raise BadLineError("it does not say who the caller is")
        caller = self._find_caller(*known, *(holders.items() if holders else ()))
        return LoggedRequest(time, _MILLISECOND, endpoint, caller, caller.id or caller.digest.decode(), refused)

    def _time(self, text: object) -> int:
        if not isinstance(text, str) or _TIME.fullmatch(text) is None:
            raise BadLineError("it has no time such as 2026-01-31T23:59:59.123Z")
        if text[:19] != self._second:
            try:
                self._seconds = int(datetime.fromisoformat(f"{text[:19]}+00:00").timestamp()) * MICROSECONDS
            except ValueError:
                raise BadLineError("its time is not one of the calendar") from None
            self._second = text[:19]
        return self._seconds + int(text[20:23]) * _MILLISECOND

    def _caller(self, digest: str, source: str, tier: str, address: str, *holders: tuple[str, object]) -> Caller:
        known = {name: each for name, each in holders if isinstance(each, str)}
        if not all(_DIGEST.fullmatch(each or digest) for each in (digest, address, *known.values())):
            raise BadLineError("its caller is not a hash of 32 hex digits")
        located = address or (digest if source == CLIENT_ADDRESS else "")
        user = "" if source == CLIENT_ADDRESS else self._users.get(digest, "")
        digests = ({ADDRESS: located} if located else {}) | known
        return Caller(
            user, digest.encode(), tier or None, None, {name: each.encode() for name, each in digests.items()}, source
        )


_UNKNOWN = Caller("", b"", source="")
