"""The books: each request by its id in the client's records, the upstreams' journals and the access logs."""

import asyncio
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from benchmarks.fleet.clients import HOT, OTHERS, Record
from benchmarks.fleet.episode import Episode
from benchmarks.fleet.fleet import RATE, Fleet
from benchmarks.kit.percentile import percentile

_OK, _TOO_MANY = 200, 429
_LOG_DELAY = 10.0
"""Seconds within which the last line is in the log, on a busy machine too."""


@dataclass
class Execution:
    """A request that an upstream carried out: when, and the size of its body."""

    at: float
    size: int


@dataclass
class Books:
    """All that was written down about the requests of an episode, by their ids."""

    records: dict[str, Record]
    executions: dict[str, list[Execution]] = field(default_factory=lambda: defaultdict(list))
    lines: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))


class Positions:
    """How far everything had been written at the begin of an episode."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._journals = [
            (upstream.journal, upstream.journal.stat().st_size) for upstream in (fleet.orders, fleet.shaky)
        ]
        for gateway in fleet.gateways:
            gateway.read_log()
        self._lines = [(gateway, len(gateway.lines)) for gateway in fleet.gateways]

    def books(self, records: Sequence[Record]) -> Books:
        """What has been written since then."""
        found = Books({record.id: record for record in records})
        for journal, position in self._journals:
            for line in journal.read_bytes()[position:].decode().splitlines():
                at, request_id, _, _, size = line.split(" ")
                found.executions[request_id].append(Execution(float(at), int(size)))
        for gateway, position in self._lines:
            gateway.read_log()
            for event in gateway.lines[position:]:
                found.lines[event["request_id"]].append(event["status"])
        return found

    async def complete_books(self, records: Sequence[Record], lacking: set[str]) -> Books:
        """The books as soon as each complete response has its line, or when that has not come true in time.

        Args:
            records: The clients' records.
            lacking: Gateways whose lines are not waited for.
        """
        end = time.monotonic() + _LOG_DELAY
        while True:
            books = self.books(records)
            missing = any(
                record.status and record.id not in books.lines and record.gateway not in lacking for record in records
            )
            if not missing or time.monotonic() > end:
                return books
            await asyncio.sleep(0.1)


def violations(episode: Episode, books: Books) -> Iterator[str]:
    """What is not as it should be, request by request."""
    for record in books.records.values():
        carried_out = len(books.executions.get(record.id, ()))
        lines = books.lines.get(record.id, [])
        yield from (f"{_name(record)}: {fault}" for fault in _of_one(episode, record, carried_out, lines))
    sent = episode.clients.sent
    unknown = {each for each in books.executions if each not in books.records}
    unknown |= {each for each in books.lines if each not in sent}  # a line may come late when the disk was full
    if unknown and not episode.renamed:
        yield f"{len(unknown)} requests that no client sent now: {sorted(unknown)[:3]}"
    for name in episode.clients.refused - episode.refusing:
        yield f"gateway {name} refused a connection"


def _of_one(episode: Episode, record: Record, carried_out: int, lines: Sequence[int]) -> Iterator[str]:
    may_repeat = record.method == "GET" and record.kind in episode.repeated
    if carried_out > 1 + may_repeat:
        yield f"carried out {carried_out} times"
    if len(lines) > 1:
        yield f"{len(lines)} lines in the access log"
    if record.status:
        yield from _of_an_answered(episode, record, carried_out, lines)
    elif record.gateway not in episode.broken and record.kind not in episode.unanswered:
        yield f"no complete response: {record.why}"


def _of_an_answered(episode: Episode, record: Record, carried_out: int, lines: Sequence[int]) -> Iterator[str]:
    status = record.status
    if not lines and record.gateway not in episode.lines_lost | episode.uncounted:
        yield "no line in the access log"
    if lines and lines[0] != status:
        yield f"{status} for the client, {lines[0]} in the access log"
    if status == _OK and not carried_out:
        yield "200, and never carried out"
    if status == _TOO_MANY and carried_out:
        yield "429, and carried out"
    expected = {_OK, _TOO_MANY} if record.kind == HOT else {_OK}
    if record.phase == "fault":
        expected |= episode.statuses.get(record.kind, set())
    if status not in expected:
        yield f"status {status}"


def _name(record: Record) -> str:
    took = record.ended - record.sent
    return f"{record.id} ({record.kind}, {record.method}, gateway {record.gateway}, {record.phase}, {took:.2f} s)"


def excess(books: Books) -> float:
    """The most that a hot user was admitted in any window, beyond what the rate refills in it.

    A request was decided after it was sent and before the upstream had it. Only those count that were certainly
    decided within the window, so a delay anywhere makes the result smaller, never larger.
    """
    spans: defaultdict[str, list[tuple[float, float]]] = defaultdict(list)
    for record in books.records.values():
        if record.kind == HOT and record.id in books.executions:
            spans[record.user].append((record.sent, books.executions[record.id][0].at))
    return max((_excess(each) for each in spans.values()), default=0.0)


def _excess(spans: Sequence[tuple[float, float]]) -> float:
    by_end = sorted(spans, key=lambda span: span[1])
    worst = 0.0
    for start in {sent for sent, _ in spans}:
        count = 0
        for sent, end in by_end:
            if sent >= start:
                count += 1
                worst = max(worst, count - RATE * (end - start))
    return worst


@dataclass(frozen=True)
class Latency:
    """Of other users' requests that were allowed, in milliseconds."""

    p50: float
    p99: float

    @classmethod
    def of(cls, records: Sequence[Record], phase: str) -> "Latency | None":
        waits = [
            (record.ended - record.sent) * 1000
            for record in records
            if record.kind == OTHERS and record.phase == phase and record.status == 200
        ]
        return cls(percentile(waits, 50), percentile(waits, 99)) if waits else None


def statuses(records: Sequence[Record]) -> str:
    """How many of which."""
    counts = Counter(str(record.status or "broken") for record in records)
    return ", ".join(f"{count} {status}" for status, count in sorted(counts.items()))
