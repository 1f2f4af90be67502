"""A WSGI application that answers with the body it got, and the Host it was sent."""

from collections.abc import Callable, Iterable
from typing import Any


def app(environ: dict[str, Any], start_response: Callable[[str, list[tuple[str, str]]], object]) -> Iterable[bytes]:
    body = environ["wsgi.input"].read()
    start_response("200 OK", [("Content-Length", str(len(body))), ("Seen-Host", environ["HTTP_HOST"])])
    return [body]
