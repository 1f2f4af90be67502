"""Cases of raw answers: what a broken or hostile upstream sends, and what a client may see of it."""

import json
from base64 import b64decode
from collections.abc import Iterator
from dataclasses import dataclass

from tests.hostile.case import FOLDER

BAD = "502"
"""A plain 502 of ours."""
CUT = "cut"
"""A connection broken off, so that what came is not taken for a whole answer."""


@dataclass(frozen=True)
class Reply:
    """What an upstream does when asked.

    Attributes:
        name: Unique.
        raw: What it sends.
        may: What the client may see: `BAD`, `CUT`, or status and body of a whole answer.
        then: keep, close, rst or hang: what it does next.
        method: Of the request.
    """

    name: str
    raw: bytes
    may: tuple[str, ...]
    then: str = "keep"
    method: bytes = b"GET"


_STARTER = {
    "up-ok-cl": ("200 ok",),
    "up-extra-data": ("200 ok",),
    "up-te-and-cl": (BAD, "200 "),
    "up-cl-neg": (BAD,),
    "up-te-double": (BAD,),
    "up-short-cl-rst": (CUT,),
    "up-bad-chunk": (BAD, CUT),
    "up-post-empty-fin": (BAD,),
    "up-hang-mid-body": (CUT,),
    "up-bad-status": (BAD,),
    "up-http2-version": (BAD, "200 "),
    "up-lf-header": (BAD,),
    "up-hdr-bomb": (BAD,),
    "up-103": ("200 ",),
    "up-204-body": ("204 ",),
    "up-205-body": (BAD, CUT, "205 POISON"),
    "up-gzip-bomb-resp": (f"200 {chr(31)}\x8b{chr(0) * 18}",),
    "up-www-auth-cookie": ("200 ",),
    "up-early-413-close": ("413 ",),
}
"""What `must` says in words, row by row."""


def starter() -> Iterator[Reply]:
    """The 19 answers that this corpus began with."""
    for line in (FOLDER / "starter_responses.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        method = row["request"].split(" ")[0].encode()
        yield Reply(row["id"], b64decode(row["upstream_raw_b64"]), _STARTER[row["id"]], row["upstream_then"], method)


def _ok(*fields: bytes, body: bytes = b"ok") -> bytes:
    return b"\r\n".join([b"HTTP/1.1 200 OK", *fields, b"", body])


def _poison(length: int = 6) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\nPOISON" % length


def own() -> Iterator[Reply]:
    """Ours."""
    for name, line in {
        "nothing-http": b"hello",
        "http09": b"<html>",
        "lower": b"http/1.1 200 OK",
        "no-version": b"200 OK",
        "tab": b"HTTP/1.1\t200 OK",
        "two-digits": b"HTTP/1.1 20 OK",
        "four-digits": b"HTTP/1.1 2000 OK",
        "minus": b"HTTP/1.1 -200 OK",
        "version-3": b"HTTP/3.0 200 OK",
        "leading-space": b" HTTP/1.1 200 OK",
        "nul": b"HTTP/1.1 200 \x00OK",
        "cr": b"HTTP/1.1 200 O\rK",
        "lf": b"HTTP/1.1 200 O\nK",
        "status-0": b"HTTP/1.1 000 OK",
        "status-099": b"HTTP/1.1 099 OK",
        "wide": b"HTTP/1.1 \xef\xbc\x92\xef\xbc\x90\xef\xbc\x90 OK",
    }.items():
        yield Reply(f"own-line-{name}", line + b"\r\nContent-Length: 2\r\n\r\nok", (BAD, "200 ok"))
    for name, field in {
        "cl-plus": b"Content-Length: +2",
        "cl-word": b"Content-Length: two",
        "cl-two": b"Content-Length: 2\r\nContent-Length: 3",
        "cl-list": b"Content-Length: 2, 3",
        "cl-huge": b"Content-Length: " + b"9" * 30,
        "cl-hex": b"Content-Length: 0x2",
        "cl-empty": b"Content-Length:",
        "te-unknown": b"Transfer-Encoding: x",
        "te-gzip": b"Transfer-Encoding: gzip, chunked",
        "te-gzip-last": b"Transfer-Encoding: chunked, gzip",
        "te-identity": b"Transfer-Encoding: identity",
        "te-empty": b"Transfer-Encoding:",
        "te-two": b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "te-semi": b"Transfer-Encoding: chunked;x",
        "te-vtab": b"Transfer-Encoding: \x0bchunked",
        "te-cl": b"Transfer-Encoding: chunked\r\nContent-Length: 2",
        "cl-te": b"Content-Length: 2\r\nTransfer-Encoding: chunked",
        "name-space": b"Content-Length : 2",
        "fold": b"X: a\r\n b",
        "field-nul": b"Content-Length: 2\r\nX: \x00",
        "field-cr": b"Content-Length: 2\r\nX: a\rb",
        "field-lf": b"Content-Length: 2\nX: y",
        "field-name": b"Content-Length: 2\r\nX Y: z",
        "field-empty": b"Content-Length: 2\r\n: z",
        "no-colon": b"Content-Length: 2\r\nX",
    }.items():
        yield Reply(f"own-{name}", _ok(field, body=b"2\r\nok\r\n0\r\n\r\n"), (BAD,))
    yield Reply("own-cl-zeros", _ok(b"Content-Length: 0002"), ("200 ok", BAD))
    yield Reply("own-cl-same", _ok(b"Content-Length: 2\r\nContent-Length: 2"), ("200 ok", BAD))
    yield Reply("own-te-10", _ok(b"Transfer-Encoding: chunked", body=b"0\r\n\r\n").replace(b"1.1", b"1.0"), (BAD,))
    yield Reply("own-10", _ok(b"Content-Length: 2").replace(b"1.1", b"1.0"), ("200 ok",))
    yield Reply("own-10-close", _ok().replace(b"1.1", b"1.0"), ("200 ok",), "close")
    yield Reply("own-close-delimited-reset", _ok(), (CUT, BAD), "rst")
    yield Reply("own-long-field", _ok(b"X: " + b"y" * 70_000), (BAD,))
    yield Reply("own-endless-head", b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 100_000, (BAD,))
    yield Reply("own-long-reason", b"HTTP/1.1 200 " + b"y" * 100_000, (BAD,))
    yield Reply("own-half-head", b"HTTP/1.1 200 OK\r\nContent-Le", (BAD,), "close")
    yield Reply("own-half-line", b"HTTP/1.", (BAD,), "rst")
    yield Reply("own-nothing", b"", (BAD,), "close")
    yield Reply("own-nothing-ever", b"", ("504 Gateway Timeout\n",), "hang")
    yield Reply("own-short", _ok(b"Content-Length: 10"), (CUT,), "close")
    yield Reply("own-chunk-short", _ok(b"Transfer-Encoding: chunked", body=b"2\r\nok\r\n"), (CUT,), "close")
    yield Reply("own-chunk-no-last", _ok(b"Transfer-Encoding: chunked", body=b"2\r\nok\r\n0\r\n"), (CUT,), "close")
    yield Reply("own-chunk-hang", _ok(b"Transfer-Encoding: chunked", body=b"2\r\nok\r\n"), (CUT,), "hang")
    for name, chunk in {
        "minus": b"-2\r\nok\r\n",
        "prefix": b"0x2\r\nok\r\n",
        "lf": b"2\nok\n",
        "long": b"2\r\nokay\r\n",
        "huge": b"f" * 17 + b"\r\nok\r\n",
        "space": b"2 \r\nok\r\n",
        "plus": b"+2\r\nok\r\n",
        "ext-lf": b"2;a\nb\r\nok\r\n",
    }.items():
        yield Reply(f"own-chunk-{name}", _ok(b"Transfer-Encoding: chunked", body=chunk + b"0\r\n\r\n"), (BAD, CUT))
    many = b"X: y\r\n" * 20_000
    yield Reply(
        "own-trailers-endless", _ok(b"Transfer-Encoding: chunked", body=b"2\r\nok\r\n0\r\n" + many), (CUT,), "hang"
    )
    yield Reply(
        "own-trailer-long",
        _ok(b"Transfer-Encoding: chunked", body=b"2\r\nok\r\n0\r\nX: " + b"y" * 90_000),
        (CUT,),
        "hang",
    )
    yield Reply(
        "own-chunk-ext-long",
        _ok(b"Transfer-Encoding: chunked", body=b"2;" + b"y" * 90_000 + b"\r\nok\r\n0\r\n\r\n"),
        (CUT, BAD, "200 ok"),
    )
    trailer = b"2\r\nok\r\n0\r\nSet-Cookie: a=b\r\nContent-Length: 9\r\n\r\n"
    yield Reply("own-trailer", _ok(b"Transfer-Encoding: chunked", body=trailer), ("200 ok", CUT, BAD))
    yield Reply("own-1xx-flood", b"HTTP/1.1 102 Processing\r\n\r\n" * 50 + _ok(b"Content-Length: 2"), (BAD, "200 ok"))
    yield Reply(
        "own-1xx-long",
        b"HTTP/1.1 103 X\r\nLink: " + b"y" * 70_000 + b"\r\n\r\n" + _ok(b"Content-Length: 2"),
        (BAD, "200 ok"),
    )
    yield Reply(
        "own-100-body",
        b"HTTP/1.1 100 Continue\r\nContent-Length: 5\r\n\r\nPOISO" + _ok(b"Content-Length: 2"),
        (BAD, "200 ok"),
    )
    yield Reply("own-100-only", b"HTTP/1.1 100 Continue\r\n\r\n", (BAD, CUT), "close")
    yield Reply("own-101", b"HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\nPOISON", (BAD,))
    yield Reply("own-200-upgrade", _ok(b"Connection: upgrade\r\nUpgrade: websocket\r\nContent-Length: 2"), ("200 ok",))
    yield Reply(
        "own-204-chunked",
        b"HTTP/1.1 204 X\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nPOISON\r\n0\r\n\r\n",
        ("204 ", BAD),
    )
    yield Reply("own-304-body", b"HTTP/1.1 304 X\r\nContent-Length: 6\r\n\r\nPOISON", ("304 ",))
    yield Reply("own-304-poison", b"HTTP/1.1 304 X\r\n\r\n" + _poison(), ("304 ",))
    yield Reply("own-head-body", _ok(b"Content-Length: 6", body=b"POISON"), ("200 ",), method=b"HEAD")
    yield Reply(
        "own-head-chunks",
        _ok(b"Transfer-Encoding: chunked", body=b"6\r\nPOISON\r\n0\r\n\r\n"),
        ("200 ",),
        method=b"HEAD",
    )
    yield Reply("own-head-poison", _ok(b"Content-Length: 6", body=b"") + _poison(), ("200 ",), method=b"HEAD")
    yield Reply("own-two-answers", _ok(b"Content-Length: 0", body=b"") + _poison() * 3, ("200 ",))
    yield Reply("own-answer-junk", _ok(b"Content-Length: 2", body=b"ok\r\n\r\n"), ("200 ok",))
    yield Reply("own-close-then-more", _ok(b"Connection: close\r\nContent-Length: 2") + _poison(), ("200 ok",))
    yield Reply("own-cl-0-body", _ok(b"Content-Length: 0", body=b"POISON"), ("200 ",))
    yield Reply(
        "own-connection-names", _ok(b"Connection: Content-Length, Set-Cookie\r\nContent-Length: 2"), ("200 ok",)
    )
    yield Reply("own-early-200-post", _ok(b"Content-Length: 2"), ("200 ok",), "close", method=b"POST")
    yield from _tricks()


def _tricks() -> Iterator[Reply]:
    chunks = b"Transfer-Encoding: chunked"
    for name, size in {
        "ext-high": b"2;\xff=\x80",
        "ext-empty": b"2;",
        "ext-nul": b"2;a\x00",
        "zeros": b"0" * 40 + b"2",
        "underscore": b"0_2",
        "tab": b"\t2",
        "wrap64": b"10000000000000002",
    }.items():
        yield Reply(f"own-size-{name}", _ok(chunks, body=size + b"\r\nok\r\n0\r\n\r\n"), ("200 ok", BAD, CUT))
    for name, status in {"101": b"101 X", "1xx-unknown": b"199 X", "100-chunked": b"100 X\r\n" + chunks}.items():
        raw = b"HTTP/1.1 " + status + b"\r\n\r\n" + _ok(b"Content-Length: 2")
        yield Reply(f"own-first-{name}", raw, ("200 ok", BAD))
    # llhttp reads a body behind the 1xx it does not know by name; a client would read an answer there.
    bodies = {
        "length": (b"Content-Length: %d" % len(_poison()), _poison()),
        "chunks": (chunks, b"%x\r\n%b\r\n0\r\n\r\n" % (len(_poison()), _poison())),
        "no-chunks": (chunks, b"0\r\n\r\n"),
    }
    for name, (field, body) in bodies.items():
        for code in (104, 110, 199):
            raw = b"HTTP/1.1 %d X\r\n%b\r\n\r\n%b" % (code, field, body) + _ok(b"Content-Length: 2")
            may = ("200 ok", BAD) if name == "no-chunks" else (BAD,)
            yield Reply(f"own-interim-{code}-{name}", raw, may)
            yield Reply(f"own-interim-{code}-{name}-head", raw.removesuffix(b"ok"), ("200 ", BAD), method=b"HEAD")
    for name, field in {"close": b"Connection: close", "names": b"Connection: X, close"}.items():
        raw = _ok(chunks, body=b"2\r\nok\r\n0\r\n" + field + b"\r\n\r\n")
        yield Reply(f"own-trailer-connection-{name}", raw, ("200 ok", BAD))
    yield Reply("own-te-tab", _ok(b"Transfer-Encoding:\tchunked", body=b"2\r\nok\r\n0\r\n\r\n"), ("200 ok", BAD))
    yield Reply("own-te-named-away", _ok(b"Connection: Transfer-Encoding", chunks, body=b"0\r\n\r\n"), ("200 ", BAD))
    yield Reply("own-cl-named-away", _ok(b"Connection: Content-Length", b"Content-Length: 2"), ("200 ok", BAD))
    yield Reply("own-cl-minus-zero", _ok(b"Content-Length: -0", body=b""), ("200 ", BAD))
    yield Reply("own-status-600", _ok(b"Content-Length: 2").replace(b"200", b"600"), ("600 ok", BAD))
    yield Reply(
        "own-head-two-lengths", _ok(b"Content-Length: 2", b"Content-Length: 3", body=b""), (BAD,), method=b"HEAD"
    )
    yield Reply("own-lf-lines", _ok(b"Content-Length: 2").replace(b"\r", b""), ("200 ok", BAD))
    yield Reply("own-head-lf-end", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\nok", ("200 ok", BAD))
    yield Reply("own-417", b"HTTP/1.1 417 X\r\nContent-Length: 2\r\n\r\nno", ("417 no",), method=b"POST")
    yield Reply("own-early-then-more", _ok(b"Content-Length: 2") + _poison(), ("200 ok",), method=b"POST")
