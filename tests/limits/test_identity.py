"""Who is asking, and under what hash."""

from collections.abc import Sequence
from hashlib import sha256
from ipaddress import IPv4Network, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from gateway.limits.caller import Caller
from gateway.limits.identity_source import ApiKey, Claim, IdentitySource, Sender, TrustedHeader
from gateway.limits.rejection import REASONS, Rejection
from tests.kit.identity import bearer_token, make_identity

LOCAL = ip_address("127.0.0.1")
STRANGER = ip_address("203.0.113.9")
HEADER = TrustedHeader("X-User-Id", "X-User-Tier")
CLAIMS: dict[str, dict[str, object]] = {
    "good": {"sub": "alice", "plan": "pro"},
    "plain": {"sub": "alice"},
    "other": {"email": "alice@example.test", "sub": ""},
    "list": {"sub": ["alice"], "plan": ["pro"]},
    "int": {"sub": 7, "plan": 7},
    "whole": {"sub": 7.0, "plan": -7.0},
    "zero": {"sub": 0, "plan": -0.0},
    "large": {"sub": 2**53 + 1, "plan": int("1" * 400)},
    "text": {"sub": "7.5", "plan": "007"},
    "fraction": {"sub": 7.5},
    "huge": {"sub": 2.0**53},
    "not a number": {"sub": float("nan")},
    "infinite": {"sub": float("inf")},
    "odd tier": {"sub": "alice", "plan": 1.5},
    "none": {"sub": None, "plan": None},
    "bool": {"sub": True},
    "dict": {"sub": {"id": "alice"}},
    "odd plan": {"sub": "alice", "plan": ["pro"]},
    "empty": {},
}
FORGED = Rejection("jwt", "bad_signature", "the signature is wrong")


def verify(token: str) -> dict[str, object] | Rejection:
    return CLAIMS.get(token, FORGED)


TOKEN = bearer_token(verify, tier_claim=("plan",))
API_KEY = ApiKey({sha256(b"k1").hexdigest(): Claim("alice", "pro"), sha256(b"\xff\xfe").hexdigest(): Claim("raw")})


def asker(*fields: tuple[str, str], trusted: bool = True) -> Sender:
    return Sender(LOCAL if trusted else STRANGER, trusted, CIMultiDict(fields))


def user_of(source: IdentitySource, *fields: tuple[str, str], trusted: bool = True) -> str | None:
    claim = source(asker(*fields, trusted=trusted))
    return claim.user if isinstance(claim, Claim) else None


def claim_of(source: IdentitySource, *fields: tuple[str, str], trusted: bool = True) -> Claim | None:
    claim = source(asker(*fields, trusted=trusted))
    return claim if isinstance(claim, Claim) else None


# A header set by a trusted proxy.


@pytest.mark.parametrize(
    ("fields", "claim"),
    [
        ([("X-User-Id", "alice")], Claim("alice")),
        ([("x-user-id", "alice")], Claim("alice")),
        ([("X-User-Id", "alice"), ("X-User-Tier", "pro")], Claim("alice", "pro")),
        ([("X-User-Id", " \talice \t")], Claim("alice")),
        ([("X-User-Id", "ALICE")], Claim("ALICE")),
        ([("X-User-Id", "\uff41lice")], Claim("\uff41lice")),
        ([("X-User-Id", "alice\xa0")], Claim("alice\xa0")),
        ([("X-User-Id", "ali\tce")], Claim("ali\tce")),
        ([("X-User-Id", "*")], Claim("*")),
        ([("X-User-Id", "']; redis.call('FLUSHALL') --")], Claim("']; redis.call('FLUSHALL') --")),
        ([("X-User-Id", "alice"), ("X-User-Tier", "pro"), ("X-User-Tier", "free")], Claim("alice")),
        ([], None),
        ([("X-User-Id", "")], None),
        ([("X-User-Id", " \t ")], None),
        ([("X-User-Id", "alice"), ("X-User-Id", "bob")], None),
        ([("X-User-Id", "alice"), ("x-user-id", "alice")], None),
        ([("X-User-Id", ""), ("X-User-Id", "alice")], None),
        ([("X_User_Id", "alice")], None),
        ([("X-User-Tier", "pro")], None),
    ],
)
def test_a_trusted_header_is_believed_when_it_stands_once(fields: list[tuple[str, str]], claim: Claim | None) -> None:
    assert claim_of(HEADER, *fields) == claim


def test_a_trusted_header_of_a_stranger_is_nothing() -> None:
    assert user_of(HEADER, ("X-User-Id", "alice"), trusted=False) is None


def test_a_trusted_header_without_a_tier_header_knows_no_tier() -> None:
    assert TrustedHeader("X-User-Id")(asker(("X-User-Id", "alice"), ("X-User-Tier", "pro"))) == Claim("alice")


# A signed token.


@pytest.mark.parametrize(
    ("text", "claim"),
    [
        ("Bearer good", Claim("alice", "pro")),
        ("bearer good", Claim("alice", "pro")),
        ("BEARER  good ", Claim("alice", "pro")),
        ("Bearer plain", Claim("alice")),
        ("Bearer odd plan", Claim("alice")),
        ("Bearer list", None),
        ("Bearer int", Claim("7", "7")),
        ("Bearer whole", Claim("7", "-7")),
        ("Bearer zero", Claim("0", "0")),
        ("Bearer large", Claim("9007199254740993", "1" * 400)),
        ("Bearer text", Claim("7.5", "007")),
        ("Bearer fraction", None),
        ("Bearer huge", None),
        ("Bearer not a number", None),
        ("Bearer infinite", None),
        ("Bearer odd tier", Claim("alice")),
        ("Bearer none", None),
        ("Bearer bool", None),
        ("Bearer dict", None),
        ("Bearer other", None),
        ("Bearer empty", None),
        ("Bearer forged", None),
        ("Bearer", None),
        ("Bearer ", None),
        ("good", None),
        ("Basic good", None),
        ("Bearer\tgood", Claim("alice", "pro")),
        ("", None),
    ],
)
def test_a_token_is_believed_for_a_claim_that_is_a_text_or_a_whole_number(text: str, claim: Claim | None) -> None:
    assert claim_of(TOKEN, ("Authorization", text), trusted=False) == claim


def test_a_second_token_makes_both_nothing() -> None:
    assert user_of(TOKEN, ("Authorization", "Bearer good"), ("Authorization", "Bearer good")) is None


def test_no_token_is_nothing() -> None:
    assert user_of(TOKEN) is None


def test_claim_and_header_of_a_token_can_be_chosen() -> None:
    source = bearer_token(verify, claim=("email",), header="X-Token")
    assert source(asker(("X-Token", "Bearer other"))) == Claim("alice@example.test")
    assert user_of(source, ("Authorization", "Bearer other")) is None


NESTED = {"user": {"id": 7, "plan": {"name": "gold"}, "": "empty"}, "user.id": "dotted", "list": [{"id": "alice"}]}


@pytest.mark.parametrize(
    ("path", "user"),
    [
        (("user", "id"), "7"),
        (("user", "plan", "name"), "gold"),
        (("user.id",), "dotted"),
        (("user", ""), "empty"),
        (("user",), None),
        (("user", "plan"), None),
        (("user", "name"), None),
        (("user", "id", "more"), None),
        (("user.id", "id"), None),
        (("list", "0", "id"), None),
        (("nobody", "id"), None),
    ],
)
def test_names_lead_into_objects_within_a_token(path: tuple[str, ...], user: str | None) -> None:
    source = bearer_token(lambda _: NESTED, claim=path, tier_claim=path)
    assert claim_of(source, ("Authorization", "Bearer x")) == (Claim(user, user) if user else None)


# A known key.


@pytest.mark.parametrize(
    ("fields", "user"),
    [
        ([("X-Api-Key", "k1")], "alice"),
        ([("x-api-key", " k1 ")], "alice"),
        ([("X-Api-Key", "\udcff\udcfe")], "raw"),
        ([("X-Api-Key", "k2")], None),
        ([("X-Api-Key", "K1")], None),
        ([("X-Api-Key", sha256(b"k1").hexdigest())], None),
        ([("X-Api-Key", "")], None),
        ([("X-Api-Key", "k1"), ("X-Api-Key", "k1")], None),
        ([], None),
    ],
)
def test_a_key_is_known_by_its_hash(fields: list[tuple[str, str]], user: str | None) -> None:
    assert user_of(API_KEY, *fields, trusted=False) == user


# All together.


def test_the_first_source_that_knows_the_caller_wins() -> None:
    fields = (("X-User-Id", "carol"), ("Authorization", "Bearer good"), ("X-Api-Key", "k1"))
    assert make_identity([TOKEN, HEADER]).identify(asker(*fields)).id == "alice"
    assert make_identity([HEADER, TOKEN]).identify(asker(*fields)).id == "carol"
    assert make_identity([HEADER, TOKEN]).identify(asker(*fields, trusted=False)).id == "alice"
    assert make_identity([HEADER, API_KEY]).identify(asker(*fields, trusted=False)).tier == "pro"


@pytest.mark.parametrize(
    "field",
    [
        ("Authorization", "Bearer forged"),
        ("X-Api-Key", "invented"),
        ("X-User-Id", "spoofed"),
        ("X-Forwarded-For", "9.9.9.9"),
    ],
)
def test_what_a_stranger_invents_buys_no_fresh_bucket(field: tuple[str, str]) -> None:
    identity = make_identity([TOKEN, HEADER, API_KEY])
    assert identity.identify(asker(field, trusted=False)) == identity.identify(asker(trusted=False))


def test_without_a_source_the_address_is_charged() -> None:
    caller = make_identity().identify(asker(trusted=False))
    assert (caller.id, caller.tier, caller.address) == ("", None, STRANGER)


def test_behind_a_trusted_proxy_the_forwarded_address_is_charged() -> None:
    identity = make_identity()
    direct = identity.identify(asker(trusted=False))
    assert identity.identify(asker(("X-Forwarded-For", f"1.1.1.1, {STRANGER}"))) == direct
    assert identity.identify(asker(("X-Forwarded-For", "1.1.1.1"), ("X-Forwarded-For", str(STRANGER)))) == direct


def test_whether_the_proxy_is_trusted_is_for_the_asker_to_say() -> None:
    fields = CIMultiDict({"X-Forwarded-For": str(STRANGER)})
    assert make_identity().identify(Sender(LOCAL, trusted=False, headers=fields)).address == LOCAL


def test_a_user_comes_with_the_address_for_exemptions_by_network() -> None:
    caller = make_identity().identify(asker(("X-User-Id", "alice"), ("X-Forwarded-For", str(STRANGER))))
    assert (caller.id, caller.address) == ("alice", STRANGER)


def test_an_ipv6_customer_is_one_caller() -> None:
    identity = make_identity()
    digests = {
        identity.identify(Sender(ip_address(text), trusted=False, headers=CIMultiDict())).digest
        for text in ("2001:db8:1:2::1", "2001:db8:1:2:ffff::", "2001:DB8:1:2:0:0:0:2")
    }
    assert len(digests) == 1


def test_loopback_is_trusted_and_nobody_else_unless_said() -> None:
    identity = make_identity()
    assert identity.trusts(LOCAL)
    assert identity.trusts(ip_address("::1"))
    assert not identity.trusts(STRANGER)
    assert not identity.trusts(ip_address("10.0.0.1"))
    assert make_identity(trusted_proxies=(IPv4Network("10.0.0.0/8"),)).trusts(ip_address("10.0.0.1"))


def test_a_peer_that_nobody_knows_is_not_trusted() -> None:
    """Under uvloop, a connection reset before it was accepted has no peer, yet its request is read."""
    identity = make_identity()
    assert not identity.trusts(None)
    fields = CIMultiDict({"X-User-Id": "alice", "X-Forwarded-For": "9.9.9.9"})
    caller = identity.identify(Sender(None, trusted=identity.trusts(None), headers=fields))
    assert caller == identity.identify(Sender(None, trusted=False, headers=CIMultiDict()))
    assert (caller.id, caller.address) == ("", None)


# What is not accepted.


def rejected(
    sources: Sequence[IdentitySource], *fields: tuple[str, str], trusted: bool = False
) -> list[tuple[str, str]]:
    """Source and reason of everything that was reported of one request."""
    reports: list[Rejection] = []
    make_identity(sources, report=reports.append).identify(asker(*fields, trusted=trusted))
    assert all(each.reason in REASONS[each.source] and each.why for each in reports)
    return [(each.source, each.reason) for each in reports]


@pytest.mark.parametrize(
    ("fields", "reports"),
    [
        ([], []),
        ([("Authorization", "Bearer good")], []),
        ([("X-Api-Key", "k1")], []),
        ([("Authorization", "Basic eA==")], []),
        ([("Authorization", "Bearer forged")], [("jwt", "bad_signature")]),
        ([("Authorization", "Bearer bool")], [("jwt", "no_user")]),
        ([("Authorization", "Bearer empty")], [("jwt", "no_user")]),
        ([("X-Api-Key", "k2")], [("api_key", "unknown_key")]),
        ([("X-User-Id", "mallory")], [("trusted_header", "untrusted_peer")]),
        ([("X-User-Id", "mallory"), ("X-User-Id", "eve")], [("trusted_header", "untrusted_peer")]),
        ([("X-User-Id", "")], []),
        ([("X-Forwarded-For", "9.9.9.9")], [("x_forwarded_for", "untrusted_peer")]),
        ([("Authorization", "Bearer good"), ("X-Forwarded-For", "9.9.9.9")], [("x_forwarded_for", "untrusted_peer")]),
        ([("Authorization", "Bearer forged"), ("X-Api-Key", "k1")], [("jwt", "bad_signature")]),
        (
            [("Authorization", "Bearer forged"), ("X-Api-Key", "k2")],
            [("jwt", "bad_signature"), ("api_key", "unknown_key")],
        ),
    ],
)
def test_what_names_a_caller_and_is_not_accepted_is_reported(
    fields: list[tuple[str, str]], reports: list[tuple[str, str]]
) -> None:
    assert rejected([TOKEN, API_KEY, HEADER], *fields) == reports


def test_what_a_trusted_proxy_says_is_not_reported() -> None:
    assert rejected([TOKEN, HEADER], ("X-User-Id", "a"), ("X-Forwarded-For", "9.9.9.9"), trusted=True) == []


@pytest.mark.parametrize("header", ["unknown", "fe80::1%eth0", "9.9.9.9, ", ",".join(["127.0.0.1"] * 40)])
def test_a_trusted_proxy_that_names_no_client_is_reported(header: str) -> None:
    """All whom it should have named share one bucket, that of the proxy."""
    malformed = [("x_forwarded_for", "malformed")]
    assert rejected([HEADER], ("X-User-Id", "a"), ("X-Forwarded-For", header), trusted=True) == malformed
    assert rejected([HEADER], ("X-Forwarded-For", f"{header}, 9.9.9.9"), trusted=True) == []


def test_a_token_may_be_all_that_its_header_holds() -> None:
    identity = make_identity([bearer_token(verify, header="X-Token", bearer=False)])
    assert identity.identify(asker(("X-Token", " good "))).id == "alice"
    assert rejected(identity.sources, ("X-Token", "Bearer good")) == [("jwt", "bad_signature")]
    assert rejected(identity.sources, ("X-Token", "")) == []


COOKIE = bearer_token(verify, header="Cookie", cookie="session")


@pytest.mark.parametrize(
    "cookies",
    ["session=good", "a=b; session=good", "Session=x; session=good;", ' session = "good" ;other=1', "session=good;=;;"],
)
def test_a_token_may_be_in_a_cookie(cookies: str) -> None:
    assert make_identity([COOKIE]).identify(asker(("Cookie", cookies))).id == "alice"


@pytest.mark.parametrize(
    ("cookies", "rejections"),
    [
        ("session=good; session=good", [("jwt", "repeated")]),
        ("session=good; session=", [("jwt", "repeated")]),
        ('session=x; session ="good"', [("jwt", "repeated")]),
        ("session=forged", [("jwt", "bad_signature")]),
        ("session=", []),
        ("session", []),
        ("xsession=good; session2=good; SESSION=good", []),
    ],
)
def test_a_cookie_that_is_missing_or_there_twice_identifies_nobody(
    cookies: str, rejections: list[tuple[str, str]]
) -> None:
    assert make_identity([COOKIE]).identify(asker(("Cookie", cookies))).source == "client_address"
    assert rejected([COOKIE], ("Cookie", cookies)) == rejections


def test_two_cookies_are_reported_each_on_its_own() -> None:
    other = bearer_token(verify, header="Cookie", cookie="legacy")
    assert rejected([COOKIE, other], ("Cookie", "session=forged; legacy=bool")) == [
        ("jwt", "bad_signature"), ("jwt", "no_user"),
    ]  # fmt: skip
    assert rejected([COOKIE, other], ("Cookie", "session=forged; legacy=good")) == [("jwt", "bad_signature")]


def test_a_token_without_the_word_bearer_is_reported_unless_its_header_has_other_schemes() -> None:
    assert rejected([bearer_token(verify, header="X-Token")], ("X-Token", "good")) == [("jwt", "malformed")]
    assert rejected([TOKEN], ("Authorization", "Token abc.def.ghi")) == []


@pytest.mark.parametrize("before", ["", "JWT ", "Token ", "Bearer: ", "Bearer="])
def test_a_token_after_another_word_in_authorization_is_reported(before: str) -> None:
    token = f"{before}eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhIn0.c2ln"
    assert rejected([TOKEN], ("Authorization", token)) == [("jwt", "malformed")]


def test_of_two_issuers_in_one_header_the_one_that_accepts_decides() -> None:
    other = bearer_token(lambda _: Rejection("jwt", "unknown_key", "no key has this kid"), header="authorization")
    assert rejected([other, TOKEN], ("Authorization", "Bearer good")) == []


def test_of_two_issuers_in_one_header_the_one_that_read_further_says_what_is_wrong() -> None:
    other = bearer_token(lambda _: Rejection("jwt", "unknown_key", "no key has this kid"))
    for sources in ([other, TOKEN], [TOKEN, other]):
        assert rejected(sources, ("Authorization", "Bearer forged")) == [("jwt", "bad_signature")]


# Digests.


def test_a_digest_is_32_hex_digits() -> None:
    digest = make_identity().user("alice").digest
    assert len(bytes.fromhex(digest.decode())) == 16


def test_a_digest_is_the_same_in_every_gateway_and_release() -> None:
    """Buckets in Redis outlive the process: a changed digest would hand out fresh ones."""
    identity = make_identity(hash_key=b"secret")
    assert identity.user("alice").digest == b"47e43e6cd99838ae1f195610d845a03e"
    assert identity.identify(asker(trusted=False)).digest == b"70e4091aedb6eb7dc5f251e790587fbc"


def test_a_user_has_one_digest_whichever_source_knows_them() -> None:
    fields = (("X-User-Id", "alice"), ("Authorization", "Bearer good"), ("X-Api-Key", "k1"))
    digests = {make_identity([source]).identify(asker(*fields)).digest for source in (HEADER, TOKEN, API_KEY)}
    assert digests == {make_identity().user("alice").digest}


@given(st.text(st.characters()), st.text(st.characters()))
def test_two_users_have_two_digests(one: str, other: str) -> None:
    identity = make_identity(hash_key=b"secret")
    assert (identity.user(one).digest == identity.user(other).digest) == (one == other)


@pytest.mark.parametrize("user", ["\udcff\udcfe", "\ud800", "caf\u00e9", "\x00", "x" * 100_000])
def test_any_user_id_has_a_digest(user: str) -> None:
    """Bytes that are not UTF-8 in a header, half a surrogate pair in a token's JSON."""
    assert len(make_identity().user(user).digest) == 32


def test_bytes_that_are_not_utf8_do_not_pass_for_those_that_are() -> None:
    """A token can spell the way in which headers escape such bytes."""
    assert make_identity().user("\udcc3\udca9").digest != make_identity().user("\u00e9").digest


@pytest.mark.parametrize("address", ["192.0.2.1", "2001:db8::1"])
def test_a_user_named_like_an_address_is_not_that_address(address: str) -> None:
    identity = make_identity()
    by_address = identity.identify(Sender(ip_address(address), trusted=False, headers=CIMultiDict()))
    names = (address, "2001:db8::/64", "unknown", "address", "")
    assert by_address.digest not in {identity.user(name).digest for name in names}


def test_the_hash_key_changes_every_digest() -> None:
    digests = {make_identity(hash_key=key).user("alice").digest for key in (b"", b"a", b"b", b"a\0", b"a" * 64)}
    assert len(digests) == 5


def test_a_hash_key_has_at_most_64_bytes() -> None:
    with pytest.raises(ValueError, match="at most 64 bytes, this one has 65"):
        make_identity(hash_key=b"a" * 65)


# Secrets.


def test_no_repr_tells_a_secret() -> None:
    secret = "sesame"
    shown = repr(
        [
            make_identity(hash_key=secret.encode()),
            make_identity().user(secret, "pro", address=ip_address("203.0.113.9")),
            Caller(secret, b"digest"),
            ApiKey({secret: Claim(secret)}),
            bearer_token(lambda _: {"sub": secret}),
        ]
    )
    assert secret not in shown
    assert "203.0.113.9" not in shown
