"""Each raw request ends in a refusal and a closed connection, or in what both sides read alike; however it is cut."""

import logging

import pytest

from tests.hostile.case import Case, starter
from tests.hostile.judge import objection, run
from tests.hostile.own import framing
from tests.hostile.own_callers import callers, paths
from tests.hostile.own_heads import hosts, lines
from tests.hostile.own_sequences import sequences
from tests.hostile.own_tricks import tricks
from tests.hostile.wire import in_bytes

CASES = [*starter(), *framing(), *lines(), *hosts(), *paths(), *callers(), *sequences(), *tricks()]


def test_the_corpus_is_as_large_as_promised() -> None:
    assert len({case.name for case in CASES}) == len(CASES) >= 650


@pytest.mark.parametrize("cut", ["whole", "in bytes"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_a_request_ends_in_one_of_the_safe_ways(case: Case, cut: str, caplog: pytest.LogCaptureFixture) -> None:
    outcome = await run(case, [case.raw] if cut == "whole" else in_bytes(case.raw))
    assert objection(outcome, case) is None, (case.why, case.raw[:500])
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []
