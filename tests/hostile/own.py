"""Cases of raw requests that are ours: what the starter set leaves open, written as what is odd about each."""

from collections.abc import Iterator, Mapping
from typing import Any

from tests.hostile.case import Case

REFUSED: Mapping[str, Any] = {
    "kind": "reject",
    "status": [400, 405, 413, 414, 431, 501, 505],
    "close": True,
    "upstream": 0,
}
TOO_LARGE: Mapping[str, Any] = {**REFUSED, "status": [431]}
PASSED: Mapping[str, Any] = {"kind": "forward", "upstream": 1}
CANARY = b"GET /smuggled-canary HTTP/1.1\r\nHost: gw.test\r\n\r\n"
NEXT = b"GET /next HTTP/1.1\r\nHost: gw.test\r\n\r\n"


def passed(**more: Any) -> Mapping[str, Any]:
    """It is forwarded, once unless said otherwise."""
    return {**PASSED, **more}


def get(target: bytes = b"/ok", *fields: bytes, version: bytes = b"HTTP/1.1") -> bytes:
    """A request without a body."""
    return b"\r\n".join([b"GET %b %b" % (target, version), b"Host: gw.test", *fields, b"", b""])


def post(body: bytes, *fields: bytes) -> bytes:
    """A request with what is said to be a body."""
    return b"\r\n".join([b"POST /ok HTTP/1.1", b"Host: gw.test", *fields, b"", body])


def chunked(body: bytes) -> bytes:
    """A request with what is said to be chunks."""
    return post(body, b"Transfer-Encoding: chunked")


def _codings() -> Iterator[tuple[str, bytes]]:
    yield "chunked-twice-cased", b"Transfer-Encoding: Chunked, CHUNKED"
    yield "comma-first", b"Transfer-Encoding: ,chunked"
    yield "comma-last", b"Transfer-Encoding: chunked,"
    yield "semicolon", b"Transfer-Encoding: chunked;q=1"
    yield "quoted", b'Transfer-Encoding: "chunked"'
    yield "identity", b"Transfer-Encoding: identity"
    yield "identity-then-chunked", b"Transfer-Encoding: identity\r\nTransfer-Encoding: chunked"
    yield "chunked-then-identity", b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity"
    yield "deflate-chunked", b"Transfer-Encoding: deflate, chunked"
    yield "split-value", b"Transfer-Encoding: chu\r\n nked"
    yield "fold-first", b"Transfer-Encoding:\r\n chunked"
    yield "space-name", b"Transfer Encoding: chunked"
    yield "space-first", b" Transfer-Encoding: chunked"
    yield "kelvin", b"Transfer-Encoding: chun\xe2\x84\xaaed"
    yield "no-break-space", b"Transfer-Encoding:\xa0chunked"
    yield "form-feed", b"Transfer-Encoding:\x0cchunked"
    yield "bare-lf-end", b"Transfer-Encoding: chunked\nX: y"
    yield "bare-cr-end", b"Transfer-Encoding: chunked\rX: y"
    yield "colon-twice", b"Transfer-Encoding:: chunked"
    yield "no-colon", b"Transfer-Encoding chunked"
    yield "nul-name", b"Transfer-Encoding\x00: chunked"
    yield "long-value", b"Transfer-Encoding: " + b"x" * 300 + b", chunked"


def _lengths() -> Iterator[tuple[str, bytes]]:
    for name, value in {
        "plus": b"+5",
        "underscore": b"1_0",
        "decimal": b"5.0",
        "exponent": b"5e0",
        "octal-o": b"0o5",
        "quoted": b'"5"',
        "two": b"5 5",
        "comma-other": b"5, 6",
        "comma-empty": b"5,",
        "empty": b"",
        "spaces": b"   ",
        "vtab": b"5\x0b",
        "fullwidth": b"\xef\xbc\x95",
        "arabic": b"\xd9\xa5",
        "minus-zero": b"-0",
        "20-digits": b"18446744073709551621",
        "fold": b"\r\n 5",
        "tail": b"5 x",
        "hash": b"5#",
        "percent": b"%35",
        "tab-inside": b"0\t5",
        "nel": b"5\x85",
    }.items():
        yield name, b"Content-Length: " + value
    yield "differing", b"Content-Length: 5\r\nContent-Length: 6"
    yield "one-bad", b"Content-Length: 5\r\nContent-Length: x"
    yield "space-before-colon", b"Content-Length : 5"
    yield "no-colon", b"Content-Length 5"


def _chunks() -> Iterator[tuple[str, bytes]]:
    for name, size in {
        "minus": b"-5",
        "hex-prefix": b"0x5",
        "underscore": b"0_5",
        "space-first": b" 5",
        "tab-first": b"\t5",
        "fullwidth": b"\xef\xbc\x95",
        "nul": b"5\x00",
        "quoted": b'"5"',
        "dot": b"5.",
        "h-suffix": b"5h",
        "cr-cr": b"5\r",
        "lf-first": b"\n5",
        "17-digits": b"00000000000000005g",
        "wrap32": b"100000005x",
        "colon": b"5:",
    }.items():
        yield f"size-{name}", size + b"\r\nhello\r\n0\r\n\r\n"
    yield "data-short", b"6\r\nhello\r\n0\r\n\r\n"
    yield "data-long", b"4\r\nhello\r\n0\r\n\r\n"
    yield "data-lf-first", b"5\r\nhello\n\r\n0\r\n\r\n"
    yield "data-no-end", b"5\r\nhello0\r\n\r\n"
    yield "last-lf", b"5\r\nhello\r\n0\n\r\n"
    yield "ext-cr", b"5;a\rb\r\nhello\r\n0\r\n\r\n"
    yield "ext-lf-end", b"5;a\nhello\r\n0\r\n\r\n"
    yield "ext-canary", b"5;\n" + CANARY
    yield "size-lf-end", b"5\nhello\r\n0\r\n\r\n"
    yield "trailer-space-colon", b"0\r\nX : y\r\n\r\n"
    yield "trailer-nul", b"0\r\nX: \x00\r\n\r\n"
    yield "trailer-bare-lf", b"0\r\nX: y\nZ: y\r\n\r\n"
    yield "trailer-canary", b"0\r\nX: y\r\n" + CANARY.replace(b"Host: gw.test\r\n", b"")
    yield "trailer-many", b"0\r\n" + b"X: y\r\n" * 200 + b"\r\n"
    yield "trailer-long", b"0\r\nX: " + b"y" * 20_000 + b"\r\n\r\n"


def framing() -> Iterator[Case]:
    """Where a body ends, said in ways that two readers could take for two things."""
    for name, field in _codings():
        yield Case(f"own-te-{name}", post(b"0\r\n\r\n" + CANARY, field), (REFUSED,))
        yield Case(f"own-te-cl-{name}", post(b"0\r\n\r\n" + CANARY, b"Content-Length: 5", field), (REFUSED,))
    for name, field in _lengths():
        yield Case(f"own-cl-{name}", post(b"hello" + CANARY, field), (REFUSED,))
    for name, body in _chunks():
        yield Case(f"own-chunk-{name}", chunked(body), (REFUSED, {"kind": "incomplete", "status": [400, 408]}))
    yield Case("own-cl-leading-zeros", post(b"hello", b"Content-Length: 0000000005"), (passed(body="hello"), REFUSED))
    yield Case("own-cl-5000-zeros", post(b"hello", b"Content-Length: " + b"0" * 5000 + b"5"), (passed(), REFUSED))
    yield Case("own-cl-padded", post(b"hello", b"Content-Length: \t5 \t"), (passed(body="hello"), REFUSED))
    yield Case("own-cl-then-next", post(b"hello" + NEXT, b"Content-Length: 5"), (passed(upstream=2),))
    yield Case("own-cl-short", post(b"hell", b"Content-Length: 5"), ({"kind": "incomplete", "status": [408]},))
    yield Case("own-te-cased", post(b"0\r\n\r\n", b"transfer-encoding: CHUNKED"), (passed(body=""),))
    yield Case("own-chunk-then-next", chunked(b"5\r\nhello\r\n0\r\n\r\n" + NEXT), (passed(upstream=2),))
    yield Case("own-chunk-upper", chunked(b"00A\r\n0123456789\r\n0\r\n\r\n"), (passed(body="0123456789"),))
    yield Case("own-chunk-ext", chunked(b"5;a=b;c\r\nhello\r\n0;x\r\n\r\n"), (passed(body="hello"), REFUSED))
    for field in (b"Host: evil.test", b"X-User-Id: mallory", b"Transfer-Encoding: chunked", b"Cookie: a=b"):
        raw = chunked(b"5\r\nhello\r\n0\r\n" + field + b"\r\n\r\n")
        ways = (passed(body="hello", forbid_upstream_header=field.decode()), REFUSED)
        yield Case(
            f"own-trailer-{field.split(b':')[0].decode().lower()}",
            raw,
            ways[:1] if b"Tr" not in field else (passed(body="hello"), REFUSED),
        )
