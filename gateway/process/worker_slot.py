"""`WorkerSlot`: the place of one worker. When its worker exits or is replaced, the slot is filled again.

A worker is *starting* until it reports that it serves; then it is *serving*. One that is being replaced is *retiring*:
it accepts no more connections and exits when those it has are finished. Each slot has two sets of counters, of which a
worker uses one, so a third worker is not started before the first has exited.
"""

import os
import signal
from collections.abc import Callable
from dataclasses import dataclass

from gateway.process.reexec import InheritedWorker
from gateway.process.restart_backoff import RestartBackoff
from gateway.telemetry.metrics import Cause

_START_TIMEOUT = 60.0
"""Seconds a worker may take until it serves."""

_COUNTER_SETS = frozenset({0, 1})


class Child:
    """A child of this process, whichever program started it."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._exitcode: int | None = None

    @property
    def exitcode(self) -> int | None:
        """Its exit code, negative for a signal; None while it runs."""
        if self._exitcode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self._exitcode = os.waitstatus_to_exitcode(status)
        return self._exitcode


@dataclass(slots=True)
class SlotWorker:
    """A worker in a slot.

    Attributes:
        process: Its process.
        counter_set: Which of the slot's two sets of counters it uses.
        started: When, in seconds of the monotonic clock.
        ready: The descriptor on which it reports that it serves; None if the program before this one started it.
        deadline: When it is killed if it has not started or exited by then.
    """

    process: Child
    counter_set: int
    started: float
    ready: int | None
    deadline: float

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.process.pid

    @property
    def is_current(self) -> bool:
        """Whether this program started it, rather than the one before."""
        return self.ready is not None

    def send(self, signal_number: int) -> None:
        """Send it a signal."""
        if self.process.exitcode is None:
            os.kill(self.pid, signal_number)


class WorkerSlot:
    """The place of a worker.

    Args:
        number: The worker's number.
        start: Starts a worker with this number, set of counters and cause. Returns its process, and the descriptor on
            which it reports that it serves. Raises OSError when it cannot; it is called again later.
        log: Logs a message for the operator.
        stop_timeout: Seconds that a worker has to exit after it was told to.

    Attributes:
        number: As above.
        starting: The worker that was started and does not serve yet.
        serving: The worker that serves.
        retiring: The worker that was replaced and has not exited yet.
        backoff: Delays the start of the next worker, if the slot is empty.
    """

    def __init__(
        self,
        number: int,
        start: Callable[[int, int, Cause], tuple[Child, int]],
        log: Callable[[str], None],
        stop_timeout: float,
    ) -> None:
        self.number = number
        self.starting: SlotWorker | None = None
        self.serving: SlotWorker | None = None
        self.retiring: SlotWorker | None = None
        self.backoff = RestartBackoff()
        self._start = start
        self._log = log
        self._stop_timeout = stop_timeout
        self._cause: Cause = "start"

    @property
    def workers(self) -> list[SlotWorker]:
        """All workers that are not known to have exited."""
        return [worker for worker in (self.serving, self.starting, self.retiring) if worker is not None]

    @property
    def inheritable(self) -> list[InheritedWorker]:
        """The workers that would go on under another program."""
        return [
            InheritedWorker(self.number, worker.pid, worker.counter_set, worker.started, worker is self.retiring)
            for worker in (self.serving, self.retiring)
            if worker is not None and worker.process.exitcode is None  # else nobody could wait for it any more
        ]

    def adopt(self, inherited: InheritedWorker, now: float) -> None:
        """Take over a worker from the program before this one."""
        child = Child(inherited.pid)
        worker = SlotWorker(child, inherited.counter_set, inherited.started, None, now + self._stop_timeout)
        if inherited.retiring:
            self.retiring = worker
        else:
            self.serving = worker
            self._cause = "death"  # should it die before it is replaced

    def poll(self, now: float) -> None:
        """Note which workers have exited or begun to serve, and kill those that take too long."""
        if self.retiring is not None:
            self._poll_retiring(self.retiring, now)
        if self.serving is not None and self.serving.process.exitcode is not None:
            self._record_exit(self.serving, now)
            self.serving = None
        if self.starting is not None:
            self._poll_starting(self.starting, now)

    def _poll_retiring(self, worker: SlotWorker, now: float) -> None:
        code = worker.process.exitcode
        if code is None:
            if now >= worker.deadline:
                self._log(
                    f"worker {self.number} (pid {worker.pid}) did not exit in {self._stop_timeout:.0f} s, killing it"
                )
                worker.send(signal.SIGKILL)
                worker.deadline = now + self._stop_timeout
            return
        if code:
            self._log(f"worker {self.number} (pid {worker.pid}) was replaced and ended with {describe_exit(code)}")
        self.retiring = None

    def _poll_starting(self, worker: SlotWorker, now: float) -> None:
        assert worker.ready is not None  # noqa: S101 - this program started it
        if worker.process.exitcode is None:
            if read_written(worker.ready):
                self._promote(worker, now)
            elif now >= worker.deadline:
                self._log(
                    f"worker {self.number} (pid {worker.pid}) does not serve after {_START_TIMEOUT:.0f} s, killing it"
                )
                worker.send(signal.SIGKILL)
                worker.deadline = now + _START_TIMEOUT
            return
        os.close(worker.ready)
        self._record_exit(worker, now)
        self.starting = None

    def _promote(self, worker: SlotWorker, now: float) -> None:
        assert worker.ready is not None  # noqa: S101 - this program started it
        os.close(worker.ready)
        self.starting, self._cause = None, "death"
        if self.serving is not None:
            self._log(f"worker {self.number} (pid {self.serving.pid}) is replaced by pid {worker.pid}")
            self.retire(now)
        self.serving = worker

    def retire(self, now: float) -> None:
        """Tell the serving worker to finish: others listen on its sockets."""
        if self.serving is not None:
            self.serving.send(signal.SIGUSR2)
            self.serving.deadline = now + self._stop_timeout
            self.retiring, self.serving = self.serving, None

    def _record_exit(self, worker: SlotWorker, now: float) -> None:
        lifetime = now - worker.started
        pause = self.backoff.ended(now, lifetime)
        self._cause = "death"
        self._log(
            f"worker {self.number} (pid {worker.pid}) ended with {describe_exit(worker.process.exitcode or 0)} "
            f"after {lifetime:.1f} s, starting a new one {f'in {pause:.1f} s' if pause else 'now'}"
        )

    def fill(self, now: float, *, replace: bool) -> None:
        """Start a worker if none serves, or if the one that serves is to be replaced.

        Args:
            now: Seconds of the monotonic clock.
            replace: Whether a worker that the program before this one started may be replaced now.
        """
        serving = self.serving
        is_kept = serving is not None and (serving.is_current or not replace)
        if self.starting is not None or self.backoff.until > now or is_kept:
            return
        free = _COUNTER_SETS - {worker.counter_set for worker in self.workers}
        if not free:
            return
        counter_set = min(free)
        try:
            process, ready = self._start(self.number, counter_set, self._cause if serving is None else "restart")
        except OSError as error:  # no room for a process, or no descriptor
            pause = self.backoff.failed(now)
            self._log(f"worker {self.number} cannot be started: {error}; trying again in {pause:.1f} s")
        else:
            self.starting = SlotWorker(process, counter_set, now, ready, now + _START_TIMEOUT)


def read_written(descriptor: int) -> bytes:
    """What a worker has written to a pipe; empty if it has written nothing."""
    try:
        return os.read(descriptor, 1024)
    except BlockingIOError:
        return b""


def describe_exit(code: int) -> str:
    """How a process ended, in words."""
    return f"exit code {code}" if code >= 0 else signal.Signals(-code).name
