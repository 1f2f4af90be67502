"""Lines of the gateway's own log are read as it writes them."""

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.limiter.verdict import Outcome
from gateway.limits.identity import Identity
from gateway.limits.rate import MICROSECONDS
from gateway.replay.gateway_log import GatewayLog
from gateway.replay.request import BadLineError
from gateway.telemetry.access_record import AccessRecord
from gateway.telemetry.log_format import JsonFormat
from tests.fuzzing import examples

IDENTITY = Identity((), (), b"key")
LOG = GatewayLog(IDENTITY, ["ana"])
ANA = IDENTITY.digest("user", "ana")
RECORD = AccessRecord(
    "7f-1", "orders", "GET", ANA, Outcome.REFUSED, 429, 2.5, source="jwt", tier="gold", digests={"address": b"1" * 32}
)


def line(record: AccessRecord = RECORD) -> str:
    return JsonFormat({"worker": 0}).access(1_700_000_000.25, record)


def test_a_request_was_decided_when_it_began() -> None:
    request = LOG.parse(line())
    assert request is not None
    assert request.time == 1_699_999_997_750_000
    assert (request.subject, request.refused) == ("orders", True)


def test_the_caller_is_known_by_hash_and_a_user_whom_the_rules_name_by_id() -> None:
    request = LOG.parse(line())
    assert request is not None
    caller = request.caller
    assert (caller.id, caller.digest, caller.tier, caller.digests["address"]) == ("ana", ANA, "gold", b"1" * 32)
    other = LOG.parse(line(replace(RECORD, caller=b"2" * 32, source="client_address", digests={"address": b"2" * 32})))
    assert other is not None
    assert (other.name, other.caller.id, other.caller.digests["address"]) == ("2" * 32, "", b"2" * 32)


def test_a_request_that_had_no_endpoint_would_not_be_served() -> None:
    request = LOG.parse(line(AccessRecord("7f-1", "", "", b"", Outcome.BAD_REQUEST, 400, 0.0, "header")))
    assert request is not None
    assert request.subject is None


def test_other_events_are_passed_over() -> None:
    assert LOG.parse(JsonFormat({}).event(1.0, "info", "rules_reloaded", {})) is None


@pytest.mark.parametrize(
    "changed",
    [
        {"time": "yesterday"},
        {"time": None},
        {"time": "2026-13-31T23:59:59.123Z"},
        {"ms": "1"},
        {"ms": -1},
        {"ms": float("nan")},
        {"ms": float("inf")},
        {"ms": 10**400},
        {"endpoint": 7},
        {"caller": "ana"},
        {"caller": ["a"]},
        {"source": {}},
        {"address": "192.0.2.7"},
        {"tier": 3},
    ],
)
def test_a_line_that_the_gateway_did_not_write_is_refused(changed: dict[str, Any]) -> None:
    with pytest.raises(BadLineError):
        LOG.parse(json.dumps(json.loads(line()) | changed))


@pytest.mark.parametrize("text", ["{", "{}", '{"a": 1}', "[" * 100_000, '{"a":' * 100_000, "null"])
def test_other_json_is_refused(text: str) -> None:
    with pytest.raises(BadLineError):
        LOG.parse(text)


VALUES = st.recursive(st.none() | st.booleans() | st.floats() | st.text() | st.integers(), st.lists)
NAMES = st.sampled_from(["time", "ms", "endpoint", "caller", "source", "tier", "address", "outcome"])


@examples(100)
@given(st.dictionaries(NAMES, VALUES))
def test_no_line_is_too_strange(changed: dict[str, Any]) -> None:
    try:
        request = LOG.parse(json.dumps(json.loads(line()) | changed))
    except BadLineError:
        return
    assert request is not None
    assert 0 <= request.time < 2**53 * MICROSECONDS
