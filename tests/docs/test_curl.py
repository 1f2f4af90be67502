"""The stand-in for curl does what curl does, where the pages need it."""

import shutil
import sys

import pytest

from tests.kit.process import run
from tests.wire import upstream

STAND_IN = (sys.executable, "-m", "tests.docs.curl")
# A machine that has curl shows that both do the same.
PROGRAMS = (STAND_IN, *([(path,)] if (path := shutil.which("curl")) else []))


@pytest.mark.parametrize(
    ("arguments", "method", "printed"),
    [
        (("-s",), "GET", "ok"),
        (("-si",), "GET", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"),
        (("-s", "-o", "/dev/null", "-w", "%{http_code}\\n"), "GET", "200\n"),
        (("-s", "-w", "\\n", "-X", "PUT", "-H", "X-User-Id: ana", "-d", '{"a": 1}'), "PUT", "ok\n"),
        (("-s", "-d", "a=1"), "POST", "ok"),
    ],
)
async def test_it_asks_and_prints_as_curl_does(arguments: tuple[str, ...], method: str, printed: str) -> None:
    for program in PROGRAMS:
        async with upstream() as up:
            code, output = await run(*program, *arguments, f"http://127.0.0.1:{up.port}/v1?a=b")
            assert (code, output) == (0, printed), program
            (request,) = up.requests
        assert request.start == f"{method} /v1?a=b HTTP/1.1".encode()
        assert request.body == (arguments[-1].encode() if "-d" in arguments else b"")
        assert request.all(b"X-User-Id") == ([b"ana"] if "-H" in arguments else [])
