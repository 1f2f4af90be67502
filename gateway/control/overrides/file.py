"""`OverrideFile`: overrides in a file; `FileOverrideStore`: such a file as the store of a gateway without Redis."""

import asyncio
import json
import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from gateway.auth.timestamps import now
from gateway.config.strict_json import StrictJsonError, parse_strict_json
from gateway.control.durable_file import replace_file
from gateway.control.overrides.store import NONE, StoredOverrides, Version
from gateway.redis.errors import StoreUnavailableError
from gateway.redis.scripts import Call

_VERSION = "version"
_HEAD = re.compile(rb'\{"version": "([0-9]{1,16})-([0-9]{1,16})"')
_LONGEST_HEAD = 64


class OverrideFile:
    """Overrides by the digests of their targets, and their version. Only its owner may read it. Methods block.

    It is one JSON object, each member on a line of its own; it is replaced as a whole.

    Args:
        file: Its path.
    """

    def __init__(self, file: Path) -> None:
        self.file = file

    def read(self) -> dict[bytes, bytes]:
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
        return {digest.encode(): text.encode() for digest, text in texts.items() if digest != _VERSION}

    def version(self) -> Version | None:
        """The version of the overrides; `NONE` if there is no file, None if it is not intact."""
        try:
            with self.file.open("rb") as opened:
                found = _HEAD.match(opened.read(_LONGEST_HEAD))
        except FileNotFoundError:
            return NONE
        except OSError:
            return None
        return Version(int(found[1]), int(found[2])) if found else None

    def write(self, version: Version, texts: Mapping[bytes, bytes]) -> None:
        """Replace the overrides. They are on disk when this returns.

        Raises:
            OSError: they cannot be written; the file is as it was.
        """
        replace_file(self.file, _pieces(version, texts))


def _pieces(version: Version, texts: Mapping[bytes, bytes]) -> Iterator[bytes]:
    yield b'{"version": "%b"' % str(version).encode()
    for digest, text in texts.items():  # one by one: all at once, they would hold up the other threads
        yield f',\n"{digest.decode()}": {json.dumps(text.decode())}'.encode()
    yield b"\n}\n"


class FileOverrideStore:
    """Overrides in a file that only this process changes.

    Args:
        file: The file.
    """

    def __init__(self, file: OverrideFile) -> None:
        self._file = file
        self._stored: StoredOverrides | None = None
        self._last: StoredOverrides | None = None
        self.poll: Call | None = None

    async def load(self, known: Version) -> StoredOverrides | None:
        stored = await self._current()
        if stored.version == known:
            return None
        is_next = (known.generation, known.number + 1) == stored.version
        return self._last if self._last is not None and is_next else stored

    async def _current(self) -> StoredOverrides:
        if self._stored is None:
            try:
                texts = await asyncio.to_thread(self._file.read)
            except (OSError, ValueError) as error:
                raise StoreUnavailableError(f"{self._file.file} cannot be read: {error}") from error
            self._stored = StoredOverrides(Version(now(), 0), texts)
        return self._stored

    async def put(self, digest: bytes, text: bytes) -> None:
        await self._change({digest: text}, ())

    async def remove(self, texts: Mapping[bytes, bytes]) -> Collection[bytes]:
        stored = (await self._current()).texts
        removed = [digest for digest, text in texts.items() if stored.get(digest) == text]
        if removed:
            await self._change({}, removed)
        return removed

    async def replace(self, texts: Mapping[bytes, bytes], known: Version) -> bool:
        if (await self._current()).version != known:
            return False
        await self._write(StoredOverrides(Version(max(now(), known.generation + 1), 0), texts))
        self._last = None
        return True

    async def restore(self, texts: Mapping[bytes, bytes]) -> None:
        """Does nothing: nobody else could lose them."""

    async def touch(self) -> None:
        """Does nothing: there are no other workers."""

    async def _change(self, texts: Mapping[bytes, bytes], removed: Collection[bytes]) -> None:
        (generation, number), stored, *_ = await self._current()
        version = Version(generation, number + 1)
        changed = {**stored, **texts}
        for digest in removed:
            del changed[digest]
        await self._write(StoredOverrides(version, changed))
        self._last = StoredOverrides(version, texts, removed, is_whole=False)

    async def _write(self, stored: StoredOverrides) -> None:
        try:
            await asyncio.to_thread(self._file.write, stored.version, stored.texts)
        except OSError as error:
            raise StoreUnavailableError(f"{self._file.file} cannot be written: {error.strerror}") from error
        self._stored = stored
