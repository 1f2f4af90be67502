"""`recent_of`: what the last minutes' analytics say of the limits that a reload would touch, in JSON."""

from collections.abc import Collection
from typing import Any

from gateway.analytics.batch import format_minute
from gateway.analytics.recent import read_recent
from gateway.analytics.report import OUTCOMES
from gateway.analytics.sink import SinkUnavailableError
from gateway.settings.analytics import Analytics


async def recent_of(settings: Analytics, limits: Collection[str], now: float) -> dict[str, Any]:
    """The decisions of limits in the last minutes; or why they are not known, which is no error.

    Args:
        settings: Where analytics are kept.
        limits: Names.
        now: The time, in seconds since 1970.
    """
    if not settings.is_on:
        return _unknown("analytics are off; name a place for them in the section analytics of gateway.yaml")
    try:
        recent = await read_recent(settings, limits, now)
    except SinkUnavailableError as error:
        return _unknown(str(error))
    return {
        "available": True,
        "since": format_minute(recent.period.since),
        "until": format_minute(recent.period.until),
        "limits": [
            {
                "limit": each.limit,
                **{outcome: each.counts.get(outcome, 0) for outcome in OUTCOMES},
                "callers_refused_at_least": each.callers,
            }
            for each in recent.limits
        ],
    }


def _unknown(why: str) -> dict[str, Any]:
    return {"available": False, "why": why}
