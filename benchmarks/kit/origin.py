"""An origin in Python: responds with a small JSON document, or with N bytes to ``GET /bytes/N``; accepts any body.

    python -m benchmarks.kit.origin PORT

Each connection has a thread, which blocks: as fast as the kernel for long bodies, good enough for short ones.
"""

import re
import sys
import threading
from contextlib import suppress
from socket import create_server, socket

_CHUNK = bytes(1 << 18)
_JSON = b'{"id": 7, "state": "paid", "lines": [{"article": 4711, "count": 2}]}'
_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"


def pour(to: socket, size: int) -> None:
    """Send so many bytes."""
    while size > 0:
        size -= to.send(_CHUNK[:size] if size < len(_CHUNK) else _CHUNK)


def drain(source: socket, size: int) -> None:
    """Receive and discard so many bytes."""
    room = memoryview(bytearray(len(_CHUNK)))
    while size > 0:
        taken = source.recv_into(room, min(size, len(room)))
        if not taken:
            raise ConnectionError("the connection was closed early")
        size -= taken


def read_head(source: socket) -> tuple[bytes, int]:
    """A message's head, and how many bytes of its body were received with it."""
    head = b""
    while b"\r\n\r\n" not in head:
        data = source.recv(65_536)
        if not data:
            raise ConnectionError("the connection was closed early")
        head += data
    head, _, body = head.partition(b"\r\n\r\n")
    return head, len(body)


def length_of(head: bytes) -> int:
    """The Content-Length in a head; 0 without one."""
    found = re.search(rb"content-length: *(\d+)", head, re.IGNORECASE)
    return int(found[1]) if found else 0


def _serve(client: socket) -> None:
    with client, suppress(OSError):
        while True:
            head, received = read_head(client)
            drain(client, length_of(head) - received)
            wanted = re.match(rb"GET /bytes/(\d+) ", head)
            if wanted:
                client.sendall(_HEAD % int(wanted[1]))
                pour(client, int(wanted[1]))
            else:
                client.sendall(_HEAD % len(_JSON) + _JSON)


def main() -> None:
    with create_server(("127.0.0.1", int(sys.argv[1])), backlog=4096) as server:
        while True:
            client, _ = server.accept()
            threading.Thread(target=_serve, args=(client,), daemon=True).start()


if __name__ == "__main__":
    main()
