"""The Lua scripts, and how their arguments are packed.

Arguments are JSON: measured as cheap as binary numbers (`struct`), at two thirds of the cost of one argument for each
number, and readable in MONITOR. Lists of whole numbers are written with `str`, which writes them as JSON has them, at a
fraction of what the encoder needs to start.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha1
from importlib.resources import files
from typing import Final, NamedTuple

from gateway.limits.charge import Demand
from gateway.limits.debt import Debt


class Script(NamedTuple):
    """A Lua script, known to Redis by the SHA-1 of its text."""

    text: str
    sha: str

    @classmethod
    def of(cls, *parts: str, package: str = __package__) -> "Script":
        """Load a script that is made of several files of a package."""
        text = "\n".join(files(package).joinpath(part).read_text("utf-8") for part in parts)
        return cls(text, sha1(text.encode(), usedforsecurity=False).hexdigest())


TAKE: Final = Script.of("bucket.lua", "take.lua")
RECONCILE: Final = Script.of("bucket.lua", "reconcile.lua")
HEARTBEAT: Final = Script.of("heartbeat.lua")


@dataclass(init=False, slots=True)
class Call:
    """One run of a script.

    Attributes:
        script: Which one.
        keys: The keys it touches.
        arguments: Its other arguments.
        numbers: How many numbers its reply has; None if it is any other list.
    """

    script: Final[Script]
    keys: Final[Sequence[bytes]]
    arguments: Final[Sequence[bytes | str | int]]
    numbers: Final[int | None]

    def __init__(
        self,
        script: Script, keys: Sequence[bytes], arguments: Sequence[bytes | str | int], numbers: int | None,
    ) -> None:  # fmt: skip
        self.script = script
        self.keys = keys
        self.arguments = arguments
        self.numbers = numbers


def call_take(
    prefix: bytes,
    checks: Sequence[Sequence[Demand]],
    now: int,
    slots: Callable[[dict[bytes, int]], str] = lambda _: "",
    untrue: Sequence[bytes] = (),
) -> Call:
    """A call of take.lua for several checks.

    Args:
        prefix: Prepended to each key.
        checks: The demands of each.
        now: About Redis' time, in microseconds since 1970: calendar quotas are sent with the periods around it.
        slots: What the script has to know of the buckets at these positions, which count requests at once.
        untrue: More of these buckets, in which this worker's number has to be written.
    """
    key_positions: dict[bytes, int] = {}
    charge_positions: dict[int, int] = {}  # by identity: checks share few charges, and comparing them takes longer
    charges: list[list[int]] = []
    packed: list[list[int]] = []
    at_once: dict[bytes, int] = {}
    count, counts_at_once = 0, False
    for demands in checks:
        numbers: list[int] = []
        for demand in demands:
            charge = demand.charge
            position = charge_positions.get(id(charge))
            if position is None:
                quota = charge.quota
                starts = () if quota.calendar is None else quota.calendar.around(now)
                enforced = 1 if charge.enforced else 0
                interval = 0 if quota.at_once else quota.interval
                counts_at_once = counts_at_once or quota.at_once
                charges.append([interval, charge.ceiling, charge.due, enforced, *starts])
                position = charge_positions[id(charge)] = len(charges)
            numbers += (key_positions.setdefault(demand.key, len(key_positions) + 1), position)
        packed.append(numbers)
        count += len(demands)
    if counts_at_once:  # looked for only then: no other request pays for it
        at_once = {
            each.key: key_positions[each.key] for demands in checks for each in demands if each.charge.quota.at_once
        }
    for key in untrue:
        at_once[key] = key_positions.setdefault(key, len(key_positions) + 1)
    arguments = [str([charges, packed]), *([slots(at_once)] if at_once else ())]
    return Call(TAKE, [prefix + key for key in key_positions], arguments, 1 + count)


def call_reconcile(prefix: bytes, debts: Sequence[Debt]) -> Call:
    """A call of reconcile.lua; `prefix` is prepended to each key."""
    numbers: list[int] = []
    for debt in debts:
        calendar = debt.quota.calendar
        period = (0, 0) if calendar is None else (calendar.start(debt.at), calendar.end(debt.at))
        numbers += (debt.quota.interval, debt.quota.capacity, debt.due, debt.ceiling, debt.known_full_at, *period)
    return Call(RECONCILE, [prefix + debt.key for debt in debts], [str(numbers)], 1 + len(debts))


def call_heartbeat(fleet: bytes, worker: str, expiry: int, present_since: int) -> Call:
    """A call of heartbeat.lua; `fleet` is the key of the fleet."""
    return Call(HEARTBEAT, [fleet], [worker, expiry, present_since], None)
