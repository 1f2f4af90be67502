"""Unix sockets to listen on: how their files appear, are replaced when they are stale, and go.

A program that is killed leaves its socket's file behind, and nothing can be bound where a file is. A file is stale if
a connection to it is refused: nobody listens. Only such a file is removed, and only if it is a socket. The folder is
locked meanwhile (flock), so that of two gateways that start at the same time one finds that the other listens.
"""

import errno
import fcntl
import os
import socket
import stat
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from gateway.settings.listener import BACKLOG

_LOCK_TIMEOUT = 5.0
"""Seconds to wait for the lock, which is held for milliseconds."""

_LOCK_RETRY = 0.01


def renew(path: Path, mode: int, inherited: Sequence[socket.socket]) -> list[socket.socket]:
    """The inherited sockets, or a new one; also a new one beside them if their file has been removed.

    Args:
        path: Where.
        mode: Permissions of the file.
        inherited: Sockets that listen there.

    Raises:
        OSError: somebody else listens there, or something else is there, or the folder cannot be written to.
    """
    if inherited and _is_socket(path):
        if stat.S_IMODE(path.stat().st_mode) != mode:
            path.chmod(mode)
        return list(inherited)
    with _locked(path):
        _remove_stale(path)
        return [*inherited, _open(path, mode)]


def probe(path: Path) -> None:
    """Check that a socket can be listened on, and change nothing.

    Raises:
        OSError: as `renew`.
    """
    with _locked(path):
        _check_free(path)
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, "the folder cannot be written to")


def remove(path: Path) -> None:
    """Remove the file of a socket on which nobody listens any more. Any other file stays."""
    with suppress(OSError), _locked(path):
        _remove_stale(path)


def _open(path: Path, mode: int) -> socket.socket:
    opened = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o777 & ~mode)  # so that at no time anybody else can connect; there is one thread
    try:
        opened.bind(str(path))
        opened.listen(BACKLOG)
    except OSError:
        opened.close()
        raise
    finally:
        os.umask(before)
    opened.setblocking(False)
    return opened


def _remove_stale(path: Path) -> None:
    if _check_free(path):
        path.unlink()


def _check_free(path: Path) -> bool:
    """Check that nobody listens on a path. Returns whether a stale file is there.

    Raises:
        OSError: somebody does, or the file is no socket.
    """
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return False
    if not stat.S_ISSOCK(mode):
        raise FileExistsError(errno.EEXIST, "a file is there that is no socket; remove it, or choose another path")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.setblocking(False)
        try:
            client.connect(str(path))
        except ConnectionRefusedError:
            return True
        except BlockingIOError:  # its backlog is full
            pass
    raise OSError(errno.EADDRINUSE, "another program listens there")


def _is_socket(path: Path) -> bool:
    with suppress(FileNotFoundError):
        return stat.S_ISSOCK(path.lstat().st_mode)
    return False


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the lock on the folder of a path while the block runs.

    Raises:
        OSError: there is no such folder, or another program keeps it locked.
    """
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        deadline = time.monotonic() + _LOCK_TIMEOUT
        while True:
            try:
                fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise TimeoutError(errno.ETIMEDOUT, "another program keeps the folder locked") from None
                time.sleep(_LOCK_RETRY)
        yield
    finally:
        os.close(folder)
