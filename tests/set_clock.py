"""A process whose clock a test sets, by libfaketime. Its monotonic clock is the machine's.

clock = SetClock(tmp_path / "clock")
async with redis_server(environment=clock.environment):
    clock.step("-10s")
"""

from pathlib import Path

from tests.wheels import shipped


def off_by(offset: str) -> dict[str, str]:
    """The environment of a process whose clock is wrong by ``"+30m"``, ``"-10s"``, ``"+2d"``."""
    return {"FAKETIME": offset, **_preloaded()}


class SetClock:
    """A clock that is right until it is stepped.

    Args:
        file: That says how wrong it is; made here.

    Attributes:
        environment: Of the processes that follow it.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self.environment = {"FAKETIME_TIMESTAMP_FILE": str(file), "FAKETIME_NO_CACHE": "1", **_preloaded()}
        self.step("+0s")

    def step(self, offset: str) -> None:
        """Be wrong by so much from now on: ``"+2h"``, ``"-10s"``."""
        # In one go: a process that reads it meanwhile reads the old one or the new one.
        new = self._file.with_suffix(".new")
        new.write_text(f"{offset}\n")
        new.replace(self._file)


def _preloaded() -> dict[str, str]:
    library = shipped("libfaketime", "vendor/libfaketime/src/libfaketime.so.1")
    # Versions differ in which of the two they read.
    return {"LD_PRELOAD": str(library), "FAKETIME_DONT_FAKE_MONOTONIC": "1", "DONT_FAKE_MONOTONIC": "1"}
