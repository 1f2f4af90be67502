"""Who may: over a socket, with every attack on tokens there is, and nothing told to whoever tries."""

import re
import time
from dataclasses import replace
from typing import get_args

import pytest

from gateway.auth.grant import Scope
from gateway.limits.rejection import REASONS
from gateway.settings.token_key import Algorithm, ScopeName
from tests.auth.attacks import ATTACKS
from tests.auth.keys import ALGORITHMS, pair, policy, token
from tests.control.running import CHECK, Running, gateway, read, request
from tests.wire import Client, ask, get

PATH = "/api/v1/check-limit"
GOOD = {"user_id": "alice", "endpoint": "order", "weight": 1}
KEYS = policy(*(pair(algorithm).token_key(algorithm) for algorithm in ALGORITHMS))


async def test_every_attack_gets_the_same_401(capfd: pytest.CaptureFixture[str]) -> None:
    told = set()
    async with gateway() as running:
        for make in ATTACKS.values():
            attack = make()
            if len(attack) > 8000:
                continue  # these do not fit into a header field: see below
            answer = await running.call("POST", PATH, GOOD, token=attack)
            told.add((answer.status, answer.message.one(b"WWW-Authenticate"), answer.message.body))
        assert (await running.call("POST", PATH, GOOD, token=CHECK)).status == 200
        counted = await refusals(running)
    # What it is counted by is no more than what the log says.
    assert {("admin_token", reason) for reason in REASONS["admin_token"]} >= counted.keys()
    assert {reason for _, reason in counted} >= {"malformed", "bad_signature", "unknown_key", "expired", "lifetime"}
    assert told == {(401, b"Bearer", b'{"title": "Unauthorized", "status": 401}')}
    log = capfd.readouterr().err
    assert log.count("token_refused") > 70
    for reason in (
        "the token has expired",
        "alg is not the algorithm",
        "the signature is wrong",
        "no key has this kid",
    ):
        assert reason in log
    assert "eyJ" not in log


async def refusals(running: Running) -> dict[tuple[str, str], float]:
    """How many credentials were refused, by source and reason."""
    text = (await ask(running.control, get("/metrics"))).body.decode()
    found = re.findall(r'gateway_identity_rejected_total\{reason="(\w+)",source="(\w+)"\} (\S+)', text)
    return {(source, reason): float(count) for reason, source, count in found if float(count)}


async def test_every_refusal_is_counted_by_reason_and_the_ones_that_are_not_logged_too() -> None:
    async with gateway() as running, Client.connect(running.control) as client:
        await running.call("POST", PATH, GOOD)
        await running.call("POST", PATH, GOOD, fields=[f"Authorization: Bearer {CHECK}"] * 2)
        await running.call("POST", PATH, GOOD, fields=["Authorization: Basic eA=="])
        await running.call("POST", "/api/v1/admin/reload", token=CHECK)
        guesses = 0
        while read(await client.ask(request("POST", PATH, GOOD, token="a.b.c"))).status == 401:
            guesses += 1
        assert (await running.call("POST", PATH, GOOD, token=CHECK)).status == 200, "nobody else is slowed down"
        assert guesses > 990
        assert await refusals(running) == {
            ("admin_token", "missing"): 1,
            ("admin_token", "repeated"): 1,
            ("admin_token", "no_scope"): 1,
            ("admin_token", "malformed"): guesses + 2,
        }


async def test_a_token_that_is_larger_than_a_header_field_is_refused_as_such() -> None:
    async with gateway() as running:
        answer = await ask(running.control, request("POST", PATH, GOOD, token=ATTACKS["huge"]()))
        assert answer.status in {400, 431}
        assert (await running.call("POST", PATH, GOOD, token=CHECK)).status == 200


@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_keys_of_all_kinds_are_good_at_once(algorithm: Algorithm) -> None:
    async with gateway(control={"admin": KEYS}) as running:
        good = token("check", pair(algorithm).signing, algorithm)
        assert (await running.call("POST", PATH, GOOD, token=good)).status == 200


async def test_a_key_that_may_only_ask_permits_nothing_else_whatever_its_tokens_say() -> None:
    only_ask = replace(pair().token_key(), scopes=("check",), longest=86_400.0)
    now = int(time.time())
    day = token("check limits:write", iat=now, exp=now + 86_400)
    async with gateway(control={"admin": policy(only_ask)}) as running:
        assert (await running.call("POST", PATH, GOOD, token=day)).status == 200
        assert (await running.call("POST", "/api/v1/admin/reset/ana", token=day)).status == 403
        longer = token("check", iat=now, exp=now + 86_401)
        assert (await running.call("POST", PATH, GOOD, token=longer)).status == 401


@pytest.mark.parametrize(
    "fields",
    [
        [],
        [f"Authorization: Bearer {CHECK}", "Authorization: Bearer x"],
        [f"Authorization: Bearer {CHECK}", f"Authorization: Bearer {CHECK}"],
        [f"Authorization: Bearer {CHECK} extra"],
        [f"Authorization: Bearer  {CHECK}"],
        [f"Authorization: Bearer {CHECK},{CHECK}"],
        [f"Authorization: Basic {CHECK}"],
        [f"Authorization: {CHECK}"],
        [f"Cookie: access_token={CHECK}"],
        [f"X-Api-Key: {CHECK}"],
    ],
)
async def test_a_token_is_accepted_in_one_place_and_one_form(fields: list[str]) -> None:
    async with gateway() as running:
        assert (await running.call("POST", PATH, GOOD, fields=fields)).status == 401
        assert (await running.call("POST", f"{PATH}?access_token={CHECK}", GOOD, fields=fields)).status == 401


def test_a_key_can_be_given_each_scope() -> None:
    assert set(get_args(ScopeName)) == {scope.value for scope in Scope}


async def test_a_user_id_is_not_logged(capfd: pytest.CaptureFixture[str]) -> None:
    async with gateway() as running:
        await running.check("alice-the-secret", "order")
        await running.call("POST", PATH, GOOD | {"user_id": "alice-the-secret"})
        await running.call("POST", PATH, GOOD | {"user_id": ["alice-the-secret"]}, token=CHECK)
    assert "alice-the-secret" not in capfd.readouterr().err


@pytest.mark.parametrize(
    ("method", "path", "scope"),
    [
        ("POST", "/api/v1/admin/reload", "reload"),
        ("GET", "/api/v1/admin/rules", "limits:read"),
        ("GET", "/api/v1/admin/gateways", "limits:read"),
        ("DELETE", "/api/v1/admin/overrides/ana", "limits:write"),
        ("GET", "/api/v1/admin/audit", "audit:read"),
    ],
)
async def test_a_403_names_the_scope_that_is_missing_and_a_401_nothing(method: str, path: str, scope: str) -> None:
    async with gateway() as running:
        answer = await running.call(method, path, token=token("check"))
        stranger = await running.call(method, path, token="x.y.z")
    assert (answer.status, answer.body["detail"]) == (403, f"this needs a token with the scope {scope}")
    assert (stranger.status, stranger.body) == (401, {"title": "Unauthorized", "status": 401})
