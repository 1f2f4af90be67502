"""Tools that tests need and that no wheel brings: what each tests, and how to get it.

A test says which it needs, and is skipped where that is not on the path; with REQUIRE_TOOLS=1 it fails instead:

    @pytest.mark.needs("promtool")
    def test_...

A run names at its end those that were missing. ``python3 -m tests.outside_tools`` prints the Debian packages that bring
all of them; that needs nothing but Python.
"""

import shutil
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Tool:
    """A program from outside the package index.

    Attributes:
        program: What is looked for on the path.
        packages: Debian's that bring it, with a space between two.
        tests: What it tests that nothing else does.
    """

    program: str
    packages: str
    tests: str

    @property
    def is_missing(self) -> bool:
        return shutil.which(self.program) is None

    @property
    def absence(self) -> str:
        """Why a test is skipped."""
        return f"{self.program} is not installed (Debian: apt-get install {self.packages})"


_ALL = (
    Tool(
        "promtool", "prometheus", "whether Prometheus reads our metrics, alerts, dashboard queries and scrape settings"
    ),
)
TOOLS = {tool.program: tool for tool in _ALL}
"""By program."""


if __name__ == "__main__":
    print(*sorted({package for tool in _ALL for package in tool.packages.split()}))  # noqa: T201 - this is its output
