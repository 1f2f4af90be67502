"""Puts logged requests in the order in which they were decided.

Servers write a line when its request has ended, so a log is nearly, but not quite, in order; and there may be several
logs, of several servers or of one after another. A bounded number of lines is held back and sorted. Whoever comes later
than that is passed on out of order; the clock that requests are played by never goes back.

Logs that tell whole seconds put all requests of a second at its start. They are spread evenly over it instead, in their
order.
"""

from collections.abc import Iterable, Iterator
from heapq import merge
from itertools import groupby
from operator import attrgetter, itemgetter

from gateway.limits.rate import MICROSECONDS
from gateway.replay.request import LoggedRequest

HELD_BACK = 50_000
"""Lines of all logs together."""

Timed = tuple[int, LoggedRequest]
"""When a request is played, in microseconds since 1970, and the request."""

_time = attrgetter("time")


def in_order(logs: Iterable[Iterable[LoggedRequest]], held_back: int = HELD_BACK) -> Iterator[Timed]:
    """The requests of all logs by time.

    Args:
        logs: Each in about the order of time.
        held_back: Lines by which one may be late.
    """
    logs = list(logs)
    each = [_sorted(log, max(1, held_back // max(1, len(logs)))) for log in logs]
    return each[0] if len(each) == 1 else merge(*each, key=itemgetter(0))


def _sorted(log: Iterable[LoggedRequest], most: int) -> Iterator[Timed]:
    held: list[LoggedRequest] = []
    for request in log:
        held.append(request)
        if len(held) >= 2 * most:
            held.sort(key=_time)
            cut = _start_of_group(held, most)
            yield from _spread(held[:cut])
            del held[:cut]
    held.sort(key=_time)
    yield from _spread(held)


def _start_of_group(held: list[LoggedRequest], most: int) -> int:
    """How many to pass on, so that those of one instant stay together, unless they are more than `most`."""
    cut = most
    while cut and held[cut].time == held[cut - 1].time:
        cut -= 1
    return cut or most


def _spread(requests: list[LoggedRequest]) -> Iterator[Timed]:
    for time, group in groupby(requests, _time):
        together = list(group)
        whole = sum(request.resolution == MICROSECONDS for request in together)
        if whole < len(together):  # some are exact to the millisecond
            whole = 0
        for place, request in enumerate(together):
            yield time + (MICROSECONDS * place // whole if whole else 0), request
