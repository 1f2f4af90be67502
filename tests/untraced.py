"""Processes that coverage does not look into: it doubles their time, and its notes would count as their memory."""

import os


def untraced() -> dict[str, str]:
    """The environment of a process that makes load, or whose memory is measured."""
    return {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}
