"""`race`: tries the addresses of a name side by side, a little apart (RFC 8305 section 5)."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from gateway.proxy.upstream_connection import UpstreamConnection

_ATTEMPT_DELAY = 0.25
"""Seconds until the next address is tried as well."""

OnFailed = Callable[[str, OSError], None]
Connect = Callable[[str], Awaitable[UpstreamConnection]]


async def race(hosts: Sequence[str], connect: Connect, on_failed: OnFailed) -> UpstreamConnection:
    """The first connection that is made. The next address is tried when one fails, or has taken 250 ms.

    Args:
        hosts: The addresses, the best first.
        connect: Connects to one.
        on_failed: Called, once a connection was made, for each address that failed or was slower by 250 ms.

    Raises:
        OSError: no address accepted a connection; its cause is the last failure.
    """
    if len(hosts) == 1:
        return await connect(hosts[0])
    started: list[str] = []
    attempts: dict[str, asyncio.Future[UpstreamConnection]] = {}
    failures: dict[str, OSError] = {}
    try:
        while len(started) < len(hosts) or attempts:
            if len(started) < len(hosts):
                started.append(hosts[len(started)])
                attempts[started[-1]] = asyncio.ensure_future(connect(started[-1]))
            await asyncio.wait(
                attempts.values(),
                timeout=_ATTEMPT_DELAY if len(started) < len(hosts) else None,
                return_when=asyncio.FIRST_COMPLETED,
            )
            if (made := await _first_made(attempts, failures)) is not None:
                for host in started[: started.index(made.host)]:  # those had a start of 250 ms, or have failed
                    on_failed(host, failures.get(host) or TimeoutError("another address was faster by 250 ms"))
                return made
    finally:
        for attempt in attempts.values():
            attempt.add_done_callback(_abort)
            attempt.cancel()
    raise OSError("; ".join(map(str, failures.values()))) from list(failures.values())[-1]


async def _first_made(
    attempts: dict[str, asyncio.Future[UpstreamConnection]], failures: dict[str, OSError]
) -> UpstreamConnection | None:
    """A connection that was made, if there is one. Attempts that failed go to `failures`."""
    for host, attempt in list(attempts.items()):
        if attempt.done():
            del attempts[host]
            if not isinstance(error := attempt.exception(), OSError):
                return await attempt  # or an unexpected error
            failures[host] = error
    return None


def _abort(attempt: asyncio.Future[UpstreamConnection]) -> None:
    """Close a connection that was made in spite of being cancelled."""
    if not attempt.cancelled() and attempt.exception() is None:
        attempt.result().abort()
