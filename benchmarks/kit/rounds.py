"""Rounds: everybody in turn, again and again, so that whatever disturbs the machine disturbs all alike."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Generic, NamedTuple, TypeVar

from benchmarks.kit.machine import Neighbours

T = TypeVar("T")


class Rounds(NamedTuple, Generic[T]):
    """What came of them.

    Attributes:
        found: By name, one figure a round.
        failed: By name, why there is none.
    """

    found: dict[str, list[T]]
    failed: dict[str, str]


async def in_turn(
    runs: Mapping[str, Callable[[], Awaitable[T]]], rounds: int, neighbours: Neighbours, pause: float
) -> Rounds[T]:
    """Run each once a round. Who fails once is out: what is compared was measured as often.

    Args:
        runs: By name.
        rounds: How many.
        neighbours: Are looked at before each round.
        pause: Seconds to look at them.
    """
    result: Rounds[T] = Rounds({name: [] for name in runs}, {})
    for _ in range(rounds):
        neighbours.look(pause)
        for name, run in runs.items():
            if name in result.failed:
                continue
            try:
                result.found[name].append(await run())
            except RuntimeError as error:
                result.failed[name] = str(error)
                del result.found[name]
    return result
