"""What nobody thought of: cases of the corpus damaged at random, and readers fed with anything."""

import asyncio
from ipaddress import ip_address
from itertools import pairwise

import uvloop
from hypothesis import example, given, note
from hypothesis import strategies as st
from multidict import CIMultiDict

from gateway.limits.address import LOOPBACK, belongs, parse_address
from gateway.limits.forwarded_for import find_client
from gateway.limits.identity_source import Sender
from gateway.limits.path import PathPolicy
from gateway.proxy.bad_request import BadRequest
from gateway.proxy.headers import RequestHeaders
from gateway.proxy.target import parse_target
from gateway.proxy.upstream_connection import UpstreamConnection
from gateway.proxy.upstream_response import ForwardError, Framing, RawHeaders
from gateway.proxy.write_coalescer import WriteCoalescer
from gateway.settings.url import Origin
from tests.fuzzing import examples
from tests.hostile.case import Case
from tests.hostile.judge import run
from tests.hostile.test_requests import CASES
from tests.hostile.upstreams import own, starter
from tests.kit.identity import make_identity

ODD = st.sampled_from(
    [
        *(
            b"\r\n",
            b"\n",
            b"\r",
            b"\x00",
            b" ",
            b"\t",
            b":",
            b";",
            b",",
            b"#",
            b"%2f",
            b"/../",
            b"\x85",
            b"\x0b",
            b"\xff",
        ),
        *(b"0\r\n\r\n", b"\r\n\r\n", b"Transfer-Encoding: chunked\r\n", b"Content-Length: 5\r\n", b"Host: gw.test\r\n"),
    ]
)
NAME = st.from_regex(rb"(?i)[!#$%&'*+.^_`|~0-9a-z-]{1,20}", fullmatch=True) | st.sampled_from(
    [b"Connection", b"X-User-Id", b"x_user_id", b"HOST", b"Content-Length", b"Forwarded", b"X-Forwarded-For"]
)
SHORT = [case.raw for case in CASES if len(case.raw) < 500]
REPLIES = [case.raw for case in [*starter(), *own()] if 0 < len(case.raw) < 500]


@st.composite
def damaged(draw: st.DrawFn, originals: list[bytes]) -> bytes:
    raw = draw(st.sampled_from(originals))
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(raw)))
        end = min(len(raw), start + draw(st.integers(0, 8)))
        raw = raw[:start] + draw(ODD | st.binary(max_size=4)) + raw[end:]
    return raw


def cut(raw: bytes, places: list[int]) -> list[bytes]:
    edges = sorted({0, len(raw), *(place % (len(raw) + 1) for place in places)})
    return [raw[a:b] for a, b in pairwise(edges)]


@examples(60)
@given(damaged(SHORT), st.lists(st.integers(0, 500), max_size=5))
def test_a_damaged_request_breaks_no_rule(raw: bytes, places: list[int]) -> None:
    """The rules that hold over all cases, see `judge.run`; only the canary may be asked for, where damage frees it."""
    raw = raw.replace(b"smuggled-canary", b"freed")
    note(repr(raw))
    uvloop.run(run(Case("damaged", raw, ()), cut(raw, places)))


class Notes:
    """An answer as it was told."""

    def __init__(self) -> None:
        self.told: list[object] = []
        self.body = b""
        self.ends = 0

    def interim(self, status: int, reason: bytes, headers: RawHeaders) -> None:
        self.told.append((status, reason, headers))

    def head(self, status: int, reason: bytes, headers: RawHeaders, framing: Framing, length: bytes) -> None:
        self.told.append((status, reason, headers, framing, length))

    def piece(self, data: bytes) -> None:
        self.body += data

    def flush(self) -> None:
        pass

    def end(self) -> None:
        self.ends += 1

    def upgraded(self) -> None:
        raise AssertionError("nobody asked for it")

    def fail(self, error: ForwardError) -> None:
        assert str(error)
        self.ends += 1


async def told(pieces: list[bytes], method: str) -> Notes:
    notes, loop = Notes(), asyncio.get_running_loop()
    connection = UpstreamConnection(Origin("http", "up.test", 80), loop, WriteCoalescer(loop))
    connection.start(method, b"", notes)
    for piece in pieces:
        connection.data_received(piece)
    connection.connection_lost(None)
    return notes


@examples(500)
@given(damaged(REPLIES), st.lists(st.integers(0, 500), max_size=5), st.sampled_from(["GET", "HEAD"]))
def test_a_response_is_read_alike_however_it_is_cut_and_ends_once(raw: bytes, places: list[int], method: str) -> None:
    whole, pieces = asyncio.run(told([raw], method)), asyncio.run(told(cut(raw, places), method))
    assert whole.ends == pieces.ends == 1
    assert whole.told == pieces.told
    assert whole.body == pieces.body


@examples(500)
@given(
    st.text(st.characters(max_codepoint=0x2FF), max_size=60)
    | st.from_regex(r"(/[%.;a-zA-Z0-9\\]{0,6}){1,6}", fullmatch=True)
)
@example("/%e2%85%bcimited")
def test_a_path_is_refused_or_has_one_canonical_form(path: str) -> None:
    policy = PathPolicy()
    segments = policy.segments(path)
    if segments is not None and all(part.isascii() and part.isalnum() for part in segments):
        assert policy.segments("/" + "/".join(segments)) == segments


@examples(500)
@given(st.text(max_size=80), st.lists(st.text(max_size=40), max_size=3))
def test_any_target_is_read_or_refused(raw: str, hosts: list[str]) -> None:
    target = parse_target(raw or "/", hosts)
    if not isinstance(target, BadRequest):
        assert target.origin_form.isascii()
        assert target.origin_form.startswith("/")
        assert " " not in target.origin_form


@examples(500)
@given(st.text(max_size=80))
@example("::ffff:127.0.0.1, 203.0.113.9")
@example("")
@example("unknown")
def test_any_x_forwarded_for_names_an_address_or_nobody(text: str) -> None:
    proxy = ip_address("127.0.0.1")
    client = find_client(proxy, text, LOOPBACK)
    named = parse_address(text.rpartition(",")[2])
    if not text:
        assert client == proxy
    elif named is None:
        assert client is None
    elif not belongs(named, LOOPBACK):
        assert client == named
    stranger = ip_address("203.0.113.7")
    sender = Sender(stranger, trusted=False, headers=CIMultiDict({"X-Forwarded-For": text}))
    assert make_identity(trusted_proxies=LOOPBACK).identify(sender).address == stranger


@examples(500)
@given(st.lists(st.tuples(NAME, st.binary(max_size=20)), max_size=8))
@example([(b"Connection", b"x-user-id, Host, x"), (b"X-User-Id", b"a"), (b"X", b"b")])
def test_fields_of_a_stranger_never_say_who_it_is(fields: list[tuple[bytes, bytes]]) -> None:
    lines = RequestHeaders(["X-User-Id"]).forward(fields, trusted=False)
    names = {line.partition(b":")[0].lower() for line in lines}
    assert not names & {
        b"x-user-id",
        b"x-forwarded-for",
        b"forwarded",
        b"transfer-encoding",
        b"content-length",
        b"host",
    }
    assert not any(b"_" in name for name in names)
