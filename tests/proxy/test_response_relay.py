"""What becomes of a response that nobody waits for any more."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from gateway.proxy.response_relay import ResponseRelay
from gateway.proxy.upstream_response import ForwardError


@pytest.mark.pure
@pytest.mark.parametrize("switched", [False, True])
async def test_a_response_whose_request_was_cancelled_in_the_same_moment_may_fail(switched: bool) -> None:
    exchange: Any = SimpleNamespace(message=SimpleNamespace(is_http11=True))
    connection: Any = None
    relay = ResponseRelay(exchange, connection, asyncio.get_running_loop(), keep_rate_limits=False)
    if switched:
        relay.upgraded()
    waited_for = relay.closed if relay.closed is not None else relay.done
    waited_for.cancel()
    relay.fail(ForwardError("the request body is malformed"))
    assert waited_for.cancelled()
