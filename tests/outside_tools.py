"""Tools that tests need and that no wheel brings: what each tests, and how to get it.

A test says which it needs, and is skipped where that is not on the path; with REQUIRE_TOOLS=1 it fails instead:

    @pytest.mark.needs("promtool")
    def test_...

``python3 -m tests.outside_tools`` prints the Debian packages of those that are missing, for `.ci/run` to install; with
``--missing``, what is not tested without them, as `make test` does at its end. It needs nothing but Python.
"""

import shutil
import sys
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Tool:
    """A program from outside the package index.

    Attributes:
        program: What is looked for on the path.
        packages: Debian's that bring it, with a space between two.
        tests: What nothing but it tests: "whether ...".
    """

    program: str
    packages: str
    tests: str

    @property
    def is_missing(self) -> bool:
        return shutil.which(self.program) is None

    @property
    def absence(self) -> str:
        """What is not tested where it is missing, and how to get it."""
        return f"{self.program} is not installed; it tests {self.tests} (Debian: apt-get install {self.packages})"


_ALL = (
    Tool(
        "promtool", "prometheus", "whether Prometheus reads our metrics, alerts, dashboard queries and scrape settings"
    ),
    Tool("haproxy", "haproxy", "whether HAProxy in front, set up as documented, lets a client claim to be a user"),
    Tool("caddy", "caddy", "whether Caddy in front, set up as documented, lets a client claim to be a user"),
    Tool("go", "golang-go", "Go's HTTP server as an upstream: early responses, and https that closes its connections"),
    Tool("node", "nodejs", "Node's HTTP server as an upstream, and its keep-alive agent as a client"),
    Tool("zsh", "zsh", "what zsh completes with the script of `gateway completion`"),
    Tool("fish", "fish", "what fish completes with the script of `gateway completion`"),
    Tool("systemd-analyze", "systemd", "whether systemd reads the unit in deploy/, and how little it exposes"),
    Tool("unshare", "util-linux", "the gateway as process 1, and names from an /etc/hosts of its own"),
)
TOOLS = {tool.program: tool for tool in _ALL}
"""By program."""


def main(arguments: list[str]) -> str:
    """What the command prints."""
    if arguments == ["--missing"]:
        return "".join(f"Not tested: {tool.absence}\n" for tool in _ALL if tool.is_missing)
    return " ".join(sorted({package for tool in _ALL if tool.is_missing for package in tool.packages.split()})) + "\n"


if __name__ == "__main__":
    sys.stdout.write(main(sys.argv[1:]))
