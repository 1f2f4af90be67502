"""`Listing`: the overrides in the order of their targets."""

import asyncio
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple

from gateway.control.overrides.model import OverrideRecord, RecordReader, target_of

_AT_A_TIME = 500


class Listing(NamedTuple):
    """Overrides, ordered by the paths of their targets.

    Attributes:
        source: All that are stored, by the digests of their targets.
        ordered: The same with the paths of their targets, in the order of these.
    """

    source: Mapping[bytes, bytes]
    ordered: Sequence[tuple[str, bytes]]

    def page(self, after: str, most: int) -> tuple[list[OverrideRecord], str | None]:
        """Up to `most` overrides that follow a path, and the path of the last one if there are more.

        Those that are unreadable are left out.
        """
        start = bisect_right(self.ordered, after, key=lambda each: each[0])
        end = start + most
        reader, records = RecordReader(), []
        for _, text in self.ordered[start:end]:
            with suppress(ValueError):
                records.append(reader.read(text))
        return records, self.ordered[end - 1][0] if end < len(self.ordered) else None

    def records(self) -> Iterator[OverrideRecord]:
        """All of them.

        Raises:
            ValueError: one is unreadable.
        """
        if len(self.ordered) < len(self.source):
            raise ValueError("the target of an override is unreadable")
        reader = RecordReader()
        for _, text in self.ordered:
            yield reader.read(text)


async def list_overrides(texts: Mapping[bytes, bytes]) -> Listing:
    """Put overrides in order. Requests get their turn meanwhile.

    Args:
        texts: As they are stored, by the digests of their targets.
    """
    ordered: list[tuple[str, bytes]] = []
    for place, text in enumerate(texts.values()):
        if place % _AT_A_TIME == _AT_A_TIME - 1:
            await asyncio.sleep(0)
        with suppress(ValueError):
            ordered.append((target_of(text).path, text))
    ordered.sort()
    return Listing(texts, ordered)
