"""Programs that peers are made of: those install.sh brought, and those on PATH."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

INSTALLED = Path(__file__).parents[1] / ".peers"
"""Where install.sh puts what is not Debian's."""

PATH = os.pathsep.join(
    [str(INSTALLED / "bin"), str(INSTALLED / "venv" / "bin"), os.environ.get("PATH", os.defpath), "/usr/sbin"]
)
PYTHON = str(_own) if (_own := INSTALLED / "python" / "bin" / "python").exists() else sys.executable
"""The interpreter of those who need one: the system's, if install.sh found it fit. How it was built matters."""

ENVIRONMENT = {"PATH": PATH, "NODE_PATH": str(INSTALLED / "node_modules"), "NODE_ENV": "production", "no_proxy": "*"}


def find(program: str) -> str | None:
    """Where a program is; None where it is not installed."""
    return shutil.which(program, path=PATH)


def version(command: Sequence[str]) -> str:
    """The first version that a command prints."""
    try:
        said = subprocess.run(
            command, capture_output=True, text=True, timeout=20, check=False, env={**os.environ, **ENVIRONMENT}
        )
    except OSError:
        return "?"
    found = re.search(r"\d+\.\d+(?:\.\d+)?", said.stdout + said.stderr)
    return found[0] if found else "?"
