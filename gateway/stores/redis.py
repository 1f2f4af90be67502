"""Buckets in Redis, shared by every process that asks it.

One connection carries one script call at a time (`Coalescer`), so an answer can only belong to the call before it. A
call that is given up takes its connection with it. Nothing is ever sent twice but a script that Redis said it did not
run (NOSCRIPT).
"""

from collections.abc import Sequence
from hashlib import sha1
from importlib.resources import files

from redis.asyncio import ConnectionPool
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import NoScriptError

from gateway.limits.bucket import Charge, Decision, Demand, judge
from gateway.stores.coalescer import Batch, Coalescer
from gateway.stores.port import StoreAwayError

SCRIPT = (files("gateway.stores") / "take.lua").read_bytes()
_SHA = sha1(SCRIPT, usedforsecurity=False).hexdigest().encode()


class RedisStore:
    """Buckets in one Redis server, or the master of a group of them.

    Args:
        pool: Where connections come from; it must not retry.
        prefix: What our keys start with.
        deadline: Seconds that a check may wait.
    """

    __slots__ = ("_coalescer", "_connection", "_pool", "_prefix")

    def __init__(self, pool: ConnectionPool, *, prefix: str, deadline: float) -> None:
        self._pool = pool
        self._prefix = prefix.encode() + b":"
        self._connection: AbstractConnection | None = None
        self._coalescer = Coalescer(self._decide, deadline)

    async def take(self, demands: Sequence[Demand]) -> Decision:
        """Charge all enforced demands or none.

        Raises:
            StoreAwayError: there was no decision that can be trusted.
        """
        return await self._coalescer.take(demands)

    async def close(self) -> None:
        """Let the call under way finish, and disconnect."""
        await self._coalescer.close()
        await self._pool.disconnect()

    async def _decide(self, batch: Batch) -> list[Decision]:
        """Decide on several checks in one script call. The one place where what Redis does wrong becomes 'away'."""
        keys, arguments = _pack(batch, self._prefix)
        try:
            reply = await self._call(keys, arguments)
            return _unpack(batch, reply)
        except Exception as error:
            raise StoreAwayError(f"{type(error).__name__}: {error}") from error

    async def _call(self, keys: list[bytes], arguments: list[bytes]) -> list[int]:
        connection = self._connection
        if connection is None:
            connection = self._connection = await self._pool.get_connection()
        elif connection.is_connected and await connection.can_read():
            await connection.disconnect(nowait=True)  # closed while idle, or bytes that nobody asked for
        await connection.send_command(b"EVALSHA", _SHA, len(keys), *keys, *arguments)
        try:
            return await connection.read_response()  # type: ignore[no-any-return]
        except NoScriptError:
            await connection.send_command(b"EVAL", SCRIPT, len(keys), *keys, *arguments)
            return await connection.read_response()  # type: ignore[no-any-return]


def _pack(batch: Batch, prefix: bytes) -> tuple[list[bytes], list[bytes]]:
    """Keys and arguments of a call, as the script's header says: each bucket and each charge is sent once."""
    keys: dict[bytes, bytes] = {}
    charges: dict[int, tuple[bytes, Charge]] = {}
    checks: list[bytes] = []
    for demands in batch:
        checks.append(b"%d" % len(demands))
        for key, charge in demands:
            number = keys.get(key)
            if number is None:
                number = keys[key] = b"%d" % (len(keys) + 1)
            known = charges.get(id(charge))
            if known is None:
                known = charges[id(charge)] = (b"%d" % (len(charges) + 1), charge)
            checks += (number, known[0])
    arguments = [b"%d" % len(charges)]
    for _, charge in charges.values():
        quota = charge.quota
        arguments += (b"%d" % charge.due, b"%d" % quota.capacity, b"%d" % quota.interval, b"%d" % charge.enforced)
    return [prefix + key for key in keys], arguments + checks


def _unpack(batch: Batch, reply: list[int]) -> list[Decision]:
    """Decisions from what the script saw, by the rule it went by itself."""
    now, position, decisions = reply[0], 1, []
    for demands in batch:
        end = position + len(demands)
        decisions.append(judge(demands, reply[position:end], now))
        position = end
    return decisions
