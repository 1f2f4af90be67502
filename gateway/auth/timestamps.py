"""Timestamps: microseconds since 1970 inside the gateway, ISO 8601 in UTC (RFC 3339) outside."""

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from time import time_ns
from typing import Final

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND: Final = timedelta(seconds=1)
_MICROSECOND = timedelta(microseconds=1)


def now() -> int:
    """The machine's clock, in microseconds since 1970."""
    return time_ns() // 1000


def format_timestamp(instant: int) -> str:
    """An instant as ``2030-01-31T12:00:00.000000Z``."""
    second, rest = divmod(instant, 1_000_000)
    return f"{_format_second(second)}.{rest:06}Z"


@lru_cache(maxsize=1024)
def _format_second(second: int) -> str:
    return (_EPOCH + second * _SECOND).isoformat(timespec="seconds").removesuffix("+00:00")


def timestamp() -> str:
    """The machine's clock, in ISO 8601."""
    return format_timestamp(now())


def parse_timestamp(text: str) -> int | None:
    """The instant of an ISO 8601 timestamp; None if it is not one, or has no offset from UTC."""
    try:
        parsed = datetime.fromisoformat(text) if "T" in text.upper() else None
    except ValueError:
        return None
    return None if parsed is None or parsed.tzinfo is None else (parsed - _EPOCH) // _MICROSECOND
