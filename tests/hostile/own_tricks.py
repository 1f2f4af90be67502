"""Cases of ours that aim at what this proxy is made of: llhttp in front of a body framed anew, and llhttp behind it.

What lenient readers let pass (white space, empty extensions, another version), what one of two parsers may skip, and
desyncs of the kinds 0.CL, CL.0 and Expect, in which each side waits for the other or stops too early.
"""

from collections.abc import Iterator

from tests.hostile.case import Case
from tests.hostile.own import CANARY, NEXT, REFUSED, chunked, get, passed, post

_TWICE = passed(upstream=2)
_BROKEN = {"kind": "incomplete", "status": [400, 408]}
_SETTINGS = b"HTTP2-Settings: AAMAAABkAAQAAP__"


def tricks() -> Iterator[Case]:
    """All of them."""
    yield from _framing()
    yield from _chunks()
    yield from _lines()
    yield from _targets()
    yield from _connections()
    yield from _expectations()


def _framing() -> Iterator[Case]:
    for name, fields in {
        "te-tab-end": (b"Transfer-Encoding: chunked\t",),
        "te-chunkedx": (b"Transfer-Encoding: chunkedx",),
        "te-identity-list": (b"Transfer-Encoding: chunked, identity",),
        "te-empty-first": (b"Transfer-Encoding:", b"Transfer-Encoding: chunked"),
        "te-empty-last": (b"Transfer-Encoding: chunked", b"Transfer-Encoding:"),
        "te-cl-named-away": (b"Connection: Transfer-Encoding", b"Content-Length: 5", b"Transfer-Encoding: chunked"),
        "cl-te-named-away": (b"Connection: Content-Length", b"Content-Length: 5", b"Transfer-Encoding: chunked"),
        "cl-nbsp": (b"Content-Length: 5\xa0",),
        "cl-zeros-twice": (b"Content-Length: 5", b"Content-Length: 05"),
        "cl-negative-zeros": (b"Content-Length: -0005",),
    }.items():
        yield Case(f"own-{name}", post(b"0\r\n\r\n" + CANARY, *fields), (REFUSED,))
    for name, fields in {
        "te-tab-first": (b"Transfer-Encoding:\tchunked",),
        "te-named-away": (b"Connection: Transfer-Encoding", b"Transfer-Encoding: chunked"),
        "cl-named-away": (b"Connection: Content-Length", b"Content-Length: 5"),
        "te-prefix": (b"X-Transfer-Encoding: chunked", b"Content-Length: 5"),
        "te-underscore": (b"Transfer_Encoding: chunked", b"Content-Length: 5"),
        "cl-underscored": (b"Content_Length: 99", b"Content-Length: 5"),
    }.items():
        yield Case(f"own-{name}", post(b"0\r\n\r\n" + NEXT, *fields), (_TWICE, REFUSED))
    ten = post(b"0\r\n\r\n" + CANARY, b"Content-Length: 5", b"Transfer-Encoding: chunked")
    yield Case("own-te-cl-10", ten.replace(b"HTTP/1.1", b"HTTP/1.0"), (REFUSED,))
    yield Case("own-te-get", get(b"/ok", b"Transfer-Encoding: chunked") + b"0\r\n\r\n" + NEXT, (_TWICE, REFUSED))
    head = get(b"/ok", b"Transfer-Encoding: chunked").replace(b"GET", b"HEAD", 1)
    yield Case("own-te-head", head + b"0\r\n\r\n" + NEXT, (_TWICE, REFUSED))
    # CL.0: who ignores a length of a GET reads the canary as a request.
    hidden = get(b"/ok", b"Content-Length: %d" % len(CANARY)) + CANARY + NEXT
    yield Case("own-cl-get", hidden, (passed(upstream=2, body=CANARY.decode()), REFUSED))
    yield Case("own-cl-options", hidden.replace(b"GET", b"OPTIONS", 1), (passed(upstream=2, body=CANARY.decode()),))
    # 0.CL: who waits for a body that was not announced takes the next request for it.
    yield Case("own-0cl", post(NEXT, b"Content-Length: 0"), (passed(upstream=2, body=""),))
    yield Case("own-0cl-none", post(NEXT), (passed(upstream=2, body=""),))
    yield Case("own-0cl-half", post(b"GET /x", b"Content-Length: 0"), (passed(body=""),))


def _chunks() -> Iterator[Case]:
    for name, size in {
        "high": b"5;\xff\xfe=\x80",
        "empty": b"5;",
        "space": b"5 ;a=b",
        "tab": b"5\t;a=b",
        "equals": b"5;=b",
        "two-semicolons": b"5;;a",
        "unquoted-canary": b"5;GET /smuggled-canary HTTP/1.1",
        "crlf-quoted": b'5;a="\r\n"',
    }.items():
        yield Case(f"own-ext-{name}", chunked(size + b"\r\nhello\r\n0\r\n\r\n" + NEXT), (_TWICE, REFUSED, _BROKEN))
    for name, size in {
        "quoted": b'5;a="b;c\\"d"',
        "many": b"5" + b";a=b" * 4_000,
        "long": b"5;" + b"a" * 20_000,
        "zeros-16": b"0000000000000005",
        "zeros-17": b"00000000000000005",
        "zeros-1000": b"0" * 1_000 + b"5",
    }.items():
        way = passed(upstream=2, body="hello")
        yield Case(f"own-size-{name}", chunked(size + b"\r\nhello\r\n0\r\n\r\n" + NEXT), (way, REFUSED, _BROKEN))
    for name, body in {
        "size-largest": b"ffffffffffffffff\r\nhello\r\n0\r\n\r\n",
        "size-largest-signed": b"7fffffffffffffff\r\nhello\r\n0\r\n\r\n",
        "size-wrap64-zeros": b"010000000000000005\r\nhello\r\n0\r\n\r\n",
        "last-plus": b"5\r\nhello\r\n+0\r\n\r\n",
        "last-minus": b"5\r\nhello\r\n-0\r\n\r\n",
        "last-hex": b"5\r\nhello\r\n0x0\r\n\r\n",
        "last-ext-line": b"5\r\nhello\r\n0;GET /x HTTP/1.1\r\n\r\n",
        "end-cr": b"5\r\nhello\r0\r\n\r\n",
        "end-lf-cr": b"5\r\nhello\n\r0\r\n\r\n",
        "end-nul": b"5\r\nhello\x00\x000\r\n\r\n",
        "trailer-fold": b"5\r\nhello\r\n0\r\nX: a\r\n b\r\n\r\n",
        "trailer-space-first": b"5\r\nhello\r\n0\r\n X: a\r\n\r\n",
        "trailer-high": b"5\r\nhello\r\n0\r\nX\xff: a\r\n\r\n",
        "trailer-lf": b"5\r\nhello\r\n0\r\n\n",
    }.items():
        yield Case(f"own-chunked-{name}", chunked(body + CANARY), (REFUSED, _BROKEN))
    yield Case("own-chunked-last-00", chunked(b"5\r\nhello\r\n00\r\n\r\n" + NEXT), (_TWICE, REFUSED))


def _lines() -> Iterator[Case]:
    host = b"\r\nHost: gw.test\r\n\r\n"
    for name, raw in {
        "lf-line": b"GET /ok HTTP/1.1\nHost: gw.test\r\n\r\n",
        "lf-field": b"GET /ok HTTP/1.1\r\nHost: gw.test\n\r\n",
        "lf-end": b"GET /ok HTTP/1.1\r\nHost: gw.test\r\n\n",
        "lf-cr": get().replace(b"\r\n", b"\n\r"),
        "cr-lines": get().replace(b"\n", b""),
        "form-feeds": b"GET\x0c/ok\x0cHTTP/1.1" + host,
        "no-break-space": b"GET\xa0/ok HTTP/1.1" + host,
        "cr-space": b"GET /ok\r HTTP/1.1" + host,
        "version-110": b"GET /ok HTTP/1.10" + host,
        "version-1": b"GET /ok HTTP/1" + host,
        "version-30": b"GET /ok HTTP/3.0" + host,
        "version-twice": b"GET /ok HTTP/1.1 HTTP/1.1" + host,
        "method-unknown": b"FROB /ok HTTP/1.1" + host,
        "method-long": b"A" * 5_000 + b" /ok HTTP/1.1" + host,
        "method-quoted": b'"GET" /ok HTTP/1.1' + host,
    }.items():
        yield Case(f"own-raw-{name}", raw + CANARY, (REFUSED,))
    for name, raw in {
        "spaces": b"GET  /ok HTTP/1.1" + host,
        "spaces-version": b"GET /ok  HTTP/1.1" + host,
        "method-m-search": b"M-SEARCH /ok HTTP/1.1" + host,
        "method-query": b"QUERY /ok HTTP/1.1\r\nContent-Length: 0" + host,
        "value-high": get(b"/ok", b"X: \xff\xfe"),
        "value-del-ranges": get(b"/ok", b"Range: bytes=" + b",".join(b"%d-" % n for n in range(1_200))),
    }.items():
        yield Case(f"own-raw-{name}", raw + NEXT, (_TWICE, REFUSED))
    for name, field in {
        "name-high-first": b"\xffX: z",
        "name-quote": b'X"Y: z',
        "name-tab-end": b"X\t: z",
        "name-cr-end": b"X\r: z",
        "value-cr-only": b"X: \r",
        "host-thrice-cased": b"hOsT: gw.test\r\nHOST: gw.test",
        "host-named-away": b"Connection: host\r\nHost: evil.test",
    }.items():
        yield Case(f"own-raw-{name}", get(b"/ok", field) + CANARY, (REFUSED,))
    folded = b"GET /ok HTTP/1.1\r\n Host: evil.test\r\nHost: gw.test\r\n\r\n"
    yield Case("own-raw-host-folded-in-front", folded + CANARY, (REFUSED,))


def _targets() -> Iterator[Case]:
    for name, target in {
        "userinfo-password": b"http://user:pw@gw.test/limited",
        "one-slash": b"http:/limited",
        "no-slash": b"http:limited",
        "percent-host": b"http://gw%2etest/limited",
        "crlf": b"/limited%0d%0aX:%20y",
        "colon-port": b"http://gw.test:80:80/limited",
        "at-port": b"http://gw.test:80@evil.test/limited",
        "authority": b"gw.test:80",
        "star-path": b"*/limited",
    }.items():
        yield Case(f"own-target-{name}", get(target) + CANARY, (REFUSED,))
    for name, target, bucket in (
        ("evil-host", b"//evil.test/limited", "default"),
        ("https", b"https://gw.test/limited", "limited"),
        ("host-only-query", b"http://gw.test?x=/limited", "default"),
        ("url-in-path", b"/http://gw.test/limited", "default"),
        ("version-in-path", b"/limited%20HTTP/1.1", "default"),
        ("other-host", b"http://evil.test/limited", "limited"),
    ):
        yield Case(f"own-target-{name}", get(target), (passed(bucket=bucket), REFUSED))
    for name, target in {"star": b"*", "host": b"http://gw.test"}.items():
        raw = get(target).replace(b"GET", b"OPTIONS", 1)
        yield Case(f"own-options-{name}", raw + NEXT, (_TWICE, REFUSED))
    yield Case("own-target-no-host-field", b"GET http://gw.test/ok HTTP/1.1\r\n\r\n" + CANARY, (REFUSED,))


def _connections() -> Iterator[Case]:
    last = passed(must_close=True)
    for name, fields in {
        "h2c-settings": (b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", _SETTINGS),
        "h2c-te": (b"Connection: Upgrade, HTTP2-Settings, Transfer-Encoding", b"Upgrade: h2c", _SETTINGS),
        "h2c-cased": (b"Connection: UPGRADE", b"Upgrade: H2C", _SETTINGS),
        "close-te": (b"Connection: close, TE", b"TE: trailers"),
        "close-second": (b"Connection: keep-alive", b"Connection: close"),
        "close-behind": (b"Connection: keep-alive, close",),
        "close-caps": (b"CONNECTION: CLOSE",),
    }.items():
        yield Case(f"own-last-{name}", get(b"/ok", *fields) + CANARY, (last, REFUSED))
    for name, fields in {
        "upgrade-alone": (b"Upgrade: h2c",),
        "close-quoted": (b'Connection: "close"',),
        "close-parameter": (b"Connection: close;x",),
        "settings-alone": (b"Connection: HTTP2-Settings", _SETTINGS),
    }.items():
        yield Case(f"own-more-{name}", get(b"/ok", *fields) + NEXT, (_TWICE, last, REFUSED))


def _expectations() -> Iterator[Case]:
    for name, fields in {
        "chunked": (b"Transfer-Encoding: chunked", b"Expect: 100-continue"),
        "list": (b"Content-Length: 15", b"Expect: 100-continue, 100-continue"),
        "twice": (b"Content-Length: 15", b"Expect: 100-continue", b"Expect: 100-continue"),
        "word-first": (b"Content-Length: 15", b"Expect: y 100-continue"),
        "named-away": (b"Content-Length: 15", b"Connection: Expect", b"Expect: 100-continue"),
        "empty": (b"Content-Length: 15", b"Expect:"),
    }.items():
        yield Case(f"own-expects-{name}", post(b"5\r\nhello\r\n0\r\n\r\n" + NEXT, *fields), (_TWICE, REFUSED))
    for method in (b"OPTIONS", b"GET", b"HEAD", b"DELETE"):
        raw = post(b"hello" + NEXT, b"Content-Length: 5", b"Expect: 100-continue").replace(b"POST", method, 1)
        yield Case(f"own-expects-{method.decode().lower()}", raw, (_TWICE, REFUSED))
    yield Case("own-expects-nothing", post(NEXT, b"Content-Length: 0", b"Expect: 100-continue"), (_TWICE, REFUSED))
    folded = post(b"hello" + CANARY, b"Content-Length: 5", b"Expect:\r\n 100-continue")
    yield Case("own-expects-folded", folded, (REFUSED,))
