"""`Supervisor`: worker processes are started, replaced when they die or in a rolling restart, and stopped."""

import os
import select
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple, NoReturn

from gateway.process.orphans import reap_orphans
from gateway.process.reexec import InheritedState
from gateway.process.rolling_restart import RollingRestart
from gateway.process.service_manager import ServiceManager
from gateway.process.worker_slot import Child, SlotWorker, WorkerSlot, read_written
from gateway.telemetry.metrics import Cause

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR2)
"""The signals that are handled. They are blocked until a handler is installed, so that none is lost and none ends a
process halfway."""

_KILL_TIMEOUT = 2.0
"""Seconds in which a worker that was killed is gone, and its sockets with it."""


APPLIED, REJECTED = b"+", b"-"
"""How a reload ended."""


class WorkerTask(NamedTuple):
    """What a worker is started with.

    Attributes:
        number: The number of its slot.
        counter_set: Which of the slot's two sets of counters it uses.
        cause: Why it was started.
        lifeline: A descriptor that reaches its end when the supervisor is gone.
        ready: A descriptor to write a byte to once the worker serves.
        reloaded: A descriptor to write `APPLIED` or `REJECTED` to when a reload that the supervisor asked for is over.
    """

    number: int
    counter_set: int
    cause: Cause
    lifeline: int
    ready: int
    reloaded: int


class Supervisor:
    """Keeps a number of workers running until SIGTERM or SIGINT. Passes SIGHUP on to one of them.

    A worker that dies is replaced at once. One that dies soon after its start, again and again, is replaced after
    pauses that double each time. Every exit is logged.

    On SIGUSR2 it re-executes the program that is on disk now (see `reexec`), which replaces the workers one by one: a
    new worker listens on the sockets of an old one before that one is told to retire. If the dry run fails, everything
    goes on as before.

    A second SIGTERM or SIGINT kills the workers that are still finishing requests.

    Args:
        count: How many workers.
        work: What a worker does, in a process of its own; it returns on SIGTERM or SIGUSR2, or when its lifeline ends.
        log: Logs a message for the operator.
        stop_timeout: Seconds after which a worker that was told to exit is killed.
        manager: Is notified when all workers serve, when the rules are reloaded, and when the gateway stops.
        state: What a restart hands over, except for the workers started here. The workers in it were inherited, and so
            were its folders except the last.
        stop_listening: Closes this process' listening sockets.
        drain_delay: Seconds for which workers still accept connections when the gateway stops. They have these besides
            `stop_timeout`, but not when they are replaced.
    """

    def __init__(
        self,
        count: int,
        work: Callable[[WorkerTask], None],
        log: Callable[[str], None],
        stop_timeout: float,
        manager: ServiceManager,
        state: InheritedState,
        stop_listening: Callable[[], None] = lambda: None,
        drain_delay: float = 0.0,
    ) -> None:
        self._work = work
        self._log = log
        self._stop_timeout = stop_timeout
        self._manager = manager
        self._state = state
        self._stop_listening = stop_listening
        self._drain_delay = drain_delay
        self._slots = [self._slot(number) for number in range(count)]
        self._surplus: list[WorkerSlot] = []
        self._is_announced = False
        self._has_served = bool(state.workers)
        self._stop_requested = False
        self._kill_requested = False
        self._reload_requested = False
        self._reloads, self._reloaded = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)  # workers write to the second
        self._reloading: SlotWorker | None = None
        self._restart = RollingRestart(self._start_dry_run, self._reexec, log)

    def _slot(self, number: int) -> WorkerSlot:
        return WorkerSlot(number, self._start, self._log, self._stop_timeout)

    @property
    def _all_slots(self) -> list[WorkerSlot]:
        return [*self._slots, *self._surplus]

    def run(self) -> int:
        """Run until told to stop. Returns the exit code: 0, or 1 when a worker had to be killed."""
        wakeup, write = os.pipe()
        os.set_blocking(wakeup, False)
        os.set_blocking(write, False)
        previous_wakeup = signal.set_wakeup_fd(write, warn_on_full_buffer=False)
        handlers = {
            signal.SIGTERM: self._request_stop,
            signal.SIGINT: self._request_stop,
            signal.SIGHUP: self._request_reload,
            signal.SIGUSR2: self._restart.request,
            signal.SIGCHLD: _wake_up,
        }
        previous = {number: signal.signal(number, handler) for number, handler in handlers.items()}
        self._adopt_workers()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        try:
            while not self._stop_requested:
                now = time.monotonic()
                self._poll(now)
                self._sleep(wakeup, now)
            return self._stop(wakeup)
        finally:
            self._remove_old_folders()
            for number, handler in previous.items():
                signal.signal(number, handler)
            signal.set_wakeup_fd(previous_wakeup)
            for descriptor in (wakeup, write, self._reloads, self._reloaded):
                os.close(descriptor)

    # Signals: each sets a flag, and wakes the loop.

    def _request_stop(self, _signal: int, _frame: object) -> None:
        self._kill_requested = self._stop_requested  # whoever asks twice does not want to wait
        self._stop_requested = True

    def _request_reload(self, _signal: int, _frame: object) -> None:
        self._reload_requested = True

    # Workers.

    def _adopt_workers(self) -> None:
        """Take over the inherited workers. Those for which there is no slot any more retire."""
        now = time.monotonic()
        slots = {slot.number: slot for slot in self._slots}
        for inherited in self._state.workers:
            if inherited.number not in slots:
                slots[inherited.number] = self._slot(inherited.number)
                self._surplus.append(slots[inherited.number])
            slots[inherited.number].adopt(inherited, now)
        for slot in self._surplus:
            slot.retire(now)

    def _poll(self, now: float) -> None:
        for slot in self._all_slots:
            slot.poll(now)
        self._restart.advance(now, may_replace=all(slot.starting is None for slot in self._slots))
        for slot in self._slots:
            # One at a time, so that most of them serve at any moment.
            slot.fill(now, replace=not any(other.starting for other in self._slots))
        self._announce_ready()
        self._finish_reload()
        if self._reload_requested and self._reloading is None:
            self._pass_on_reload()
        self._remove_old_folders()
        reap_orphans(self._own_children())

    def _own_children(self) -> set[int]:
        own = {worker.pid for slot in self._all_slots for worker in slot.workers}
        dry_run = self._restart.dry_run_pid
        return own if dry_run is None else own | {dry_run}

    def _announce_ready(self) -> None:
        """Tell the service manager once, when the last worker of this program begins to serve."""
        if not self._is_announced and all(slot.serving and slot.serving.is_current for slot in self._slots):
            self._is_announced = self._has_served = True
            self._manager.ready(len(self._slots))

    def _start(self, number: int, counter_set: int, cause: Cause) -> tuple[Child, int]:
        ready, write = os.pipe()
        os.set_blocking(ready, False)
        lifeline, lifeline_writer = self._state.lifeline

        def run_worker() -> None:
            """In the worker: let go of what is the supervisor's, then work."""
            signal.set_wakeup_fd(-1)
            for number_of_signal in (*SIGNALS, signal.SIGCHLD):
                signal.signal(number_of_signal, signal.SIG_DFL)
            for descriptor in (lifeline_writer, ready, self._reloads):
                os.close(descriptor)
            self._work(WorkerTask(number, counter_set, cause, lifeline, write, self._reloaded))

        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)  # the worker unblocks them when it has handlers
        try:
            # It inherits the listening sockets; there is no thread and no event loop in this process.
            pid = os.fork()
            if not pid:
                _run_and_exit(run_worker)
        except OSError:
            os.close(ready)
            raise
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
            os.close(write)
        return Child(pid), ready

    def _pass_on_reload(self) -> None:
        """Tell one worker, which tells the others. One started by this program: only they share a runtime folder."""
        for slot in self._slots:
            if slot.serving is not None and slot.serving.is_current:
                if self._has_served:
                    self._manager.reloading()
                self._reloading, self._reload_requested = slot.serving, False
                slot.serving.send(signal.SIGHUP)
                return

    def _finish_reload(self) -> None:
        """Note that the worker that was told to reload has done so, or refused to, or is gone."""
        result = read_written(self._reloads)
        if self._reloading is not None and (result or self._reloading.process.exitcode is not None):
            self._reloading = None
            if self._has_served:
                self._manager.ready(len(self._slots), reload_rejected=APPLIED not in result)

    def _sleep(self, wakeup: int, now: float) -> None:
        """Sleep until a signal arrives (SIGCHLD when a process exits), a worker serves, or a deadline passes."""
        slots = self._all_slots
        deadlines = [slot.backoff.until for slot in self._slots if slot.backoff.until > now]
        deadlines += [slot.starting.deadline for slot in slots if slot.starting]
        deadlines += [slot.retiring.deadline for slot in slots if slot.retiring]
        deadlines += [self._restart.deadline] if self._restart.deadline is not None else []
        timeout = max(0.0, min(deadlines) - time.monotonic()) if deadlines else None
        ready = [slot.starting.ready for slot in slots if slot.starting and slot.starting.ready is not None]
        _wait(wakeup, [*ready, self._reloads], timeout)

    def _remove_old_folders(self) -> None:
        """Remove inherited folders once no worker uses them any more."""
        *inherited, own = self._state.folders
        is_done = all(worker.is_current for slot in self._all_slots for worker in slot.workers)
        if inherited and (is_done or self._stop_requested):
            for folder in inherited:
                shutil.rmtree(folder, ignore_errors=True)
            self._state = replace(self._state, folders=[own])
            if is_done:
                self._log("restart: done, all old workers have exited")

    def _start_dry_run(self) -> subprocess.Popen[bytes]:
        return self._state.start_dry_run()

    def _reexec(self) -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)  # what arrives now is for the new program
        try:
            if not self._stop_requested:
                workers = [worker for slot in self._all_slots for worker in slot.inheritable]
                replace(self._state, workers=workers).reexec()
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)

    # Stopping.

    def _stop(self, wakeup: int) -> int:
        self._manager.stopping()
        self._stop_listening()
        self._restart.stop()
        running = [(slot.number, worker) for slot in self._all_slots for worker in slot.workers]
        for _, worker in running:
            worker.send(signal.SIGTERM)
        workers = [worker for _, worker in running]
        timeout = self._drain_delay + self._stop_timeout
        if _all_exit(workers, wakeup, timeout, lambda: self._kill_requested):
            return 0
        why = "was told to exit twice" if self._kill_requested else f"did not exit in {timeout:.0f} s"
        for number, worker in running:
            if worker.process.exitcode is None:
                self._log(f"worker {number} (pid {worker.pid}) {why}, killing it")
                worker.send(signal.SIGKILL)
        _all_exit(workers, wakeup, _KILL_TIMEOUT)
        return 1


def _run_and_exit(worker: Callable[[], None]) -> NoReturn:
    """Run a worker and exit: the rest of the stack is the supervisor's."""
    code = 1
    try:
        worker()
        code = 0
    finally:
        os._exit(code)


def _all_exit(
    workers: Sequence[SlotWorker], wakeup: int, timeout: float, give_up: Callable[[], bool] = lambda: False
) -> bool:
    """Wait for processes to exit. Returns whether all did in time, and before `give_up`."""
    deadline = time.monotonic() + timeout
    while any(worker.process.exitcode is None for worker in workers):
        remaining = deadline - time.monotonic()
        if remaining <= 0 or give_up():
            return False
        _wait(wakeup, (), remaining)
    return True


def _wait(wakeup: int, others: Sequence[int], timeout: float | None) -> None:
    """Wait until a descriptor is readable; drain the first."""
    poll = select.poll()
    for descriptor in (wakeup, *others):
        poll.register(descriptor, select.POLLIN)
    found = poll.poll(None if timeout is None else timeout * 1000)
    if any(descriptor == wakeup for descriptor, _ in found):
        os.read(wakeup, 1024)


def _wake_up(_signal: int, _frame: object) -> None:
    """A child has exited: the wakeup descriptor is readable, and that is enough."""
