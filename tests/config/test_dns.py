"""`dns`: whom to ask for names, and how long to keep what is answered."""

from pathlib import Path

import pytest

from gateway.settings.dns import Dns
from gateway.settings.url import HostPort
from tests.config.reading import gateway_problems, load_gateway_text


def dns_of(folder: Path, text: str) -> Dns:
    return load_gateway_text(folder, f"dns: {text}\n").settings.dns


def refused(folder: Path, text: str) -> str:
    (problem,) = gateway_problems(folder, f"dns: {text}\n")
    return problem


def test_everything_has_a_default(tmp_path: Path) -> None:
    assert load_gateway_text(tmp_path, "").settings.dns == Dns() == Dns((), 1.0, 1.0, 3600.0, 86_400.0)


def test_everything_can_be_set(tmp_path: Path) -> None:
    text = '{servers: [10.0.0.53, "[fd00::53]:5353"], timeout: 500ms, min_ttl: 0, max_ttl: 5m, stale_time: 0}'
    servers = (HostPort("10.0.0.53", 53), HostPort("fd00::53", 5353))
    assert dns_of(tmp_path, text) == Dns(servers, 0.5, 0.0, 300.0, 0.0)


@pytest.mark.parametrize("server", ["dns.internal", "localhost:53", "10.0.0.53:0"])
def test_a_name_server_is_an_address(server: str, tmp_path: Path) -> None:
    assert ": dns.servers[0]: a name server is an address" in refused(tmp_path, f"{{servers: [{server}]}}")


@pytest.mark.parametrize("text", ["{min_ttl: 10s, max_ttl: 5s}", "{min_ttl: 2h}", "{max_ttl: 500ms}"])
def test_the_floor_is_not_above_the_ceiling(text: str, tmp_path: Path) -> None:
    assert "min_ttl is longer than max_ttl" in refused(tmp_path, text)


@pytest.mark.parametrize("key", ["timeout", "max_ttl"])
def test_no_time_at_all_is_refused_where_it_makes_no_sense(key: str, tmp_path: Path) -> None:
    assert f": dns.{key}: " in refused(tmp_path, f"{{{key}: 0}}")
