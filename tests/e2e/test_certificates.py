"""Certificates that were replaced are used from the next reload on, in every worker or in none."""

import asyncio
import os
import re
import signal
import ssl
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
import trustme

from tests.e2e.test_restart import RULES
from tests.kit.process import Process, cli, ports
from tests.proxy.keys import wanting_certificates, write_pair
from tests.proxy.test_mutual_tls import who
from tests.redis_server import redis_server
from tests.waiting import eventually, until
from tests.wire import Client, Upstream, ask, get, upstream

WORKERS = 2
CONNECTIONS = 24
"""So many, that each worker has some: the kernel picks one for each."""


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


@asynccontextmanager
async def running(
    folder: Path, authority: trustme.CA, listen: str = "127.0.0.1:0"
) -> AsyncIterator[tuple[Process, int, Upstream]]:
    """A gateway of two workers in front of a server that wants a certificate, and answers with the name in it."""
    (folder / "server").mkdir()
    authority.cert_pem.write_to_path(folder / "ca.pem")
    write_pair(authority, folder, "first")
    write_pair(authority, folder / "server", "served-first", "127.0.0.1")
    (folder / "rules.yaml").write_text(RULES)
    context = wanting_certificates(authority, authority, "127.0.0.1")
    async with redis_server() as redis, upstream(who, ssl=context) as up:
        file = folder / "gateway.yaml"
        file.write_text(
            f"upstreams:\n  default:\n    urls: [https://127.0.0.1:{up.port}]\n"
            "    tls: {ca: ca.pem, certificate: cert.pem, key: key.pem}\n"
            f"store: {{url: '{redis.url}', deadline: 5s}}\nworkers: {WORKERS}\nrules: rules.yaml\n"
            f"listen: {listen}\ncontrol: {{listen: {listen}, state: state}}\n"
        )
        async with Process.start(*cli("serve", "--config", file)) as process:
            public, _ = await ports(process)
            await process.says(rf"(?s)(worker_serving.*){{{WORKERS}}}")
            yield process, public, up


async def names(port: int) -> Counter[str]:
    """Whom the upstream takes the gateway for, asked on many connections at once."""
    answers = await asyncio.gather(*(ask(port, get()) for _ in range(CONNECTIONS)))
    return Counter(answer.body.decode() if answer.status == 200 else str(answer.status) for answer in answers)


async def reload(process: Process, event: str) -> None:
    """Reload, and wait for this event of it."""
    already = process.output.count(event)
    process.signal(signal.SIGHUP)
    await until(lambda: process.output.count(event) > already)


async def test_a_new_certificate_is_used_after_a_reload_and_connections_with_the_old_one_are_closed(
    tmp_path: Path, authority: trustme.CA
) -> None:
    async with running(tmp_path, authority) as (process, port, up), Client.connect(port) as client:
        assert (await client.ask(get())).body == b"first"
        assert (await names(port)).keys() == {"first"}
        write_pair(authority, tmp_path, "second")
        assert (await names(port)).keys() == {"first"}
        await reload(process, "certificates_reloaded")
        assert '"certificates": ["upstreams.default"]' in process.output
        assert (await client.ask(get())).body == b"second"
        for _ in range(2):
            assert (await names(port)).keys() == {"second"}
        opened = up.connections
        await reload(process, "rules_reloaded")
        assert (await names(port)).keys() == {"second"}
        # What has not changed is kept: without a new certificate no connection is closed.
        assert up.connections - opened < CONNECTIONS
        assert process.output.count("certificates_reloaded") == 1


@pytest.mark.parametrize("broken", ["nonsense", "another key", "missing", "empty authority", "rules"])
async def test_a_replacement_that_is_broken_changes_nothing_in_any_worker(
    broken: str, tmp_path: Path, authority: trustme.CA
) -> None:
    async with running(tmp_path, authority) as (process, port, _):
        place = "upstreams.default.tls.certificate: "
        if broken == "nonsense":
            (tmp_path / "cert.pem").write_text("nonsense")
            place += "this is not a certificate in PEM"
        elif broken == "another key":
            (tmp_path / "other").mkdir()
            write_pair(authority, tmp_path / "other", "second")[1].replace(tmp_path / "key.pem")
            place = "upstreams.default.tls.key: this is the key of another certificate"
        elif broken == "missing":
            (tmp_path / "cert.pem").unlink()
            place += "No such file or directory"
        elif broken == "empty authority":
            (tmp_path / "ca.pem").write_text("")
            place = "upstreams.default.tls.ca: this file holds no certificate"
        else:
            write_pair(authority, tmp_path, "second")
            (tmp_path / "rules.yaml").write_text("limits: none\n")
            place = "rules.yaml"
        (tmp_path / "rules.yaml").write_text((tmp_path / "rules.yaml").read_text().replace("1000000", "999"))
        await reload(process, "reload_rejected")
        assert place in process.output
        assert "rules_reloaded" not in process.output
        assert (await names(port)).keys() == {"first"}
        # A worker that starts now is no worse off.
        os.kill(process.children[0], signal.SIGKILL)
        await process.says(rf"(?s)(worker_serving.*){{{WORKERS + 1}}}")
        assert (await names(port)).keys() == {"first"}


async def test_a_worker_that_starts_later_uses_what_was_reloaded(tmp_path: Path, authority: trustme.CA) -> None:
    async with running(tmp_path, authority) as (process, port, _):
        write_pair(authority, tmp_path, "second")
        await reload(process, "certificates_reloaded")
        for starts in (1, 2):
            os.kill(process.children[0], signal.SIGKILL)
            await process.says(rf"(?s)(worker_serving.*){{{WORKERS + starts}}}")
        assert (await names(port)).keys() == {"second"}
        # It falls back to those of the start, if what was reloaded cannot be read any more.
        (tmp_path / "cert.pem").write_text("nonsense")
        os.kill(process.children[0], signal.SIGKILL)
        await process.says("files_unusable")
        await process.says(rf"(?s)(worker_serving.*){{{WORKERS + 3}}}")
        assert (await names(port)).keys() <= {"first", "second"}


async def test_a_new_authority_is_trusted_after_a_reload_and_the_old_one_no_more(
    tmp_path: Path, authority: trustme.CA
) -> None:
    async with running(tmp_path, authority) as (process, port, _):
        assert (await names(port)).keys() == {"first"}
        trustme.CA().cert_pem.write_to_path(tmp_path / "ca.pem")
        await reload(process, "certificates_reloaded")
        assert (await names(port)).keys() == {"502"}
        authority.cert_pem.write_to_path(tmp_path / "ca.pem")
        await reload(process, "certificates_reloaded")
        assert (await names(port)).keys() == {"first"}


async def test_no_request_is_lost_while_certificates_are_replaced_again_and_again(
    tmp_path: Path, authority: trustme.CA
) -> None:
    async with running(tmp_path, authority) as (process, port, _):
        over, statuses = asyncio.Event(), Counter[int]()

        async def keep_asking() -> None:
            async with Client.connect(port) as client:
                while not over.is_set():
                    statuses[(await client.ask(get())).status] += 1

        def is_asked(times: int) -> bool:
            return statuses.total() > times

        async with asyncio.TaskGroup() as group:
            for _ in range(8):
                group.create_task(keep_asking())
            for number in range(5):
                write_pair(authority, tmp_path, f"number-{number}")
                await reload(process, "certificates_reloaded")
                await until(partial(is_asked, statuses.total() + 50))
            over.set()
        assert statuses.keys() == {200}
        assert (await names(port)).keys() == {"number-4"}


async def test_listeners_serve_a_new_certificate_after_a_reload_and_connections_go_on(
    tmp_path: Path, authority: trustme.CA
) -> None:
    listen = "{host: 127.0.0.1, port: 0, tls: {certificate: server/cert.pem, key: server/key.pem}}"
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)

    async def served(port: int) -> Counter[str]:
        """Names in the certificates that are presented to clients, which send no SNI for an address."""
        found = Counter[str]()
        for _ in range(CONNECTIONS // 2):
            async with Client.connect(port, ssl=trusting, server_hostname="127.0.0.1") as client:
                certificate = client.writer.get_extra_info("peercert")
                found[dict(pair for part in certificate["subject"] for pair in part)["commonName"]] += 1
                assert (await client.ask(get("/readyz"))).status == 200
        return found

    async with running(tmp_path, authority, listen) as (process, port, _):
        control = int((await process.says(r"control +https://127\.0\.0\.1:(\d+)"))[1])
        async with Client.connect(port, ssl=trusting, server_hostname="127.0.0.1") as client:
            assert (await client.ask(get())).status == 200
            for each in (port, control):
                assert (await served(each)).keys() == {"served-first"}
            write_pair(authority, tmp_path / "server", "served-second", "127.0.0.1")
            for each in (port, control):
                assert (await served(each)).keys() == {"served-first"}
            await reload(process, "certificates_reloaded")
            for each in (port, control):
                assert (await served(each)).keys() == {"served-second"}
            assert (await client.ask(get())).status == 200
            (tmp_path / "server" / "key.pem").write_text("nonsense")
            await reload(process, "reload_rejected")
            assert "listen.tls.certificate: this is not a certificate in PEM" in process.output
            for each in (port, control):
                assert (await served(each)).keys() == {"served-second"}


async def test_metrics_say_when_certificates_expire_and_follow_a_reload(tmp_path: Path, authority: trustme.CA) -> None:
    async def expiries(control: int) -> list[tuple[str, float]]:
        """What each worker says, by certificate."""
        text = (await ask(control, get("/metrics"))).body.decode()
        found = re.findall(r"gateway_certificate_expiry_timestamp_seconds{(.*)} (\S+)", text)
        return [(re.sub(r',?worker="\d"', "", labels), float(value)) for labels, value in found]

    async with running(tmp_path, authority) as (process, _, _):
        control = int((await process.says(r"control +http://127\.0\.0\.1:(\d+)"))[1])
        before = await expiries(control)
        assert [name for name, _ in before] == ['certificate="upstreams.default"'] * WORKERS
        soon = datetime.now(UTC).replace(microsecond=0) + timedelta(days=3)
        leaf = authority.issue_cert("client.test", common_name="second", not_after=soon)
        leaf.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
        leaf.private_key_pem.write_to_path(tmp_path / "key.pem")
        await reload(process, "certificates_reloaded")
        after = [('certificate="upstreams.default"', soon.timestamp())] * WORKERS
        assert before != after

        async def is_shown() -> bool:
            return await expiries(control) == after

        await eventually(is_shown)
