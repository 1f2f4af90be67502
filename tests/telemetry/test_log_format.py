import json
from dataclasses import replace

import pytest

from gateway.limiter.verdict import Outcome, OverLimits
from gateway.limits.charge import Charge, Demand
from gateway.limits.quota import Quota
from gateway.limits.rate import Rate
from gateway.telemetry.access_record import AccessRecord
from gateway.telemetry.log_format import JsonFormat, LogFormat, TextFormat
from gateway.telemetry.log_writer import LONGEST

ORIGIN = {"worker": 3, "pid": 4711}
NASTY = 'a\nb\r\x00\x1b[31m\x7f\x85\x9b\u2028\u202e\ud800"\\ö'
REQUEST = AccessRecord("7f-1", "orders", "GET", b"0f" * 16, Outcome.ALLOWED, 200, 0.0123456)


@pytest.fixture(params=[JsonFormat, TextFormat])
def log_format(request: pytest.FixtureRequest) -> LogFormat:
    made: LogFormat = request.param(ORIGIN)
    return made


def test_a_json_event_has_time_level_origin_name_and_fields() -> None:
    line = JsonFormat(ORIGIN).event(
        1_700_000_000.1239, "warning", "redis_misconfigured", {"reason": "timeout", "count": 2}
    )
    assert json.loads(line) == {
        "time": "2023-11-14T22:13:20.123Z",
        "level": "warning",
        "worker": 3,
        "pid": 4711,
        "event": "redis_misconfigured",
        "reason": "timeout",
        "count": 2,
    }


def refused_by(*limits: str) -> AccessRecord:
    demands = [Demand(name.encode(), Charge.of(name, Quota(Rate(1, 1), 1))) for name in limits]
    refusal = OverLimits(demands, range(len(demands)))
    return replace(REQUEST, outcome=Outcome.REFUSED, status=429, over=refusal, source="jwt")


def test_the_access_line_of_a_refused_request_names_what_identified_the_caller_and_the_limits() -> None:
    refused = refused_by("each", "all")
    line = json.loads(JsonFormat(ORIGIN).access(1_700_000_000.0, refused))
    assert (line["source"], line["limits"]) == ("jwt", ["each", "all"])
    assert "  source=jwt  limits=each,all  caller=" in TextFormat(ORIGIN).access(
        1_700_000_000.0, refused_by("each", "all")
    )
    many = refused_by(*(f"{number:064}" for number in range(1000)))
    for each in (JsonFormat(ORIGIN), TextFormat(ORIGIN)):
        assert len(each.access(1_700_000_000.0, many)) < LONGEST


def test_the_access_line_of_a_request_that_passed_over_a_limit_names_it() -> None:
    charge = Charge.of("soft", Quota(Rate(1, 1), 1), enforced=False, tells=True)
    told = replace(REQUEST, over=OverLimits([Demand(b"soft", charge)], (0,)), source="jwt")
    line = json.loads(JsonFormat(ORIGIN).access(1_700_000_000.0, told))
    assert (line["outcome"], line["over_limit"], "limits" in line) == ("allowed", ["soft"], False)
    assert "  source=jwt  over_limit=soft  caller=" in TextFormat(ORIGIN).access(1_700_000_000.0, told)


def test_a_json_access_line_describes_one_request() -> None:
    line = JsonFormat(ORIGIN).access(1_700_000_000.0, REQUEST)
    assert json.loads(line) == {
        "time": "2023-11-14T22:13:20.000Z",
        "level": "info",
        "worker": 3,
        "pid": 4711,
        "event": "request",
        "request_id": "7f-1",
        "endpoint": "orders",
        "method": "GET",
        "outcome": "allowed",
        "status": 200,
        "ms": 12.346,
        "caller": "0f" * 16,
    }


def test_text_is_for_people() -> None:
    text = TextFormat(ORIGIN)
    assert (
        text.event(
            1_700_000_000.5,
            "warning",
            "redis_misconfigured",
            {"why": "no reply", "count": 2, "ok": True, "of": None},
        )
        == '2023-11-14T22:13:20.500Z warning redis_misconfigured  why="no reply"  count=2  ok=true  of=null  worker=3\n'
    )
    assert (
        text.access(1_700_000_000.5, REQUEST)
        == f"2023-11-14T22:13:20.500Z info    GET orders 200 allowed  12.3 ms  caller={'0f' * 16}  request_id=7f-1"
        "  worker=3\n"
    )


def test_times_are_formatted_anew_each_second(log_format: LogFormat) -> None:
    times = (1_700_000_000.999, 1_700_000_001.0, 1_700_000_060.5, 1_700_000_000.0)
    texts = ("22:13:20.999Z", "22:13:21.000Z", "22:14:20.500Z", "22:13:20.000Z")
    for time, text in zip(times, texts, strict=True):
        assert text in log_format.event(time, "info", "tick", {})
        assert text in log_format.access(time, REQUEST)


def test_no_value_can_forge_a_line_or_steer_a_terminal(log_format: LogFormat) -> None:
    for line in (
        log_format.event(0.0, "info", NASTY, {NASTY: NASTY, "list": [NASTY]}),
        log_format.access(0.0, replace(REQUEST, endpoint=NASTY)),
    ):
        assert line.endswith("\n")
        assert line.isascii()
        assert line[:-1].replace("\x7f", "").isprintable()


def test_a_terminal_gets_no_delete_character() -> None:
    assert "\x7f" not in TextFormat({}).event(0.0, "info", "x", {"value": NASTY})


def test_json_keeps_nasty_values_unchanged() -> None:
    assert json.loads(JsonFormat({}).event(0.0, "info", "x", {"value": NASTY}))["value"] == NASTY


def test_an_unknown_method_is_logged_as_other(log_format: LogFormat) -> None:
    assert "BREW" not in log_format.access(0.0, replace(REQUEST, method="BREW"))
    assert "other" in log_format.access(0.0, replace(REQUEST, method="BREW"))


def test_a_field_cannot_overwrite_one_that_every_line_has() -> None:
    line = JsonFormat(ORIGIN).event(
        0.0, "info", "x", {"time": "never", "level": "none", "pid": 0, "event": "y", "own": 1}
    )
    assert json.loads(line) == {
        "time": "1970-01-01T00:00:00.000Z",
        "level": "info",
        "worker": 3,
        "pid": 4711,
        "event": "x",
        "own": 1,
    }
    assert line.count('"event"') == 1


@pytest.mark.parametrize("value", ["x" * 100_000, '"' * 100_000, "\x00" * 100_000, "\\" * 3000])
def test_a_line_is_never_longer_than_a_pipe_takes_at_once(log_format: LogFormat, value: str) -> None:
    line = log_format.event(0.0, "info", "x", {"value": value})
    assert len(line.encode()) < LONGEST
    assert line.endswith("\n")


def test_a_cut_json_line_is_json_and_says_that_it_is_cut() -> None:
    line = json.loads(JsonFormat(ORIGIN).event(0.0, "info", "x", {"value": '"' * 100_000}))
    assert line["event"] == "x"
    assert line["cut"].startswith('{"value": "')


@pytest.mark.parametrize("value", [float("inf"), float("-inf"), float("nan"), object()])
def test_a_value_that_json_cannot_represent_becomes_text(log_format: LogFormat, value: float) -> None:
    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is not JSON")

    line = log_format.event(0.0, "info", "x", {"value": value})
    if isinstance(log_format, JsonFormat):
        assert isinstance(json.loads(line, parse_constant=refuse)["value"], str)


def test_the_access_line_says_what_a_limit_needs_to_know_of_a_caller() -> None:
    known = replace(REQUEST, source="jwt", tier="gold", digests={"address": b"1e" * 16, "org": b"2f" * 16, "team": b""})
    line = json.loads(JsonFormat(ORIGIN).access(1_700_000_000.0, known))
    assert (line["source"], line["tier"], line["address"]) == ("jwt", "gold", "1e" * 16)
    assert line["holders"] == {"org": "2f" * 16, "team": ""}
    alone = replace(REQUEST, source="client_address", digests={"address": REQUEST.caller})
    assert "address" not in json.loads(JsonFormat(ORIGIN).access(1_700_000_000.0, alone))
