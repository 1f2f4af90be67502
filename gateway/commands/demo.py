"""`gateway demo`: the gateway in front of a small upstream that echoes what it was asked."""

import argparse
import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from socket import socket
from typing import Any

import uvloop
from aiohttp import web

from gateway.app import Worker
from gateway.commands.console import print_error, print_unless_blocked
from gateway.commands.serve import address_of, banner, run_until_signal
from gateway.config.flags import Flags
from gateway.config.loader import load
from gateway.process.sockets import ListenError, bind
from gateway.proxy.request_parser import require_c_parser
from gateway.settings.gateway import PUBLIC
from gateway.settings.listener import Listener
from gateway.settings.url import HostPort
from gateway.telemetry.shared_memory import SharedCounters


def add_commands(commands: Any) -> None:
    """Add `demo` to argparse's subcommands."""
    demo = commands.add_parser(
        "demo",
        help="run the gateway in front of a small upstream of its own, to try it out",
        description="Run the gateway in front of a small upstream of its own, to try it out.",
    )
    demo.add_argument(
        "--config", metavar="FILE", type=Path, default=Path("config/demo.yaml"), help="(default %(default)s)"
    )
    demo.add_argument(
        "--listen", metavar="HOST:PORT", action="append", help="a public listener (default: as in the file)"
    )
    demo.add_argument(
        "--control", metavar="HOST:PORT", action="append", help="a listener of the control plane, likewise"
    )
    demo.add_argument("--upstream", metavar="URL", help="where the demo's upstream listens, likewise")
    demo.set_defaults(run=_demo)


def _demo(options: argparse.Namespace) -> int:
    require_c_parser()
    loaded = load(options.config, Flags(options.upstream, options.listen, options.control))
    for warning in loaded.warnings:
        print_error(f"warning: {warning}")
    settings = loaded.settings
    bound = {plane: {each: bind(each) for each in listeners} for plane, listeners in settings.listeners.items()}
    upstream = settings.upstreams["default"].urls[0]
    curl, base_url = _how_to_ask(*next(iter(bound[PUBLIC].items())))
    print_unless_blocked(banner(loaded, bound, 1))
    print_unless_blocked(
        f"""
Try it in another terminal. This is answered 200 by the demo upstream:
  curl {curl}-i {base_url}/v1/orders/7
and this ends in 429:
  for i in $(seq 12); do curl {curl}-s -o /dev/null -w '%{{http_code}}\\n' -X POST {base_url}/v1/orders; done

The rules are in {settings.rules}: change them and start again. Ctrl-C stops the demo."""
    )

    async def run() -> None:
        async with demo_upstream(upstream.host, upstream.port):
            await run_until_signal(Worker(loaded, bound, [SharedCounters()]))

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run())
    return 0


def _how_to_ask(listener: Listener, sockets: Sequence[socket]) -> tuple[str, str]:
    """Curl's flags, and the URL of the gateway."""
    scheme, trust = ("https", "-k ") if listener.tls else ("http", "")
    if listener.unix:
        return f"{trust}--unix-socket {listener.unix} ", f"{scheme}://localhost"
    return trust, f"{scheme}://{address_of(sockets[0])}"


@asynccontextmanager
async def demo_upstream(host: str, port: int) -> AsyncIterator[None]:
    """Serve the demo upstream while the block runs.

    Raises:
        ListenError: the address is in use, or is not one of this machine.
    """
    runner = web.ServerRunner(web.Server(_echo, access_log=None))
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, host, port).start()
        except OSError as error:
            raise ListenError(
                f"the demo's upstream cannot listen on {HostPort(host, port)}: {error.strerror or error}; "
                "name another address with --upstream"
            ) from error
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
