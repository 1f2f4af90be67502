"""`fetch_key_set`: fetches a key set from its issuer. Nothing that the issuer does takes long, or much memory."""

import asyncio
import os
import ssl

from aiohttp import ClientError, ClientSession, ClientTimeout, DummyCookieJar, TCPConnector
from yarl import URL

from gateway.config.key_set import MAX_SIZE
from gateway.control.key_sets.known import FetchError
from gateway.settings.token_key import Jwks

_HEADERS = {"Accept": "application/jwk-set+json, application/json", "Accept-Encoding": "identity"}
_OK = 200


async def fetch_key_set(jwks: Jwks) -> bytes:
    """The document at the URL: at most `MAX_SIZE` bytes, within `timeout`.

    The certificate has to be good for the host. Redirects are not followed, proxies are not used, cookies are not kept,
    and compressed documents are refused, because a few bytes can stand for many.

    Raises:
        FetchError: there is no such document. The message quotes nothing that the server sent.
    """
    try:
        async with asyncio.timeout(jwks.timeout):
            return await _get(jwks.url or "", await asyncio.to_thread(_trusting, jwks))
    except TimeoutError:
        raise FetchError(f"there was no complete response within {jwks.timeout:g} seconds") from None
    except (ClientError, OSError, ValueError) as error:
        raise FetchError(_reason(error)) from None


def _trusting(jwks: Jwks) -> ssl.SSLContext:
    """Trusts the certificates of `ca`. They are read each time, because they may have been replaced."""
    try:
        return ssl.create_default_context(cafile=jwks.ca)
    except OSError:
        raise FetchError("the certificates in 'ca' cannot be used") from None


async def _get(url: str, tls: ssl.SSLContext) -> bytes:
    connector = TCPConnector(ssl=tls, limit=1, force_close=True)
    async with (
        ClientSession(
            connector=connector,
            cookie_jar=DummyCookieJar(),
            auto_decompress=False,
            timeout=ClientTimeout(total=None),
            headers=_HEADERS,
        ) as session,
        session.get(URL(url, encoded=True), allow_redirects=False) as response,
    ):
        if response.status != _OK:
            hint = ", and redirects are not followed" if 300 <= response.status < 400 else ""  # noqa: PLR2004
            raise FetchError(f"the response has the status {response.status}{hint}")
        if response.headers.get("Content-Encoding", "identity").lower() != "identity":
            raise FetchError("the response is compressed, although that was not asked for")
        content = bytearray()
        async for piece in response.content.iter_any():
            content += piece
            if len(content) > MAX_SIZE:
                response.close()
                raise FetchError(f"the response is larger than {MAX_SIZE // 1024} KiB")
        return bytes(content)


def _reason(error: Exception) -> str:
    """Why there is no response, in words that quote none of it."""
    cause = getattr(error, "certificate_error", None) or getattr(error, "os_error", None) or error
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"the server's certificate is not trusted: {cause.verify_message}"
    if isinstance(cause, ssl.SSLError):
        return f"there is no TLS connection: {cause.reason}"
    if isinstance(cause, OSError) and cause.errno:
        return f"the server cannot be reached: {os.strerror(cause.errno) or cause.strerror}"
    return f"the response is not complete, or not HTTP ({type(error).__name__})"
