"""`SeenTiers`: the tier in which each user was seen last, by the workers of this gateway."""

import asyncio
import time
from contextlib import suppress
from typing import NamedTuple

from gateway.control.reload.worker_channel import Message, Workers, WorkerUnresponsiveError
from gateway.limits.caller import Caller

_QUESTION = "tier"
_TIMEOUT = 1.0
"""Seconds that the other workers may take."""

_MOST = 10_000
_LONGEST = 64
"""Characters; longer ones are no tier that a limit names, or not one worth the memory."""


class Sighting(NamedTuple):
    """A user in a tier.

    Attributes:
        at: When, by the monotonic clock, which all processes of a machine share.
        tier: The tier; empty for none.
    """

    at: float
    tier: str


class SeenTiers:
    """Remembers tiers: of the last 10 000 to 20 000 users of this worker who had one.

    Args:
        workers: The other workers, which are asked as well.
        most: Users, half of those that are remembered at most.
    """

    def __init__(self, workers: Workers, most: int = _MOST) -> None:
        self._workers = workers
        self._most = most
        self._recent: dict[bytes, Sighting] = {}
        self._before: dict[bytes, Sighting] = {}
        workers.answers[_QUESTION] = self._answer

    def note(self, caller: Caller) -> None:
        """Remember a caller's tier. Of those who never had one, nothing is remembered."""
        tier, digest = caller.tier, caller.digest
        if not tier and not self._recent:
            return
        if not tier and digest not in self._recent and digest not in self._before:
            return
        if len(self._recent) >= self._most and digest not in self._recent:
            self._before, self._recent = self._recent, {}
        self._recent[digest] = Sighting(time.monotonic(), tier if tier and len(tier) <= _LONGEST else "")

    async def last(self, caller: bytes) -> str | None:
        """The tier in which the caller with this digest was seen last; None for none, and if it is not known."""
        sightings = [seen for seen in [self._seen(caller)] if seen is not None]
        with suppress(WorkerUnresponsiveError, TimeoutError):
            async with asyncio.timeout(_TIMEOUT):
                replies = await self._workers.ask({"do": _QUESTION, "caller": caller.decode()})
            sightings += [Sighting(*reply["seen"]) for reply in replies if reply.get("seen")]
        return max(sightings).tier or None if sightings else None

    def _seen(self, caller: bytes) -> Sighting | None:
        return self._recent.get(caller) or self._before.get(caller)

    def _answer(self, question: Message) -> Message:
        return {"seen": self._seen(question["caller"].encode())}
