"""The methods that rules may name are those that come through the gateway."""

import pytest
from aiohttp.hdrs import METH_ALL

from gateway.limits.endpoint import METHODS
from tests.proxy.running import proxy
from tests.wire import ask, get, upstream

OTHERS = {
    "BASELINE-CONTROL", "CHECKIN", "LABEL", "MKREDIRECTREF", "MKWORKSPACE", "ORDERPATCH", "PRI", "UNCHECKOUT", "UPDATE",
    "UPDATEREDIRECTREF", "VERSION-CONTROL",  # registered at IANA, as are some of METHODS
    "ANNOUNCE", "DESCRIBE", "FLUSH", "GET_PARAMETER", "PAUSE", "PLAY", "RECORD", "REDIRECT", "SETUP", "SET_PARAMETER",
    "SOURCE", "TEARDOWN",  # RTSP and Icecast
    "ANY", "BAN", "BREW", "FOO", "REFRESH", "get",
}  # fmt: skip


@pytest.mark.parametrize("method", sorted(METHODS | METH_ALL | OTHERS))
async def test_a_method_comes_through_if_rules_may_name_it_and_else_does_not(method: str) -> None:
    async with upstream() as up, proxy(up.port) as running:
        status = (await ask(running.port, get("/", method=method))).status
        assert len(up.requests) == (method in METHODS)
    assert status in ({200} if method in METHODS else {400, 405})
