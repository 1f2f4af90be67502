"""A client that asks at a steady pace on one connection, and notes how long each answer took."""

import time
from socket import create_connection

from benchmarks.kit.origin import drain, length_of, read_head


def paced(port: int, *, rate: float, seconds: float, users: int) -> list[float]:
    """Milliseconds of each answer, from the request's last byte sent to the answer's last byte read. Blocks.

    A request that is due while the one before it is still out goes right after it, as it must on one connection.
    """
    took = []
    with create_connection(("127.0.0.1", port)) as connection:
        start = time.perf_counter()
        for number in range(round(rate * seconds)):
            time.sleep(max(0.0, start + number / rate - time.perf_counter()))
            asked = time.perf_counter()
            connection.sendall(
                b"GET /v1/orders/7 HTTP/1.1\r\nHost: 127.0.0.1\r\nX-User-Id: %d\r\n\r\n" % (number % users)
            )
            head, come = read_head(connection)
            drain(connection, length_of(head) - come)
            took.append((time.perf_counter() - asked) * 1000)
            if not head.startswith(b"HTTP/1.1 200"):
                raise RuntimeError(f"it answers {head[:40]!r}")
    return took
