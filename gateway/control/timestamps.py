"""Instants: microseconds since 1970, and how they are written: ISO 8601, in UTC."""

from datetime import UTC, datetime, timedelta
from time import time_ns

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_GRAIN = timedelta(microseconds=1)


def now() -> int:
    """The time by the machine's clock."""
    return time_ns() // 1000


def format_timestamp(instant: int) -> str:
    """An instant as ``2030-01-31T12:00:00.000000Z``."""
    return (_EPOCH + instant * _GRAIN).isoformat(timespec="microseconds").replace("+00:00", "Z")


def timestamp() -> str:
    """The time by the machine's clock, as it is written."""
    return format_timestamp(now())


def parse_timestamp(text: str) -> int | None:
    """An instant in ISO 8601 with its offset; None when it is none."""
    try:
        found = datetime.fromisoformat(text) if "T" in text.upper() else None
    except ValueError:
        return None
    return None if found is None or found.tzinfo is None else (found - _EPOCH) // _GRAIN
