"""A header of our own, and a token, with which a request is not limited."""

from pathlib import Path

from gateway.control.audit.log_file import AuditLog
from tests.auth.attacks import ATTACKS
from tests.auth.keys import token
from tests.control.running import gateway, limit
from tests.wire import ask, get, upstream

BYPASS = f"X-Gateway-Bypass: {token('bypass', jti='b1')}"
USER = "X-User-Id: alice"


async def test_a_bypass_is_not_limited_and_each_use_is_audited(tmp_path: Path) -> None:
    async with upstream() as api, gateway(limit("each", 1), upstream=api.port, control={"state": tmp_path}) as running:
        for _ in range(3):
            assert (await ask(running.public, get("/v1/orders/7", USER, BYPASS))).status == 200
        assert (await ask(running.public, get("/v1/orders/7", USER))).status == 200
        assert (await ask(running.public, get("/v1/orders/7", USER))).status == 429
        metrics = (await running.call("GET", "/metrics")).body.decode()
        assert (
            'gateway_limit_decisions_total{endpoint="order",limit="each",mode="normal",outcome="bypassed"} 3.0'
            in metrics
        )
    entries = AuditLog(tmp_path / "audit.jsonl").page(0, 10)
    assert [(each["actor"], each["jti"], each["action"], each["target"]) for each in entries] == [
        ("ana", "b1", "bypass.used", "endpoint order")
    ] * 3


async def test_the_header_never_reaches_the_upstream(tmp_path: Path) -> None:
    async with upstream() as api, gateway(upstream=api.port, control={"state": tmp_path}) as running:
        for field in (BYPASS, BYPASS.lower(), BYPASS.upper(), "X-Gateway-Bypass: x", BYPASS.replace("-", "_", 2)):
            assert (await ask(running.public, get("/v1/orders/7", field))).status == 200
        assert (await ask(running.public, get("/v1/orders/7", BYPASS, BYPASS, "Connection: x-gateway-bypass"))).status
    for seen in api.requests:
        assert b"bypass" not in seen.raw_head.lower()


async def test_a_request_without_the_scope_is_limited_like_any_other(tmp_path: Path) -> None:
    async with upstream() as api, gateway(limit("each", 1), upstream=api.port, control={"state": tmp_path}) as running:
        assert (await ask(running.public, get("/v1/orders/7", USER))).status == 200
        attacks = [make() for name, make in ATTACKS.items() if name not in {"kid huge", "huge"}]
        for attack in (token("check limits:write reload"), *attacks):
            if len(attack) < 8000:
                answer = await ask(running.public, get("/v1/orders/7", USER, f"X-Gateway-Bypass: {attack}"))
                assert answer.status == 429, attack
        assert (await ask(running.public, get("/v1/orders/7", USER, BYPASS, BYPASS))).status == 429
        assert (await ask(running.public, get("/v1/orders/7", USER, f"Authorization: Bearer {BYPASS}"))).status == 429
        metrics = (await running.call("GET", "/metrics")).body.decode()
        for reason in ("no_scope", "repeated"):
            assert f'gateway_identity_rejected_total{{reason="{reason}",source="bypass_token"}} 1.0' in metrics
    assert {each["action"] for each in AuditLog(tmp_path / "audit.jsonl").page(0, 1000)} == {"refused"}


async def test_a_bypass_that_cannot_be_audited_is_limited() -> None:
    async with upstream() as api, gateway(limit("each", 1), upstream=api.port) as running:
        statuses = [(await ask(running.public, get("/v1/orders/7", USER, BYPASS))).status for _ in range(2)]
    assert statuses == [200, 429]
