"""`Cors`: which web pages may read the gateway's own responses (the Fetch standard, section 3.3)."""

import re
from collections.abc import Mapping

_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}", re.ASCII)
_NAMES = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~, -]{0,1024}", re.ASCII)
_MAX_AGE = "600"


class Cors:
    """Decides by a page's origin. Without allowed origins it adds no headers.

    Args:
        origins: Such as ``https://app.example``, in the form in which browsers send them.

    Attributes:
        is_on: Whether there are allowed origins.
    """

    __slots__ = ("_origins", "is_on")

    def __init__(self, origins: tuple[str, ...] = ()) -> None:
        self._origins = frozenset(origins)
        self.is_on = bool(origins)

    def allows(self, origin: str) -> bool:
        """Whether pages of an origin are allowed."""
        return origin in self._origins

    def headers(self, origin: str | None) -> dict[str, str]:
        """The headers that let a page of an allowed origin read a response; a page of any other origin may not."""
        if not self.is_on:
            return {}
        if origin not in self._origins:
            return {"Vary": "Origin"}
        return {
            "Vary": "Origin",
            "Access-Control-Allow-Origin": origin or "",
            "Access-Control-Allow-Credentials": "true",
        }

    def preflight(self, method: str, headers: Mapping[str, str]) -> dict[str, str] | None:
        """The headers of the response to a preflight; None if this is not one, or its origin is not allowed.

        For an API of the gateway's own. A preflight for an upstream's is the upstream's to answer.
        """
        if not self.is_on or method != "OPTIONS" or headers.get("Origin") not in self._origins:
            return None
        wanted = headers.get("Access-Control-Request-Method", "")
        names = headers.get("Access-Control-Request-Headers", "")
        if _TOKEN.fullmatch(wanted) is None or _NAMES.fullmatch(names) is None:
            return None
        more = {"Access-Control-Allow-Headers": names} if names else {}
        return {
            **self.headers(headers.get("Origin")),
            "Access-Control-Allow-Methods": wanted,
            "Access-Control-Max-Age": _MAX_AGE,
            **more,
        }
