"""Names are looked up apart from each other, and what is known of one outlives a name server that fails."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from pycares import Channel

from gateway.proxy import lookup
from gateway.proxy.resolver import Resolver
from gateway.settings.dns import Dns
from tests.name_server import REFUSED, SERVER_FAILURE, NameServer, asking, name_server
from tests.proxy.running import Seen
from tests.waiting import at_most, eventually, until

SOON = 1.0
"""Seconds that an answer may take which waits for no name server, on a busy machine."""

WAITING = 1000

AI_ENVHOSTS = 1 << 8
"""c-ares' ARES_AI_ENVHOSTS, which pycares does not name: CARES_HOSTS is the file of hosts."""


@asynccontextmanager
async def resolver(settings: Dns, seen: Seen | None = None) -> AsyncIterator[Resolver]:
    opened = Resolver(settings, asyncio.get_running_loop(), seen or Seen())
    try:
        yield opened
    finally:
        opened.close()


async def finds(names: Resolver, host: str, *addresses: str) -> None:
    """Wait until these are the addresses of a host, in any order."""

    async def is_found() -> bool:
        with suppress(OSError):
            return sorted(await names.resolve(host)) == sorted(addresses)
        return False

    await eventually(is_found)


async def fails(names: Resolver, host: str) -> str:
    """Wait until a host has no addresses any more, and say why."""
    why: list[str] = []

    async def is_lost() -> bool:
        try:
            await names.resolve(host)
        except OSError as error:
            why.append(str(error))
        return bool(why)

    await eventually(is_lost)
    return why[0]


@pytest.mark.parametrize("address", ["127.0.0.1", "192.0.2.7", "::1", "2001:db8::7"])
async def test_an_address_is_its_own_and_nobody_is_asked(address: str) -> None:
    async with name_server() as server, resolver(asking(server)) as names:
        assert await names.resolve(address) == [address]
    assert server.questions == []


@pytest.mark.parametrize("host", ["localhost", "api.localhost"])
async def test_localhost_is_this_machine_and_nobody_is_asked(host: str) -> None:
    async with name_server() as server, resolver(asking(server)) as names:
        assert set(await names.resolve(host)) <= {"127.0.0.1", "::1"}
    assert server.questions == []


async def test_a_thousand_that_wait_for_a_name_ask_once() -> None:
    async with name_server() as server, resolver(asking(server)) as names:
        server.addresses["api.test"] = ["192.0.2.1"]
        async with asyncio.TaskGroup() as tasks:
            asked = [tasks.create_task(names.resolve("api.test")) for _ in range(WAITING)]
        assert [task.result() for task in asked] == [["192.0.2.1"]] * WAITING
    assert sorted(server.questions) == ["api.test A", "api.test AAAA"]


async def test_one_that_waits_no_longer_ends_no_lookup() -> None:
    async with name_server() as server, resolver(asking(server)) as names:
        server.addresses["api.test"] = ["192.0.2.1"]
        server.lose = 2
        impatient = asyncio.create_task(names.resolve("api.test"))
        patient = asyncio.create_task(names.resolve("api.test"))
        await until(lambda: server.questions)
        impatient.cancel()
        assert await patient == ["192.0.2.1"]


async def test_a_question_that_is_lost_is_asked_again() -> None:
    async with name_server() as server, resolver(asking(server)) as names:
        server.addresses["api.test"] = ["192.0.2.1"]
        server.lose = 3
        assert await names.resolve("api.test") == ["192.0.2.1"]


async def test_names_that_hang_hold_up_no_other() -> None:
    async with name_server() as server, resolver(asking(server, timeout=2.0)) as names:
        server.addresses["api.test"] = ["192.0.2.1"]
        server.hanging = {f"hanging-{number}.test" for number in range(50)}
        hanging = [asyncio.create_task(names.resolve(host)) for host in server.hanging]
        await until(lambda: all(server.asked(host) for host in server.hanging))
        async with at_most(SOON):
            assert await names.resolve("api.test") == ["192.0.2.1"]
        assert not any(task.done() for task in hanging)
        names.close()
        await asyncio.wait(hanging)
        assert all(isinstance(task.exception(), OSError) for task in hanging)


async def test_a_name_that_hangs_moves_no_other_to_another_name_server() -> None:
    """The second may know nothing of names that the first knows, as an internal and a public one."""
    async with name_server() as first, name_server() as second, resolver(asking(first, second)) as names:
        first.hanging = {"hanging.test"}
        first.addresses["api.test"] = ["192.0.2.1"]
        second.hanging = {"hanging.test"}
        with pytest.raises(OSError, match=r"hanging\.test was not looked up: timeout"):
            await names.resolve("hanging.test")
        assert await names.resolve("api.test") == ["192.0.2.1"]
        assert not second.asked("api.test")


async def test_the_next_name_server_is_asked_when_the_first_does_not_answer() -> None:
    async with name_server() as first, name_server() as second, resolver(asking(first, second)) as names:
        first.hanging = {"api.test"}
        second.addresses["api.test"] = ["192.0.2.1"]
        assert await names.resolve("api.test") == ["192.0.2.1"]
        assert first.asked("api.test")


async def test_an_answer_is_used_for_its_ttl_and_no_longer() -> None:
    async with name_server() as server, resolver(asking(server)) as names:
        server.addresses["api.test"], server.ttl = ["192.0.2.1"], 2
        assert await names.resolve("api.test") == ["192.0.2.1"]
        server.addresses["api.test"] = ["192.0.2.2"]
        assert await names.resolve("api.test") == ["192.0.2.1"]
        assert server.asked("api.test") == 1
        await finds(names, "api.test", "192.0.2.2")
        assert server.asked("api.test") == 2


async def test_the_shortest_ttl_on_the_way_to_the_addresses_counts() -> None:
    async with name_server() as server, resolver(asking(server)) as names:
        server.addresses["api.test"], server.ttl = ["192.0.2.1"], 3600
        server.aliases["api.test"] = ("real.test", 1)
        assert await names.resolve("api.test") == ["192.0.2.1"]
        server.addresses["api.test"] = ["192.0.2.2"]
        await finds(names, "api.test", "192.0.2.2")


async def test_a_ttl_of_zero_is_as_long_as_the_floor() -> None:
    async with name_server() as server, resolver(asking(server, min_ttl=3600.0, max_ttl=3600.0)) as names:
        server.addresses["api.test"], server.ttl = ["192.0.2.1"], 0
        for _ in range(10):
            assert await names.resolve("api.test") == ["192.0.2.1"]
    assert server.asked("api.test") == 1


async def test_a_ttl_of_zero_without_a_floor_is_for_one_use() -> None:
    async with name_server() as server, resolver(asking(server, min_ttl=0.0)) as names:
        server.ttl = 0
        for last in range(1, 4):
            server.addresses["api.test"] = [f"192.0.2.{last}"]
            assert await names.resolve("api.test") == [f"192.0.2.{last}"]


async def test_a_long_ttl_is_cut_to_the_ceiling() -> None:
    async with name_server() as server, resolver(asking(server, max_ttl=0.05)) as names:
        server.addresses["api.test"], server.ttl = ["192.0.2.1"], 86_400
        assert await names.resolve("api.test") == ["192.0.2.1"]
        server.addresses["api.test"] = ["192.0.2.2"]
        await finds(names, "api.test", "192.0.2.2")


async def test_the_addresses_of_a_name_are_taken_in_turn() -> None:
    async with name_server() as server, resolver(asking(server)) as names:
        server.addresses["api.test"] = ["192.0.2.1", "192.0.2.2", "192.0.2.3"]
        tried = [await names.resolve("api.test") for _ in range(6)]
        assert all(sorted(each) == server.addresses["api.test"] for each in tried)
        assert sorted(each[0] for each in tried) == sorted(server.addresses["api.test"] * 2)


async def test_one_family_of_addresses_stays_in_front_of_the_other() -> None:
    async with name_server() as server, resolver(asking(server)) as names:
        server.addresses["api.test"] = ["127.0.0.1", "127.0.0.2", "::1"]
        families = {tuple(":" in address for address in await names.resolve("api.test")) for _ in range(6)}
        assert families in ({(True, False, False)}, {(False, False, True)})


@pytest.mark.parametrize("error", [SERVER_FAILURE, REFUSED])
async def test_the_last_good_answer_is_used_while_the_name_server_fails(error: int) -> None:
    seen = Seen()
    async with name_server() as server, resolver(asking(server, max_ttl=0.05), seen) as names:
        server.addresses["api.test"] = ["192.0.2.1"]
        assert await names.resolve("api.test") == ["192.0.2.1"]
        server.failing["api.test"] = error
        enough = server.asked("api.test") + 9  # three lookups of three questions

        async def is_still_used() -> bool:
            assert await names.resolve("api.test") == ["192.0.2.1"]
            return server.asked("api.test") >= enough

        await eventually(is_still_used)
        ((name, why),) = seen.unresolved
        assert name == "api.test"
        assert why.startswith("api.test was not looked up: ")
        server.failing.clear()
        server.addresses["api.test"] = ["192.0.2.2"]
        await finds(names, "api.test", "192.0.2.2")
        server.failing["api.test"] = error
        await finds(names, "api.test", "192.0.2.2")

        async def is_said_again() -> bool:
            return bool(await names.resolve("api.test")) and len(seen.unresolved) == 2

        await eventually(is_said_again)


async def test_the_last_good_answer_is_used_soon_while_the_name_server_hangs() -> None:
    async with name_server() as server, resolver(asking(server, max_ttl=0.05, timeout=5.0)) as names:
        server.addresses["api.test"] = ["192.0.2.1"]
        assert await names.resolve("api.test") == ["192.0.2.1"]
        server.hanging = {"api.test"}
        asked = server.asked("api.test")
        while server.asked("api.test") == asked:
            async with at_most(SOON):
                assert await names.resolve("api.test") == ["192.0.2.1"]
        async with at_most(SOON):
            for _ in range(100):
                assert await names.resolve("api.test") == ["192.0.2.1"]


async def test_the_last_good_answer_is_used_for_no_longer_than_is_set() -> None:
    async with name_server() as server, resolver(asking(server, max_ttl=0.05, stale_time=0.5)) as names:
        server.addresses["api.test"] = ["192.0.2.1"]
        assert await names.resolve("api.test") == ["192.0.2.1"]
        server.failing["api.test"] = SERVER_FAILURE
        assert (await fails(names, "api.test")).startswith("api.test was not looked up: ")


@pytest.mark.parametrize("hangs", [True, False])
async def test_the_last_good_answer_is_not_used_where_that_is_turned_off(*, hangs: bool) -> None:
    seen = Seen()
    async with name_server() as server, resolver(asking(server, max_ttl=0.05, stale_time=0.0), seen) as names:
        server.addresses["api.test"] = ["192.0.2.1"]
        assert await names.resolve("api.test") == ["192.0.2.1"]
        if hangs:
            server.hanging = {"api.test"}
        else:
            server.failing["api.test"] = SERVER_FAILURE
        assert (await fails(names, "api.test")).startswith("api.test was not looked up: ")
    assert seen.unresolved == []


async def test_a_name_that_is_no_more_is_forgotten() -> None:
    async with name_server() as server, resolver(asking(server, max_ttl=0.05)) as names:
        server.addresses["api.test"] = ["192.0.2.1"]
        assert await names.resolve("api.test") == ["192.0.2.1"]
        del server.addresses["api.test"]
        assert await fails(names, "api.test") == "there is no address under the name api.test"


async def test_that_there_is_no_such_name_is_remembered_for_a_moment() -> None:
    async with name_server() as server, resolver(asking(server)) as names:
        for _ in range(100):
            with pytest.raises(OSError, match=r"api\.test"):
                await names.resolve("api.test")
        assert server.asked("api.test") <= 2
        server.addresses["api.test"] = ["192.0.2.1"]
        await finds(names, "api.test", "192.0.2.1")


async def test_a_name_server_that_drops_questions_for_ipv6_holds_up_nobody() -> None:
    async with name_server() as server, resolver(asking(server, timeout=5.0)) as names:
        server.addresses["api.test"] = ["192.0.2.1", "2001:db8::1"]
        server.hanging = {"api.test AAAA"}
        async with at_most(SOON):
            assert await names.resolve("api.test") == ["192.0.2.1"]


async def test_a_name_server_that_is_not_there_is_said() -> None:
    nobody = NameServer(port=1)
    async with resolver(asking(nobody)) as names:
        with pytest.raises(OSError, match=r"api\.test was not looked up: "):
            await names.resolve("api.test")


class OwnHosts(Channel):
    """c-ares with a file of the test's own in the place of /etc/hosts."""

    def getaddrinfo(self, *arguments: Any, **more: Any) -> None:
        super().getaddrinfo(*arguments, **more, flags=AI_ENVHOSTS)


async def test_names_in_the_hosts_file_need_no_name_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hosts = tmp_path / "hosts"
    hosts.write_text("192.0.2.1 api.test api\n2001:db8::1 six.test\n")
    monkeypatch.setenv("CARES_HOSTS", str(hosts))
    monkeypatch.setattr(lookup, "Channel", OwnHosts)
    async with name_server() as server, resolver(asking(server)) as names:
        server.hanging = {"api.test", "api", "six.test"}
        async with at_most(SOON):
            assert await names.resolve("api.test") == ["192.0.2.1"]
            assert await names.resolve("api") == ["192.0.2.1"]
            assert await names.resolve("six.test") == ["2001:db8::1"]
        hosts.write_text("192.0.2.2 api.test\n")
        await finds(names, "api.test", "192.0.2.2")
        assert server.questions == []


def searches(monkeypatch: pytest.MonkeyPatch, *domains: str) -> None:
    """What a pod has in /etc/resolv.conf: `search`, and `options ndots:5`."""
    monkeypatch.setattr(lookup, "Channel", partial(Channel, domains=domains, ndots=5))


@pytest.mark.parametrize("host", ["billing", "billing.shop", "billing.shop.svc", "billing.shop.svc.cluster.local"])
async def test_names_are_searched_as_kubernetes_has_it(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    searches(monkeypatch, "shop.svc.cluster.local", "svc.cluster.local", "cluster.local")
    async with name_server() as server, resolver(asking(server)) as names:
        server.addresses["billing.shop.svc.cluster.local"] = ["192.0.2.1"]
        assert await names.resolve(host) == ["192.0.2.1"]


async def test_a_name_that_ends_in_a_dot_is_not_searched(monkeypatch: pytest.MonkeyPatch) -> None:
    searches(monkeypatch, "shop.svc.cluster.local")
    async with name_server() as server, resolver(asking(server)) as names:
        server.addresses["api.test"] = ["192.0.2.1"]
        assert await names.resolve("api.test.") == ["192.0.2.1"]
    assert sorted(server.questions) == ["api.test A", "api.test AAAA"]


async def test_names_with_underscores_are_names() -> None:
    async with name_server() as server, resolver(asking(server)) as names:
        server.addresses["my_service"] = ["192.0.2.1"]
        assert await names.resolve("my_service") == ["192.0.2.1"]


def sockets() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def test_lookups_leave_no_socket_and_no_task_behind() -> None:
    async with name_server() as server, resolver(asking(server, min_ttl=0.0, max_ttl=0.001)) as names:
        server.addresses["api.test"] = ["192.0.2.1"]
        server.hanging = {"hanging.test"}
        await names.resolve("api.test")
        before, tasks = sockets(), len(asyncio.all_tasks())
        for _ in range(50):
            await names.resolve("api.test")
        with pytest.raises(OSError, match=r"hanging\.test"):
            await names.resolve("hanging.test")
        await until(lambda: sockets() <= before)
        await until(lambda: len(asyncio.all_tasks()) <= tasks)
