"""Clients that all connect at once.

    python -m benchmarks.kit.storm PORT SECONDS

does nothing but TLS handshakes with a port for so many seconds, one after the other, and prints how many.
"""

import selectors
import socket
import ssl
import sys
import time
from contextlib import ExitStack

from benchmarks.kit.load import request

_DEADLINE = 30.0


def storm(port: int, *, connections: int, requests: int) -> list[float]:
    """Open so many connections at once; each sends so many requests, one after another. Blocks.

    Returns:
        Milliseconds from the opening of each connection to its first response, the longest last.
    """
    firsts, left = [], connections
    with ExitStack() as stack:
        selector = stack.enter_context(selectors.DefaultSelector())
        for number in range(connections):
            opened = stack.enter_context(socket.socket())
            opened.setblocking(False)
            client = _Client(opened, request(port, str(number)), requests)
            opened.connect_ex(("127.0.0.1", port))
            selector.register(opened, selectors.EVENT_WRITE, client)
        end = time.perf_counter() + _DEADLINE
        while left:
            if time.perf_counter() > end:
                raise RuntimeError(f"{left} connections had no response within {_DEADLINE:g} s")
            for key, events in selector.select(1.0):
                client = key.data
                if events & selectors.EVENT_WRITE:
                    selector.modify(key.fileobj, selectors.EVENT_READ, client)
                    client.send()
                elif client.receive():
                    left -= 1
                    firsts.append(client.first)
                    selector.unregister(key.fileobj)
    return sorted(firsts)


class _Client:
    """One connection."""

    def __init__(self, opened: socket.socket, message: bytes, requests: int) -> None:
        self._socket = opened
        self._message = message
        self._left = requests
        self._opened_at = time.perf_counter()
        self._received = b""
        self.first = 0.0

    def send(self) -> None:
        self._socket.send(self._message)

    def receive(self) -> bool:
        """Read; send the next request after a response. Returns whether all responses have come."""
        piece = self._socket.recv(65_536)
        self._received += piece
        if not piece or not self._received.startswith(b"HTTP/1.1 200"[: len(self._received)]):
            raise RuntimeError(f"the response is {self._received[:40]!r}")
        if not self._received.endswith(b"}]}"):
            return False
        self._received = b""
        self.first = self.first or (time.perf_counter() - self._opened_at) * 1000
        self._left -= 1
        if self._left:
            self.send()
        return not self._left


def shake_hands(port: int, seconds: float) -> int:
    """Do nothing but TLS handshakes. Returns how many were completed. Blocks."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    done, end, waiting = 0, time.perf_counter() + seconds, list[ssl.SSLSocket]()
    with selectors.DefaultSelector() as selector:
        while time.perf_counter() < end:
            while len(waiting) < 100:
                raw = socket.create_connection(("127.0.0.1", port))
                raw.setblocking(False)
                each = context.wrap_socket(raw, do_handshake_on_connect=False)
                waiting.append(each)
                selector.register(each, selectors.EVENT_READ)
                done += _continue(each)
            for key, _ in selector.select(0.1):
                each = key.fileobj
                if _continue(each):
                    done += 1
                    selector.unregister(each)
                    waiting.remove(each)
                    each.close()
    return done


def _continue(connection: ssl.SSLSocket) -> bool:
    try:
        connection.do_handshake()
    except ssl.SSLWantReadError:
        return False
    return True


if __name__ == "__main__":
    print(shake_hands(int(sys.argv[1]), float(sys.argv[2])))
