"""`FileWatch`: reloads when the files that a reload reads have changed.

One worker of a gateway watches, the one that holds a lock; when it ends, another goes on from where it was. It compares
contents, so it makes no difference how files were replaced: by a rename, through a symbolic link, or in place. What has
changed is looked at again until it stays the same, so that files of which only some are new are not put in force.

A state that a reload rejects is not tried again until it changes: it is logged once. A reload that fails for another
reason is tried again, later each time.
"""

import asyncio
import fcntl
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from enum import Enum
from pathlib import Path

from gateway.telemetry.log import Log

_SETTLE = 0.5
"""Seconds between two looks at files that have changed; less if files are looked at more often."""

_RETRY, _MAX_RETRY = 10.0, 600.0
"""Seconds after which a reload that failed is tried again; twice as many each time."""


class ReloadOutcome(Enum):
    """What became of a reload."""

    APPLIED = "applied"
    REFUSED = "refused"
    """The files cannot be used as they are, or may not be put in force."""
    FAILED = "failed"
    """For a reason that is not in the files."""


class FileWatch:
    """Watches files.

    Args:
        interval: Seconds between two looks.
        folder: Of this gateway, for the lock and a note of what was last reloaded.
        look: The digest of the files' contents. It blocks.
        differs: Whether the files differ from what is in force.
        reload: Reloads. It logs what goes wrong, and does not raise.
        log: Of this process.
    """

    def __init__(
        self,
        interval: float,
        folder: Path,
        look: Callable[[], str],
        differs: Callable[[], Awaitable[bool]],
        reload: Callable[[], Awaitable[ReloadOutcome]],
        log: Log,
    ) -> None:
        self._interval = interval
        self._lock = folder / "watch.lock"
        self._look = look
        self._differs = differs
        self._reload = reload
        self._log = log
        self._task: asyncio.Task[None] | None = None

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        """Watch while the block runs, or until `stop`."""
        self._task = asyncio.create_task(self._run())
        try:
            yield
        finally:
            self.stop()

    def stop(self) -> None:
        """Leave it to other workers."""
        if self._task is not None:
            self._task.cancel()

    async def _run(self) -> None:
        descriptor = os.open(self._lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            while not _try_lock(descriptor):  # noqa: ASYNC110 - another process holds it
                await asyncio.sleep(self._interval)
            await self._watch(descriptor)
        finally:
            os.close(descriptor)

    async def _watch(self, note: int) -> None:
        known = os.pread(note, 64, 0).decode("ascii")
        retry = _RETRY
        while True:
            try:
                digest = await self._settled(known)
                if digest != known and (known or await self._differs()):
                    while await self._reload() is ReloadOutcome.FAILED:
                        await asyncio.sleep(retry)
                        retry = min(2 * retry, _MAX_RETRY)
                known, retry = digest, _RETRY
                os.pwrite(note, known.encode("ascii"), 0)
            except Exception as error:  # noqa: BLE001 - it has to go on
                self._log.failure("watch_failed", error)
                await asyncio.sleep(_RETRY)
            await asyncio.sleep(self._interval)

    async def _settled(self, known: str) -> str:
        """The digest of the files, once it is the same twice in a row, or the known one."""
        digest = await asyncio.to_thread(self._look)
        while digest != known:
            await asyncio.sleep(min(_SETTLE, self._interval))
            before, digest = digest, await asyncio.to_thread(self._look)
            if digest == before:
                break
        return digest


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
