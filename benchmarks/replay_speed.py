"""How long `gateway replay` takes for a log of a million lines, and how much memory.

    .venv/bin/python -m benchmarks.replay_speed [--lines 1000000] [--callers 100000]

Makes a log in the combined format and one of the gateway's own, and replays each by two sets of rules of three limits,
in one process. The exit code is 1 if a target is missed.
"""

import argparse
import json
import random
import sys
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from hashlib import blake2b
from pathlib import Path

from benchmarks.kit.finished import Finished, measure

MOST_SECONDS = 60.0
"""Of CPU, for a million lines."""

MOST_MEMORY = 400.0
"""Megabytes, however long the log is."""

RULES = """\
endpoints:
  - {{name: order, path: '/v1/orders/{{id}}', methods: [GET]}}
  - {{name: orders, path: /v1/orders}}
  - {{name: search, path: /v1/search, cost: 5}}
limits:
  - {{name: each, per: user, rate: {rate}/minute, burst: 20}}
  - {{name: search, per: endpoint, rate: 30/s, burst: 100, endpoints: [search]}}
  - {{name: all, per: address, rate: 600/minute, burst: 300}}
"""
TARGETS = ("/v1/orders/{}", "/v1/orders?page={}", "/v1/search?q={}", "/static/{}.js", "/healthz")
START = 1_767_225_600
A_SECOND = 200
"""Requests."""


def web_lines(count: int, callers: int, seed: int = 7) -> Iterator[str]:
    """Lines in the combined format; a tenth of the callers sends most requests."""
    pick = random.Random(seed)
    for number in range(count):
        caller = int(callers * pick.random() ** 3)
        time = datetime.fromtimestamp(START + number // A_SECOND, UTC).strftime("%d/%b/%Y:%H:%M:%S +0000")
        target = pick.choice(TARGETS).format(pick.randrange(100_000))
        address = f"10.{caller >> 16}.{caller >> 8 & 255}.{caller & 255}"
        yield f'{address} - - [{time}] "GET {target} HTTP/1.1" 200 512 "-" "Mozilla/5.0 (X11; Linux x86_64)"\n'


def own_lines(count: int, callers: int, seed: int = 7) -> Iterator[str]:
    """Lines as the gateway writes them."""
    pick = random.Random(seed)
    for number in range(count):
        caller = int(callers * pick.random() ** 3)
        time = datetime.fromtimestamp(START + number / A_SECOND, UTC).isoformat(timespec="milliseconds")[:23]
        yield (
            json.dumps(
                {
                    "time": f"{time}Z",
                    "level": "info",
                    "worker": 0,
                    "pid": 4711,
                    "event": "request",
                    "request_id": f"{number:032x}",
                    "endpoint": pick.choice(("order", "orders", "search", "default")),
                    "method": "GET",
                    "outcome": "allowed",
                    "status": 200,
                    "ms": round(pick.expovariate(0.05), 3),
                    "caller": _digest("user", caller),
                    "source": "jwt",
                    "address": _digest("address", caller),
                }
            )
            + "\n"
        )


def _digest(kind: str, caller: int) -> str:
    return blake2b(str(caller).encode(), digest_size=16, person=kind.encode()).hexdigest()


def replay_speed(lines: int, callers: int, folder: Path) -> dict[str, Finished]:
    """The replay of each kind of log."""
    (folder / "old.yaml").write_text(RULES.format(rate=120))
    (folder / "new.yaml").write_text(RULES.format(rate=60))
    found = {}
    for name, written in (("combined", web_lines(lines, callers)), ("gateway", own_lines(lines, callers))):
        log = folder / f"{name}.log"
        with log.open("w") as file:
            file.writelines(written)
        command = ("replay", log, "--rules", folder / "new.yaml", "--against", folder / "old.yaml", "--json")
        found[name] = measure([sys.executable, "-m", "gateway", *map(str, command)], folder)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lines", type=int, default=1_000_000)
    parser.add_argument("--callers", type=int, default=100_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = replay_speed(options.lines, options.callers, Path(folder))
    print(f"{options.lines} lines of up to {options.callers} callers")
    is_met = True
    for name, each in found.items():
        seconds = each.cpu * 1_000_000 / options.lines
        is_met = is_met and seconds <= MOST_SECONDS and each.memory <= MOST_MEMORY
        print(f"{name:10}{each.cpu:8.1f} s of CPU{each.memory:8.0f} MB at most")
    verdict = "met" if is_met else "MISSED"
    print(f"target: {MOST_SECONDS:.0f} s for a million lines, {MOST_MEMORY:.0f} MB: {verdict}")
    sys.exit(not is_met)


if __name__ == "__main__":
    main()
