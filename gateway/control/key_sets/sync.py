"""`KeySetSync`: keeps the keys of an issuer in force in this worker.

The issuer is asked by one worker of a gateway at a time: the one that finds that it is due, and gets the lock of the
copy. What it learns, it writes to the copy, and every worker looks at that with each poll. So a request never waits for
an issuer, a worker that dies is replaced by any other, and a gateway that starts while the issuer is unavailable begins
with the keys last known.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable

from gateway.auth.key_ring import KeyRing
from gateway.auth.timestamps import format_timestamp
from gateway.config.key_set import KeySetError, parse_key_set
from gateway.control.key_sets.copy import KeySetCopy
from gateway.control.key_sets.known import FetchError, KnownKeys
from gateway.redis.client import Reply
from gateway.settings.token_key import Jwks
from gateway.telemetry.log import Log
from gateway.telemetry.metrics import Metrics

Fetch = Callable[[Jwks], Awaitable[bytes]]
"""Fetches a key set; raises `FetchError`."""


class KeySetSync:
    """Keeps the keys of an issuer in force.

    If the copy cannot be written, each worker asks the issuer for itself.

    Args:
        jwks: Where the keys are.
        ring: Where they are in force.
        copy: What is known of them, for all workers.
        fetch: Fetches them.
        log: Of this process.
        metrics: Of this worker.
        clock: Seconds since 1970.
    """

    def __init__(
        self,
        jwks: Jwks,
        ring: KeyRing,
        copy: KeySetCopy,
        fetch: Fetch,
        log: Log,
        metrics: Metrics,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._jwks = jwks
        self._ring = ring
        self._copy = copy
        self._fetch = fetch
        self._log = log
        self._metrics = metrics
        self._clock = clock
        self._known = KnownKeys()
        self._missed_at: float | None = None
        self._has_failed = False
        self._wrong_copy = ""
        ring.missed = self._miss

    def _miss(self) -> None:
        """Note that a token names a key that is not known."""
        self._missed_at = self._clock()

    async def start(self) -> None:
        """Begin with the copy. Without one, wait until the issuer was asked once. Never raises."""
        await self._read()
        self._apply()
        if not self._known.keys:
            await self._look(wait=True)

    async def hear(self, _: Reply | None = None) -> None:
        """Follow the copy, and ask the issuer if that is due. Never raises."""
        await self._look(wait=False)

    async def _look(self, *, wait: bool) -> None:
        try:
            await self._read()
            if self._is_due():
                await self._ask(wait=wait)
            self._has_failed = False
        except Exception as error:  # noqa: BLE001 - the next look may succeed; without any, no key ever changes
            if not self._has_failed:
                self._log.failure("jwks_failed", error)
            self._has_failed = True
        self._apply()

    async def _read(self) -> None:
        try:
            known = await asyncio.to_thread(self._copy.read_if_changed)
        except (OSError, ValueError) as error:
            self._report_copy("jwks_copy_unreadable", error)
            return
        if known is not None:
            self._known = known
            self._show()

    def _is_due(self) -> bool:
        return self._known.is_due(self._clock(), self._jwks.refresh, self._missed_at)

    async def _ask(self, *, wait: bool) -> None:
        """Ask the issuer, unless another worker does. What it knows is in the copy afterwards."""
        async with self._copy.locked(wait=wait) as held:
            if not held:
                return
            await self._read()
            if not self._is_due():
                return
            before, asked_at = self._known, self._clock()
            try:
                found = parse_key_set(await self._fetch(self._jwks), self._jwks.algorithms)
            except (FetchError, KeySetError) as error:
                self._known = before.failed(str(error), asked_at)
            else:
                self._known = before.fetched(found.keys, asked_at, self._jwks.grace)
                self._report_changes(before, found.refused)
            self._metrics.jwks_fetched(self._jwks.url or "", "failed" if self._known.failure else "fetched")
            self._show()
            self._report_failure(before)
            try:
                await asyncio.to_thread(self._copy.write, self._known)
            except OSError as error:
                self._report_copy("jwks_copy_failed", error)

    def _report_copy(self, event: str, error: Exception) -> None:
        """Log what is wrong with the copy, once."""
        why = f"{self._copy.file}: {getattr(error, 'strerror', None) or error}"
        if why != self._wrong_copy:
            self._log.event(event, level="error", why=why)
        self._wrong_copy = why

    def _report_changes(self, before: KnownKeys, refused: tuple[str, ...]) -> None:
        old = {known.key: known.key.kid for known in before.keys if known.until is None}
        new = {known.key: known.key.kid for known in self._known.keys if known.until is None}
        if old.keys() != new.keys():
            added = [kid or "" for key, kid in new.items() if key not in old]
            removed = [kid or "" for key, kid in old.items() if key not in new]
            self._log.event("jwks_changed", url=self._jwks.url, added=added, removed=removed, refused=list(refused))

    def _report_failure(self, before: KnownKeys) -> None:
        """Log the first failure, that the keys are now too old, and that the issuer is back."""
        now, at_most_stale, url = self._clock(), self._jwks.at_most_stale, self._jwks.url
        known = self._known
        if known.failure and (not before.failure or not before.asked_at):
            fetched = format_timestamp(int(known.fetched_at * 1e6)) if known.fetched_at else None
            self._log.event("jwks_unavailable", level="warning", url=url, why=known.failure, fetched=fetched)
        elif before.failure and not known.failure:
            self._log.event("jwks_available", url=url)
        if known.failure and known.is_stale(now, at_most_stale) and not before.is_stale(before.asked_at, at_most_stale):
            self._log.event("jwks_stale", level="error", url=url, why=known.failure)

    def _show(self) -> None:
        known = self._known
        self._metrics.jwks(self._jwks.url or "", known.fetched_at, known.fetched_at + self._jwks.at_most_stale)

    def _apply(self) -> None:
        """Put the keys in force that are used now."""
        keys = self._known.in_force(self._clock(), self._jwks.at_most_stale)
        if keys != self._ring.keys:
            self._ring.use(keys)
