"""`Cors`: which web pages may see our own answers (the Fetch standard, section 3.3)."""

import re
from collections.abc import Mapping

_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}", re.ASCII)
_NAMES = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~, -]{0,1024}", re.ASCII)
_MAX_AGE = "600"


class Cors:
    """Decides by a page's origin. Without allowed origins, it says nothing at all.

    Args:
        origins: Such as ``https://app.example``. Each is written as browsers do.
    """

    __slots__ = ("_origins", "is_on")

    def __init__(self, origins: tuple[str, ...] = ()) -> None:
        self._origins = frozenset(origins)
        self.is_on = bool(origins)

    def fields(self, origin: str | None) -> dict[str, str]:
        """What an answer of ours has to say so that the page may see it; nothing is allowed to pages elsewhere."""
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
        """The answer to a browser that asks first; None for a request that is no such question, or from elsewhere."""
        if not self.is_on or method != "OPTIONS" or headers.get("Origin") not in self._origins:
            return None
        wanted = headers.get("Access-Control-Request-Method", "")
        names = headers.get("Access-Control-Request-Headers", "")
        if _TOKEN.fullmatch(wanted) is None or _NAMES.fullmatch(names) is None:
            return None
        more = {"Access-Control-Allow-Headers": names} if names else {}
        return {
            **self.fields(headers.get("Origin")),
            "Access-Control-Allow-Methods": wanted,
            "Access-Control-Max-Age": _MAX_AGE,
            **more,
        }
