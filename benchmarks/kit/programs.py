"""The programs of the peers: those that install.sh installed, and those on PATH."""

import os
import re
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

INSTALLED = Path(__file__).parents[1] / ".peers"
"""Where install.sh puts what is not a Debian package."""

PATH = os.pathsep.join(
    [str(INSTALLED / "bin"), str(INSTALLED / "venv" / "bin"), os.environ.get("PATH", os.defpath), "/usr/sbin"]
)
PYTHON = str(_own) if (_own := INSTALLED / "python" / "bin" / "python").exists() else sys.executable
"""The interpreter of peers in Python: the system's, if install.sh could use it. How it was built matters."""

COMPILED_BIN = Path(__file__).parents[2] / ".venv-compiled" / "bin"
"""Where `make compiled` puts the compiled build."""

ENVIRONMENT = {"PATH": PATH, "NODE_PATH": str(INSTALLED / "node_modules"), "NODE_ENV": "production", "no_proxy": "*"}


def find(program: str) -> str | None:
    """Where a program is; None if it is not installed."""
    return shutil.which(program, path=PATH)


@cache
def version(command: tuple[str, ...]) -> str:
    """The first version that a command prints."""
    try:
        result = subprocess.run(
            command, capture_output=True, text=True, timeout=20, check=False, env={**os.environ, **ENVIRONMENT}
        )
    except OSError:
        return "?"
    found = re.search(r"\d+\.\d+(?:\.\d+)?", result.stdout + result.stderr)
    return found[0] if found else "?"
