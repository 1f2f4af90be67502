"""The common and the combined log format are read as nginx and Apache write them."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.limits.identity import Identity
from gateway.limits.rate import MICROSECONDS
from gateway.replay.combined_log import CombinedLog
from gateway.replay.request import BadLineError, LoggedRequest, RequestLine
from tests.fuzzing import examples

IDENTITY = Identity((), (), b"key")
TIME = 971_211_336 * MICROSECONDS


def read(line: str, pattern: str | None = None) -> LoggedRequest:
    return CombinedLog(IDENTITY, None if pattern is None else re.compile(pattern)).parse(line)


def test_apaches_own_example_of_the_common_format() -> None:
    line = '127.0.0.1 - frank [10/Oct/2000:13:55:36 -0700] "GET /apache_pb.gif HTTP/1.0" 200 2326'
    request = read(line)
    assert request.time == TIME
    assert request.subject == RequestLine("GET", "", "/apache_pb.gif")
    assert (request.name, request.caller.digest) == ("frank", IDENTITY.digest("user", "frank"))
    assert request.caller.digests["address"] == IDENTITY.digest("address", "127.0.0.1")
    assert not request.refused


def test_the_combined_format_without_a_user_is_charged_by_address() -> None:
    line = '2001:db8::1 - - [10/Oct/2000:20:55:36 +0000] "POST /a?q=%22x HTTP/1.1" 429 0 "http://a/" "Moz \\x22 (a; b)"'
    request = read(line)
    assert request.time == TIME
    assert request.subject == RequestLine("POST", "", "/a", "q=%22x")
    assert (request.name, request.caller.id) == ("2001:db8::1", "")
    assert request.caller.digest == IDENTITY.digest("address", "2001:db8::/64")
    assert request.refused


def test_a_virtual_host_that_stands_first_is_the_host() -> None:
    line = 'Shop.example:443 192.0.2.7 - ana [10/Oct/2000:20:55:36 +0000] "GET / HTTP/1.1" 200 5'
    assert read(line).subject == RequestLine("GET", "shop.example", "/")
    assert read(line).name == "ana"


def test_a_user_may_have_spaces_and_escapes() -> None:
    line = r'192.0.2.7 - J\xc3\xb6rg "the\x20boss" [10/Oct/2000:20:55:36 +0000] "GET / HTTP/1.1" 200 5'
    assert read(line).name == 'Jörg "the boss"'


def test_a_pattern_says_where_the_caller_stands() -> None:
    line = (
        '10.0.0.1 - - [10/Oct/2000:20:55:36 +0000] "GET / HTTP/1.1" 200 5 "-" "curl" api.example 192.0.2.7 "ana" gold'
    )
    pattern = r'"curl" (?P<host>\S+) (?P<address>\S+) "(?P<user>[^"]*)" (?P<tier>\S+)$'
    request = read(line, pattern)
    assert (request.caller.id, request.caller.tier) == ("ana", "gold")
    assert request.caller.digests["address"] == IDENTITY.digest("address", "192.0.2.7")
    assert request.subject == RequestLine("GET", "api.example", "/")
    assert read(line.replace('"ana"', '"-"'), pattern).name == "192.0.2.7"
    assert read(line, "no match(?P<user>)").name == "10.0.0.1"


@pytest.mark.parametrize("version", [" HTTP/0.9", " HTTP/1.1", " HTTP/2.0", " HTTP/2", " HTTP/3.0", ""])
def test_requests_of_each_version_of_http_are_read(version: str) -> None:
    line = f'192.0.2.7 - - [10/Oct/2000:20:55:36 +0000] "GET /a{version}" 200 5'
    assert read(line).subject == RequestLine("GET", "", "/a")


def test_names_that_the_server_looked_up_are_told_apart() -> None:
    line = '{} - - [10/Oct/2000:20:55:36 +0000] "GET / HTTP/1.1" 200 5'
    assert read(line.format("a.example")).caller.digest != read(line.format("b.example")).caller.digest


@pytest.mark.parametrize(
    "request_line", ["-", "", r"\x16\x03\x01", "GET", "GET /\\xff HTTP/1.1", "get / HTTP/1.1", "GET a b"]
)
def test_what_is_no_request_is_one_that_would_not_be_served(request_line: str) -> None:
    assert read(f'192.0.2.7 - - [10/Oct/2000:20:55:36 +0000] "{request_line}" 400 0').subject is None


@pytest.mark.parametrize(
    "line",
    [
        "",
        " ",
        "hello",
        '192.0.2.7 - - [10/Oct/2000:20:55:36 +0000] "GET / HTTP/1.1"',
        '192.0.2.7 - - [10/Oct/2000:20:55:36 +0000] "GET / HTTP/1.1 200 5',
        '192.0.2.7 - - [31/Feb/2000:20:55:36 +0000] "GET / HTTP/1.1" 200 5',
        '192.0.2.7 - - [10/Oct/1960:20:55:36 +0000] "GET / HTTP/1.1" 200 5',
        '192.0.2.7 - - [10/Oct/2000:20:55:36] "GET / HTTP/1.1" 200 5',
        '192.0.2.7 [10/Oct/2000:20:55:36 +0000] "GET / HTTP/1.1" 200 5',
        '192.0.2.7 - - [10/Oct/2000:20:55:36 +9999] "GET / HTTP/1.1" 200 5',
        "192.0.2.7 - - [" + "[" * 60_000,
        '192.0.2.7 - - [10/Oct/2000:20:55:36 +0000] "' + "\\" * 60_001,
    ],
)
def test_any_other_line_is_refused_with_a_reason(line: str) -> None:
    with pytest.raises(BadLineError, match=r"\bit"):
        read(line)


@examples(300)
@given(st.text() | st.builds('{} - {} [10/Oct/2000:20:55:36 +0000] "{}" 200 5'.format, st.text(), st.text(), st.text()))
def test_no_line_is_too_strange(line: str) -> None:
    try:
        request = read(line.encode(errors="replace").decode(errors="surrogateescape"), "(?P<user>.)(?P<host>.)?")
    except BadLineError:
        return
    assert request.caller.digest
