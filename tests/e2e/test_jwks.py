"""A gateway whose callers' and admins' keys are published by an issuer, which rotates them and goes away."""

from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.auth.keys import Pair, claims, pair, signed
from tests.control.key_sets.issuer import Issuer, issuing, jwk, token
from tests.kit.process import gateway
from tests.redis_server import redis_server
from tests.waiting import eventually
from tests.wire import ask, get, upstream

OLD, NEW = pair("EdDSA", 1), pair("EdDSA", 2)
TOKENS = 8
"""Each on a connection of its own, so that both workers get some."""


def write(folder: Path, issuer: Issuer, port: int, redis: str) -> Path:
    jwks = f"{{url: '{issuer.url}', ca: {issuer.ca}, refresh: 1s}}"
    file = folder / "gateway.yaml"
    file.write_text(
        f"upstreams: {{default: {{urls: ['http://127.0.0.1:{port}']}}}}\nworkers: 2\n"
        f"store: {{url: '{redis}', deadline: 5s}}\n"
        f"identity: {{sources: [{{jwt: {{jwks: {jwks}}}}}]}}\n"
        f"control: {{state: state, admin: {{audience: gateway.test, issuer: 'https://issuer.test', jwks: {jwks}}}}}\n"
    )
    return file


def bearer(text: str) -> bytes:
    return get("/", f"Authorization: Bearer {text}")


async def rejections(control: int) -> float:
    text = (await ask(control, get("/metrics"))).body.decode()
    lines = [
        line for line in text.splitlines() if line.startswith('gateway_identity_rejected_total{reason="unknown_key')
    ]
    return sum(float(line.rpartition(" ")[2]) for line in lines)


async def is_good(public: int, control: int, key: Pair, kid: str) -> bool:
    """Whether no worker rejects a token."""
    before = await rejections(control)
    for _ in range(TOKENS):
        await ask(public, bearer(token(key.signing, kid)))
    return await rejections(control) == before


async def admin_status(control: int, key: Pair, kid: str) -> int:
    text = signed(claims(scope="limits:read"), {"alg": "EdDSA", "kid": kid}, key.signing)
    return (await ask(control, get("/api/v1/admin/rules", f"Authorization: Bearer {text}"))).status


@pytest.mark.untraced
async def test_keys_are_rotated_without_a_restart_and_outlive_the_issuer(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        issuer = await stack.enter_async_context(issuing(tmp_path))
        issuer.publish(jwk(OLD, "old"))
        async with redis_server() as redis, upstream() as up:
            config = write(tmp_path, issuer, up.port, redis.url)
            async with gateway("--config", config) as (process, public, control):
                await process.says(r"(?s)(worker_serving.*){2}")
                assert await is_good(public, control, OLD, "old")
                assert not await is_good(public, control, NEW, "new")
                assert await admin_status(control, OLD, "old") == 200
                issuer.publish(jwk(NEW, "new"))
                await eventually(lambda: is_good(public, control, NEW, "new"))
                assert not await is_good(public, control, OLD, "old")
                assert await admin_status(control, NEW, "new") == 200
                assert await admin_status(control, OLD, "old") == 401
            await stack.aclose()  # the issuer's end
            async with gateway("--config", config) as (process, public, control):
                await process.says(r"(?s)(worker_serving.*){2}")
                assert await is_good(public, control, NEW, "new")
                await process.says("jwks_unavailable")
