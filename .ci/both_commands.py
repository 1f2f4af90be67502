#!/usr/bin/env python3
"""Both commands of the README, in this checkout: `make run` until the demo answers, then `make test`.

It needs what the README asks for and nothing else, so it shows whether a machine has enough. Exit status 1: one failed.
"""

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from urllib.error import URLError
from urllib.request import ProxyHandler, build_opener

ROOT = Path(__file__).resolve().parents[1]
DEMO = "http://127.0.0.1:8080/v1/orders/7"
PATIENCE = 600  # seconds, until the demo answers; downloading included
LONGEST = 3600  # seconds of `make test`
SUMMARY = re.compile(r"^=+ (.*\d (?:passed|failed|errors?)\b.*?) in [\d.]+s.*=+$", re.MULTILINE)


def main() -> int:
    """Run what was asked for, print how it went, and write that to a file if there is one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("commands", nargs="*", help="run, test (default: both)")
    parser.add_argument("--result", type=Path, metavar="FILE", help="write the result there too, as JSON")
    options = parser.parse_args()
    result: dict[str, str | bool] = {"python": sys.version.split()[0], "passed": True}
    for name in options.commands or ("run", "test"):
        result |= (run if name == "run" else test)()
        if not result["passed"]:
            break
    print(*(f"{key}: {value}" for key, value in result.items()), sep="\n")
    if options.result:
        options.result.write_text(json.dumps(result))
    return 0 if result["passed"] else 1


def run() -> Mapping[str, str | bool]:
    """`make run`, ended as Ctrl-C ends it once the demo has answered."""
    if answers():
        return {"passed": False, "make run": f"something else answers {DEMO}"}
    started = time.monotonic()
    process = subprocess.Popen(["make", "run"], cwd=ROOT, start_new_session=True)
    try:
        while not answers():
            if process.poll() is not None:
                return {"passed": False, "make run": f"ended with {process.returncode}"}
            if time.monotonic() > started + PATIENCE:
                return {"passed": False, "make run": f"no answer within {PATIENCE} s"}
            time.sleep(0.1)
        took = time.monotonic() - started
        os.killpg(process.pid, signal.SIGINT)
        process.wait(30)
    except subprocess.TimeoutExpired:
        return {"passed": False, "make run": "did not end within 30 s of Ctrl-C"}
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    return {"make run": f"{took:.0f} s"}


def answers() -> bool:
    """Whether the demo does."""
    with suppress(URLError, ConnectionError, TimeoutError), build_opener(ProxyHandler({})).open(DEMO, timeout=5) as it:
        return bool(it.status == 200)
    return False


def test() -> Mapping[str, str | bool]:
    """`make test`; what it prints is passed on."""
    started = time.time()
    command = ["timeout", str(LONGEST), "make", "test"]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout is not None
    printed = []
    for line in process.stdout:
        print(line, end="", flush=True)
        printed.append(line)
    ended = time.time()
    passed = process.wait() == 0
    stamp = ROOT / ".venv" / "installed"
    installed = max(stamp.stat().st_mtime, started) if stamp.exists() else ended
    found = SUMMARY.findall("".join(printed))
    return {
        "passed": passed,
        "make test installs": f"{installed - started:.0f} s",
        "make test runs": f"{ended - installed:.0f} s",
        "tests": found[-1] if found else "none",
    }


if __name__ == "__main__":
    sys.exit(main())
