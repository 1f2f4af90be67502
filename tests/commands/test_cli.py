"""The command as a whole: what it loads."""

import sys

import pytest

from tests.kit.process import run
from tests.untraced import untraced

HEAVY = {"aiohttp", "asyncpg", "opentelemetry", "prometheus_client", "redis"}
PROGRAM = f"""
import sys
from gateway.commands.cli import main
code = main(sys.argv[1:])
sys.exit(code or ", ".join({HEAVY!r} & sys.modules.keys()) or 0)
"""
LIGHT = {
    "caller": ("caller", "--config", "config/gateway.yaml", "ana"),
    "check": ("check", "--upstream", "http://127.0.0.1:9", "--rules", "config/rules"),
    "schema": ("schema",),
    "test": ("test", "--config", "config/gateway.yaml"),
}


@pytest.mark.parametrize("arguments", LIGHT.values(), ids=LIGHT)
async def test_a_command_that_connects_to_nothing_loads_nothing_that_connects(arguments: tuple[str, ...]) -> None:
    code, output = await run(sys.executable, "-c", PROGRAM, *arguments, env=untraced())
    assert code == 0, output
