"""`analytics`: files or PostgreSQL, and no secret gets out."""

from pathlib import Path

import pytest

from gateway.config.summary import summary
from gateway.settings.analytics import Analytics, Postgres
from gateway.settings.url import PostgresUrl
from tests.config.reading import gateway_problems, gateway_warnings, load_gateway_text, write_certificates

KEY = "identity: {hash_key_file: key}\n"


def analytics_of(folder: Path, text: str) -> Analytics:
    return load_gateway_text(folder, f"analytics: {text}\n").settings.analytics


def test_nothing_is_kept_unless_it_is_said_where(tmp_path: Path) -> None:
    loaded = load_gateway_text(tmp_path, "")
    assert not loaded.settings.analytics.is_on
    assert "\nanalytics" not in summary(loaded, 1)
    assert gateway_warnings(tmp_path, "analytics: {keep: 7d}\n") == [
        "gateway.yaml:1:19: analytics.keep: nothing is kept without 'folder' or 'postgres'"
    ]


def test_a_folder(tmp_path: Path) -> None:
    analytics = analytics_of(tmp_path, "{folder: counted, keep: 7d, interval: 10s, top_callers: 5, buffer: 6}")
    assert analytics == Analytics(tmp_path / "counted", None, 7 * 86_400, 10, 5, 6)
    assert analytics.is_on
    assert f"\nanalytics {tmp_path}/counted\n" in summary(
        load_gateway_text(tmp_path, "analytics: {folder: counted}\n"), 1
    )


def test_a_database_with_a_password_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "password").write_bytes(b"hunter2\n")
    write_certificates(tmp_path, "ca")
    analytics = analytics_of(
        tmp_path, "{postgres: {url: postgresql://gw@db:6432/counted, password_file: password, ca: ca}}"
    )
    assert analytics.postgres == Postgres(PostgresUrl("db", 6432, "counted", "gw", "hunter2"), True, tmp_path / "ca")
    assert str(analytics) == "postgresql://gw@db:6432/counted"
    assert "hunter2" not in repr(analytics) + str(analytics)


@pytest.mark.parametrize(
    ("url", "parsed"),
    [
        ("postgres://gw@db/a", PostgresUrl("db", 5432, "a", "gw")),
        ("postgresql://gw@[::1]:1/a", PostgresUrl("::1", 1, "a", "gw")),
        ("postgresql://g%40w@db/a%20b", PostgresUrl("db", 5432, "a b", "g@w")),
        ("postgresql://gw@%2Frun%2Fpostgresql/a", PostgresUrl("/run/postgresql", 5432, "a", "gw")),
        ("postgresql://gw@%2frun:5433/a", PostgresUrl("/run", 5433, "a", "gw")),
    ],
)
def test_a_url_and_how_it_is_shown(url: str, parsed: PostgresUrl) -> None:
    assert PostgresUrl.parse(url) == parsed
    assert PostgresUrl.parse(str(parsed)) == parsed


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            "{folder: a, postgres: {url: 'postgresql://a@b/c'}}",
            "1:34: analytics.postgres: 'folder' is given as well",
        ),
        ("{postgres: {}}", "1:23: analytics.postgres: the key 'url' is missing"),
        (
            "{postgres: {url: 'mysql://a'}}",
            "1:29: analytics.postgres.url: PostgreSQL is at postgresql://ROLE@HOST:PORT",
        ),
        ("{postgres: {url: 'postgresql://b/c'}}", "1:29: analytics.postgres.url: the URL needs a role and a database"),
        ("{postgres: {url: 'postgresql://a@b'}}", "1:29: analytics.postgres.url: the URL needs a role and a database"),
        ("{postgres: {url: 'postgresql://a@b:0/c'}}", "1:29: analytics.postgres.url: nothing can connect to port 0"),
        (
            "{postgres: {url: 'postgresql://a@b/c?sslmode=disable'}}",
            "1:29: analytics.postgres.url: options are not written in the URL; they are keys next to it",
        ),
        (
            "{postgres: {url: 'postgresql://a:hunter2@b/c', password_env: HOME}}",
            "1:29: analytics.postgres.url: a password is given both in the URL and by a key",
        ),
        (
            "{postgres: {url: 'postgresql://a@b/c', password: hunter2}}",
            "1:51: analytics.postgres.password: unknown key 'password'",
        ),
        (
            "{postgres: {url: 'postgresql://a@b/c', tls: false, ca: ca}}",
            "1:67: analytics.postgres.ca: certificates are for TLS, and 'tls' is false",
        ),
        (
            "{postgres: {url: 'postgresql://a@%2Frun/c', tls: true}}",
            "1:61: analytics.postgres.tls: a Unix socket has no TLS",
        ),
        ("{folder: a, keep: 0}", "1:30: analytics.keep: '0' is out of range"),
        ("{folder: a, top_callers: 1001}", "1:37: analytics.top_callers: 1001 is out of range; write 1 to 1000"),
        ("{folder: a, buffers: 1}", "1:24: analytics.buffers: unknown key 'buffers'"),
    ],
)
def test_mistake_is_told_without_showing_a_secret(tmp_path: Path, text: str, problem: str) -> None:
    write_certificates(tmp_path, "ca")
    found = gateway_problems(tmp_path, f"analytics: {text}\n")
    assert found[0].startswith(f"gateway.yaml:{problem}"), found
    assert "hunter2" not in "".join(found)


@pytest.mark.parametrize(
    ("text", "warning"),
    [
        (
            "{url: 'postgresql://a:hunter2@localhost/c'}",
            "analytics.postgres.url: the password is readable here",
        ),
        ("{url: 'postgresql://a@db/c', tls: false}", "analytics.postgres.tls: without TLS, anyone between"),
    ],
)
def test_what_can_be_used_and_is_not_safe_is_warned_of(tmp_path: Path, text: str, warning: str) -> None:
    (tmp_path / "key").write_text("0123456789abcdef")
    (found,) = gateway_warnings(tmp_path, f"{KEY}analytics: {{postgres: {text}}}\n")
    assert warning in found
    assert "hunter2" not in found


def test_without_tls_on_this_machine_nothing_is_warned_of(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("0123456789abcdef")
    for host in ("127.0.0.1", "localhost", "%2Frun"):
        text = f"{KEY}analytics: {{postgres: {{url: 'postgresql://a@{host}/c', tls: false}}}}\n"
        assert gateway_warnings(tmp_path, text) == []


def test_analytics_without_a_hash_key_are_warned_of(tmp_path: Path) -> None:
    (found,) = gateway_warnings(tmp_path, "analytics: {folder: a}\n")
    assert "analytics: without identity.hash_key_file or identity.hash_key_env" in found
