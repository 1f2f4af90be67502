"""`OverrideFile`: overrides in a file; `FileOverrideStore`: such a file as the store of a gateway without Redis."""

import asyncio
import json
import os
from collections.abc import Mapping
from pathlib import Path

from gateway.auth.strict_json import StrictJsonError, parse_strict_json
from gateway.control.overrides.store import StoredOverrides
from gateway.redis.errors import StoreUnavailableError
from gateway.redis.scripts import Call


class OverrideFile:
    """Overrides by the digests of users. The file is replaced as a whole; only its owner may read it. Methods block.

    Args:
        file: Its path.
    """

    def __init__(self, file: Path) -> None:
        self.file = file

    def read(self) -> dict[str, str]:
        """The overrides; none if there is no file.

        Raises:
            OSError: it cannot be read.
            ValueError: it is damaged. The message quotes nothing of it.
        """
        try:
            texts = parse_strict_json(self.file.read_bytes())
        except FileNotFoundError:
            return {}
        if not isinstance(texts, dict) or not all(isinstance(text, str) for text in texts.values()):
            raise StrictJsonError("not a file of overrides")
        return texts

    def write(self, texts: Mapping[str, str]) -> None:
        """Replace the overrides. They are on disk when this returns.

        Raises:
            OSError: they cannot be written; the file is as it was.
        """
        folder = self.file.parent
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        new = self.file.with_suffix(f".{os.getpid()}")  # of this process alone: other workers may write, too
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as opened:
            opened.write(json.dumps(texts).encode())
            opened.flush()
            os.fsync(opened.fileno())
        new.replace(self.file)
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


class FileOverrideStore:
    """Overrides in a file that only this process changes.

    Args:
        file: The file.
    """

    def __init__(self, file: OverrideFile) -> None:
        self._file = file
        self._stored: StoredOverrides | None = None
        self.poll: Call | None = None

    async def load(self, known: int) -> StoredOverrides | None:
        stored = await self._current()
        return None if stored.version == known else stored

    async def _current(self) -> StoredOverrides:
        if self._stored is None:
            try:
                self._stored = StoredOverrides(1, await asyncio.to_thread(self._file.read))
            except (OSError, ValueError) as error:
                raise StoreUnavailableError(f"{self._file.file} cannot be read: {error}") from error
        return self._stored

    async def put(self, digest: str, text: str) -> None:
        await self._write({**(await self._current()).texts, digest: text})

    async def remove(self, digest: str, text: str) -> bool:
        texts = dict((await self._current()).texts)
        if texts.get(digest) != text:
            return False
        del texts[digest]
        await self._write(texts)
        return True

    async def restore(self, lost: StoredOverrides) -> None:
        """Does nothing: nobody else could lose them."""

    async def touch(self) -> None:
        """Does nothing: there are no other workers."""

    async def _write(self, texts: Mapping[str, str]) -> None:
        version = (await self._current()).version + 1
        try:
            await asyncio.to_thread(self._file.write, texts)
        except OSError as error:
            raise StoreUnavailableError(f"{self._file.file} cannot be written: {error.strerror}") from error
        self._stored = StoredOverrides(version, texts)
