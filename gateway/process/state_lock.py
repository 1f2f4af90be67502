"""The lock on `control.state`: two gateways on one folder would take each other's overrides for their own.

It is a record lock (POSIX; see fcntl(2)), which belongs to the supervisor's process: workers do not inherit it, it
outlives a rolling restart as long as its descriptor does, and it ends with the process, however that ends.
"""

import fcntl
import os
from collections.abc import Mapping
from pathlib import Path

from gateway.config.operator_error import OperatorError

_FILE = "gateway.lock"


class StateLockError(OperatorError):
    """The folder is another gateway's, or cannot be used."""


def lock_state(folder: Path) -> int:
    """Lock a folder, which is made if it is missing. Returns the descriptor that holds the lock.

    Raises:
        StateLockError: another gateway uses it, or it cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(folder / _FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StateLockError(f"control.state: {folder} cannot be written: {error.strerror}") from error
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, b"%d\n" % os.getpid(), 0)
    except OSError as error:
        holder = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip()
        os.close(descriptor)
        if isinstance(error, BlockingIOError | PermissionError):
            raise StateLockError(
                f"control.state: {folder} is in use by another gateway (process {holder}); "
                "each gateway needs a folder of its own"
            ) from error
        raise StateLockError(f"control.state: {folder} cannot be locked: {error.strerror}") from error
    return descriptor


def check_state(folder: Path, held: Mapping[str, int]) -> None:
    """Check, in a dry run, that a folder could be locked by the process that holds `held`.

    Raises:
        StateLockError: it could not.
    """
    if str(folder) not in held:
        os.close(lock_state(folder))


def relock_state(folder: Path | None, held: Mapping[str, int]) -> dict[str, int]:
    """Lock a folder in a process that may hold locks already, and release all others.

    Returns:
        The descriptor by folder; empty without a folder.

    Raises:
        StateLockError: the folder cannot be locked.
    """
    for descriptor in held.values():  # closing any descriptor of a file ends the process' lock on it
        os.close(descriptor)
    return {str(folder): lock_state(folder)} if folder is not None else {}
