"""API keys, token keys and key sets in files: used from the next reload on, in every worker or in none."""

import json
from hashlib import sha256
from pathlib import Path

from tests.auth.keys import Pair, pair
from tests.control.fleet import Gateway, fleet_member
from tests.control.key_sets.issuer import jwk, key_set, token
from tests.control.reload.test_api import audited, reload
from tests.kit.process import cli, run
from tests.redis_server import redis_server
from tests.wire import ask, get, upstream

OLD, NEW = pair("EdDSA", 1), pair("EdDSA", 2)
TRIES = 8
"""Each on a connection of its own, so that both workers get some."""

SOURCES = (
    "{api_key: {keys_file: keys.jsonl}}, {jwt: {jwks: {file: jwks.json}}}, "
    "{jwt: {header: X-Token, bearer: false, keys: [{kid: any, algorithm: EdDSA, public_key_file: public.pem}]}}"
)


def write_keys(folder: Path, **users: str) -> None:
    records = [{"sha256": sha256(key.encode()).hexdigest(), "user": user} for key, user in users.items()]
    (folder / "keys.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))


def write_tokens(folder: Path, key: Pair) -> None:
    (folder / "jwks.json").write_bytes(key_set(jwk(key, "kid")))
    (folder / "public.pem").write_bytes(key.verifying)


async def rejections(running: Gateway) -> float:
    text = (await running.call("GET", "/metrics")).body.decode()
    return sum(
        float(line.split()[1]) for line in text.splitlines() if line.startswith("gateway_identity_rejected_total")
    )


async def is_good(running: Gateway, header: str) -> bool:
    """Whether no worker rejects a credential; either all do, or none."""
    before = await rejections(running)
    for _ in range(TRIES):
        await ask(running.public, get("/", header))
    rejected = await rejections(running) - before
    assert rejected in {0, TRIES}
    return not rejected


async def credentials(running: Gateway) -> dict[str, bool]:
    """Which credentials are good."""
    known = {"one": "X-Api-Key: one", "two": "X-Api-Key: two"}
    for name, key in (("old", OLD), ("new", NEW)):
        known[f"jwks {name}"] = f"Authorization: Bearer {token(key.signing, 'kid')}"
        known[f"file {name}"] = f"X-Token: {token(key.signing, 'any')}"
    return {name: await is_good(running, header) for name, header in known.items()}


def expected(*good: str) -> dict[str, bool]:
    names = ("one", "two", "jwks old", "file old", "jwks new", "file new")
    return {name: name in good for name in names}


async def test_keys_change_with_a_reload_in_every_worker_or_in_none(tmp_path: Path) -> None:
    write_keys(tmp_path, one="ana")
    write_tokens(tmp_path, OLD)
    async with (
        redis_server() as redis,
        upstream() as up,
        fleet_member(tmp_path, up.port, redis.url, workers=2, sources=SOURCES) as running,
    ):
        await running.process.says(r"(?s)(worker_serving.*){2}")
        assert await credentials(running) == expected("one", "jwks old", "file old")
        write_keys(tmp_path, two="ana", three="bob")
        write_tokens(tmp_path, NEW)
        planned = await reload(running, "?dry_run=true")
        changes = {
            "token_keys": ["identity.sources[1]", "identity.sources[2]"],
            "api_keys": {"added": 2, "revoked": 1, "changed": 0},
        }
        assert (planned.status, planned.body["keys"]) == (200, changes)
        (tmp_path / "keys.jsonl").write_text("hunter2\n")
        refused = await reload(running)
        assert refused.status == 422
        assert "keys.jsonl:1:1: not JSON" in refused.body["problems"][0]
        assert await credentials(running) == expected("one", "jwks old", "file old")
        write_keys(tmp_path, two="ana", three="bob")
        done = await reload(running)
        assert (done.status, done.body["keys"]) == (200, changes)
        assert await credentials(running) == expected("two", "jwks new", "file new")
        assert (await reload(running)).body["keys"] == {}
        (line,) = [line for line in audited(running) if "keys" in (line.get("after") or {})]
        assert line["after"]["keys"] == changes
        assert "hunter2" not in running.process.output
        write_keys(tmp_path, two="bob")
        command = cli("reload", "--config", tmp_path / "gateway.yaml", "--url", f"http://127.0.0.1:{running.control}")
        code, output = await run(*command, cwd=tmp_path)
        assert code == 0, output
        assert "API keys: 0 added, 1 revoked, 1 changed" in output
