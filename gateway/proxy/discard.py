"""`discard_rest`: takes what is left of a body whose request has its response, so that the connection can go on."""

import asyncio

from aiohttp import StreamReader, web

from gateway.proxy.min_data_rate import MinDataRate
from gateway.proxy.observer import RequestObserver
from gateway.settings.intake import Intake


async def discard_rest(body: StreamReader, intake: Intake, observer: RequestObserver) -> bool:
    """Throw away what is left of a body. Returns whether it came to its end.

    This does not wait for the client to take the response: it may not read before it has sent everything.
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
        return False  # it is broken, or the client is gone
    if left < 0:
        observer.rejected("large_body")
    return body.is_eof()
