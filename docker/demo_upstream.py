# ruff: noqa: INP001 - a script, not a package
"""The demo upstream alone, for docker/compose.yaml."""

import asyncio

from gateway.commands.demo import demo_upstream


async def main() -> None:
    """Answer until killed."""
    async with demo_upstream("0.0.0.0", 9000):
        await asyncio.Event().wait()


asyncio.run(main())
