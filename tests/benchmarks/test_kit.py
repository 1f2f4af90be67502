import os
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.kit.grpc_question import GrpcQuestion
from benchmarks.kit.machine import usage
from benchmarks.kit.peer import GENEROUS, Allowance, StartError, fill, start
from benchmarks.kit.peers import NGINX, PLAIN_AIOHTTP, RATELIMIT_GRPC
from benchmarks.kit.percentile import percentile
from benchmarks.kit.report import Report, Table, Target
from benchmarks.kit.sample import Sample, middle, ratio, spread
from benchmarks.kit.summary import summarize
from benchmarks.latency_profile import split
from benchmarks.profile import by_group, by_module
from gateway.rate_limit_service.messages import METHOD, Request


def sample(cpu: float) -> Sample:
    return Sample(cpu, 0, 0, 0, 0, 0, 0, 0, 0)


def test_a_ratio_is_that_of_runs_side_by_side() -> None:
    # The machine was busy in the second round, for both.
    assert ratio([sample(50), sample(500)], [sample(100), sample(1000)]) == 0.5
    assert middle([sample(1), sample(9), sample(2)]).cpu == 2
    assert spread([1.0, 9.0, 2.0]) == "2 (1 to 9)"


def test_a_percentile_is_one_of_the_values() -> None:
    assert [percentile(range(200, 0, -1), percent) for percent in (1, 50, 99, 100)] == [2, 100, 198, 200]
    assert percentile([7.0], 99) == 7.0
    assert percentile([], 99) == 0.0


@pytest.mark.parametrize(
    ("found", "at_least", "verdict"),
    [
        (0.5, False, "met"),
        (0.7, False, "MISSED"),
        (0.7, True, "met"),
        (0.5, True, "MISSED"),
        (None, False, "not measured"),
    ],
)
def test_a_target_is_met_missed_or_not_measured(found: float | None, at_least: bool, verdict: str) -> None:
    assert Target("", 0.6, found, at_least=at_least).verdict == verdict


def test_a_missing_program_is_named() -> None:
    assert replace(NGINX, programs=("sh", "no-such-program")).missing() == "no-such-program"


async def test_why_a_peer_does_not_start_is_reported() -> None:
    broken = replace(PLAIN_AIOHTTP, files=(), redis=False)
    with pytest.raises(StartError, match=r"plain_aiohttp\.py"):
        async with start(broken, 0, GENEROUS):
            pass


def test_values_are_filled_in_also_within_values() -> None:
    assert fill("a @one@ @none@", {"one": "@two@", "two": 2}) == "a 2 "
    assert Allowance(5, 10, 1).values("user")["user_interval"] == 100_000


def test_a_table_is_aligned_and_is_markdown() -> None:
    table = Table(["peer", "µs"], [["nginx", "7"]])
    assert str(table) == "| peer  | µs |\n| ----- | -: |\n| nginx |  7 |"


def test_a_report_is_written_with_its_method(tmp_path: Path) -> None:
    path = Report("some-cost", "What?", "So.").write(tmp_path)
    assert path.name.endswith("-some-cost.md")
    text = path.read_text()
    assert text.startswith("# What?\n")
    assert text.endswith("\n## Method\n\nSo.\n")


def test_all_targets_are_in_one_table_and_a_missed_one_has_its_section() -> None:
    cost, growth = (
        Report("cost", "", "", skipped=["nginx: SKIPPED"]),
        Report("growth", "", "", failed=["COULD NOT RUN"]),
    )
    cost.targets = [Target("CPU", 1.0, 0.5, "cpu"), Target("time", 1.0, 2.0, "time"), Target("size", 1.0, None, "size")]
    summary = summarize([cost, growth])
    assert summary.facts == ["3 targets: 1 met, 1 MISSED, 1 not measured"]
    assert [row[3:] for row in summary.tables[0].rows] == [
        ("met", "cost", ""),
        ("MISSED", "cost", "docs/benchmarks.md#time"),
        ("not measured", "cost", ""),
    ]
    assert (summary.skipped, summary.failed) == (["cost: nginx: SKIPPED"], ["growth: COULD NOT RUN"])


def test_a_profile_is_divided_by_libraries_and_by_modules() -> None:
    symbols = {
        "[kernel.kallsyms] tcp_ack": 0.5,
        "gateway__mypyc.cpython-311-x86_64-linux-gnu.so CPyDef_router____descend": 0.1,
        "gateway__mypyc.cpython-311-x86_64-linux-gnu.so CPyPy_router___Router___find": 0.1,
        "libpython3.11.so.1.0 PyList_Append": 0.2,
        "loop.cpython-311-x86_64-linux-gnu.so uv__io_poll": 0.0625,
        "[vdso] __vdso_clock_gettime": 0.0375,
    }
    groups = by_group(symbols)
    assert (groups["kernel"], groups["gateway, compiled"], groups["Python"]) == (0.5, 0.2, 0.2)
    assert (groups["event loop: uvloop"], groups["C library and others"]) == (0.0625, 0.0375)
    modules = by_module(symbols)
    assert modules["gateway, router"] == 0.2
    assert "[kernel.kallsyms] tcp_ack" not in modules


def test_a_trace_is_divided_into_requests() -> None:
    trace = """\
         ? (         ): nginx/963  ... [continued]: epoll_wait())                         = 1
     1.000 ( 0.016 ms): nginx/963 recvfrom(fd: 4<socket:[11]>, ubuf: 0x5, size: 1024)     = 68
     1.100 ( 0.038 ms): nginx/963 sendto(fd: 8<socket:[12]>, buff: 0x5, len: 157)         = 157
     1.150 ( 0.386 ms): nginx/963 epoll_wait(epfd: 6<anon_inode:[eventpoll]>, events: 0x5) = 1
     1.600 ( 0.019 ms): nginx/963 getsockopt(fd: 9<socket:[13]>, level: 1, optname: 4)    = 0
     1.750 ( 0.029 ms): nginx/963 writev(fd: 4, vec: 0x7, vlen: 2)                        = 215
     1.800 ( 3.996 ms): nginx/963 epoll_wait(epfd: 6<anon_inode:[eventpoll]>, events: 0x5) = 1
     5.800 ( 0.016 ms): nginx/963 recvfrom(fd: 4<socket:[11]>, ubuf: 0x5, size: 1024)     = 68
"""
    (calls,) = split(trace, {"11": "client", "12": "Redis", "13": "upstream"})
    assert [(call.what, round(call.began, 3), call.took) for call in calls] == [
        ("read from client", 0.0, 0.016),
        ("write to Redis", 0.1, 0.038),
        ("wait", 0.15, 0.386),
        ("write to client", 0.75, 0.029),
    ]


def test_a_question_over_grpc_is_the_message_of_the_service() -> None:
    assert RATELIMIT_GRPC.grpc is not None
    sent = Request.FromString(RATELIMIT_GRPC.grpc.encode("u" * 200))
    entries = [(entry.key, entry.value) for descriptor in sent.descriptors for entry in descriptor.entries]
    assert (sent.domain, RATELIMIT_GRPC.grpc.method) == ("bench", METHOD)
    assert entries == [("user", "u" * 200), ("endpoint", "orders")]
    assert GrpcQuestion("", ((2, 300), (1, ((5, "@user@"),)))).encode("7") == b"\x10\xac\x02\x0a\x03\x2a\x017"


def test_usage_counts_this_process() -> None:
    assert usage(os.getpid()).memory > 1 << 20
