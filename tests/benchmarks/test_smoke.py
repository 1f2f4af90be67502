"""Each benchmark runs, names whom it skips, and says of each target what became of it. Figures mean nothing here."""

import json
import re
import sys
from pathlib import Path

from benchmarks.check_limit_cost import check_limit_cost
from benchmarks.connection_storm import connection_storm
from benchmarks.door_cost import door_cost
from benchmarks.growth import growth
from benchmarks.kit.bench import Bench
from benchmarks.kit.command import Benchmark
from benchmarks.kit.load import Python
from benchmarks.kit.peers import (
    CHECK_LIMIT,
    COMPILED,
    DOORS,
    ENVOY_RATELIMIT,
    GATEWAY,
    NGINX,
    PEERS,
    RATE_LIMIT_DOOR,
    SERVICES,
)
from benchmarks.kit.report import Report
from benchmarks.level_cost import level_cost
from benchmarks.limit_cost import limit_cost
from benchmarks.override_file import override_file
from benchmarks.refusal_cost import refusal_cost
from benchmarks.replay_speed import replay_speed
from benchmarks.settlement_cost import settlement_cost
from benchmarks.start_time import start_time
from tests.docs.pages import anchors
from tests.kit.process import ROOT, run
from tests.untraced import untraced

EVERYWHERE = frozenset(
    {
        *("gateway", "gateway without limits", "gateway, five levels"),
        *("gateway, measured cost", "gateway, requests at once", "plain aiohttp + Redis"),
    }
)
"""Peers that need nothing but what the tests need anyway."""


async def smoke(benchmark: Benchmark) -> Report:
    report = await benchmark(quick(EVERYWHERE))
    assert report.failed == []
    assert {target.section for target in report.targets} <= anchors(ROOT / "docs" / "benchmarks.md")
    return report


def quick(only: frozenset[str]) -> Bench:
    return Bench(seconds=0.2, times=1, only=only, load=Python(), quick=True, build="pure")


def rows(table: object) -> list[str]:
    return re.findall(r"^\| ([^|]*?) +\| +[\d,]+[ .]", str(table), re.MULTILINE)


def skipped(text: str) -> list[str]:
    return re.findall(r"^\* (.*): (?:skipped|SKIPPED), ", text, re.MULTILINE)


def written(folder: Path) -> str:
    (file,) = folder.iterdir()
    return str(file)


async def test_the_cost_of_a_request_by_its_command(tmp_path: Path) -> None:
    options = ("--quick", "--load", "python", "--only", ",".join(EVERYWHERE), "--results", tmp_path)
    code, output = await run(sys.executable, "-m", "benchmarks.request_cost", *options, env=untraced())
    assert code == 0, output
    assert "QUICK" in output
    assert "FAILED" not in output
    assert rows(output) == ["gateway", "plain aiohttp + Redis"]
    assert {*rows(output), *skipped(output)} == {peer.name for peer in (GATEWAY, COMPILED, *PEERS)}
    assert re.search(r"gateway \(compiled\) / Fastify \+ Redis +\| +at most 0.4 \| +\| not measured", output)
    assert re.search(r"/\d{4}-\d\d-\d\d-request-cost.md$", written(tmp_path))


async def test_the_cost_of_a_refusal() -> None:
    report = await smoke(refusal_cost)
    assert rows(report.tables[0]) == ["gateway", "plain aiohttp + Redis"]
    everyone = {peer.name for peer in (GATEWAY, *PEERS)}
    assert {*rows(report.tables[0]), *skipped(str(report))} == everyone - {NGINX.name}
    assert report.targets[-1].verdict == "met"  # this one is a count, and holds however fast the machine is


async def test_what_the_limit_adds_and_bodies_that_stream() -> None:
    latency, added, streaming = (await smoke(limit_cost)).tables
    assert rows(latency) == ["gateway", "gateway without limits"]
    assert len(added.rows) == 1
    assert rows(streaming) == ["gateway, down", "gateway, up"]


async def test_the_cost_of_a_decision_at_a_door() -> None:
    here = frozenset({"gateway", "the door alone", "nginx + forward_auth"})  # the last needs nginx on the path
    report = await door_cost(quick(here))
    assert report.failed == []
    assert rows(report.tables[0])[:2] == ["gateway", "the door alone"]
    assert {*rows(report.tables[0]), *skipped(str(report))} == {peer.name for peer in (*DOORS, ENVOY_RATELIMIT, NGINX)}


async def test_the_cost_of_a_decision_that_a_service_asks_for() -> None:
    report = await check_limit_cost(quick(frozenset({CHECK_LIMIT.name})))
    assert rows(report.tables[0]) == [CHECK_LIMIT.name]
    assert skipped(str(report)) == [RATE_LIMIT_DOOR.name, *(peer.name for peer in SERVICES)]


async def test_many_connections_at_once() -> None:
    connections, handshakes = (await smoke(connection_storm)).tables
    assert rows(connections) == ["gateway"]
    assert len(handshakes.rows) == 3


async def test_how_long_a_start_takes() -> None:
    report = await smoke(start_time)
    assert rows(report.tables[0]) == ["gateway", "plain aiohttp + Redis"]


async def test_growth() -> None:
    report = await smoke(growth)
    assert [table.columns[0] for table in report.tables] == [
        "workers",
        "endpoints",
        "limits",
        "open connections",
        "users",
    ]
    assert all(table.rows for table in report.tables)
    assert all(series.points for series in report.series)


async def test_a_short_soak_holds_and_everything_has_happened_in_it() -> None:
    code, output = await run(sys.executable, "-m", "benchmarks.soak", "--minutes", "0.25", deadline=240, env=untraced())
    assert code == 0, output
    done = re.search("done: (.*)", output)
    assert done is not None
    for act in ("reload by signal", "reload by token", "put override", "delete override", "kill worker", "restart"):
        assert f" x {act}" in done[1], act
    for act in ("pause redis", "kill redis", "empty redis"):
        assert f" x {act}" in done[1], act


async def test_a_file_of_overrides(tmp_path: Path) -> None:
    steps, memory = await override_file(300, 40, tmp_path)
    assert [each.seconds > 0 for each in steps] == [True] * 6
    assert "Redis has " in memory


def test_the_replay_of_an_access_log(tmp_path: Path) -> None:
    for found in replay_speed(2_000, 100, tmp_path).values():
        assert found.code == 0
        assert json.loads(found.output)["requests"] == 2_000
        assert found.memory > 1


async def test_what_more_levels_cost() -> None:
    report = await smoke(level_cost)
    assert rows(report.tables[0]) == ["gateway", "gateway, five levels"]


async def test_what_settling_at_the_end_costs() -> None:
    report = await smoke(settlement_cost)
    assert rows(report.tables[0]) == ["gateway", "gateway, measured cost", "gateway, requests at once"]
