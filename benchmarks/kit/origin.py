"""An origin in Python: a small JSON to most, so many bytes to ``GET /bytes/N``, and it takes bodies of any length.

    python -m benchmarks.kit.origin PORT

A thread for each connection, which blocks: as fast as the kernel for long bodies, good enough for short ones.
"""

import re
import sys
import threading
from contextlib import suppress
from socket import create_server, socket

_PIECE = bytes(1 << 18)
_JSON = b'{"id": 7, "state": "paid", "lines": [{"article": 4711, "count": 2}]}'
_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"


def pour(to: socket, size: int) -> None:
    """Send so many bytes."""
    while size > 0:
        size -= to.send(_PIECE[:size] if size < len(_PIECE) else _PIECE)


def drain(source: socket, size: int) -> None:
    """Take so many bytes."""
    room = memoryview(bytearray(len(_PIECE)))
    while size > 0:
        taken = source.recv_into(room, min(size, len(room)))
        if not taken:
            raise ConnectionError("it ended early")
        size -= taken


def read_head(source: socket) -> tuple[bytes, int]:
    """A message's head, and how many bytes of its body have come along."""
    head = b""
    while b"\r\n\r\n" not in head:
        data = source.recv(65_536)
        if not data:
            raise ConnectionError("it ended early")
        head += data
    head, _, body = head.partition(b"\r\n\r\n")
    return head, len(body)


def length_of(head: bytes) -> int:
    """The Content-Length that a head tells."""
    found = re.search(rb"content-length: *(\d+)", head, re.IGNORECASE)
    return int(found[1]) if found else 0


def _serve(client: socket) -> None:
    with client, suppress(OSError):
        while True:
            head, come = read_head(client)
            drain(client, length_of(head) - come)
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
