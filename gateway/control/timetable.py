"""`Timetable`: replaces the rules in force when the schedule of a limit changes.

It goes by the clock by which requests are decided, which is Redis' time where there is a Redis, and looks at it with
each poll. So in each worker a change is in force a quarter of a second after its instant at the latest. Buckets are not
touched, as by a reload: what was spent stays spent.
"""

from gateway.limiter.limiter import Limiter
from gateway.limits.rules import RuleBook
from gateway.redis.client import Reply
from gateway.redis.poller import Poller
from gateway.telemetry.metrics import Metrics


class Timetable:
    """Keeps to the schedules of limits.

    Args:
        book: The rules in force.
        limiter: Has the clock, and forgets what it knows of buckets when rules change.
        metrics: Show the rates in force.
    """

    def __init__(self, book: RuleBook, limiter: Limiter, metrics: Metrics) -> None:
        self._book = book
        self._limiter = limiter
        self._metrics = metrics

    def follow(self, poller: Poller) -> None:
        """Put in force what the schedules say now, and again with each poll."""
        self.look()
        poller.subscribe(lambda: None, self._hear)

    async def _hear(self, _: Reply | None) -> None:
        self.look()

    def look(self) -> None:
        """Put in force what the schedules say now, if that has changed."""
        rules = self._book.current
        if rules.changes_at is None or self._limiter.clock() < rules.changes_at:
            return
        rules = self._book.current = rules.at(self._limiter.clock())
        self._limiter.forget()
        self._metrics.rules(rules.revision, rules.endpoints, rules.in_force)
