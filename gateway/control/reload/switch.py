"""`Switch`: puts rules, certificates and keys in force in every worker of this gateway.

It takes two steps. Every worker reads the copy of the rule files, the certificates and the keys, and replies that it
has, and that they are the same (prepare). Then the copy is noted as in force, for workers that start later, and every
worker switches (commit). That is one assignment, and a request looks at the rules in force only once, so none is
decided by a mix of old and new rules. Certificates are used for new connections.

Buckets are not touched. What was spent stays spent: a bucket's debt is converted when it is next charged.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import NamedTuple

from gateway.config.diagnostic import ConfigError
from gateway.config.key_material import KeyMaterial, KeyMaterialBook
from gateway.control.reload.snapshot import Snapshots
from gateway.control.reload.worker_channel import Message, Workers, WorkerUnresponsiveError
from gateway.limiter.limiter import Limiter
from gateway.limits.rules import RuleBook, Rules
from gateway.telemetry.log import Log
from gateway.telemetry.metrics import Metrics


class FilesDifferError(Exception):
    """A worker has read other certificates or keys than the one that reloads."""


class _Prepared(NamedTuple):
    """What the next commit applies."""

    rules: Rules
    material: KeyMaterial


class Switch:
    """Puts rules, certificates and keys in force.

    Args:
        snapshots: Copies of the rule files.
        workers: The other workers.
        book: The rules in force.
        material: The certificates and keys in force.
        limiter: Forgets what it knows of buckets when rules change.
        metrics: Show the rules in force.
        log: Of this process.
        since: When the gateway started, in ISO 8601.

    Attributes:
        since: Since when the rules in force are in force, in ISO 8601.
    """

    def __init__(
        self,
        snapshots: Snapshots,
        workers: Workers,
        book: RuleBook,
        material: KeyMaterialBook,
        limiter: Limiter,
        metrics: Metrics,
        log: Log,
        since: str,
    ) -> None:
        self._snapshots = snapshots
        self._workers = workers
        self._book = book
        self._material = material
        self._limiter = limiter
        self._metrics = metrics
        self._log = log
        self.since = since
        self._prepared: dict[str, _Prepared] = {}

    @asynccontextmanager
    async def following(self) -> AsyncIterator[None]:
        """Apply the rules that the other workers have in force, and follow their reloads while the block runs."""
        async with self._workers.listening(self._handle):
            in_force = self._snapshots.in_force()
            if in_force is not None:
                await self._commit(*in_force)
            yield

    async def prepare(self, name: str, rules: Rules, material: KeyMaterial) -> None:
        """Have every worker read a copy.

        Raises:
            WorkerUnresponsiveError: one could not.
        """
        self._prepared = {name: _Prepared(rules, material)}
        # What stays as it is need not be read again.
        digest = "" if material is self._material.current else material.digest
        _check(await self._workers.ask({"do": "prepare", "name": name, "material": digest}))

    def abandon(self, name: str) -> None:
        """Forget a copy that was prepared."""
        self._prepared.pop(name, None)
        self._snapshots.drop(name)

    async def commit(self, name: str, digest: str) -> None:
        """Put a copy in force, with certificates and keys of a digest.

        Raises:
            WorkerUnresponsiveError: a worker may still use the old rules; this one does not.
        """
        since = self._snapshots.commit(name, digest)
        await self._commit(name, since, digest)
        _check(await self._workers.ask({"do": "commit", "name": name, "since": since, "material": digest}))

    async def _handle(self, message: Message) -> Message:
        """Do what another worker asks for. Returns the reply."""
        try:
            if message["do"] == "prepare":
                self._prepared = {message["name"]: await self._prepare(message["name"], message["material"])}
            else:
                await self._commit(message["name"], message["since"], message["material"])
        except Exception as error:  # noqa: BLE001 - whatever it is, the other has to know that it was not done
            self._log.failure("reload_failed", error)
            return {"error": f"a worker failed: {type(error).__name__}"}
        return {}

    async def _prepare(self, name: str, digest: str) -> _Prepared:
        """What another worker wants to apply.

        Raises:
            FilesDifferError: the files of certificates or keys have changed since it read them.
        """
        material = self._material.current
        if digest:
            material = await asyncio.to_thread(self._material.read)
            if material.digest != digest:
                raise FilesDifferError
        return _Prepared(await self._read(name), material)

    async def _catch_up(self, name: str, digest: str) -> _Prepared:
        """What is in force, for a worker that has not prepared it because it started later.

        The certificates and keys with which the gateway started are better than none, and than files that are unusable.
        """
        material = self._material.current
        if material.digest != digest:
            try:
                material = await asyncio.to_thread(self._material.read)
            except ConfigError as error:
                self._log.event("files_unusable", level="error", problems=[str(each) for each in error.problems])
        return _Prepared(await self._read(name), material)

    async def _commit(self, name: str, since: str, digest: str) -> None:
        prepared = self._prepared.pop(name, None)
        rules, material = await self._catch_up(name, digest) if prepared is None else prepared
        self._prepared.clear()
        self._material.replace(material)
        # No await from here on: overrides are applied concurrently.
        self._book.current = rules.at(self._limiter.clock()).with_overrides(self._book.current.overrides)
        self.since = since
        self._limiter.forget()
        self._metrics.rules(rules.revision, rules.endpoints, self._book.current.in_force)

    async def _read(self, name: str) -> Rules:
        return (await asyncio.to_thread(self._snapshots.read, name)).rules


def _check(replies: Sequence[Message]) -> None:
    for reply in replies:
        if "error" in reply:
            raise WorkerUnresponsiveError(reply["error"])
