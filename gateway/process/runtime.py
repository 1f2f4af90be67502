"""`Runtime`: what all workers of a gateway share while it runs; `WorkerContext`: what one of them is started with."""

import fcntl
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from socket import AF_UNIX, socket
from tempfile import TemporaryDirectory, gettempdir
from typing import NamedTuple

from gateway.auth.timestamps import timestamp
from gateway.config.operator_error import OperatorError
from gateway.telemetry.metrics import Cause

_PREFIX = "gateway-"
_MARK = "00000.sock"
"""A socket in each folder, made after the folder was locked."""


class Runtime(NamedTuple):
    """What all workers of a gateway share while it runs.

    Attributes:
        folder: For their sockets and their copies of the rule files; no other user may enter it. Its name is the
            gateway's, too.
        since: When the gateway started, in ISO 8601.
    """

    folder: Path
    since: str


class WorkerContext(NamedTuple):
    """What a worker is started with.

    Attributes:
        runtime: What it shares with the other workers.
        number: Which one it is.
        workers: How many there are.
        counter_set: 0 or 1: which of its two sets of counters it uses.
        cause: Why it was started.
    """

    runtime: Runtime
    number: int = 0
    workers: int = 1
    counter_set: int = 0
    cause: Cause = "start"


class RuntimeFolderError(OperatorError):
    """There is no place for the folder that the workers of a gateway share."""


@contextmanager
def open_runtime() -> Iterator[Runtime]:
    """Make a gateway's folder, and remove it when the block ends.

    Raises:
        RuntimeFolderError: there is no place for it.
    """
    with ExitStack() as stack:
        try:
            _remove_abandoned(Path(gettempdir()))
            made = TemporaryDirectory(prefix=_PREFIX, ignore_cleanup_errors=True)
            folder = Path(stack.enter_context(made))
            held = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            stack.callback(os.close, held)
            # The lock tells systemd-tmpfiles, and other gateways, that the folder is in use, however old its files are.
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with socket(AF_UNIX) as probe:  # the path may be too long for a socket, or the file system have none
                probe.bind(str(folder / _MARK))
        except OSError as error:
            raise RuntimeFolderError(
                f"no folder for the sockets on which workers meet: {error.strerror or error}; "
                "mount a tmpfs at /tmp, or set TMPDIR to a short path"
            ) from error
        yield Runtime(folder, timestamp())


def _remove_abandoned(place: Path) -> None:
    """Remove the folders of this user's gateways that were killed: those with our mark and without a lock.

    The supervisor and its workers share the lock, so that a worker that outlives its supervisor keeps the folder.
    """
    for folder in place.glob(f"{_PREFIX}*"):
        with suppress(OSError):
            if not _is_ours(folder.lstat(), stat.S_IFDIR) or not _is_ours((folder / _MARK).lstat(), stat.S_IFSOCK):
                continue
            held = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(held)


def _is_ours(found: os.stat_result, kind: int) -> bool:
    return found.st_uid == os.geteuid() and stat.S_IFMT(found.st_mode) == kind
