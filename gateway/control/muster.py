"""`Muster`: has every gateway on the same Redis reload its rules, and collects what they say.

All of it is one hash in Redis, so that it works in a Cluster, too: ``ask`` is the latest question; ``seen:G`` is when a
worker of gateway G last looked; ``taken:Q:G`` says that a worker of G has taken question Q, which is so for one of them
only; ``said:Q:G`` is its answer. A gateway reads its own files, and refuses them for itself.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any
from uuid import uuid4

from gateway.control.audit import Actor, Commands
from gateway.control.problem import Problem
from gateway.control.reload import Reloader
from gateway.stores.background import end
from gateway.stores.port import StoreAwayError
from gateway.telemetry.log import Log

_POLL = 0.25
_PATIENCE = 15.0
_LOOK = """\
redis.call('HSET', KEYS[1], 'seen:' .. ARGV[1], redis.call('TIME')[1])
return redis.call('HGET', KEYS[1], 'ask')
"""
_ASK = """\
local now, here = tonumber(redis.call('TIME')[1]), {}
local all = redis.call('HGETALL', KEYS[1])
for place = 1, #all, 2 do
  local gateway = string.match(all[place], '^seen:(.+)$')
  if gateway and now - tonumber(all[place + 1]) <= 3 then here[#here + 1] = gateway
  else redis.call('HDEL', KEYS[1], all[place]) end
end
redis.call('HSET', KEYS[1], 'ask', ARGV[1], 'taken:' .. ARGV[2], 1)
return here
"""


class Muster:
    """The gateways on one Redis, seen by a worker of one of them.

    Args:
        redis: Runs commands; None with the memory store, and then there are no others.
        prefix: What our keys start with.
        gateway: The name of this gateway, the same in all of its workers.
        reloader: Reloads this gateway.
        log: Is told what went wrong.
    """

    def __init__(self, redis: Commands | None, prefix: str, gateway: str, reloader: Reloader, log: Log) -> None:
        self._redis = redis
        self._key = f"{prefix}:muster"
        self._gateway = gateway
        self._reloader = reloader
        self._log = log
        self._heard: bytes | None = None

    @asynccontextmanager
    async def attending(self) -> AsyncIterator[None]:
        """Do what others ask while the block runs."""
        task = asyncio.create_task(self._run()) if self._redis else None
        try:
            yield
        finally:
            if task is not None:
                await end(task)

    async def _run(self) -> None:
        is_first = True
        while True:
            try:
                question = await self._command("EVAL", _LOOK, 1, self._key, self._gateway)
                if question != self._heard:
                    self._heard = question
                    if not is_first:  # what was asked before this worker was there has been answered
                        await self._obey(json.loads(question))
                is_first = False
            except StoreAwayError:
                pass  # what the limiter makes of that is in the log already
            except Exception as error:  # noqa: BLE001 - the next question has to be heard
                self._log.failure("reload_failed", error)
            await asyncio.sleep(_POLL)

    async def _obey(self, question: dict[str, Any]) -> None:
        name = question["id"]
        if not await self._command("HSETNX", self._key, f"taken:{name}:{self._gateway}", 1):
            return
        try:
            said = await self._reloader.reload(Actor(*question["actor"]), dry_run=question["dry_run"])
            said["status"] = 200
        except Problem as problem:
            said = {"status": int(problem.status), "detail": problem.detail, **problem.more}
        await self._command("HSET", self._key, f"said:{name}:{self._gateway}", json.dumps(said))

    async def ask(self, actor: Actor, *, dry_run: bool) -> dict[str, Any]:
        """Have all other gateways reload. Returns what each says, by its name; None for one that said nothing.

        Raises:
            Problem: 503; they cannot be asked.
        """
        if self._redis is None:
            return {}
        name = uuid4().hex
        question = json.dumps({"id": name, "actor": list(actor), "dry_run": dry_run})
        try:
            # It takes the question itself, having reloaded already: else another of its workers would do so once more.
            found = await self._command("EVAL", _ASK, 1, self._key, question, f"{name}:{self._gateway}")
            here = [bytes(each).decode() for each in found]
            return await self._collect(name, [each for each in here if each != self._gateway])
        except StoreAwayError:
            raise Problem(
                HTTPStatus.SERVICE_UNAVAILABLE, "this gateway is done; the others cannot be asked at present"
            ) from None

    async def _collect(self, name: str, others: list[str]) -> dict[str, Any]:
        said: dict[str, Any] = dict.fromkeys(others)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + _PATIENCE
        while None in said.values() and loop.time() < deadline:
            await asyncio.sleep(_POLL / 5)
            for other in others:
                if said[other] is None:
                    found = await self._command("HGET", self._key, f"said:{name}:{other}")
                    said[other] = json.loads(found) if found else None
        return said

    async def _command(self, *words: str | int) -> Any:
        assert self._redis is not None  # noqa: S101 - nobody comes here without
        return await self._redis.command(*words)
