"""Rounds: all peers in turn, repeatedly, so that disturbances of the machine affect all of them alike."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Generic, NamedTuple, TypeVar

from benchmarks.kit.machine import OtherLoad

T = TypeVar("T")


class Rounds(NamedTuple, Generic[T]):
    """The results.

    Attributes:
        found: By name, one result for each round.
        failed: By name, why there is none.
    """

    found: dict[str, list[T]]
    failed: dict[str, str]


async def in_turn(
    runs: Mapping[str, Callable[[], Awaitable[T]]], rounds: int, other_load: OtherLoad, pause: float
) -> Rounds[T]:
    """Make each run once per round. A run that fails once is dropped: all that are compared were made equally often.

    Args:
        runs: By name.
        rounds: How many.
        other_load: Sampled before each round.
        pause: Seconds for which it is sampled.
    """
    result: Rounds[T] = Rounds({name: [] for name in runs}, {})
    for _ in range(rounds):
        other_load.sample(pause)
        for name, run in runs.items():
            if name in result.failed:
                continue
            try:
                result.found[name].append(await run())
            except RuntimeError as error:
                result.failed[name] = str(error)
                del result.found[name]
    return result
