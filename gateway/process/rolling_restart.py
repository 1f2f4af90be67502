"""`RollingRestart`: when the supervisor re-executes the program that is on disk, and when it rather does not.

A dry run comes first, in a process of its own (see `reexec`). If it fails, everything goes on as before. The new
program then replaces the workers, one after the other: `Supervisor` and `WorkerSlot`.
"""

import subprocess
from collections.abc import Callable

from gateway.process.worker_slot import describe_exit

_DRY_RUN_TIMEOUT = 60.0
"""Seconds after which a dry run is killed."""


class RollingRestart:
    """Takes requests to restart, and carries them out one after the other.

    Args:
        start_dry_run: Starts a dry run; raises OSError if it cannot be started.
        reexec: Re-executes the program. Returns only if there is no need any more; raises OSError if it cannot be
            executed.
        log: Logs a message for the operator.
    """

    def __init__(
        self,
        start_dry_run: Callable[[], subprocess.Popen[bytes]],
        reexec: Callable[[], None],
        log: Callable[[str], None],
    ) -> None:
        self._start_dry_run = start_dry_run
        self._reexec = reexec
        self._log = log
        self._requested = False
        self._dry_run: subprocess.Popen[bytes] | None = None
        self._deadline = 0.0

    def request(self, _signal: int, _frame: object) -> None:
        """Handle the signal that asks for a restart."""
        self._requested = True

    @property
    def dry_run_pid(self) -> int | None:
        """The process of the dry run that is under way; None if there is none."""
        return None if self._dry_run is None else self._dry_run.pid

    @property
    def deadline(self) -> float | None:
        """When `advance` has to be called even if no process has exited."""
        return None if self._dry_run is None else self._deadline

    def advance(self, now: float, *, may_replace: bool) -> None:
        """Go on with a restart, if there is something to do.

        Args:
            now: By the monotonic clock.
            may_replace: Whether the program may be replaced now: no worker is starting.
        """
        if self._dry_run is not None:
            code = self._dry_run.poll()
            if code is None:
                if now >= self._deadline:
                    self._dry_run.kill()
                    self._deadline = now + _DRY_RUN_TIMEOUT
            elif code:
                self._dry_run = None
                self._refuse(f"the dry run ended with {describe_exit(code)}")
            elif may_replace:
                self._dry_run = None
                self._replace()
        # Perhaps requested during a dry run that failed: what is on disk may have been repaired by then.
        if self._dry_run is None and self._requested and may_replace:
            self._requested = False
            self._begin(now)

    def _begin(self, now: float) -> None:
        self._log("restart: dry run with the program and the settings that are on disk now")
        try:
            self._dry_run = self._start_dry_run()
        except OSError as error:
            self._refuse(f"the dry run cannot be started: {error}")
        self._deadline = now + _DRY_RUN_TIMEOUT

    def _replace(self) -> None:
        try:
            self._reexec()
        except OSError as error:
            self._refuse(str(error))

    def _refuse(self, reason: str) -> None:
        self._log(f"restart refused: {reason}; everything goes on as before")

    def stop(self) -> None:
        """Kill a dry run that is under way."""
        if self._dry_run is not None:
            self._dry_run.kill()
            self._dry_run.wait()
