"""`Fleet`: has every gateway on the same Redis reload its rules, and collects what they say.

In one hash in Redis ``seen:G`` is when a worker of gateway G last looked, and ``ask:T:Q`` is question Q, asked in
second T. Each question has a hash of its own, so that questions asked at once do not touch each other: ``taken:G`` says
that a worker of G has taken it, which is so for one of them only, and ``said:G`` is its answer. It is gone after a
minute. Each hash is used by itself, so all of it works in a Cluster, too. A gateway reads its own files, and refuses
them for itself.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any
from uuid import uuid4

from gateway.control.audit.writer import Actor, Commands
from gateway.control.http.problem import Problem
from gateway.control.reload.reloader import Reloader
from gateway.redis.cancellation import cancel_and_wait
from gateway.redis.errors import StoreUnavailableError
from gateway.telemetry.log import Log

_POLL = 0.25
_PATIENCE = 15.0
_LOOK = """\
redis.call('HSET', KEYS[1], 'seen:' .. ARGV[1], redis.call('TIME')[1])
local all, asked = redis.call('HGETALL', KEYS[1]), {}
for place = 1, #all, 2 do
  local name = string.match(all[place], '^ask:%d+:(.+)$')
  if name then asked[#asked + 1], asked[#asked + 2] = name, all[place + 1] end
end
return asked
"""
_ASK = """\
local now, here = redis.call('TIME')[1], {}
local all = redis.call('HGETALL', KEYS[1])
for place = 1, #all, 2 do
  local gateway, asked = string.match(all[place], '^seen:(.+)$'), string.match(all[place], '^ask:(%d+):')
  if gateway and now - all[place + 1] <= 3 then here[#here + 1] = gateway
  elseif not asked or now - asked > 60 then redis.call('HDEL', KEYS[1], all[place]) end
end
redis.call('HSET', KEYS[1], 'ask:' .. now .. ':' .. ARGV[1], ARGV[2])
return here
"""
_MARK = """\
if redis.call('HSETNX', KEYS[1], ARGV[1], ARGV[2]) == 0 then return 0 end
redis.call('PEXPIRE', KEYS[1], 60000)
return 1
"""


class Fleet:
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
        self._heard: set[str] | None = None

    @asynccontextmanager
    async def attending(self) -> AsyncIterator[None]:
        """Do what others ask while the block runs."""
        task = asyncio.create_task(self._run()) if self._redis else None
        try:
            yield
        finally:
            if task is not None:
                await cancel_and_wait(task)

    async def _run(self) -> None:
        while True:
            try:
                await self._hear()
            except StoreUnavailableError:
                pass  # what the limiter makes of that is in the log already
            except Exception as error:  # noqa: BLE001 - the next question has to be heard
                self._log.failure("reload_failed", error)
            await asyncio.sleep(_POLL)

    async def _hear(self) -> None:
        found = [bytes(each).decode() for each in await self._command("EVAL", _LOOK, 1, self._key, self._gateway)]
        asked = dict(zip(found[::2], found[1::2], strict=True))
        if self._heard is None:  # what was asked before this worker was there has been answered
            self._heard = set(asked)
        self._heard &= asked.keys()
        for name in sorted(asked.keys() - self._heard):
            self._heard.add(name)
            await self._obey(name, json.loads(asked[name]))

    async def _obey(self, name: str, question: dict[str, Any]) -> None:
        if not await self._mark(name, "taken", "1"):
            return
        try:
            said = await self._reloader.reload(Actor(*question["actor"]), dry_run=question["dry_run"])
            said["status"] = 200
        except Problem as problem:
            said = {"status": int(problem.status), "detail": problem.detail, **problem.more}
        await self._mark(name, "said", json.dumps(said))

    async def _mark(self, name: str, mark: str, text: str) -> bool:
        """Write beside a question, in the name of this gateway; whether nobody had."""
        return bool(await self._command("EVAL", _MARK, 1, f"{self._key}:{name}", f"{mark}:{self._gateway}", text))

    async def ask(self, actor: Actor, *, dry_run: bool) -> dict[str, Any]:
        """Have all other gateways reload. Returns what each says, by its name; None for one that said nothing.

        Raises:
            Problem: 503; they cannot be asked.
        """
        if self._redis is None:
            return {}
        name = uuid4().hex
        question = json.dumps({"actor": list(actor), "dry_run": dry_run})
        try:
            # It takes the question itself, having reloaded already: else another of its workers would do so once more.
            await self._mark(name, "taken", "1")
            found = await self._command("EVAL", _ASK, 1, self._key, name, question)
            here = [bytes(each).decode() for each in found]
            return await self._collect(name, [each for each in here if each != self._gateway])
        except StoreUnavailableError:
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
                    found = await self._command("HGET", f"{self._key}:{name}", f"said:{other}")
                    said[other] = json.loads(found) if found else None
        return said

    async def _command(self, *words: str | int) -> Any:
        assert self._redis is not None  # noqa: S101 - nobody comes here without
        return await self._redis.command(*words)
