"""DNS rebinding and pages of other origins: the control listener answers to its own names and pages."""

from typing import Any

import pytest

from gateway.limits.address import LOOPBACK
from gateway.settings.listener import Listener
from tests.control.running import Running, gateway, limit, read
from tests.wire import Message, ask

QUESTION = b'{"user_id": "ana", "endpoint": "order", "weight": 1}'


async def send(running: Running, *fields: str, line: str = "POST /api/v1/check-limit HTTP/1.1") -> Message:
    """Ask check-limit, which needs no token here, with these headers."""
    head = [line, *fields, "Content-Type: application/json", f"Content-Length: {len(QUESTION)}", "Connection: close"]
    return await ask(running.control, "\r\n".join([*head, "", ""]).encode() + QUESTION)


def open_gateway(*hosts: str, **more: Any) -> Any:
    return gateway(limit("each", 100), control={"check_from": LOOPBACK, "hosts": hosts}, **more)


@pytest.mark.parametrize(
    "host",
    [
        "localhost", "LocalHost", "localhost.", "localhost:8081", "localhost:", "127.0.0.1", "127.0.0.1:9", "[::1]",
        "[::1]:8081", "192.0.2.7:8081", "[2001:db8::7]:8081", "[::ffff:192.0.2.7]", "ops.example", "OPS.example.:1",
        "a.pods.example", "a.b.pods.example:80",
    ],
)  # fmt: skip
async def test_its_own_names_and_every_address_are_answered(host: str) -> None:
    async with open_gateway("ops.example", "*.Pods.Example.") as running:
        assert (await send(running, f"Host: {host}")).status == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.test", "evil.test:8081", "localhost.evil.test", "127.0.0.1.evil.test", "xlocalhost", "pods.example",
        "evilpods.example", "ops.example.evil.test", "127.1", "2130706433", "0x7f.0.0.1", "127.0.0.01", "localhost..",
    ],
)  # fmt: skip
@pytest.mark.parametrize("path", ["/api/v1/check-limit", "/metrics", "/healthz", "/api/v1/admin/rules", "/nothing"])
async def test_any_other_name_is_a_421(host: str, path: str) -> None:
    async with open_gateway("ops.example", "*.pods.example") as running:
        answer = read(await send(running, f"Host: {host}", line=f"POST {path} HTTP/1.1"))
    assert (answer.status, answer.type) == (421, "application/problem+json")
    assert "control.hosts" in answer.body["detail"]


@pytest.mark.parametrize(
    "hosts",
    [[], [""], ["localhost", "localhost"], ["localhost", "evil.test"], ["a b"], ["user@localhost"], ["::1"], ["[::1"],
     ["[localhost]"], ["localhost:x"], ["localhost,evil.test"], ["localhost/"]],
)  # fmt: skip
async def test_without_exactly_one_valid_host_it_is_a_400(hosts: list[str]) -> None:
    async with open_gateway() as running:
        assert (await send(running, *(f"Host: {host}" for host in hosts))).status == 400


async def test_a_health_check_in_http_1_0_may_have_no_host() -> None:
    async with open_gateway() as running:
        assert (await send(running, line="POST /api/v1/check-limit HTTP/1.0")).status == 200


async def test_the_authority_of_an_absolute_form_counts_too() -> None:
    async with open_gateway() as running:
        lines = [f"POST http://{host}/api/v1/check-limit HTTP/1.1" for host in ("evil.test", "localhost:8081")]
        answers = [(await send(running, "Host: localhost", line=line)).status for line in lines]
    assert answers == [421, 200]


async def test_the_name_in_listen_is_answered_and_a_star_answers_to_all() -> None:
    control = {"check_from": LOOPBACK, "listen": (Listener(host="127.0.0.1", port=0),)}
    async with gateway(limit("each", 100), control={**control, "hosts": ("*",)}) as running:
        assert (await send(running, "Host: anything.example")).status == 200


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("http://evil.test", 403), ("null", 403), ("http://localhost:1", 403), ("https://app.example", 200),
        ("https://app.example.evil.test", 403), ("http://localhost:8081", 200), ("https://localhost:8081", 200),
    ],
)  # fmt: skip
async def test_a_page_of_another_origin_is_refused_unless_it_is_in_cors_origins(origin: str, status: int) -> None:
    async with open_gateway(cors_origins=("https://app.example",)) as running:
        answer = read(await send(running, "Host: localhost:8081", f"Origin: {origin}"))
    assert answer.status == status
    assert status == 200 or (answer.type, "cors_origins" in answer.body["detail"]) == ("application/problem+json", True)
