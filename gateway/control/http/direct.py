"""`DirectConnections`: connections to the control listener on which services only ask, which need nothing of aiohttp.

A decision is a data path for services that ask for it, and aiohttp's server would take most of its time. So each
connection begins as a `_DirectConnection`, which answers the requests that a `QuestionReader` can read. The first one
that it cannot read goes to aiohttp with the connection, which is aiohttp's from then on, and what it asks is answered
by the same `Service`.

So is a request whose head does not come in one piece, or whose body is late: aiohttp's server has the deadlines for
these. A connection may wait `idle_timeout` for its next request; the last response has to be read in that time.
"""

import asyncio
from collections.abc import Callable, Iterable
from typing import Final

from gateway.control.asker import Asker, Service
from gateway.control.http.hosts import Hosts
from gateway.control.http.problem import Problems
from gateway.control.http.question_reader import Question, QuestionReader
from gateway.control.http.request import address_at
from gateway.limits.address import Address, Unix
from gateway.loop.eager_run import EagerRun, run_eagerly
from gateway.loop.resettable_timer import ResettableTimer
from gateway.settings.intake import Intake

_BODY_WAIT: Final = 1.0
"""Seconds for the rest of a body: many clients send it right behind the head."""


class DirectConnections:
    """Makes the connections, and lets them end.

    Args:
        services: What they may ask.
        hosts: Under which names the control plane is there.
        problems: Says what errors are in HTTP.
        headers: Lines that every response has.
        intake: The deadlines.
    """

    def __init__(
        self, services: Iterable[Service], hosts: Hosts, problems: Problems, headers: bytes, intake: Intake
    ) -> None:
        self.services = {f"POST {each.path} HTTP/1.1\r\n".encode(): each for each in services}
        self.hosts = hosts
        self.problems = problems
        self.headers = headers
        self.intake = intake
        self.open: set[_DirectConnection] = set()

    def before(self, make: Callable[[], asyncio.Protocol]) -> Callable[[], asyncio.Protocol]:
        """A factory of connections that go on as those that `make` makes, once something else is asked."""
        return lambda: _DirectConnection(self, make)

    async def close(self, seconds: float) -> None:
        """Close all connections; the requests in flight have `seconds` to end."""
        await asyncio.gather(*(each.close(seconds) for each in list(self.open)))


class _DirectConnection(asyncio.Protocol):
    """One connection. Requests are answered one after the other; while one is, nothing is read."""

    __slots__ = (
        "_address", "_all", "_is_ending", "_is_full", "_later", "_loop", "_make", "_reader", "_received", "_run",
        "_timer", "_transport",
    )  # fmt: skip

    def __init__(self, connections: DirectConnections, make: Callable[[], asyncio.Protocol]) -> None:
        self._all = connections
        self._make = make
        self._loop = loop = asyncio.get_running_loop()
        self._reader = QuestionReader(connections.services, connections.hosts.knows)
        self._timer = ResettableTimer(loop, self._expire)
        self._transport: asyncio.Transport | None = None
        self._address: Address | Unix | None = None
        self._received: list[bytes] = []  # of a request that is not complete
        self._later = b""  # what came while one was answered
        self._run: EagerRun | None = None  # what answers it
        self._is_full = False  # the write buffer
        self._is_ending = False  # the client sends no more

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # it is one
        name = transport.get_extra_info("peername")
        self._transport = transport
        self._address = address_at(transport.get_extra_info("socket"), str(name[0]) if name else None)
        self._all.open.add(self)
        self._timer.set(self._all.intake.idle_timeout)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - whatever the reason
        self._forget()

    def _forget(self) -> None:
        self._timer.cancel()
        self._transport = None
        self._all.open.discard(self)

    # Reading.

    def data_received(self, data: bytes) -> None:
        if self._run is None and not self._is_full:
            self._read(data)
        else:
            self._later += data
            if self._transport is not None:
                self._transport.pause_reading()

    def _read(self, data: bytes) -> None:
        reader = self._reader
        self._received.append(data)
        reader.feed(data)
        if reader.is_other:
            self._hand_over()
        elif reader.question is not None:
            self._received.clear()
            self._timer.clear()
            self._run = run_eagerly(self._answer(reader.question), self._loop)
        elif len(self._received) == 1:
            self._timer.set(min(_BODY_WAIT, self._all.intake.body_timeout))

    def _hand_over(self) -> None:
        """Let aiohttp serve the connection from this request on."""
        transport, received = self._transport, b"".join(self._received)
        self._forget()
        if transport is None or transport.is_closing():
            return
        protocol = self._make()
        transport.set_protocol(protocol)
        protocol.connection_made(transport)
        protocol.data_received(received)

    def eof_received(self) -> bool:
        """The client sends no more. Returns whether it still gets an answer."""
        self._is_ending = True
        return self._run is not None

    # Answering.

    async def _answer(self, question: Question) -> None:
        service, asker = question.service, Asker(question.service.path, self._address, question.authorization)
        try:
            await service.admit(asker)
            body = await service.answer(asker, question.body)
        except Exception as error:  # noqa: BLE001 - the connection goes on with the next request
            self._end(self._all.problems.of(error).encode(self._all.headers))
        else:
            self._end(
                b"HTTP/1.1 200 OK\r\nContent-Type: application/json; charset=utf-8\r\nContent-Length: %d\r\n%b\r\n%b"
                % (len(body), self._all.headers, body)
            )

    def _end(self, response: bytes) -> None:
        """Send a response, and go on with what came meanwhile."""
        transport = self._transport
        self._run = None
        if transport is None:
            return
        self._timer.set(self._all.intake.idle_timeout)
        transport.write(response)
        if self._is_ending:
            transport.close()
        elif not self._is_full:
            self._go_on()

    def _go_on(self) -> None:
        if self._later and self._transport is not None:
            data, self._later = self._later, b""
            self._transport.resume_reading()
            self._read(data)

    def pause_writing(self) -> None:
        """The client does not read: nothing more is answered until it does."""
        self._is_full = True

    def resume_writing(self) -> None:
        self._is_full = False
        if self._run is None:
            self._go_on()

    # Ending.

    def _expire(self) -> None:
        transport = self._transport
        if transport is None:
            return
        if transport.get_write_buffer_size():
            transport.abort()
        elif self._received:
            self._hand_over()
        else:
            transport.close()

    async def close(self, seconds: float) -> None:
        """Close the connection; the request in flight has `seconds` to end."""
        self._is_ending = True
        if self._run is not None:
            await self._run.end(seconds)
        if self._transport is not None:
            self._transport.close()
