"""Worker processes: started, replaced when they die, relieved in a rolling restart, told to stop."""

import os
import select
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple, NoReturn

from gateway.process.reexec import InheritedState
from gateway.process.worker_slot import Child, Process, Say, SlotWorker, WorkerSlot, cause_of
from gateway.telemetry.metrics import Cause

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR2)
"""Those that tell us something. They are blocked from the start until somebody is there to hear them, so that none is
lost and none ends a process halfway."""

_LONGEST_REHEARSAL = 60.0

_LAST_WAIT = 2.0
"""Seconds in which a worker that was killed at the end is gone, and what it listened on with it."""


class Task(NamedTuple):
    """What a worker is started with.

    Attributes:
        number: Which it is.
        turn: In which of its two tallies it counts.
        cause: Why it was started.
        lifeline: A descriptor; when it comes to its end, the supervisor is gone.
        ready: A descriptor to write a byte to when it serves.
    """

    number: int
    turn: int
    cause: Cause
    lifeline: int
    ready: int


class Supervisor:
    """Keeps a number of workers running until it is told to stop (SIGTERM, SIGINT). Passes SIGHUP on to one of them.

    A worker that dies is replaced at once. One that dies soon after its start, again and again, is replaced after
    pauses that double each time, and every death is said aloud.

    On SIGUSR2 it becomes the program that is on disk now (see `handover`), which relieves the workers one after the
    other: a new one listens on the sockets of an old one before that one is told to leave. If the rehearsal fails,
    all goes on as it was.

    Args:
        count: How many workers.
        work: What a worker does, in a process of its own; it returns when it gets SIGTERM or SIGUSR2, or when its
            lifeline comes to its end.
        say: Where to tell the operator.
        patience: Seconds after which a worker that was told to end is killed.
        estate: What there is to hand over: all but the workers we start. The workers in it were left to us, and so
            were its folders but for the last.
    """

    def __init__(
        self, count: int, work: Callable[[Task], None], say: Say, patience: float, estate: InheritedState
    ) -> None:
        self._work = work
        self._say = say
        self._patience = patience
        self._estate = estate
        self._posts = [WorkerSlot(number, self._start, say, patience) for number in range(count)]
        self._former: list[WorkerSlot] = []
        self._stopping = False
        self._reload = False
        self._restart = False
        self._rehearsal: subprocess.Popen[bytes] | None = None
        self._rehearsal_ends = 0.0

    def run(self) -> int:
        """Run until told to stop. Returns the exit code: 0, or 1 when a worker had to be killed."""
        read, write = os.pipe()
        os.set_blocking(read, False)
        os.set_blocking(write, False)
        woken = signal.set_wakeup_fd(write, warn_on_full_buffer=False)
        handlers = {signal.SIGTERM: self._hear_stop, signal.SIGINT: self._hear_stop, signal.SIGHUP: self._hear_reload}
        handlers |= {signal.SIGUSR2: self._hear_restart, signal.SIGCHLD: _hear}
        before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
        self._adopt()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        try:
            while not self._stopping:
                now = time.monotonic()
                self._go_round(now)
                self._rest(read, now)
            return self._end(read)
        finally:
            self._tidy()
            for number, handler in before.items():
                signal.signal(number, handler)
            signal.set_wakeup_fd(woken)
            os.close(read)
            os.close(write)

    # Signals: each sets a flag, and wakes us up.

    def _hear_stop(self, _signal: int, _frame: object) -> None:
        self._stopping = True

    def _hear_reload(self, _signal: int, _frame: object) -> None:
        self._reload = True

    def _hear_restart(self, _signal: int, _frame: object) -> None:
        self._restart = True

    # Workers.

    def _adopt(self) -> None:
        """Take over the workers that were left to us. Those there is no post for may leave."""
        now = time.monotonic()
        posts = {post.number: post for post in self._posts}
        for left in self._estate.workers:
            if left.number not in posts:
                posts[left.number] = WorkerSlot(left.number, self._start, self._say, self._patience)
                self._former.append(posts[left.number])
            posts[left.number].adopt(left, now)
        for post in self._former:
            post.dismiss(now)

    def _go_round(self, now: float) -> None:
        for post in (*self._posts, *self._former):
            post.look(now)
        self._look_at_rehearsal(now)
        for post in self._posts:
            # One at a time, so that most of them serve at any moment.
            post.fill(now, relieve=not any(other.coming for other in self._posts))
        if self._reload:
            self._pass_on_reload()
        self._tidy()

    def _start(self, number: int, turn: int, cause: Cause) -> tuple[Process, int]:
        read, write = os.pipe()
        os.set_blocking(read, False)
        lifeline, life = self._estate.lifeline

        def begin() -> None:
            """In the worker: let go of what is the supervisor's, then work."""
            signal.set_wakeup_fd(-1)
            for ours in (*SIGNALS, signal.SIGCHLD):
                signal.signal(ours, signal.SIG_DFL)
            os.close(life)
            os.close(read)
            self._work(Task(number, turn, cause, lifeline, write))

        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)  # the worker lets them in when it hears them
        try:
            # So that it inherits the listening sockets; there is no thread and no event loop in this process.
            pid = os.fork()
            if not pid:
                _be(begin)
        except OSError:
            os.close(read)
            raise
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
            os.close(write)
        return Child(pid), read

    def _pass_on_reload(self) -> None:
        """Tell one worker; it tells the others. One that we started: what the others read is theirs alone."""
        for post in self._posts:
            if post.serving is not None and post.serving.is_ours:
                post.serving.tell(signal.SIGHUP)
                self._reload = False
                return

    def _rest(self, wakeup: int, now: float) -> None:
        """Sleep until a signal comes (SIGCHLD when a process ends), a worker serves, or time is up for something."""
        posts = (*self._posts, *self._former)
        due = [post.due for post in self._posts if post.due > now]
        due += [post.coming.deadline for post in posts if post.coming]
        due += [post.leaving.deadline for post in posts if post.leaving]
        due += [self._rehearsal_ends] if self._rehearsal else []
        timeout = max(0.0, min(due) - time.monotonic()) if due else None
        coming = [post.coming.ready for post in posts if post.coming and post.coming.ready is not None]
        _wait(wakeup, coming, timeout)

    def _tidy(self) -> None:
        """Remove what was left to us once nobody uses it any more."""
        *former, own = self._estate.folders
        holders = [holder for post in (*self._posts, *self._former) for holder in post.holders]
        is_done = all(holder.is_ours for holder in holders)
        if former and (is_done or self._stopping):
            for folder in former:
                shutil.rmtree(folder, ignore_errors=True)
            self._estate = replace(self._estate, folders=[own])
            if is_done:
                self._say("restart: done, no worker of before is left")

    # The program that takes our place.

    def _look_at_rehearsal(self, now: float) -> None:
        is_settled = all(post.coming is None for post in self._posts)
        if self._rehearsal is not None:
            code = self._rehearsal.poll()
            if code is None:
                if now >= self._rehearsal_ends:
                    self._rehearsal.kill()
                    self._rehearsal_ends = now + _LONGEST_REHEARSAL
            elif code:
                self._rehearsal = None
                self._refuse(f"its rehearsal ended with {cause_of(code)}")
            elif is_settled:
                self._rehearsal = None
                self._become_successor()
        # Perhaps asked for during a rehearsal that was refused: what is on disk may have been repaired by then.
        if self._rehearsal is None and self._restart and is_settled:
            self._restart = False
            self._rehearse(now)

    def _rehearse(self, now: float) -> None:
        self._say("restart: rehearsing it with the program and the settings that are on disk now")
        try:
            self._rehearsal = self._estate.rehearse()
        except OSError as error:
            self._refuse(f"its rehearsal cannot be started: {error}")
        self._rehearsal_ends = now + _LONGEST_REHEARSAL

    def _refuse(self, why: str) -> None:
        self._say(f"restart refused: {why}; all goes on as it was")

    def _become_successor(self) -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)  # what comes now is for the successor
        try:
            if not self._stopping:
                workers = [left for post in (*self._posts, *self._former) for left in post.left]
                replace(self._estate, workers=workers).pass_on()
        except OSError as error:
            self._refuse(str(error))
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)

    # The end.

    def _end(self, wakeup: int) -> int:
        if self._rehearsal is not None:
            self._rehearsal.kill()
            self._rehearsal.wait()
        left = [(post.number, holder) for post in (*self._posts, *self._former) for holder in post.holders]
        for _, holder in left:
            holder.tell(signal.SIGTERM)
        holders = [holder for _, holder in left]
        if _all_end(holders, wakeup, self._patience):
            return 0
        for number, holder in left:
            if holder.process.exitcode is None:
                self._say(f"worker {number} (pid {holder.pid}) did not end in {self._patience:.0f} s and is killed")
                holder.tell(signal.SIGKILL)
        _all_end(holders, wakeup, _LAST_WAIT)
        return 1


def _be(worker: Callable[[], None]) -> NoReturn:
    """Be a worker, and nothing else: what is above us on the stack is the supervisor's."""
    code = 1
    try:
        worker()
        code = 0
    finally:
        os._exit(code)


def _all_end(holders: Sequence[SlotWorker], wakeup: int, patience: float) -> bool:
    """Wait for the end of processes. Whether it came in time."""
    deadline = time.monotonic() + patience
    while any(holder.process.exitcode is None for holder in holders):
        left = deadline - time.monotonic()
        if left <= 0:
            return False
        _wait(wakeup, (), left)
    return True


def _wait(wakeup: int, others: Sequence[int], timeout: float | None) -> None:
    """Wait until there is something to read from a descriptor; take what there is from the first."""
    poll = select.poll()
    for descriptor in (wakeup, *others):
        poll.register(descriptor, select.POLLIN)
    found = poll.poll(None if timeout is None else timeout * 1000)
    if any(descriptor == wakeup for descriptor, _ in found):
        os.read(wakeup, 1024)


def _hear(_signal: int, _frame: object) -> None:
    """A child has ended: that it wakes us up is enough."""
