"""When a watch reloads: when contents have changed, however that was done, and once for each of them."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from gateway.config.loader import load_rules
from gateway.control.reload.file_watch import FileWatch, ReloadOutcome
from gateway.settings.identity import Jwt
from gateway.settings.token_key import Jwks, TokenPolicy
from gateway.telemetry.log import open_log
from tests.auth.keys import pair
from tests.control.key_sets.issuer import jwk, key_set
from tests.control.running import Running, settings, worker
from tests.waiting import eventually, until


@dataclass
class Reloads:
    """What a watch finds, and what it does."""

    content: str = "1"
    in_force: str = "1"
    outcomes: list[ReloadOutcome] = field(default_factory=list)
    tried: list[str] = field(default_factory=list)
    looks: int = 0

    def look(self) -> str:
        self.looks += 1
        if self.content == "unreadable":
            self.content = "2"
            raise ZeroDivisionError
        return self.content

    async def differs(self) -> bool:
        return self.content != self.in_force

    async def reload(self) -> ReloadOutcome:
        self.tried.append(self.content)
        outcome = self.outcomes.pop(0) if self.outcomes else ReloadOutcome.APPLIED
        if outcome is ReloadOutcome.APPLIED:
            self.in_force = self.content
        return outcome

    async def looked(self, times: int = 4) -> None:
        """Wait until it has looked several times more."""
        enough = self.looks + times
        await until(lambda: self.looks >= enough)

    @asynccontextmanager
    async def watched(self, folder: Path) -> AsyncIterator[FileWatch]:
        log = open_log()
        watch = FileWatch(0.01, folder, self.look, self.differs, self.reload, log)
        async with watch.watching():
            yield watch
        await log.close()


async def test_what_has_changed_is_reloaded_once(tmp_path: Path) -> None:
    found = Reloads()
    async with found.watched(tmp_path):
        await found.looked()
        assert found.tried == []
        found.content = "2"
        await until(lambda: found.tried)
        await found.looked()
        assert found.tried == ["2"]


async def test_what_is_refused_is_not_tried_again_until_it_changes(tmp_path: Path) -> None:
    found = Reloads(outcomes=[ReloadOutcome.REFUSED])
    async with found.watched(tmp_path):
        await found.looked()
        found.content = "broken"
        await until(lambda: found.tried)
        await found.looked()
        found.content = "2"
        await until(lambda: found.in_force == "2")
        assert found.tried == ["broken", "2"]


async def test_a_failure_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.control.reload.file_watch._RETRY", 0.01)
    found = Reloads(content="unreadable", outcomes=[ReloadOutcome.FAILED] * 3)
    async with found.watched(tmp_path):
        await until(lambda: found.in_force == "2")
    assert found.tried == ["2"] * 4


async def test_files_that_changed_before_it_began_are_reloaded(tmp_path: Path) -> None:
    found = Reloads(content="2")
    async with found.watched(tmp_path):
        await until(lambda: found.in_force == "2")


async def test_contents_that_keep_changing_are_left_alone_until_they_stay(tmp_path: Path) -> None:
    found = Reloads()
    stop = asyncio.Event()
    found_look: Callable[[], str] = found.look

    def look() -> str:
        if not stop.is_set():
            found.content = str(found.looks)
        return found_look()

    found.look = look  # type: ignore[method-assign]
    async with found.watched(tmp_path):
        await found.looked(10)
        assert found.tried == []
        stop.set()
        await until(lambda: found.tried)
    assert found.tried == [found.content]


async def test_one_watches_and_the_next_goes_on_from_there(tmp_path: Path) -> None:
    first, second = Reloads(), Reloads()
    async with second_after(first, second, tmp_path) as watch:
        await first.looked()
        assert second.looks == 0
        first.content = "2"
        await until(lambda: first.tried)
        await first.looked()
        watch.stop()
        second.content = second.in_force = "2"
        await second.looked()
        assert second.tried == []
        second.content = "3"
        await until(lambda: second.tried)
        assert (first.tried, second.tried) == (["2"], ["3"])


@asynccontextmanager
async def second_after(first: Reloads, second: Reloads, folder: Path) -> AsyncIterator[FileWatch]:
    async with first.watched(folder) as watch:
        await first.looked(1)
        async with second.watched(folder):
            yield watch


async def test_a_worker_reloads_rules_and_key_sets_that_have_changed_and_leaves_broken_ones_alone(
    tmp_path: Path,
) -> None:
    old, new = pair("EdDSA", 1), pair("EdDSA", 2)
    rules, keys = tmp_path / "rules.yaml", tmp_path / "jwks.json"
    rules.write_text("limits: []\n")
    keys.write_bytes(key_set(jwk(old, "kid")))
    policy = TokenPolicy((old.token_key("kid"),), jwks=Jwks(file=keys))
    made = settings(control={"state": tmp_path / "state"}, rules=rules, watch=0.1)
    made = replace(made, identity=replace(made.identity, sources=(Jwt(policy),)))

    async def metric(running: Running, name: str) -> list[str]:
        text = (await running.call("GET", "/metrics")).body.decode()
        return [line for line in text.splitlines() if line.startswith(name)]

    async with worker(made, load_rules(made).rules) as running:
        rules.write_text("limits: [{name: each, per: user, rate: 1/s, burst: 7}]\n")
        await eventually(lambda: metric(running, "gateway_limit_burst_tokens{"))
        rules.write_text("limits: [{nme: each}]\n")

        async def is_rejected() -> bool:
            return 'gateway_rules_reloads_total{outcome="rejected"} 1.0' in await metric(
                running, "gateway_rules_reloads_"
            )

        await eventually(is_rejected)
        assert await metric(running, "gateway_limit_burst_tokens{")
        rules.write_text("limits: []\n")
        keys.write_bytes(key_set(jwk(new, "kid")))
        await eventually(lambda: audited_keys(tmp_path))
        assert await is_rejected()


async def audited_keys(folder: Path) -> bool:
    return "identity.sources[0]" in (folder / "state" / "audit.jsonl").read_text()
