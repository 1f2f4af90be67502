"""A client that sends requests at a steady rate on one connection, and measures each latency."""

import time
from socket import create_connection

from benchmarks.kit.load import request
from benchmarks.kit.origin import drain, length_of, read_head


def paced(port: int, *, rate: float, seconds: float, users: int) -> list[float]:
    """The latency of each request in milliseconds, from sending it to reading the last byte of its response. Blocks.

    A request that is due while the previous one is in flight is sent right after it, as it must be on one connection.
    """
    latencies = []
    with create_connection(("127.0.0.1", port)) as connection:
        start = time.perf_counter()
        for number in range(round(rate * seconds)):
            time.sleep(max(0.0, start + number / rate - time.perf_counter()))
            sent_at = time.perf_counter()
            connection.sendall(request(port, str(number % users)))
            head, received = read_head(connection)
            drain(connection, length_of(head) - received)
            latencies.append((time.perf_counter() - sent_at) * 1000)
            if not head.startswith(b"HTTP/1.1 200"):
                raise RuntimeError(f"the response is {head[:40]!r}")
    return latencies
