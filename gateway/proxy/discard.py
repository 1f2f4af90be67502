"""`discard_rest`: reads and discards the rest of a request body, so that the connection can be used again."""

import asyncio

from aiohttp import StreamReader, web

from gateway.proxy.min_data_rate import MinDataRate
from gateway.proxy.observer import RequestObserver
from gateway.settings.intake import Intake


async def discard_rest(body: StreamReader, intake: Intake, observer: RequestObserver) -> bool:
    """Discard the rest of a body whose request has its response. Returns whether the body is complete.

    This does not wait for the client to read the response: it may not do so before it has sent everything.
    """
    rate = MinDataRate(asyncio.get_running_loop().time, intake.body_timeout, intake.least_rate)
    left = intake.max_discard
    try:
        async with asyncio.timeout(intake.discard_timeout):
            while not body.is_eof() and left >= 0:
                async with asyncio.timeout(rate.begin()):
                    size = len(await body.readany())
                rate.end(size)
                left -= size
    except TimeoutError:
        observer.rejected("slow_body")
    except (web.RequestPayloadError, RuntimeError, OSError):
        return False  # it is malformed, or the connection is lost
    if left < 0:
        observer.rejected("large_body")
    return body.is_eof()
