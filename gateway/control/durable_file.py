"""`replace_file`: replaces a file as a whole, so that whoever reads it finds the old or the new content."""

import os
from collections.abc import Iterable
from pathlib import Path


def replace_file(file: Path, content: Iterable[bytes]) -> None:
    """Replace a file, which only its owner may read. It is on disk when this returns. Blocks.

    Args:
        file: Its path. The folder is made if it is missing.
        content: In pieces.

    Raises:
        OSError: it cannot be written; the file is as it was.
    """
    folder = file.parent
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    new = file.with_suffix(f".{os.getpid()}")  # of this process alone: other workers may write, too
    try:
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as opened:
            opened.writelines(content)
            opened.flush()
            os.fsync(opened.fileno())
        new.replace(file)
    except OSError:
        new.unlink(missing_ok=True)
        raise
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
