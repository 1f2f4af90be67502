"""`race`: tries the addresses of a name side by side, a little apart (RFC 8305 section 5)."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from gateway.proxy.upstream_connection import UpstreamConnection

_ATTEMPT_DELAY = 0.25
"""Seconds until the next address is tried as well."""

Connect = Callable[[str], Awaitable[UpstreamConnection]]


async def race(hosts: Sequence[str], connect: Connect) -> UpstreamConnection:
    """The first connection that is made. The next address is tried when one fails, or has taken 250 ms.

    Raises:
        OSError: no address accepted a connection; its cause is the last failure.
    """
    if len(hosts) == 1:
        return await connect(hosts[0])
    waiting = list(hosts)
    attempts: set[asyncio.Future[UpstreamConnection]] = set()
    failures: list[BaseException] = []
    try:
        while waiting or attempts:
            if waiting:
                attempts.add(asyncio.ensure_future(connect(waiting.pop(0))))
            done, attempts = await asyncio.wait(
                attempts, timeout=_ATTEMPT_DELAY if waiting else None, return_when=asyncio.FIRST_COMPLETED
            )
            made = [attempt.result() for attempt in done if attempt.exception() is None]
            for late in made[1:]:
                late.abort()
            if made:
                return made[0]
            for attempt in done:
                error = attempt.exception()
                if not isinstance(error, OSError):
                    await attempt  # an unexpected error
                failures += [error] if error is not None else []
    finally:
        for attempt in attempts:
            attempt.add_done_callback(_abort)
            attempt.cancel()
    raise OSError("; ".join(map(str, failures))) from failures[-1]


def _abort(attempt: asyncio.Future[UpstreamConnection]) -> None:
    """Close a connection that was made in spite of being cancelled."""
    if not attempt.cancelled() and attempt.exception() is None:
        attempt.result().abort()
