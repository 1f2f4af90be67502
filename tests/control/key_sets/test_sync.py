"""The keys of an issuer in the workers of a gateway: who asks, when, and what is in force meanwhile."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from gateway.auth.key_ring import KeyRing
from gateway.control.key_sets.copy import KeySetCopy
from gateway.control.key_sets.fetch import fetch_key_set
from gateway.control.key_sets.sync import KeySetSync
from gateway.settings.log import LogPolicy
from gateway.settings.token_key import Jwks
from gateway.telemetry.log import open_log
from gateway.telemetry.metrics import Metrics
from gateway.telemetry.shared_memory import SharedCounters
from tests.auth.keys import pair
from tests.control.key_sets.issuer import Issuer, answers, hangs, issuing, jwk

OLD, NEW = pair("EdDSA", 1), pair("EdDSA", 2)


class Fleet:
    """Workers of one gateway, and the clock of them all."""

    def __init__(self, folder: Path, issuer: Issuer, **settings: Any) -> None:
        self.folder = folder
        self.issuer = issuer
        self.jwks = Jwks(issuer.url, ca=issuer.ca, **settings)
        self.now = 1_000_000.0
        self.metrics = Metrics([SharedCounters()], 0)
        self.log = open_log(policy=LogPolicy(format="json"))
        self.workers = [self.worker() for _ in range(3)]

    def worker(self) -> KeySetSync:
        copy = KeySetCopy(self.jwks, self.folder / "state")
        ring = KeyRing(is_published=True)
        return KeySetSync(self.jwks, ring, copy, fetch_key_set, self.log, self.metrics, lambda: self.now)

    async def start(self) -> None:
        await asyncio.gather(*(each.start() for each in self.workers))

    async def poll(self, seconds: float = 0.0) -> None:
        """Let time pass. The workers poll at once, and again to see what came of it."""
        self.now += seconds
        for _ in range(2):
            await asyncio.gather(*(each.hear() for each in self.workers))

    async def kids(self) -> list[set[str | None]]:
        """What each worker accepts."""
        return [{key.kid for key in each._ring.keys} for each in self.workers]

    async def said(self, capfd: pytest.CaptureFixture[str]) -> str:
        await self.log.close()
        self.log = open_log(policy=LogPolicy(format="json"))
        for each in self.workers:
            each._log = self.log
        return "".join(capfd.readouterr())


@pytest.fixture
async def issuer(tmp_path: Path) -> AsyncIterator[Issuer]:
    async with issuing(tmp_path) as running:
        running.publish(jwk(OLD, "old"))
        yield running


async def test_one_worker_asks_and_all_have_the_keys(tmp_path: Path, issuer: Issuer) -> None:
    fleet = Fleet(tmp_path, issuer)
    await fleet.start()
    assert await fleet.kids() == [{"old"}] * 3
    assert issuer.asked == 1
    await fleet.poll(299)
    assert issuer.asked == 1
    issuer.publish(jwk(OLD, "old"), jwk(NEW, "new"))
    await fleet.poll(1)
    assert issuer.asked == 2
    assert await fleet.kids() == [{"old", "new"}] * 3


async def test_an_unknown_kid_asks_at_most_once_in_30_seconds(tmp_path: Path, issuer: Issuer) -> None:
    fleet = Fleet(tmp_path, issuer)
    await fleet.start()
    issuer.publish(jwk(NEW, "new"))
    for _ in range(30):
        fleet.now += 1
        for each in fleet.workers:
            each._ring.find("invented")
        await fleet.poll()
    assert issuer.asked == 2
    assert await fleet.kids() == [{"new"}] * 3
    await fleet.poll(60)
    assert issuer.asked == 2, "tokens with an unknown kid have been asked for already"


async def test_a_start_while_the_issuer_is_unavailable_has_the_last_keys(
    tmp_path: Path, issuer: Issuer, capfd: pytest.CaptureFixture[str]
) -> None:
    fleet = Fleet(tmp_path, issuer, timeout=0.2)
    await fleet.start()
    issuer.respond = hangs
    fleet.workers = [fleet.worker() for _ in range(3)]
    fleet.now += 3600
    await fleet.start()
    assert await fleet.kids() == [{"old"}] * 3
    assert issuer.asked == 1, "the start does not wait for the issuer"
    await fleet.poll()
    assert issuer.asked == 2
    await fleet.poll(29)
    assert issuer.asked == 2
    await fleet.poll(1)
    assert issuer.asked == 3
    said = await fleet.said(capfd)
    assert said.count("jwks_unavailable") == 1
    issuer.publish(jwk(OLD, "old"))
    await fleet.poll(30)
    assert "jwks_available" in await fleet.said(capfd)


async def test_without_any_keys_the_start_goes_on(
    tmp_path: Path, issuer: Issuer, capfd: pytest.CaptureFixture[str]
) -> None:
    issuer.respond = answers(b"garbage")
    fleet = Fleet(tmp_path, issuer)
    await fleet.start()
    assert await fleet.kids() == [set()] * 3
    assert issuer.asked == 1
    said = await fleet.said(capfd)
    assert said.count("jwks_unavailable") == said.count("jwks_stale") == 1
    issuer.publish(jwk(OLD, "old"))
    await fleet.poll(30)
    assert await fleet.kids() == [{"old"}] * 3


@pytest.mark.parametrize("body", [b"garbage", b'{"keys": []}', b'{"keys": [{"kty": "oct", "k": "AAAA"}]}'])
async def test_a_bad_set_leaves_the_last_good_one_until_it_is_too_old(
    tmp_path: Path, issuer: Issuer, capfd: pytest.CaptureFixture[str], body: bytes
) -> None:
    fleet = Fleet(tmp_path, issuer, at_most_stale=600.0)
    await fleet.start()
    issuer.respond = answers(body)
    await fleet.poll(600)
    assert await fleet.kids() == [{"old"}] * 3
    await fleet.poll(0.1)
    assert await fleet.kids() == [set()] * 3
    assert "jwks_stale" not in await fleet.said(capfd)
    await fleet.poll(30)
    await fleet.poll(30)
    assert (await fleet.said(capfd)).count("jwks_stale") == 1
    text = (await fleet.metrics.scrape())[0].decode()
    assert f'gateway_jwks_stale_timestamp_seconds{{jwks="{issuer.url}"}} 1.0006e+06' in text
    assert 'outcome="failed"} 3.0' in text
    issuer.publish(jwk(OLD, "old"))
    await fleet.poll(30)
    assert await fleet.kids() == [{"old"}] * 3


async def test_a_key_that_vanished_is_used_for_its_grace(
    tmp_path: Path, issuer: Issuer, capfd: pytest.CaptureFixture[str]
) -> None:
    fleet = Fleet(tmp_path, issuer, grace=60.0)
    await fleet.start()
    issuer.publish(jwk(NEW, "new"))
    await fleet.poll(300)
    assert await fleet.kids() == [{"old", "new"}] * 3
    fleet.workers[0] = fleet.worker()
    await fleet.workers[0].start()
    await fleet.poll(59)
    assert await fleet.kids() == [{"old", "new"}] * 3
    await fleet.poll(1)
    assert await fleet.kids() == [{"new"}] * 3
    said = await fleet.said(capfd)
    assert said.count("jwks_changed") == 2
    assert '"added": ["new"], "removed": ["old"]' in said


async def test_without_grace_a_key_that_vanished_is_gone_at_once(tmp_path: Path, issuer: Issuer) -> None:
    fleet = Fleet(tmp_path, issuer)
    await fleet.start()
    issuer.publish(jwk(NEW, "old"))
    await fleet.poll(300)
    assert {each._ring.keys[0].key for each in fleet.workers} == {NEW.verifying + b"\n"}
    assert await fleet.kids() == [{"old"}] * 3


async def test_a_damaged_copy_is_said_once_and_replaced(
    tmp_path: Path, issuer: Issuer, capfd: pytest.CaptureFixture[str]
) -> None:
    fleet = Fleet(tmp_path, issuer)
    await fleet.start()
    fleet.workers[0]._copy.file.write_text('{"url": 1}')
    fleet.workers = [fleet.worker()]
    await fleet.start()
    assert await fleet.kids() == [{"old"}]
    assert issuer.asked == 2
    assert (await fleet.said(capfd)).count("jwks_copy_unreadable") == 1


async def test_a_copy_that_cannot_be_written_does_not_keep_keys_from_use(
    tmp_path: Path, issuer: Issuer, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("gateway.control.key_sets.copy.replace_file", full)
    fleet = Fleet(tmp_path, issuer)
    await fleet.start()
    assert await fleet.kids() == [{"old"}] * 3
    assert (await fleet.said(capfd)).count("jwks_copy_failed") == 3


async def test_a_key_for_an_algorithm_that_is_no_longer_allowed_is_not_taken_from_the_copy(
    tmp_path: Path, issuer: Issuer
) -> None:
    fleet = Fleet(tmp_path, issuer)
    await fleet.start()
    file = fleet.workers[0]._copy.file
    fleet.jwks = Jwks(issuer.url, ca=issuer.ca, algorithms=("RS256",))
    other = fleet.worker()
    other._copy.file = file
    await other._read()
    assert other._known.keys == ()
    assert other._known.fetched_at == 1_000_000.0


async def test_an_unexpected_error_is_said_once(
    tmp_path: Path, issuer: Issuer, capfd: pytest.CaptureFixture[str]
) -> None:
    async def broken(_: Jwks) -> bytes:
        raise ZeroDivisionError

    fleet = Fleet(tmp_path, issuer)
    fleet.workers = [fleet.workers[0]]
    fleet.workers[0]._fetch = broken
    await fleet.start()
    await fleet.poll(1)
    assert (await fleet.said(capfd)).count("jwks_failed") == 1


async def test_a_clock_that_was_set_back_does_not_keep_the_issuer_from_being_asked(
    tmp_path: Path, issuer: Issuer
) -> None:
    fleet = Fleet(tmp_path, issuer)
    await fleet.start()
    await fleet.poll(-1000)
    assert issuer.asked == 2
