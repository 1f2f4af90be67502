"""Tools that tests need and that no wheel brings: what each tests, and how to get it.

A test says which it needs, and is skipped where that is not on the path; with REQUIRE_TOOLS=1 it fails instead, unless
this release of Debian is older than the first that has the tool:

    @pytest.mark.needs("promtool")
    def test_...

``python3 -m tests.outside_tools`` prints the Debian packages of those that are missing and can be had, for `.ci/run` to
install; with ``--modules``, the modules of Go to build; with ``--missing``, what is not tested without them, as `make
test` does at its end. It needs nothing but Python.
"""

import platform
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from math import inf


def debian_release(system: Mapping[str, str]) -> float:
    """The release that an os-release file describes; infinite for testing and unstable, and for what is not Debian."""
    return int(system["VERSION_ID"]) if system.get("ID") == "debian" and "VERSION_ID" in system else inf


@cache
def _release_here() -> float:
    try:
        return debian_release(platform.freedesktop_os_release())
    except OSError:
        return inf


@dataclass(frozen=True, slots=True)
class Tool:
    """A program from outside the package index.

    Attributes:
        program: What is looked for on the path.
        packages: Debian's that bring it, with a space between two.
        tests: What nothing but it tests: "whether ...".
        module: The module of Go that it is built from, where no package brings it; `packages` are then what builds it.
        since: The first release of Debian that has those packages; 0 for all that we support.
    """

    program: str
    packages: str
    tests: str
    module: str = ""
    since: int = 0

    @property
    def is_missing(self) -> bool:
        return shutil.which(self.program) is None

    @property
    def can_be_had(self) -> bool:
        """Whether this release of Debian has it; true on other systems."""
        return self.since <= _release_here()

    @property
    def absence(self) -> str:
        """What is not tested where it is missing, and how to get it."""
        debian = f"Debian {self.since} or later" if self.since else "Debian"
        build = f" && go install {self.module}" if self.module else ""
        how = f"{debian}: apt-get install {self.packages}{build}"
        return f"{self.program} is not installed; it tests {self.tests} ({how})"


_ALL = (
    Tool(
        "promtool", "prometheus", "whether Prometheus reads our metrics, alerts, dashboard queries and scrape settings"
    ),
    Tool(
        "haproxy",
        "haproxy",
        "whether HAProxy in front, set up as documented, lets a client claim to be a user, and its PROXY protocol",
    ),
    Tool(
        "caddy",
        "caddy",
        "whether Caddy, set up as documented, lets a client claim to be a user, in front and at a door",
    ),
    Tool(
        "go",
        "golang-go",
        "Go's HTTP server as an upstream: early responses, and https that closes its connections; its client with a "
        "certificate",
    ),
    Tool("openssl", "openssl", "OpenSSL's own client with a certificate"),
    Tool("node", "nodejs", "Node's HTTP server as an upstream, and its keep-alive agent as a client"),
    Tool("zsh", "zsh", "what zsh completes with the script of `gateway completion`"),
    Tool("fish", "fish", "what fish completes with the script of `gateway completion`"),
    Tool("systemd-analyze", "systemd", "whether systemd reads the unit in deploy/, and how little it exposes"),
    Tool(
        "helm",
        "ca-certificates golang-go",
        "the Helm chart in deploy/",
        module="helm.sh/helm/v3/cmd/helm@v3.18.6",
        since=13,
    ),
    Tool(
        "kubeconform",
        "ca-certificates golang-go",
        "whether Kubernetes knows every key of the chart and of the manifests in deploy/",
        module="github.com/yannh/kubeconform/cmd/kubeconform@v0.7.0",
        since=13,
    ),
    Tool("valkey-server", "valkey-server", "the store of limits, outages and ACL included, on Valkey", since=13),
    Tool("unshare", "util-linux", "the gateway as process 1, and names from an /etc/hosts of its own"),
)
TOOLS = {tool.program: tool for tool in _ALL}
"""By program."""


def main(arguments: list[str]) -> str:
    """What the command prints."""
    if arguments == ["--missing"]:
        return "".join(f"Not tested: {tool.absence}\n" for tool in _ALL if tool.is_missing)
    wanted = [tool for tool in _ALL if tool.is_missing and tool.can_be_had]
    if arguments == ["--modules"]:
        return "".join(f"{tool.module}\n" for tool in wanted if tool.module)
    return " ".join(sorted({package for tool in wanted for package in tool.packages.split()})) + "\n"


if __name__ == "__main__":
    sys.stdout.write(main(sys.argv[1:]))
