"""`Analytics`: where decision counts are kept, and for how long."""

from dataclasses import dataclass
from pathlib import Path

from gateway.settings.url import PostgresUrl


@dataclass(frozen=True, slots=True)
class Postgres:
    """A PostgreSQL database for the decision counts. Needs the [extra](installing.md#extras) `postgres`.

    Attributes:
        url: `postgresql://ROLE@HOST:PORT/DATABASE`. For a Unix socket, HOST is its folder with `%2F` for each slash.
        tls: Whether to use TLS and verify the server; turn it off only for a server on this machine. A socket has none.
        ca: Certificates to trust, in PEM; without it, the system's.
    """

    url: PostgresUrl
    tls: bool = True
    ca: Path | None = None


@dataclass(frozen=True, slots=True)
class Analytics:
    """Where decisions, counted by the minute, are kept for `gateway report`; nowhere unless a place is named.

    Attributes:
        folder: A folder for files, one a day. Gateways on one machine may share it.
        postgres: A database instead. All gateways may share it.
        keep: How long counts are kept.
        interval: How often a worker writes its counts; at least once a minute. A worker that is killed loses this much.
        top_callers: How many of the callers refused most are kept in each interval; also, for each endpoint and limit,
            how many of the callers charged most, but 500 of these in all.
        buffer: Rows a worker holds while they cannot be written. Rows beyond that are dropped, and the drops counted.
    """

    folder: Path | None = None
    postgres: Postgres | None = None
    keep: float = 30 * 86_400.0
    interval: float = 60.0
    top_callers: int = 50
    buffer: int = 100_000

    @property
    def is_on(self) -> bool:
        """Whether counts are kept at all."""
        return self.folder is not None or self.postgres is not None

    def __str__(self) -> str:
        return str(self.postgres.url if self.postgres else self.folder or "none")
