"""Cases of ours about what stands behind a request."""

from collections.abc import Iterator

from tests.hostile.case import Case
from tests.hostile.own import CANARY, NEXT, PASSED, REFUSED, TOO_LARGE, get, passed, post


def sequences() -> Iterator[Case]:
    """What stands behind a request."""
    websocket = get(
        b"/ok", b"Connection: Upgrade", b"Upgrade: websocket", b"Sec-WebSocket-Key: x", b"Sec-WebSocket-Version: 13"
    )
    h2c = get(b"/ok", b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABk")
    preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    once = passed(must_close=True)
    for name, raw in {
        "h2c": h2c,
        "h2c-canary": h2c + CANARY,
        "h2c-preface": h2c + preface,
        "ws-canary": websocket + CANARY,
        "ws-frame": websocket + b"\x81\x85\x00\x00\x00\x00" + CANARY,
        "close-canary": get(b"/ok", b"Connection: close") + CANARY,
        "close-list": get(b"/ok", b"Connection: x, close") + CANARY,
        "http10-canary": get(version=b"HTTP/1.0") + CANARY,
        "http10-keep": get(b"/ok", b"Connection: keep-alive", version=b"HTTP/1.0") + CANARY,
        "upgrade-tls": get(b"/ok", b"Connection: Upgrade", b"Upgrade: TLS/1.0") + CANARY,
        "upgrade-two": get(b"/ok", b"Connection: Upgrade", b"Upgrade: h2c, websocket") + CANARY,
        "upgrade-body": post(b"hello", b"Content-Length: 5", b"Connection: Upgrade", b"Upgrade: h2c") + CANARY,
    }.items():
        yield Case(f"own-behind-{name}", raw, (once,))
    bad = {
        "line": b"BAD\r\n\r\n",
        "nul": b"\x00",
        "cl": post(b"", b"Content-Length: x"),
        "te": post(b"", b"Transfer-Encoding: x"),
        "long": b"GET /" + b"a" * 10_000 + b" HTTP/1.1\r\n\r\n",
        "host": b"GET / HTTP/1.1\r\n\r\n",
        "path": get(b"/../x"),
        "preface": preface,
        "trace": b"TRACE / HTTP/1.1\r\nHost: gw.test\r\n\r\n",
    }
    for name, raw in bad.items():
        # The good requests in front of the bad one get their answers.
        yield Case(f"own-pipe-{name}", get() + NEXT + raw + CANARY, (passed(upstream=2),))
        yield Case(
            f"own-pipe-body-{name}", post(b"hello", b"Content-Length: 5") + raw + CANARY, (passed(body="hello"),)
        )
    yield Case("own-pipe-partial", get() + b"GET /half HT", (PASSED,))
    yield Case("own-pipe-partial-head", get() + b"GET /half HTTP/1.1\r\nHost: gw", (PASSED,))
    yield Case("own-pipe-50", get() * 50, (passed(upstream=50),))
    yield Case("own-pipe-crlf-between", get() + b"\r\n" + NEXT, (passed(upstream=2),))
    yield Case("own-pipe-head-get", get().replace(b"GET", b"HEAD") + NEXT, (passed(upstream=2),))
    for name, field in {
        "100": b"100-continue",
        "caps": b"100-Continue",
        "other": b"200-ok",
        "two": b"100-continue, x",
    }.items():
        yield Case(
            f"own-expect-{name}",
            post(b"hello" + NEXT, b"Content-Length: 5", b"Expect: " + field),
            (passed(upstream=2), REFUSED),
        )
    yield Case("own-expect-nobody", get(b"/ok", b"Expect: 100-continue") + NEXT, (passed(upstream=2), REFUSED))
    yield Case(
        "own-expect-10", post(b"hello", b"Content-Length: 5", b"Expect: 100-continue").replace(b"1.1", b"1.0"), (once,)
    )
    yield Case("own-many-fields", get(b"/ok", *[b"X: y"] * 90), (PASSED,))
    yield Case("own-too-many-fields", get(b"/ok", *[b"X: y"] * 120) + CANARY, (TOO_LARGE,))
    yield Case("own-one-field-too-many", get(b"/ok", *[b"X: y"] * 100) + CANARY, (TOO_LARGE,))  # Host is the first
    yield Case("own-too-many-names", get(b"/ok", *[b"X-%d: y" % n for n in range(200)]) + CANARY, (TOO_LARGE,))
    yield Case("own-too-many-fields-unfinished", get(b"/ok", *[b"X: y"] * 120)[:-2], (TOO_LARGE,))
    yield Case("own-large-head", get(b"/ok", *[b"X: " + b"y" * 7000] * 12) + CANARY, (TOO_LARGE,))
    yield Case("own-large-field", get(b"/ok", b"X: " + b"y" * 9000) + CANARY, (TOO_LARGE,))
    yield Case("own-get-body", get(b"/ok", b"Content-Length: 5") + b"hello" + NEXT, (passed(upstream=2),))
    yield Case(
        "own-delete-chunked",
        post(b"1\r\nx\r\n0\r\n\r\n", b"Transfer-Encoding: chunked").replace(b"POST", b"DELETE"),
        (passed(body="x"),),
    )
