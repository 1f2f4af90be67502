"""`from_claim`, from the issuer's token to the 429, with Redis and two workers, and what operators see of it."""

from pathlib import Path

import pytest

from tests.auth.keys import pair
from tests.e2e.test_identity import token
from tests.kit.process import cli, gateway, run
from tests.redis_server import redis_server
from tests.wire import ask, get, upstream

pytestmark = pytest.mark.untraced

SETTINGS = """\
upstreams: {default: {urls: ["http://127.0.0.1:PORT"]}}
rules: rules.yaml
store: {url: "REDIS"}
workers: 2
identity:
  sources:
    - jwt:
        claim: sub
        keys: [{algorithm: HS256, secret_file: secret}]
        attributes: {daily: plan.daily}
"""
RULES = "limits: [{name: plan, per: user, rate: 2/day, burst: 2, from_claim: {rate: daily, at_most: 5/day}}]\n"


async def test_a_token_states_its_bearers_rate_up_to_the_largest(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(pair().verifying)
    (tmp_path / "rules.yaml").write_text(RULES)
    settings = tmp_path / "gateway.yaml"
    async with redis_server() as redis, upstream() as up:
        settings.write_text(SETTINGS.replace("PORT", str(up.port)).replace("REDIS", redis.url))
        async with gateway("--config", str(settings)) as (process, public, control):

            async def passing(user: str, **claims: object) -> int:
                sent = get("/", f"Authorization: Bearer {token(sub=user, **claims)}")
                return [(await ask(public, sent)).status for _ in range(7)].count(200)

            assert await passing("ana", plan={"daily": 4}) == 4
            assert await passing("ana", plan={"daily": 5}) == 1  # with a new token; what was spent stays spent
            assert await passing("bob", plan={"daily": 100}) == 5
            for number, bad in enumerate(["4.5", -4, 0, "many", 1.5, None, [4], True]):
                assert await passing(f"user{number}", plan={"daily": bad}) == 2
            await process.says(
                '"event": "claim_unusable", "limit": "plan", "attribute": "daily", "reason": "above_most"'
            )
            await process.says('"event": "claim_unusable", "limit": "plan", "attribute": "daily", "reason": "invalid"')
            metrics = (await ask(control, get("/metrics"))).body.decode()
            assert 'gateway_claims_unusable_total{limit="plan",reason="above_most"} 7.0' in metrics
        bearer = token(sub="ana", plan={"daily": 3})
        asked = ("explain", "GET /", "--header", f"Authorization: Bearer {bearer}", "--config", str(settings))
        code, text = await run(*cli(*asked))
        assert (code, "3/day" in text, "the caller's own rate, from daily" in text) == (0, True, True), text
        code, text = await run(*cli("check", "--config", str(settings)))
        assert (code, "attribute daily" in text, "at most 5/day" in text) == (0, True, True), text
