"""Who is asking, seen from outside: tokens as issuers really make them, and what is said of those not accepted."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

from tests.auth.keys import pair, part, signed
from tests.kit.process import Process, gateway
from tests.wire import ask, get, upstream

EXPIRES = 4_000_000_000
RULES = "limits: [{name: each, per: user, rate: 1/day, burst: 2, tiers: {gold: {rate: 1/day, burst: 4}}}]\n"


def token(**claims: Any) -> str:
    """Signed by an issuer that puts anything into its claims."""
    return signed({"exp": EXPIRES, **claims}, {"alg": "HS256"})


class Gateway:
    """A gateway as a process.

    Attributes:
        process: The process.
        public: Its port for clients.
        control: Its port for operators.
    """

    def __init__(self, process: Process, public: int, control: int) -> None:
        self.process = process
        self.public = public
        self.control = control

    async def statuses(self, *fields: str, times: int = 3) -> list[int]:
        return [(await ask(self.public, get("/", *fields))).status for _ in range(times)]

    async def spent_by(self, **claims: Any) -> list[int]:
        return await self.statuses(f"Authorization: Bearer {token(**claims)}")

    async def rejections(self) -> dict[str, float]:
        """What was not accepted, by source and reason."""
        text = (await ask(self.control, get("/metrics"))).body.decode()
        lines = [line for line in text.splitlines() if line.startswith("gateway_identity_rejected_total{")]
        return {series: float(value) for series, _, value in (line.rpartition(" ") for line in lines) if float(value)}


@asynccontextmanager
async def running(folder: Path, identity: str, more: str = "") -> AsyncIterator[Gateway]:
    async with upstream() as up:
        (folder / "secret").write_bytes(pair().verifying)
        (folder / "rules.yaml").write_text(RULES)
        (folder / "gateway.yaml").write_text(
            f"upstreams: {{default: {{urls: ['http://127.0.0.1:{up.port}']}}}}\nrules: rules.yaml\n{more}\n"
            f"identity: {identity}\n"
        )
        async with gateway("--config", folder / "gateway.yaml") as (process, public, control):
            yield Gateway(process, public, control)


def jwt(claim: str = "sub", **more: str) -> str:
    keys = "".join(f", {name}: {value}" for name, value in more.items())
    return f"{{sources: [{{jwt: {{claim: {claim}, keys: [{{algorithm: HS256, secret_file: secret}}]{keys}}}}}]}}"


async def test_a_number_is_a_user_and_any_other_value_is_nobody(tmp_path: Path) -> None:
    async with running(tmp_path, jwt()) as gw:
        assert await gw.spent_by(sub=7) == [200, 200, 429]
        assert await gw.spent_by(sub="7") == [429] * 3  # the same user
        assert await gw.spent_by(sub=7.0) == [429] * 3
        assert await gw.spent_by(sub=76561198000000001) == [200, 200, 429]
        assert await gw.spent_by(sub=76561198000000002) == [200, 200, 429]
        assert await gw.statuses() == [200, 200, 429]  # nobody, by address
        for nobody in (7.5, True, None, ["7"], {"id": "7"}, ""):
            assert await gw.spent_by(sub=nobody) == [429] * 3
        assert await gw.spent_by() == [429] * 3
        assert await gw.rejections() == {'gateway_identity_rejected_total{reason="no_user",source="jwt"}': 21.0}


async def test_claims_within_claims_and_names_with_dots_say_user_and_tier(tmp_path: Path) -> None:
    uri = "https://example.com/tier"
    async with running(tmp_path, jwt("user.id", tier_claim=uri)) as gw:
        assert await gw.spent_by(user={"id": 7}) == [200, 200, 429]
        gold = {"user": {"id": 8}, uri: "gold"}
        assert await gw.statuses(f"Authorization: Bearer {token(**gold)}", times=5) == [200] * 4 + [429]
        assert await gw.spent_by(**{"user.id": "another"}) == [200, 200, 429]  # by address
        assert await gw.spent_by(user="7") == [429] * 3


async def test_a_token_may_be_as_long_as_a_header(tmp_path: Path) -> None:
    long = {"sub": "ana", "groups": ["x" * 60] * 250}
    assert len(token(**long)) > 20_000
    async with running(tmp_path, jwt(), "intake: {max_header: 32KiB}") as gw:
        assert await gw.spent_by(**long) == [200, 200, 429]
        assert await gw.spent_by(sub="ben") == [200, 200, 429]
        assert await gw.rejections() == {}
        assert await gw.statuses("X: " + "x" * 33_000, times=1) == [431]


async def test_what_is_not_accepted_is_counted_and_logged_without_the_credential(tmp_path: Path) -> None:
    key = sha256(b"the-key").hexdigest()
    sources = (
        "{sources: [{jwt: {audience: api, issuer: me, keys: [{algorithm: HS256, secret_file: secret}]}}, "
        f"{{api_key: {{keys: [{{sha256: {key}, user: keyholder}}]}}}}]}}"
    )
    good = {"sub": "tokenholder", "aud": "api", "iss": "me"}
    forged = signed({"exp": EXPIRES, **good}, {"alg": "HS256"}, pair("HS256", 1).signing)
    text = f"{part({'alg': 'HS256'})}.{part(good | {'exp': EXPIRES})}"
    offers = {
        "expired": token(**good | {"exp": 1}),
        "not_yet_valid": token(**good, nbf=EXPIRES - 1),
        "no_expiry": signed(good, {"alg": "HS256"}),
        "bad_signature": forged,
        "unknown_key": signed({"exp": EXPIRES, **good}, {"alg": "HS256", "kid": "another"}),
        "wrong_audience": token(**good | {"aud": "another"}),
        "wrong_issuer": token(**good | {"iss": "another"}),
        "no_user": token(**good | {"sub": None}),
        "malformed": text,
    }
    async with running(tmp_path, sources) as gw:
        for reason, offer in offers.items():
            await gw.statuses(f"Authorization: Bearer {offer}", times=2)
            await gw.process.says(f'"event": "identity_rejected", "source": "jwt", "reason": "{reason}"')
        await gw.statuses("X-Api-Key: another-key", times=2)
        await gw.process.says('"event": "identity_rejected", "source": "api_key", "reason": "unknown_key"')
        expected = [("jwt", reason) for reason in offers] + [("api_key", "unknown_key")]
        assert await gw.rejections() == {
            f'gateway_identity_rejected_total{{reason="{reason}",source="{source}"}}': 2.0
            for source, reason in expected
        }
        output = gw.process.output
        assert output.count('"event": "identity_rejected"') == len(expected)  # a sample
    for secret in ("another-key", "tokenholder", *offers.values()):
        assert secret not in output


async def test_the_access_log_says_of_a_refusal_which_limit_refused_whom_and_how_the_caller_was_known(
    tmp_path: Path,
) -> None:
    async with running(tmp_path, jwt(), "access_log: 1.0") as gw:
        assert await gw.spent_by(sub="ana") == [200, 200, 429]
        await gw.process.says('"status": 429, .*"source": "jwt", "limits": \\["each"\\]')
        assert await gw.statuses() == [200, 200, 429]
        await gw.process.says('"status": 429, .*"source": "client_address", "limits": \\["each"\\]')
        assert gw.process.output.count('"limits"') == 2  # none for those that passed


async def test_a_proxy_that_is_not_trusted_is_said_once_with_what_to_set(tmp_path: Path) -> None:
    async with running(tmp_path, "{trusted_proxies: [10.0.0.0/8]}") as gw:
        assert await gw.statuses("X-Forwarded-For: 203.0.113.7", times=2) == [200, 200]
        assert await gw.statuses("X-Forwarded-For: 203.0.113.8") == [429] * 3  # all behind it are one
        found = await gw.process.says(r'"event": "proxy_not_trusted".*')
        assert "identity.trusted_proxies" in found[0]
        assert await gw.rejections() == {
            'gateway_identity_rejected_total{reason="untrusted_peer",source="x_forwarded_for"}': 5.0
        }
        assert gw.process.output.count("proxy_not_trusted") == 1
        assert "203.0.113" not in gw.process.output
