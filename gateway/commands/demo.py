"""`gateway demo`: the gateway in front of a small upstream that echoes what it was asked."""

import argparse
import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import uvloop
from aiohttp import web

from gateway.app import Worker
from gateway.commands.console import print_error, print_unless_blocked
from gateway.commands.serve import address_of, banner, run_until_signal
from gateway.config.loader import load
from gateway.process.sockets import bind
from gateway.telemetry.shared_memory import SharedCounters


def add_demo_command(commands: Any) -> None:
    """Add `demo` to argparse's subcommands."""
    demo = commands.add_parser(
        "demo",
        help="run the gateway in front of a small upstream of its own, to try it out",
        description="Run the gateway in front of a small upstream of its own, to try it out.",
    )
    demo.add_argument(
        "--config", metavar="FILE", type=Path, default=Path("config/demo.yaml"), help="(default %(default)s)"
    )
    demo.set_defaults(run=_demo)


def _demo(options: argparse.Namespace) -> int:
    loaded = load(options.config)
    for warning in loaded.warnings:
        print_error(f"warning: {warning}")
    settings = loaded.settings
    public = {listener: bind(listener) for listener in settings.listen}
    control = {listener: bind(listener) for listener in settings.control.listen}
    upstream = settings.upstreams["default"].urls[0]
    base_url = f"http://{address_of(next(iter(public.values()))[0])}"
    print_unless_blocked(banner(loaded, public, control, 1))
    print_unless_blocked(
        f"""
Try it in another terminal. This is answered 200 by the demo upstream:
  curl -i {base_url}/v1/orders/7
and this ends in 429:
  for i in $(seq 12); do curl -s -o /dev/null -w '%{{http_code}}\\n' -X POST {base_url}/v1/orders; done

The rules are in {settings.rules}: change them and start again. Ctrl-C stops the demo."""
    )

    async def run() -> None:
        async with demo_upstream(upstream.host, upstream.port):
            await run_until_signal(Worker(loaded, public, control, [SharedCounters()]))

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run())
    return 0


@asynccontextmanager
async def demo_upstream(host: str, port: int) -> AsyncIterator[None]:
    """Serve the demo upstream while the block runs.

    Raises:
        OSError: the address is in use.
    """
    runner = web.ServerRunner(web.Server(_echo, access_log=None))
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        yield
    finally:
        await runner.cleanup()


async def _echo(request: web.BaseRequest) -> web.Response:
    body = await request.read()
    document = {
        "method": request.method,
        "path": request.raw_path,
        "headers": dict(request.headers),
        "body_bytes": len(body),
    }
    return web.Response(text=json.dumps(document, indent=2) + "\n", content_type="application/json")
