"""The Lua scripts, and how questions and answers are packed for them.

JSON was measured against binary numbers (`struct`) and one argument a number: as cheap as the first, two thirds of the
second, and an operator can read it in MONITOR.
"""

from collections.abc import Sequence
from hashlib import sha1
from importlib.resources import files
from json import JSONEncoder
from typing import NamedTuple

from gateway.limits.bucket import Demand, Quota


class Script(NamedTuple):
    """A Lua script, known to Redis by the SHA-1 of its text."""

    text: str
    sha: str

    @classmethod
    def of(cls, *parts: str) -> "Script":
        """Read a script that is made of several files."""
        text = "\n".join(files(__package__).joinpath(part).read_text("utf-8") for part in parts)
        return cls(text, sha1(text.encode(), usedforsecurity=False).hexdigest())


TAKE = Script.of("bucket.lua", "take.lua")
RECONCILE = Script.of("bucket.lua", "reconcile.lua")
HEARTBEAT = Script.of("heartbeat.lua")


class Call(NamedTuple):
    """A question to a script.

    Attributes:
        script: Which.
        keys: Those it touches.
        arguments: What else it is told.
        numbers: How many numbers its answer has.
    """

    script: Script
    keys: Sequence[bytes]
    arguments: Sequence[bytes | str | int]
    numbers: int


class Debt(NamedTuple):
    """What a bucket has yet to be charged with.

    Attributes:
        key: The bucket.
        quota: Its size and speed.
        due: Microseconds of debt to add; negative to give back.
        known: An instant, in microseconds of the store's clock, before which it was known not to be full; or 0.
    """

    key: bytes
    quota: Quota
    due: int
    known: int = 0


_encode = JSONEncoder(separators=(",", ":")).encode


def call_take(prefix: bytes, checks: Sequence[Sequence[Demand]]) -> Call:
    """A call of take.lua for several checks. `prefix` stands before each key."""
    places: dict[bytes, int] = {}
    prices: dict[int, int] = {}  # a charge by its identity: checks share few of them, and to compare them takes longer
    charges = []
    packed = []
    asked = 0
    for demands in checks:
        numbers: list[int] = []
        for key, charge in demands:
            price = prices.get(id(charge))
            if price is None:
                quota = charge.quota
                charges.append((quota.interval, quota.capacity, charge.due, 1 if charge.enforced else 0))
                price = prices[id(charge)] = len(charges)
            numbers += (places.setdefault(key, len(places) + 1), price)
        packed.append(numbers)
        asked += len(demands)
    return Call(TAKE, [prefix + key for key in places], [_encode((charges, packed))], 1 + asked)


def call_reconcile(prefix: bytes, debts: Sequence[Debt]) -> Call:
    """A call of reconcile.lua. `prefix` stands before each key."""
    numbers: list[int] = []
    for debt in debts:
        numbers += (debt.quota.interval, debt.quota.capacity, debt.due, debt.known)
    return Call(RECONCILE, [prefix + debt.key for debt in debts], [_encode(numbers)], 1 + len(debts))


def call_heartbeat(fleet: bytes, worker: str, silence: int, since: int) -> Call:
    """A call of heartbeat.lua; `fleet` is the key of the fleet."""
    return Call(HEARTBEAT, [fleet], [worker, silence, since], 4)
