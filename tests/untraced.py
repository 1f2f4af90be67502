"""What coverage does not look into: it doubles the time of whatever runs, and its notes would count as memory."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager


def untraced() -> dict[str, str]:
    """The environment of a process that makes load, or whose memory is measured."""
    return {name: "" if name.startswith("COVERAGE") else value for name, value in os.environ.items()}


@contextmanager
def untraced_here() -> Iterator[None]:
    """Trace nothing in this thread, and no process that it starts, while the block runs."""
    tracer, environment = sys.gettrace(), {name: os.environ[name] for name in os.environ if name.startswith("COVERAGE")}
    sys.settrace(None)
    os.environ.update(dict.fromkeys(environment, ""))
    try:
        yield
    finally:
        os.environ.update(environment)
        sys.settrace(tracer)
