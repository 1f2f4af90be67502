"""Limits on the addresses of clients, seen from outside: two workers and a Redis, and clients behind a proxy."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.auth.keys import pair, signed
from tests.kit.process import ROOT, Process, cli, gateway, run
from tests.redis_server import redis_server
from tests.waiting import eventually
from tests.wire import ask, get, upstream

EXPIRES = 4_000_000_000
LOGIN = (ROOT / "docs" / "rules.md").read_text().partition("### Login")[2].partition("```yaml\n")[2].partition("```")[0]
SETTINGS = """\
store: {{url: "{redis}", deadline: 5s}}
workers: 2
upstreams: {{default: {{urls: ["http://127.0.0.1:{upstream}"]}}}}
rules: rules.yaml
identity:
  trusted_proxies: [127.0.0.0/8]
  sources: [jwt: {{claim: sub, keys: [{{algorithm: HS256, secret_file: secret}}]}}]
"""


CONTROL = """\
control:
  state: state
  admin:
    audience: rate-limiting-gateway
    issuer: operations
    keys: [{kid: admin, algorithm: EdDSA, public_key_file: secrets/admin.pem}]
"""


class Fronted:
    """A gateway behind a proxy that says which client each request is from."""

    def __init__(self, process: Process, public: int, control: int) -> None:
        self.process = process
        self.public = public
        self.control = control

    async def status(self, address: str, user: str = "", path: str = "/login") -> int:
        token = signed({"sub": user, "exp": EXPIRES}, {"alg": "HS256"})
        fields = [f"X-Forwarded-For: {address}", *[f"Authorization: Bearer {token}"] * bool(user)]
        return (await ask(self.public, get(path, *fields, method="POST"))).status


@asynccontextmanager
async def fronted(folder: Path, rules: str, more: str = "") -> AsyncIterator[Fronted]:
    (folder / "secret").write_bytes(pair().verifying)
    (folder / "rules.yaml").write_text(rules)
    async with redis_server() as redis, upstream() as up:
        (folder / "gateway.yaml").write_text(SETTINGS.format(redis=redis.url, upstream=up.port) + more)
        async with gateway("--config", folder / "gateway.yaml") as (process, public, control):
            yield Fronted(process, public, control)


async def test_four_tokens_from_one_address_share_the_five_tries_of_the_login_recipe(tmp_path: Path) -> None:
    async with fronted(tmp_path, LOGIN.replace("10/minute", "1/day")) as gw:
        users = ["ana", "bob", "cleo", ""] * 2
        assert [await gw.status("198.51.100.7", user) for user in users] == [200] * 5 + [429] * 3
        assert [await gw.status("198.51.100.8", "ana") for _ in range(6)] == [200] * 5 + [429]
        assert await gw.status("198.51.100.7", "ana", "/elsewhere") == 200


async def test_one_ipv6_client_is_its_64_and_a_translated_one_its_ipv4_address(tmp_path: Path) -> None:
    rules = "limits: [{name: each, per: address, rate: 1/day, burst: 2}, {name: own, per: user, rate: 1/day, burst: 3}]"
    async with fronted(tmp_path, rules) as gw:
        sent = [("2001:db8::1", "ana"), ("2001:db8::ffff", "bob"), ("2001:db8::2", "cleo"), ("2001:db8:0:1::1", "cleo")]
        assert [await gw.status(*each) for each in sent] == [200, 200, 429, 200]
        sent = [("192.0.2.1", "dan"), ("64:ff9b::c000:201", "eve"), ("192.0.2.1", ""), ("64:ff9b::192.0.2.2", "")]
        assert [await gw.status(*each) for each in sent] == [200, 200, 429, 200]
        # What the address could not pay has cost cleo nothing: of three, one was spent.
        sent = [(f"203.0.113.{number}", "cleo") for number in range(3)]
        assert [await gw.status(*each) for each in sent] == [200, 200, 429]


async def test_an_address_is_blocked_and_let_in_again_by_command_in_every_worker(tmp_path: Path) -> None:
    rules = (
        "limits: [{name: each, per: user, rate: 1/day, burst: 99}]\nblock: {networks: [203.0.113.0/24], users: [eve]}"
    )
    code, output = await run(*cli("token", "keygen"), cwd=tmp_path)
    assert code == 0, output
    async with fronted(tmp_path, rules, CONTROL) as gw:
        flags = ("--config", "gateway.yaml", "--url", f"http://127.0.0.1:{gw.control}")
        until = ("--for", "1h", "--reason", "abuse")

        async def command(*words: str) -> str:
            code, output = await run(*cli(*words, *flags), cwd=tmp_path)
            assert code == 0, output
            return output

        async def becomes(status: int, address: str) -> None:
            """In both workers: connections are spread among them."""
            await eventually(lambda: all_are(status, address))

        async def all_are(status: int, address: str) -> bool:
            statuses = [await gw.status(address, user) for user in ("ana", "") * 8]
            return statuses == [status] * 16

        assert await all_are(429, "203.0.113.9")
        assert await gw.status("192.0.2.1", "eve") == 429
        assert "address/198.51.100.7  block" in await command(
            "override", "set", "address/198.51.100.7", "--block", *until
        )
        await becomes(429, "198.51.100.7")
        await command("override", "set", "address/203.0.113.9", "--exempt", *until)
        await becomes(200, "203.0.113.9")
        assert await all_are(429, "203.0.113.8")
        listed = await command("override", "list")
        assert [line.split()[0] for line in listed.splitlines()] == ["address/198.51.100.7", "address/203.0.113.9"]
        assert "(blocked)  0 of 1 left" in await command("usage", "address/198.51.100.7")
        await command("override", "rm", "address/198.51.100.7")
        await becomes(200, "198.51.100.7")
        (tmp_path / "rules.yaml").write_text(rules.replace("203.0.113.0/24", "192.0.2.0/24"))
        printed = await command("reload")
        assert "block added: 192.0.2.0/24" in printed
        assert "block removed: 203.0.113.0/24" in printed
        assert await all_are(429, "192.0.2.1")
        assert await all_are(200, "203.0.113.8")
