"""Faults through HTTP: a fleet of two gateways of two workers, with the books kept on every request."""

import re
import sys

from tests.kit.process import run
from tests.untraced import untraced


async def test_no_fault_loses_a_request_or_carries_one_out_twice_and_no_window_exceeds_its_bound() -> None:
    """The short form of `python -m benchmarks.fleet`; see `benchmarks/fleet/catalogue.py`."""
    short = (sys.executable, "-m", "benchmarks.fleet", "--short", "--seed", "1")
    code, output = await run(*short, deadline=300, env=untraced())
    assert code == 0, output
    assert re.search(r"1[0-9] faults in \d+ s, 0 with violations; seed 1", output), output
