"""`Fleet`: has every gateway on the same Redis reload, roll back or confirm its rules, and collects their results.

One hash in Redis holds, in ``seen:G``, when a worker of gateway G last polled, and, in ``request:T:Q``, the request Q
that was made in second T. Each request has a hash of its own, so that simultaneous requests do not affect each other:
``taken:G`` is written by the one worker of G that carries it out, and ``result:G`` is its result. Each script touches
one hash only, so all of it works in a Cluster, too. Each gateway reads its own files, and may reject them.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import uuid4

from gateway.auth.grant import Actor
from gateway.control.errors import ReloadFailedError
from gateway.redis.client import RedisClient, Reply, run_script
from gateway.redis.errors import StoreUnavailableError
from gateway.redis.scripts import Call, Script
from gateway.telemetry.log import Log

_POLL, _REQUEST, _MARK = (Script.of(f"{name}.lua", package=__package__) for name in ("poll", "request", "mark"))

_TIMEOUT = 15.0
"""Seconds that the other gateways may take."""

_COLLECT_INTERVAL = 0.05

CarryOut = Callable[[Actor, dict[str, Any]], Awaitable[dict[str, Any]]]
"""Carries out a request of another gateway for an actor. ``do`` says what it is; without it, it is a reload."""


class Fleet:
    """The gateways on one Redis, as a worker of one of them sees them.

    Args:
        redis: Where they meet; None with the memory store, and then there are no others.
        prefix: Of our keys.
        gateway: The name of this gateway, the same in all of its workers.
        carry_out: Carries out a request in this gateway. Returns the result, also of one that was rejected or failed.
        log: Of this process.

    Attributes:
        name: Of this gateway.
        poll: The call whose reply `hear` handles.
    """

    def __init__(self, redis: RedisClient | None, prefix: str, gateway: str, carry_out: CarryOut, log: Log) -> None:
        self._redis = redis
        self._key = f"{prefix}:reload"
        self.name = gateway
        self._present: list[str] = []
        self._do = carry_out
        self._log = log
        self._heard: set[str] | None = None
        self.poll = Call(_POLL, [self._key.encode()], [gateway], None)

    async def hear(self, reply: Reply | None) -> None:
        """Carry out what other gateways request. Never raises."""
        if reply is None or isinstance(reply, StoreUnavailableError):
            self._present = []
            return  # the limiter reports that Redis is unavailable
        try:
            requests, present = ([bytes(each).decode() for each in part] for part in reply)
            self._present = present
            await self._hear(requests)
        except StoreUnavailableError:
            return
        except Exception as error:  # noqa: BLE001 - the next request has to be heard
            self._log.failure("reload_failed", error)

    @property
    def present(self) -> list[str]:
        """The names of all gateways on the same Redis, as of a second ago; of this one alone without Redis."""
        return sorted({self.name, *self._present})

    async def _hear(self, reply: list[str]) -> None:
        requests = dict(zip(reply[::2], reply[1::2], strict=True))
        if self._heard is None:  # requests older than this worker have been carried out by others
            self._heard = set(requests)
        self._heard &= requests.keys()
        for name in sorted(requests.keys() - self._heard):
            self._heard.add(name)
            await self._carry_out(name, json.loads(requests[name]))

    async def _carry_out(self, name: str, request: dict[str, Any]) -> None:
        if await self._mark(name, "taken", "1"):
            result = await self._do(Actor(*request.pop("actor")), request)
            await self._mark(name, "result", json.dumps(result))

    async def _mark(self, name: str, mark: str, text: str) -> bool:
        """Write a field of a request in the name of this gateway. Returns whether it was not there already."""
        arguments = [f"{mark}:{self.name}", text]
        return await self._run(Call(_MARK, [f"{self._key}:{name}".encode()], arguments, 1)) == [1]

    async def ask_others(self, actor: Actor, request: dict[str, Any]) -> dict[str, Any]:
        """Have all other gateways do something. Returns the result of each by its name; None if there is none in time.

        Raises:
            ReloadFailedError: they cannot be asked.
        """
        if self._redis is None:
            return {}
        name = uuid4().hex
        text = json.dumps({"actor": list(actor), **request})
        try:
            # This gateway has done it already, so none of its workers may take the request.
            await self._mark(name, "taken", "1")
            reply = await self._run(Call(_REQUEST, [self._key.encode()], [name, text], None))
            present = [bytes(each).decode() for each in reply]
            return await self._collect(name, [each for each in present if each != self.name])
        except StoreUnavailableError:
            raise ReloadFailedError(
                "this gateway is done, but Redis is unavailable, so the others cannot be asked"
            ) from None

    async def _collect(self, name: str, others: list[str]) -> dict[str, Any]:
        assert self._redis is not None  # noqa: S101 - `ask_others` has returned
        results: dict[str, Any] = dict.fromkeys(others)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + _TIMEOUT
        while None in results.values() and loop.time() < deadline:
            await asyncio.sleep(_COLLECT_INTERVAL)
            for other in others:
                if results[other] is None:
                    text = await self._redis.command("HGET", f"{self._key}:{name}", f"result:{other}")
                    results[other] = json.loads(text) if text else None
        return results

    async def _run(self, call: Call) -> list[Any]:
        assert self._redis is not None  # noqa: S101 - without Redis there is nothing to hear or to request
        return await run_script(self._redis, call)
