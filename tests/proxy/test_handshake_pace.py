"""Turns to begin a handshake: so many a second, in order, and none for those that left."""

import asyncio
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from gateway.proxy.handshake_pace import HandshakePace


@contextmanager
def pairs(number: int) -> Iterator[list[tuple[socket.socket, socket.socket]]]:
    with ExitStack() as stack:
        made = [socket.socketpair() for _ in range(number)]
        for pair in made:
            for each in pair:
                stack.enter_context(each)
        yield made


async def test_turns_come_in_order_at_the_rate() -> None:
    pace, loop, order = HandshakePace(100), asyncio.get_running_loop(), list[int]()

    async def take(number: int, ours: socket.socket) -> None:
        await pace.turn(ours)
        order.append(number)

    with pairs(12) as made:
        begun = loop.time()
        takers = [asyncio.create_task(take(number, ours)) for number, (ours, _) in enumerate(made)]
        await asyncio.sleep(0)
        assert pace.waiting >= 12 - 3, "those of 20 ms begin together"
        await asyncio.gather(*takers)
    assert loop.time() - begun >= (12 - 3) / 100
    assert order == list(range(12))
    assert pace.waiting == 0


async def test_one_that_left_or_gave_up_takes_no_turn() -> None:
    pace, loop = HandshakePace(1), asyncio.get_running_loop()
    with pairs(4) as made:
        (first, _), (second, its_client), (third, _), (fourth, _) = made
        await pace.turn(first)
        begun = loop.time()
        left, gave_up, stays = (asyncio.create_task(pace.turn(each)) for each in (second, third, fourth))
        await asyncio.sleep(0)
        its_client.close()
        gave_up.cancel()
        with pytest.raises(ConnectionAbortedError):
            await left
        await stays
        assert loop.time() - begun < 1.75, "one turn later, not three"
    with pytest.raises(asyncio.CancelledError):
        await gave_up
