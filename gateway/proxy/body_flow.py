"""`BodyFlow`: what aiohttp's parser and its bodies take for their protocol."""

import asyncio
from collections.abc import Callable

from aiohttp.base_protocol import BaseProtocol


class BodyFlow(BaseProtocol):
    """Tells when a body is full and when it has room again; aiohttp calls nothing else.

    A body that is read waits for bytes as long as `transport` is set.

    Args:
        loop: The event loop.
        on_full: Called when a body is full.
        on_room: Called when it has room again or is complete, with whether the parser should go on.
    """

    __slots__ = ("_on_full", "_on_room")

    def __init__(
        self, loop: asyncio.AbstractEventLoop, on_full: Callable[[], None], on_room: Callable[[bool], None]
    ) -> None:
        super().__init__(loop)
        self._on_full = on_full
        self._on_room = on_room

    def pause_reading(self) -> None:
        self._on_full()

    def resume_reading(self, resume_parser: bool = True) -> None:
        self._on_room(resume_parser)
