"""`InheritedState`: what a gateway leaves to the program that takes its place, in a rolling restart.

The supervisor executes its own command line anew. So its process stays, with its id, its descriptors and its children;
all else is new: the program as it is on disk now, and the settings as they are written now. What stays has to be told,
and that is done in an environment variable.

Before that the same command line is rehearsed in a process of its own, which does all that can fail and ends.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import NamedTuple, NoReturn

_VARIABLE = "GATEWAY_HANDOVER"
_FORM = 1


class ReexecError(Exception):
    """This program cannot take over from the one that runs."""


class InheritedWorker(NamedTuple):
    """A worker that goes on serving.

    Attributes:
        number: Which it is.
        pid: Its process.
        turn: In which of its two tallies it counts.
        started: When, in seconds of the monotonic clock.
        leaving: Whether it has been told to end.
    """

    number: int
    pid: int
    turn: int
    started: float
    leaving: bool


@dataclass(frozen=True, slots=True)
class InheritedState:
    """What stays. All descriptors are this process' own.

    Attributes:
        sockets: Those that listen, by what they listen for.
        tallies: Where workers count.
        layout: How they do.
        lifeline: Both ends of the pipe by which workers know that the supervisor is there.
        folders: To be removed when no worker is left that uses them.
        workers: Those that run.
        rehearsal: Whether this is a rehearsal: nothing is to be taken over.
    """

    sockets: Mapping[str, Sequence[int]]
    tallies: Sequence[int]
    layout: str
    lifeline: tuple[int, int]
    folders: Sequence[str]
    workers: Sequence[InheritedWorker] = ()
    rehearsal: bool = False

    @classmethod
    def received(cls) -> "InheritedState | None":
        """What was left to this process; None when it takes nobody's place.

        Raises:
            HandoverError: it was written by a program that this one does not understand.
        """
        text = os.environ.pop(_VARIABLE, None)
        if text is None:
            return None
        said = json.loads(text)
        if said.pop("form") != _FORM:
            raise ReexecError("this version cannot take over from the one that runs: stop that one, and start this one")
        received = cls(**said)
        if not received.rehearsal:
            for descriptor in received._descriptors:
                os.set_inheritable(descriptor, False)
        return replace(
            received,
            lifeline=(received.lifeline[0], received.lifeline[1]),
            workers=[InheritedWorker(*each) for each in received.workers],
        )

    def rehearse(self) -> subprocess.Popen[bytes]:
        """Start a rehearsal. It says by its exit code whether this could be taken over, and aloud why not."""
        environment = _environment(replace(self, rehearsal=True))
        return subprocess.Popen(_command(), env=environment, stdin=subprocess.DEVNULL)  # noqa: S603 - our own

    def pass_on(self) -> NoReturn:
        """Become the program that takes over.

        Raises:
            OSError: it cannot be started; this one goes on.
        """
        for descriptor in self._descriptors:
            os.set_inheritable(descriptor, True)
        sys.stdout.flush()
        sys.stderr.flush()
        command = _command()
        os.execve(command[0], command, _environment(self))  # noqa: S606 - our own

    @property
    def _descriptors(self) -> list[int]:
        return [*(each for sockets in self.sockets.values() for each in sockets), *self.tallies, *self.lifeline]


def _environment(handover: InheritedState) -> dict[str, str]:
    return {**os.environ, _VARIABLE: json.dumps({"form": _FORM, **asdict(handover)})}


def _command() -> list[str]:
    return [sys.executable, *sys.orig_argv[1:]]
