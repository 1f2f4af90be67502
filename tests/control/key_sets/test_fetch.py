"""What is fetched from an issuer, and that nothing it does takes long or much memory."""

import gzip
import resource
from pathlib import Path

import pytest

from gateway.config.key_set import MAX_SIZE
from gateway.control.key_sets.fetch import fetch_key_set
from gateway.control.key_sets.known import FetchError
from gateway.settings.token_key import Jwks
from tests.control.key_sets.issuer import Issuer, answers, endless, hangs, issuing, key_set, sends
from tests.waiting import at_most
from tests.wire import Script

GOOD = key_set()


def jwks(issuer: Issuer, timeout: float = 30.0) -> Jwks:
    return Jwks(issuer.url, ca=issuer.ca, timeout=timeout)


async def test_the_document_is_fetched(tmp_path: Path) -> None:
    async with issuing(tmp_path) as issuer:
        issuer.respond = answers(GOOD)
        assert await fetch_key_set(jwks(issuer)) == GOOD
        issuer.respond = sends(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n")
        assert await fetch_key_set(jwks(issuer)) == b"{}"
        issuer.respond = answers(b" " * MAX_SIZE)
        assert len(await fetch_key_set(jwks(issuer))) == MAX_SIZE


@pytest.mark.parametrize(
    ("response", "why"),
    [
        (answers(GOOD, "302 Found", "Location: https://127.0.0.1/"), "status 302, and redirects are not followed"),
        (answers(GOOD, "500 Oops"), "the response has the status 500"),
        (answers(gzip.compress(b" " * (1 << 24)), "200 OK", "Content-Encoding: gzip"), "the response is compressed"),
        (answers(b" " * (MAX_SIZE + 1)), "larger than 512 KiB"),
        (sends(b"SSH-2.0-OpenSSH_9.6\r\n"), "not complete, or not HTTP"),
        (sends(b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n{}"), "not complete, or not HTTP"),
        (sends(b"HTTP/1.1 200 OK\r\nX: " + b"a" * (1 << 20)), "not complete, or not HTTP"),
        (sends(b"HTTP/1.1 200 OK\r\n" + b"X: a\r\n" * 100_000), "not complete, or not HTTP"),
        (sends(b""), "not complete, or not HTTP"),
    ],
)
async def test_any_other_response_is_refused(tmp_path: Path, response: Script, why: str) -> None:
    async with issuing(tmp_path) as issuer:
        issuer.respond = response
        with pytest.raises(FetchError, match=why):
            await fetch_key_set(jwks(issuer))


async def test_a_gigabyte_is_cut_off_at_the_bound(tmp_path: Path) -> None:
    async with issuing(tmp_path) as issuer:
        issuer.respond = endless
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        with pytest.raises(FetchError, match="larger than 512 KiB"):
            await fetch_key_set(jwks(issuer))
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 * 1024


async def test_an_issuer_that_hangs_is_given_up(tmp_path: Path) -> None:
    async with issuing(tmp_path) as issuer:
        issuer.respond = hangs
        async with at_most(2):
            with pytest.raises(FetchError, match=r"no complete response within 0\.2 seconds"):
                await fetch_key_set(jwks(issuer, timeout=0.2))


async def test_the_certificate_has_to_be_good(tmp_path: Path) -> None:
    async with issuing(tmp_path) as issuer:
        with pytest.raises(FetchError, match=r"certificate is not trusted: unable to get local issuer certificate"):
            await fetch_key_set(Jwks(issuer.url))
        with pytest.raises(FetchError, match=r"certificate is not trusted: .*mismatch"):
            await fetch_key_set(Jwks(issuer.url.replace("127.0.0.1", "localhost"), ca=issuer.ca))
        assert issuer.asked == 0
        (tmp_path / "empty").write_bytes(b"")
        with pytest.raises(FetchError, match="the certificates in 'ca' cannot be used"):
            await fetch_key_set(Jwks(issuer.url, ca=tmp_path / "empty"))


async def test_an_issuer_that_is_not_there_is_said_to_be_unreachable(tmp_path: Path) -> None:
    async with issuing(tmp_path) as issuer:
        pass
    with pytest.raises(FetchError, match="the server cannot be reached: Connection refused"):
        await fetch_key_set(jwks(issuer))
