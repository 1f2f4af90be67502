"""A WSGI application that answers `/early` before it has read the body, as one does that looks at a token first."""

from collections.abc import Callable, Iterable
from typing import Any


def app(environ: dict[str, Any], start_response: Callable[[str, list[tuple[str, str]]], object]) -> Iterable[bytes]:
    status = "401 Unauthorized" if environ["PATH_INFO"] == "/early" else "200 OK"
    start_response(status, [("Content-Length", "2")])
    return [b"ok"]
