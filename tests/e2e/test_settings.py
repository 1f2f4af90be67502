"""Settings from a file, in force: TLS on both listeners, and every way to say who is asking."""

import ssl
from hashlib import sha256
from pathlib import Path

import jwt
import trustme

from tests.kit.process import gateway
from tests.wire import Client, ask, get, upstream

SECRET = "a secret that is long enough for HS256"
RULES = "limits:\n  - {name: each, per: user, rate: 1/day, burst: 1, tiers: {gold: {rate: 1/day, burst: 2}}}\n"


async def test_both_listeners_serve_tls_from_the_files_of_the_settings(tmp_path: Path) -> None:
    authority = trustme.CA()
    leaf = authority.issue_cert("127.0.0.1")
    leaf.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    leaf.private_key_pem.write_to_path(tmp_path / "key.pem")
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    tls = "tls: {certificate: cert.pem, key: key.pem}"
    async with upstream() as up:
        (tmp_path / "gateway.yaml").write_text(
            f"listen: {{host: 127.0.0.1, port: 8080, {tls}}}\n"
            f"control: {{listen: {{host: 127.0.0.1, port: 8081, {tls}}}}}\n"
            f"upstreams: {{default: {{urls: ['http://127.0.0.1:{up.port}']}}}}\n"
        )
        async with gateway("--config", tmp_path / "gateway.yaml") as (process, public, control):
            async with Client.connect(public, ssl=trusting) as client:
                assert (await client.ask(get())).status == 200
            async with Client.connect(control, ssl=trusting) as client:
                assert (await client.ask(get("/readyz"))).status == 200
            assert f"on https://127.0.0.1:{public}" in process.output
            assert f"control  https://127.0.0.1:{control}\n" in process.output
    assert up.requests[0].one(b"x-forwarded-proto") == b"https"


async def test_the_log_has_the_level_and_the_format_of_the_settings(tmp_path: Path) -> None:
    async with upstream() as up:
        (tmp_path / "gateway.yaml").write_text(
            f"upstreams: {{default: {{urls: ['http://127.0.0.1:{up.port}']}}}}\n"
            "log: {level: error, format: text}\n"
            "store: {url: 'redis://127.0.0.1:1'}\n"
            "workers: 1\n"
        )
        async with gateway("--config", tmp_path / "gateway.yaml") as (process, public, _):
            assert (await ask(public, get())).status == 200
            await process.says(r" error   redis_unavailable  why=")
    assert "worker_serving" not in process.output
    assert "worker_draining" not in process.output


async def test_users_are_known_by_token_key_header_or_address_and_never_appear_in_the_log(tmp_path: Path) -> None:
    async with upstream() as up:
        (tmp_path / "rules.yaml").write_text(RULES)
        (tmp_path / "gateway.yaml").write_text(
            f"""
upstreams: {{default: {{urls: ['http://127.0.0.1:{up.port}']}}}}
rules: rules.yaml
access_log: true
identity:
  hash_key_env: TEST_HASH_KEY
  sources:
    - jwt: {{claim: sub, tier_claim: plan, keys: [{{algorithm: HS256, secret_env: TEST_SECRET}}]}}
    - api_key: {{keys: [{{sha256: {sha256(b"the-key").hexdigest()}, user: keyholder}}]}}
    - trusted_header: {{header: X-User-Id}}
    - client_address
  trusted_proxies: [127.0.0.1]
"""
        )
        token = jwt.encode({"sub": "tokenholder", "plan": "gold", "exp": 4_000_000_000}, SECRET, algorithm="HS256")
        forged = jwt.encode({"sub": "tokenholder", "exp": 4_000_000_000}, SECRET + "x", algorithm="HS256")
        environment = {"TEST_SECRET": SECRET, "TEST_HASH_KEY": "0123456789abcdef"}
        async with gateway("--config", tmp_path / "gateway.yaml", **environment) as (process, public, _):

            async def statuses(*fields: str, times: int = 2) -> list[int]:
                return [(await ask(public, get("/", *fields))).status for _ in range(times)]

            assert await statuses(f"Authorization: Bearer {token}", times=3) == [200, 200, 429]
            assert await statuses("X-Api-Key: the-key") == [200, 429]
            assert await statuses("X-User-Id: headerholder") == [200, 429]
            # What cannot be believed is limited by address, all of it together.
            assert await statuses(f"Authorization: Bearer {forged}", times=1) == [200]
            assert await statuses("X-Api-Key: another", times=1) == [429]
            assert await statuses() == [429, 429]
            await process.says(r'(?s)("status": 429.*){6}')
        for secret in ("tokenholder", "keyholder", "headerholder", "the-key", token, SECRET, "0123456789abcdef"):
            assert secret not in process.output
