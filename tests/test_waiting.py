"""What the machine holds up is told from what takes long."""

import os
import signal
import subprocess
import time

import pytest

from tests.waiting import TooSlowError, at_most, lag

STOP = 0.3
"""Seconds."""


def be_stopped() -> None:
    """Have the machine hold up this process, in the middle of what it does."""
    later = subprocess.Popen(["sh", "-c", f"sleep {STOP}; kill -CONT {os.getpid()}"])
    os.kill(os.getpid(), signal.SIGSTOP)
    later.wait()


def compute() -> None:
    began = time.process_time()
    while time.process_time() < began + STOP:
        pass


async def test_what_holds_up_a_process_between_two_turns_of_its_loop_is_counted_at_once() -> None:
    async with lag() as held_up:
        began = time.monotonic()
        be_stopped()
        found = held_up.since(began)
        assert found > STOP / 2
        assert held_up.since(began) < found + STOP / 2, "once"


async def test_a_block_that_was_held_up_is_not_too_slow_and_one_that_computes_is() -> None:
    async with at_most(STOP / 3):
        be_stopped()
    with pytest.raises(TooSlowError):
        async with at_most(STOP / 3):
            compute()
