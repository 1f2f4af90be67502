"""Worker processes: started, replaced when they die, told to stop."""

import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess

Say = Callable[[str], None]

_HEALTHY = 10.0
"""Seconds after which a worker's death is an accident rather than part of a crash loop."""

_LONGEST_PAUSE = 30.0

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
"""Those that tell us something. They are blocked from the start until somebody is there to hear them, so that none is
lost and none ends a process halfway."""


class Supervisor:
    """Keeps a number of workers running until it is told to stop (SIGTERM, SIGINT). Passes SIGHUP on to one of them.

    A worker that dies is replaced at once. One that dies soon after its start, again and again, is replaced after
    pauses that double each time, and every death is said aloud.

    Args:
        count: How many workers.
        work: What worker number n does, in a process of its own; it returns when it gets SIGTERM, or when the
            descriptor it is given comes to its end: then we are gone.
        say: Where to tell the operator.
        patience: Seconds after SIGTERM before a worker is killed.
    """

    def __init__(self, count: int, work: Callable[[int, int], None], say: Say, patience: float) -> None:
        # Forked, so that workers inherit the listening sockets; there is no thread and no event loop in this process.
        self._context = multiprocessing.get_context("fork")
        self._work = work
        self._say = say
        self._patience = patience
        self._workers: dict[int, BaseProcess] = {}
        self._started: dict[int, float] = {}
        self._due = dict.fromkeys(range(count), 0.0)
        self._pauses = dict.fromkeys(range(count), 0.0)
        self._stopping = False
        self._lifeline, self._life = os.pipe()  # only we hold the end that is written to, and nothing is written

    def run(self) -> int:
        """Run until told to stop. Returns the exit code: 0, or 1 when a worker had to be killed."""
        read, write = os.pipe()
        os.set_blocking(write, False)
        woken = signal.set_wakeup_fd(write)
        before = {number: signal.signal(number, self._stop) for number in (signal.SIGTERM, signal.SIGINT)}
        before[signal.SIGHUP] = signal.signal(signal.SIGHUP, self._pass_on)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        try:
            while not self._stopping:
                self._start_due()
                self._rest(read)
                self._bury()
            return self._end()
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            signal.set_wakeup_fd(woken)
            os.close(read)
            os.close(write)

    def _stop(self, _signal: int, _frame: object) -> None:
        self._stopping = True

    def _pass_on(self, number: int, _frame: object) -> None:
        """Tell one worker; it tells the others."""
        for worker in list(self._workers.values())[:1]:
            if worker.pid is not None:
                os.kill(worker.pid, number)

    def _start_due(self) -> None:
        now = time.monotonic()
        for number, due in list(self._due.items()):
            if due <= now:
                del self._due[number]
                worker = self._context.Process(target=self._begin, args=(number,), name=f"worker-{number}")
                signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)  # the worker lets them in when it hears them
                worker.start()
                self._workers[number] = worker
                signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
                self._started[number] = now

    def _begin(self, number: int) -> None:
        """In the worker: let go of what is the supervisor's, then work."""
        signal.set_wakeup_fd(-1)
        for ours in SIGNALS:
            signal.signal(ours, signal.SIG_DFL)
        os.close(self._life)
        self._work(number, self._lifeline)

    def _rest(self, wakeup: int) -> None:
        """Sleep until a worker dies, a signal comes, or a worker is due to be started."""
        next_due = min(self._due.values(), default=None)
        timeout = None if next_due is None else max(0.0, next_due - time.monotonic())
        if wakeup in wait([wakeup, *(worker.sentinel for worker in self._workers.values())], timeout):
            os.read(wakeup, 1024)

    def _bury(self) -> None:
        now = time.monotonic()
        for number, worker in list(self._workers.items()):
            if worker.exitcode is None or self._stopping:
                continue
            del self._workers[number]
            lived = now - self._started[number]
            last = self._pauses[number]
            pause = 0.0 if lived >= _HEALTHY else min(_LONGEST_PAUSE, last * 2 if last else 0.1)
            self._pauses[number] = pause
            self._due[number] = now + pause
            self._say(
                f"worker {number} (pid {worker.pid}) ended with {_cause(worker.exitcode)} after {lived:.1f} s; "
                + (f"a new one starts in {pause:.1f} s" if pause else "a new one starts now")
            )

    def _end(self) -> int:
        for worker in self._workers.values():
            worker.terminate()
        deadline = time.monotonic() + self._patience
        code = 0
        for number, worker in self._workers.items():
            worker.join(max(0.0, deadline - time.monotonic()))
            if worker.exitcode is None:
                self._say(f"worker {number} (pid {worker.pid}) did not end in {self._patience:.0f} s and is killed")
                worker.kill()
                worker.join()
                code = 1
        return code


def _cause(exitcode: int) -> str:
    return f"exit code {exitcode}" if exitcode >= 0 else signal.Signals(-exitcode).name
