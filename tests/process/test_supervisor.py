"""A supervisor that cannot start a worker leaks nothing."""

import os
from pathlib import Path

import pytest

from gateway.process.reexec import InheritedState
from gateway.process.service_manager import ServiceManager
from gateway.process.supervisor import Supervisor


def descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def test_a_fork_that_fails_keeps_no_descriptor(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else there would be none left after some hours without room for a process, room or not."""

    def fail() -> int:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    lifeline = os.pipe()
    state = InheritedState(sockets={}, counters=[], counters_layout="", lifeline=lifeline, folders=["/nowhere"])
    supervisor = Supervisor(1, lambda _task: None, lambda _text: None, 5.0, ServiceManager(None, print), state)
    before = descriptors()
    monkeypatch.setattr(os, "fork", fail)
    for _ in range(3):
        with pytest.raises(BlockingIOError):
            supervisor._start(0, 0, "start")
    assert descriptors() == before
    for end in (*lifeline, supervisor._reloads, supervisor._reloaded):
        os.close(end)
