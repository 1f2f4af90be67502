"""`measure`: runs a command to its end, and says what it took."""

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple


class Finished(NamedTuple):
    """A command that has ended.

    Attributes:
        code: Its exit code.
        output: What it printed.
        cpu: Seconds of CPU.
        memory: Megabytes resident at most.
    """

    code: int
    output: str
    cpu: float
    memory: float


def measure(command: Sequence[str], folder: Path) -> Finished:
    """Run a command in a folder."""
    output = folder / "output"
    with output.open("w") as file:
        process = subprocess.Popen(command, stdout=file, cwd=folder)
        _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return Finished(process.returncode, output.read_text(), used.ru_utime + used.ru_stime, used.ru_maxrss / 1000)
