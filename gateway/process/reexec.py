"""`InheritedState`: what a gateway hands to the program that replaces it in a rolling restart.

The supervisor re-executes its own command line. Its process keeps its id, its descriptors and its children; everything
else is new: the program as it is on disk now, and the settings as they are written now. What is kept is described in an
environment variable.

Before that, the same command line is run in a process of its own as a dry run, which does everything that can fail and
exits.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import NamedTuple, NoReturn

from gateway.config.operator_error import OperatorError

_VARIABLE = "GATEWAY_INHERITED_STATE"
_FORMAT = 1


class ReexecError(OperatorError):
    """This program cannot take over from the one that runs."""


class InheritedWorker(NamedTuple):
    """A worker that goes on serving across the restart.

    Attributes:
        number: The number of its slot.
        pid: Its process.
        counter_set: Which of the slot's two sets of counters it uses.
        started: When it was started, in seconds of the monotonic clock.
        retiring: Whether it has been told to finish.
    """

    number: int
    pid: int
    counter_set: int
    started: float
    retiring: bool


@dataclass(frozen=True, slots=True)
class InheritedState:
    """What is kept across a restart. All descriptors belong to this process.

    Attributes:
        sockets: Listening sockets, by listener.
        counters: Shared memory of the workers' counters.
        counters_layout: How that memory is laid out.
        lifeline: Both ends of the pipe that tells workers that the supervisor is alive.
        folders: Runtime folders, to be removed when no worker uses them any more.
        workers: Workers that are running.
        locks: Descriptors that hold the lock on a state folder, by folder.
        dry_run: Whether this is a dry run, in which nothing is taken over.
    """

    sockets: Mapping[str, Sequence[int]]
    counters: Sequence[int]
    counters_layout: str
    lifeline: tuple[int, int]
    folders: Sequence[str]
    workers: Sequence[InheritedWorker] = ()
    locks: Mapping[str, int] = field(default_factory=dict)
    dry_run: bool = False

    @classmethod
    def from_environment(cls) -> "InheritedState | None":
        """What this process inherited; None when it replaces no other program. Child processes do not inherit it.

        Raises:
            ReexecError: it was written by a version that this one does not understand.
        """
        text = os.environ.pop(_VARIABLE, None)
        if text is None:
            return None
        document = json.loads(text)
        if document.pop("format", None) != _FORMAT:
            raise ReexecError("this version cannot take over from the running one: stop that one, then start this")
        state = cls(**document)
        if not state.dry_run:
            for descriptor in state._descriptors:
                os.set_inheritable(descriptor, False)
        return replace(
            state,
            lifeline=(state.lifeline[0], state.lifeline[1]),
            workers=[InheritedWorker(*each) for each in state.workers],
        )

    def start_dry_run(self) -> subprocess.Popen[bytes]:
        """Start a dry run. Its exit code says whether this state could be taken over; why not goes to its stderr."""
        environment = _environment(replace(self, dry_run=True))
        return subprocess.Popen(_command(), env=environment, stdin=subprocess.DEVNULL)  # noqa: S603 - our own

    def reexec(self) -> NoReturn:
        """Become the program that takes over.

        Raises:
            OSError: it cannot be executed; this one goes on.
        """
        for descriptor in self._descriptors:
            os.set_inheritable(descriptor, True)
        sys.stdout.flush()
        sys.stderr.flush()
        command = _command()
        os.execve(command[0], command, _environment(self))  # noqa: S606 - our own

    @property
    def _descriptors(self) -> list[int]:
        sockets = [each for opened in self.sockets.values() for each in opened]
        return [*sockets, *self.counters, *self.lifeline, *self.locks.values()]


def _environment(state: InheritedState) -> dict[str, str]:
    return {**os.environ, _VARIABLE: json.dumps({"format": _FORMAT, **asdict(state)})}


def _command() -> list[str]:
    arguments = sys.orig_argv[1:]
    # The interpreter is the one that the script names now: an upgrade may have moved a link to another environment.
    return arguments if _is_script(arguments[0]) else [sys.executable, *arguments]


def _is_script(path: str) -> bool:
    try:
        with Path(path).open("rb") as file:
            return os.access(path, os.X_OK) and file.read(2) == b"#!"
    except OSError:
        return False
