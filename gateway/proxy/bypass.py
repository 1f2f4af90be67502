"""The header in which a request says that it is not to be limited, and the port through which that is asked."""

from typing import Protocol

BYPASS = "X-Gateway-Bypass"
"""Holds a token with scope ``bypass``. It ends here: no upstream ever sees it."""


class Bypass(Protocol):
    """Knows who may."""

    async def __call__(self, token: str, endpoint: str, source: str) -> bool:
        """Whether a request with this token, to this endpoint and from this address, is not to be limited."""


async def nobody(token: str, endpoint: str, source: str) -> bool:  # noqa: ARG001
    """Limits everybody."""
    return False
