"""`WorkerSlot`: the place of one worker. When its worker dies or is replaced, the slot is filled again.

A worker is *coming* until it says that it serves, then it is *serving*. One that is relieved is *leaving*: it takes no
more connections and ends when those that it has are done. A worker counts in one of the two tallies of its post, so a
third one waits until the first has ended.
"""

import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from gateway.process.reexec import InheritedWorker
from gateway.telemetry.metrics import Cause

Say = Callable[[str], None]

_HEALTHY = 10.0
"""Seconds after which a worker's death is an accident rather than part of a crash loop."""

_LONGEST_PAUSE = 30.0

_LONGEST_START = 60.0
"""Seconds that a worker may take before it serves."""

_TURNS = frozenset({0, 1})


class Process(Protocol):
    """A child of ours."""

    @property
    def pid(self) -> int:
        """Its id."""

    @property
    def exitcode(self) -> int | None:
        """How it ended, less than 0 for a signal; None while it runs."""


class Child:
    """A child of this process, whichever program in it started it."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._exitcode: int | None = None

    @property
    def exitcode(self) -> int | None:
        """As in `Process`."""
        if self._exitcode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self._exitcode = os.waitstatus_to_exitcode(status)
        return self._exitcode


@dataclass(slots=True)
class SlotWorker:
    """A worker that holds a post.

    Attributes:
        process: Its process.
        turn: In which tally of the post it counts.
        started: When, in seconds of the monotonic clock.
        ready: The descriptor on which it says that it serves; None for one that the program before us started.
        deadline: When it is killed, if it has not come or gone by then.
    """

    process: Process
    turn: int
    started: float
    ready: int | None
    deadline: float

    @property
    def pid(self) -> int:
        """Of its process."""
        return self.process.pid

    @property
    def is_ours(self) -> bool:
        """Whether it runs the program that we are."""
        return self.ready is not None

    def tell(self, number: int) -> None:
        """Send it a signal."""
        if self.process.exitcode is None:
            os.kill(self.pid, number)


class WorkerSlot:
    """The place of a worker.

    Args:
        number: The worker's.
        start: Starts a worker, of this number, this turn and for this cause. Returns its process, and the descriptor
            on which it says that it serves. Raises OSError when it cannot; it is asked again later.
        say: Where to tell the operator.
        patience: Seconds in which a worker that is told to end has to.

    Attributes:
        number: As above.
        coming: Who has been started and does not serve yet.
        serving: Who serves.
        leaving: Who was relieved.
        due: When the post is filled next, in seconds of the monotonic clock, if nobody holds it.
    """

    def __init__(
        self, number: int, start: Callable[[int, int, Cause], tuple[Process, int]], say: Say, patience: float
    ) -> None:
        self.number = number
        self.coming: SlotWorker | None = None
        self.serving: SlotWorker | None = None
        self.leaving: SlotWorker | None = None
        self.due = 0.0
        self._start = start
        self._say = say
        self._patience = patience
        self._pause = 0.0
        self._cause: Cause = "start"

    @property
    def holders(self) -> list[SlotWorker]:
        """All whose processes are not known to have ended."""
        return [holder for holder in (self.serving, self.coming, self.leaving) if holder is not None]

    @property
    def left(self) -> list[InheritedWorker]:
        """Those that would go on with another program."""
        return [
            InheritedWorker(self.number, holder.pid, holder.turn, holder.started, holder is self.leaving)
            for holder in (self.serving, self.leaving)
            if holder is not None and holder.process.exitcode is None  # else nobody could wait for it any more
        ]

    def adopt(self, left: InheritedWorker, now: float) -> None:
        """Take over a worker from the program before us."""
        holder = SlotWorker(Child(left.pid), left.turn, left.started, None, now + self._patience)
        if left.leaving:
            self.leaving = holder
        else:
            self.serving = holder
            self._cause = "death"  # should it die before it is relieved

    def look(self, now: float) -> None:
        """See who has died, who serves by now, and who takes too long."""
        if self.leaving is not None:
            self._look_at_leaving(self.leaving, now)
        if self.serving is not None and self.serving.process.exitcode is not None:
            self._bury(self.serving, now)
            self.serving = None
        if self.coming is not None:
            self._look_at_coming(self.coming, now)

    def _look_at_leaving(self, leaving: SlotWorker, now: float) -> None:
        code = leaving.process.exitcode
        if code is None:
            if now >= leaving.deadline:
                self._say(
                    f"worker {self.number} (pid {leaving.pid}) did not end in {self._patience:.0f} s and is killed"
                )
                leaving.tell(signal.SIGKILL)
                leaving.deadline = now + self._patience
            return
        if code:
            self._say(f"worker {self.number} (pid {leaving.pid}) ended with {cause_of(code)} when it was relieved")
        self.leaving = None

    def _look_at_coming(self, coming: SlotWorker, now: float) -> None:
        assert coming.ready is not None  # noqa: S101 - we started it
        if coming.process.exitcode is None:
            if _has_spoken(coming.ready):
                self._put_in_place(coming, now)
            elif now >= coming.deadline:
                self._say(f"worker {self.number} (pid {coming.pid}) does not serve after {_LONGEST_START:.0f} s")
                coming.tell(signal.SIGKILL)
                coming.deadline = now + _LONGEST_START
            return
        os.close(coming.ready)
        self._bury(coming, now)
        self.coming = None

    def _put_in_place(self, coming: SlotWorker, now: float) -> None:
        assert coming.ready is not None  # noqa: S101 - we started it
        os.close(coming.ready)
        self.coming, self._cause = None, "death"
        if self.serving is not None:
            self._say(f"worker {self.number} (pid {self.serving.pid}) is relieved by pid {coming.pid}")
            self.dismiss(now)
        self.serving = coming

    def dismiss(self, now: float) -> None:
        """Let who serves leave: others listen on its sockets."""
        if self.serving is not None:
            self.serving.tell(signal.SIGUSR2)
            self.serving.deadline = now + self._patience
            self.leaving, self.serving = self.serving, None

    def _bury(self, dead: SlotWorker, now: float) -> None:
        lived = now - dead.started
        pause = self._postpone(now, healthy=lived >= _HEALTHY)
        self._cause = "death"
        self._say(
            f"worker {self.number} (pid {dead.pid}) ended with {cause_of(dead.process.exitcode or 0)} "
            f"after {lived:.1f} s; a new one starts {f'in {pause:.1f} s' if pause else 'now'}"
        )

    def _postpone(self, now: float, *, healthy: bool) -> float:
        """Put off the next start, each time for longer unless all was well. Returns for how long."""
        self._pause = 0.0 if healthy else min(_LONGEST_PAUSE, self._pause * 2 or 0.1)
        self.due = now + self._pause
        return self._pause

    def fill(self, now: float, *, relieve: bool) -> None:
        """Start a worker if nobody serves, or if it is due.

        Args:
            now: Seconds of the monotonic clock.
            relieve: Whether a worker that the program before us started may be relieved.
        """
        serving = self.serving
        if self.coming is not None or self.due > now or (serving is not None and (serving.is_ours or not relieve)):
            return
        turns = _TURNS - {holder.turn for holder in self.holders}
        if turns:
            turn = min(turns)
            try:
                process, ready = self._start(self.number, turn, self._cause if serving is None else "restart")
            except OSError as error:  # no room for a process, or no descriptor
                pause = self._postpone(now, healthy=False)
                self._say(f"worker {self.number} cannot be started: {error}; the next try is in {pause:.1f} s")
            else:
                self.coming = SlotWorker(process, turn, now, ready, now + _LONGEST_START)


def _has_spoken(descriptor: int) -> bool:
    try:
        return os.read(descriptor, 1) != b""
    except BlockingIOError:
        return False


def cause_of(exitcode: int) -> str:
    """How a process ended, in words."""
    return f"exit code {exitcode}" if exitcode >= 0 else signal.Signals(-exitcode).name
