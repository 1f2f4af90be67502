"""Whom a request is charged to is whom the upstream takes for its sender; a client cannot make them two."""

from collections.abc import Callable
from hashlib import sha256

import pytest

from gateway.limits.address import LOOPBACK, Network
from gateway.limits.identity import Identity, unreported
from gateway.limits.identity_source import ApiKey, Claim, TrustedHeader
from gateway.limits.limit import Limit
from gateway.limits.quota import Quota
from gateway.limits.rate import Rate
from gateway.limits.rejection import Rejection
from tests.hostile.wire import converse, recorder
from tests.kit.identity import bearer_token, make_identity
from tests.proxy.running import proxy

LIMIT = Limit("each", ("user",), Quota(Rate(1, 86_400), 3))
GOOD = {"good": {"sub": "alice"}, "other": {"sub": "bob"}}
KEYS = {sha256(b"key").hexdigest(): Claim("alice")}


def verify(token: str) -> dict[str, str] | Rejection:
    return GOOD.get(token, Rejection("jwt", "bad_signature", "the signature is wrong"))


def identity(*trusted: Network, report: Callable[[Rejection], object] = unreported) -> Identity:
    cookie = bearer_token(verify, header="Cookie", cookie="session")
    return make_identity(
        (bearer_token(verify), ApiKey(KEYS), cookie, TrustedHeader("X-User-Id", "X-User-Tier")),
        trusted,
        report=report,
    )


async def sent(
    fields: str, *trusted: Network, report: Callable[[Rejection], object] = unreported
) -> tuple[bytes, list[bytes], bytes]:
    """What a request with these fields comes to: the answer, whom it is charged to, and what goes upstream."""
    raw = f"GET / HTTP/1.1\r\nHost: gw.test\r\n{fields}\r\nConnection: close\r\n\r\n".encode()
    async with recorder() as up, proxy(up.port, identity=identity(*trusted, report=report), limits=[LIMIT]) as running:
        heard = await converse(running.port, [raw])
        charged = [demand.key[-32:] for demands in running.seen.demands for demand in demands]
    return heard.raw, charged, b"".join(map(bytes, up.streams))


@pytest.mark.parametrize(
    "fields",
    [
        "Authorization: Bearer good\r\nAuthorization: Bearer good",
        "Authorization: Bearer good\r\nAuthorization: Bearer other",
        "Authorization: Bearer good\r\nAUTHORIZATION: x",
        "Authorization:\r\nauthorization: Bearer good",
        "X-Api-Key: key\r\nX-Api-Key: none",
        "X-Api-Key: none\r\nx-api-key: key",
        "Cookie: session=good\r\nCookie: session=other",
        "Cookie: a=b\r\ncookie: session=good",
    ],
)
@pytest.mark.parametrize("trusted", [(), LOOPBACK], ids=["stranger", "proxy"])
async def test_a_credential_that_stands_twice_is_a_400_and_goes_nowhere(
    fields: str, trusted: tuple[Network, ...]
) -> None:
    found: list[Rejection] = []
    answer, charged, upstream = await sent(fields, *trusted, report=found.append)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert (charged, upstream) == ([], b"")
    kind = "api_key" if fields.startswith("X-Api-Key") else "jwt"
    assert [(each.source, each.reason) for each in found] == [(kind, "repeated")]


@pytest.mark.parametrize("field", ["X-User-Id", "X-User-Tier"])
async def test_what_a_proxy_says_of_the_caller_stands_once(field: str) -> None:
    fields = f"{field}: a\r\n{field}: b"
    found: list[Rejection] = []
    answer, charged, upstream = await sent(fields, *LOOPBACK, report=found.append)
    assert [(each.source, each.reason) for each in found] == [("trusted_header", "repeated")]
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert (charged, upstream) == ([], b"")
    answer, charged, upstream = await sent(fields)  # a stranger's is dropped, however often it stands there
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert field.encode() not in upstream


@pytest.mark.parametrize(
    "field",
    [
        "Authorization: Bearer\tgood",
        "Authorization: bEARER \t good\t",
        "Authorization:\tBearer good",
        "X-Api-Key: key\t",
        "Cookie: a=b;session=\tgood ; c=d",
    ],
)
async def test_white_space_makes_no_stranger_of_a_user(field: str) -> None:
    answer, charged, _ = await sent(field)
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert charged == [identity().user("alice").digest]


async def test_a_cookie_that_stands_twice_in_its_header_names_nobody_and_goes_upstream() -> None:
    answer, charged, upstream = await sent("Cookie: session=good; session=other")
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert charged != [identity().user("alice").digest]
    assert b"Cookie: session=good; session=other" in upstream


@pytest.mark.parametrize("field", ["Authorization: Bearer good", "X-Api-Key: key", "Cookie: session=good"])
async def test_a_credential_that_was_charged_cannot_be_named_away(field: str) -> None:
    named = f"Connection: {field.partition(':')[0].lower()}"
    _, charged, upstream = await sent(f"{field}\r\n{named}")
    assert charged == [identity().user("alice").digest]
    assert field.encode() in upstream
