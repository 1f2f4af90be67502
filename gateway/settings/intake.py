"""`Intake`: how much, and how slowly, clients may send."""

from dataclasses import dataclass

from gateway.settings.size import Bytes


@dataclass(frozen=True, slots=True)
class Intake:
    """Limits on client connections and on the size and pace of requests.

    The control listener has `idle_timeout` and `head_timeout` too, and `body_timeout` for a whole body.

    Attributes:
        idle_timeout: How long a connection may wait for its next request.
        max_line: Length of a request target: path and query.
        max_header: Size of one header.
        max_headers: Headers in a request.
        max_head: Size of a request's head: the request line and all headers.
        max_body: Size of a request body, unless the endpoint sets its own.
        head_timeout: From the first byte of a request's head to its last.
        proxy_protocol_timeout: From the start of a connection to the last byte of the PROXY protocol's header, where a
            listener's `proxy_protocol` requires it.
        max_proxy_protocol: Size of that header.
        body_timeout: How long a client may stall while sending a request body.
        answer_timeout: How long a client may stall while receiving a response.
        least_rate: Bytes a second, in either direction, below which a client counts as stalled.
        max_discard: Bytes that a client may still send after a response that came before the whole request body. They
            are thrown away, so that the client gets to read the response.
        discard_timeout: How long a client may go on sending them.
        keepalive_age: From this age on, a connection is closed after the next response; so is one whose client
            certificate has expired.
        max_connections: Connections that each worker holds.
        max_connections_per_address: Connections that each worker holds from one client address (from one /64 for IPv6).
            Trusted proxies are exempt.
        max_handshakes: TLS handshakes that each worker begins in a second. More wait for their turn, in order; a
            connection that has not had it, or whose handshake is not complete, after `head_timeout` is closed.
    """

    idle_timeout: float = 75.0
    max_line: Bytes = 8190
    max_header: Bytes = 8190
    max_headers: int = 100
    max_head: Bytes = 65_536
    max_body: Bytes = 10_737_418_240
    head_timeout: float = 10.0
    proxy_protocol_timeout: float = 5.0
    max_proxy_protocol: Bytes = 4096
    body_timeout: float = 30.0
    answer_timeout: float = 30.0
    least_rate: Bytes = 500
    max_discard: Bytes = 67_108_864
    discard_timeout: float = 60.0
    keepalive_age: float = 3600.0
    max_connections: int = 10_000
    max_connections_per_address: int = 1_000
    max_handshakes: int = 500
