"""A worker's slot: filled, kept, and handed to a successor. The processes are real, and only wait for signals."""

import os
import signal
from collections.abc import Iterator

import pytest

from gateway.process import worker_slot
from gateway.process.reexec import InheritedWorker
from gateway.process.worker_slot import WorkerSlot
from gateway.telemetry.metrics import Cause


class Child(worker_slot.Child):
    """A process that goes on after SIGUSR2, as a busy worker does, and the pipe on which it could report."""

    def __init__(self) -> None:
        super().__init__(os.posix_spawn("/bin/sleep", ["sleep", "60"], {}, setsigmask=[signal.SIGUSR2]))
        self.ready, self._write = os.pipe()
        os.set_blocking(self.ready, False)

    def speak(self) -> None:
        os.write(self._write, b".")

    def die(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        self.gone()

    def gone(self) -> int:
        if self._exitcode is None:
            self._exitcode = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return self._exitcode

    def close(self) -> None:
        os.close(self._write)
        if self.exitcode is None:
            self.die()


class Stage:
    """A slot, the workers that were started in it, and what it logged."""

    def __init__(self) -> None:
        self.children: list[Child] = []
        self.started: list[tuple[int, Cause]] = []
        self.said: list[str] = []
        self.slot = WorkerSlot(3, self._start, self.said.append, 5.0)

    def _start(self, number: int, counter_set: int, cause: Cause) -> tuple[worker_slot.Child, int]:
        assert number == 3
        self.started.append((counter_set, cause))
        self.children.append(Child())
        return self.children[-1], self.children[-1].ready

    def round(self, now: float, *, replace: bool = False) -> None:
        self.slot.poll(now)
        self.slot.fill(now, replace=replace)


@pytest.fixture
def stage() -> Iterator[Stage]:
    made = Stage()
    yield made
    for child in made.children:
        child.close()


def test_a_worker_serves_when_it_says_so(stage: Stage) -> None:
    stage.round(100)
    assert stage.slot.inheritable == []
    stage.children[0].speak()
    stage.round(101)
    assert [worker.pid for worker in stage.slot.inheritable] == [stage.children[0].pid]
    stage.round(102, replace=True)
    assert stage.started == [(0, "start")]


def test_one_that_dies_again_and_again_is_replaced_after_longer_and_longer_pauses(stage: Stage) -> None:
    now = 100.0
    for pause in (0.1, 0.2, 0.4, 0.8):
        stage.round(now)
        stage.children[-1].die()
        stage.round(now + 1)
        assert stage.slot.backoff.until == pytest.approx(now + 1 + pause)
        now = stage.slot.backoff.until
    assert "worker 3 (pid " in stage.said[-1]
    assert stage.said[-1].endswith("ended with SIGKILL after 1.0 s, starting a new one in 0.8 s")
    stage.round(now)
    stage.children[-1].die()
    stage.round(now + 11)
    assert stage.said[-1].endswith("after 11.0 s, starting a new one now")
    assert [cause for _, cause in stage.started] == ["start", *["death"] * 5]


def test_one_that_cannot_be_started_is_tried_again_after_longer_and_longer_pauses() -> None:
    def fail(_number: int, _counter_set: int, _cause: Cause) -> tuple[worker_slot.Child, int]:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    said: list[str] = []
    slot = WorkerSlot(3, fail, said.append, 5.0)
    now = 100.0
    for pause in (0.1, 0.2, 0.4):
        slot.fill(now, replace=False)
        assert slot.backoff.until == pytest.approx(now + pause)
        slot.fill(now, replace=False)
        now = slot.backoff.until
    assert (slot.workers, len(said)) == ([], 3)
    assert said[-1].endswith("Resource temporarily unavailable; trying again in 0.4 s")


def test_one_that_does_not_serve_in_time_is_killed(stage: Stage) -> None:
    stage.round(100)
    stage.round(161)
    assert stage.children[0].gone() == -signal.SIGKILL
    stage.round(161)
    assert "does not serve after 60 s" in stage.said[0]
    assert stage.started[-1] == (0, "death")


def test_one_that_was_left_to_us_goes_when_another_serves_and_is_killed_if_it_stays(stage: Stage) -> None:
    old = Child()
    stage.children.append(old)
    stage.slot.adopt(InheritedWorker(3, old.pid, 0, 50.0, retiring=False), 100)
    stage.round(100)
    assert stage.started == []
    stage.round(100, replace=True)
    assert stage.started == [(1, "restart")]
    assert old.exitcode is None
    stage.children[-1].speak()
    stage.round(101)
    assert stage.said == [f"worker 3 (pid {old.pid}) is replaced by pid {stage.children[-1].pid}"]
    assert stage.slot.inheritable == [
        InheritedWorker(3, stage.children[-1].pid, 1, 100, retiring=False),
        InheritedWorker(3, old.pid, 0, 50.0, retiring=True),
    ]


def test_one_that_does_not_leave_is_killed(stage: Stage) -> None:
    deaf = Child()
    stage.slot.adopt(InheritedWorker(3, deaf.pid, 1, 50.0, retiring=True), 100)
    stage.round(104)
    assert deaf.exitcode is None
    stage.round(105)
    assert stage.said == [f"worker 3 (pid {deaf.pid}) did not exit in 5 s, killing it"]
    deaf.gone()
    deaf.close()


def test_the_third_waits_until_the_first_has_ended(stage: Stage) -> None:
    serving, leaving = Child(), Child()
    stage.children += [serving, leaving]
    stage.slot.adopt(InheritedWorker(3, serving.pid, 0, 50.0, retiring=False), 100)
    stage.slot.adopt(InheritedWorker(3, leaving.pid, 1, 40.0, retiring=True), 100)
    stage.round(100, replace=True)
    assert stage.started == []
    os.kill(leaving.pid, signal.SIGKILL)
    os.waitid(os.P_PID, leaving.pid, os.WEXITED | os.WNOWAIT)
    stage.round(101, replace=True)
    assert stage.started == [(1, "restart")]
    leaving._exitcode = -signal.SIGKILL


def test_one_that_is_known_to_have_ended_is_not_left_to_the_next_program(stage: Stage) -> None:
    """Nobody could wait for it any more."""
    stage.round(100)
    stage.children[0].speak()
    stage.round(101)
    stage.children[0].die()
    assert stage.slot.inheritable == []
