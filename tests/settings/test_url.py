"""Addresses: what is read, what is refused, and that a password is in no text."""

import pytest

from gateway.settings.url import HostPort, Origin, RedisUrl


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:8080", HostPort("127.0.0.1", 8080)),
        ("[::1]:8080", HostPort("::1", 8080)),
        ("[2001:DB8:0::1]:0", HostPort("2001:db8::1", 0)),
        ("localhost:80", HostPort("localhost", 80)),
        ("my_redis.svc.cluster.local.:1", HostPort("my_redis.svc.cluster.local.", 1)),
    ],
)
def test_address_is_host_and_port(text: str, address: HostPort) -> None:
    assert HostPort.parse(text) == address


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (":8080", "the host is missing; write 127.0.0.1:8080, or 0.0.0.0:8080 for every IPv4 interface"),
        ("8080", "the host is missing; write 127.0.0.1:8080"),
        ("", "the host is missing"),
        ("localhost", "the port is missing; write HOST:PORT"),
        ("localhost:", "the port is missing"),
        ("[::1]", "the port is missing"),
        ("::1:8080", "an IPv6 address is written in brackets"),
        ("[127.0.0.1]:80", "the brackets hold no IPv6 address"),
        ("localhost:65536", "a port is a number up to 65535"),
        ("localhost:http", "a port is a number up to 65535"),
        ("localhost:\uff18\uff10", "a port is a number up to 65535"),
        ("256.0.0.1:80", "the host is not a valid IPv4 address"),
        ("bad host:80", "the host is neither an address nor a name"),
        ("-x:80", "the host is neither an address nor a name"),
    ],
)
def test_what_is_no_address_is_refused_with_the_reason(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=r".") as error:
        HostPort.parse(text)
    assert str(error.value).startswith(reason)


@pytest.mark.parametrize(
    ("text", "origin"),
    [
        ("http://127.0.0.1:9000", Origin("http", "127.0.0.1", 9000)),
        ("http://api/", Origin("http", "api", 80)),
        ("https://[::1]", Origin("https", "::1", 443)),
        ("unix:/run/app.sock", Origin("http", "localhost", 80, "/run/app.sock")),
        ("unix:///run/app.sock", Origin("http", "localhost", 80, "/run/app.sock")),
    ],
)
def test_origin_has_the_port_of_its_scheme(text: str, origin: Origin) -> None:
    assert Origin.parse(text) == origin
    assert Origin.parse(str(origin)) == origin


@pytest.mark.parametrize(
    "text", ["127.0.0.1:9000", "ftp://x", "http://", "http://a/v1", "http://a?x", "http://u:p@a", "http://a:0"]
)
def test_what_is_no_origin_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        Origin.parse(text)


@pytest.mark.parametrize(
    "text",
    [
        "http://unix:/run/app.sock", "http+unix:///run/app.sock", "http+unix://%2Frun%2Fapp.sock", "unix/run/app.sock",
        "https://unix:/run/app.sock:/path", "/run/app.sock",
    ],
)  # fmt: skip
def test_the_spellings_of_other_products_for_a_unix_socket_are_refused_with_ours(text: str) -> None:
    with pytest.raises(ValueError, match="an upstream on a Unix socket is unix:/PATH, as in unix:/run/"):
        Origin.parse(text)


@pytest.mark.parametrize(
    "text", ["unix:", "unix:/", "unix:run/app.sock", "unix://run/app.sock", "unix:/run/", "unix:/" + 107 * "x"]
)
def test_what_is_no_path_of_a_socket_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="a Unix socket"):
        Origin.parse(text)


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("redis://localhost", RedisUrl("redis", "localhost", 6379)),
        ("rediss://gw:p%40ss@[::1]:7000/3", RedisUrl("rediss", "::1", 7000, "", "gw", "p@ss", 3)),
        ("redis://:secret@h:1", RedisUrl("redis", "h", 1, password="secret")),
        ("unix:///run/redis.sock", RedisUrl("unix", socket="/run/redis.sock")),
        ("unix://gw@/run/redis.sock", RedisUrl("unix", socket="/run/redis.sock", username="gw")),
    ],
)
def test_redis_url_is_taken_apart(text: str, url: RedisUrl) -> None:
    assert RedisUrl.parse(text) == url


@pytest.mark.parametrize(
    "text",
    [
        "mysql://hunter2@h",
        "hunter2",
        "redis://u:hunter2@",
        "redis://u:hunter2@h/x",
        "redis://u:hunter2@h:0",
        "redis://u:hunter2@h:99999",
        "redis://u:hunter2@h?x=1",
        "redis://hunter2 @ h",
        "unix://hunter2",
    ],
)
def test_error_about_a_redis_url_does_not_show_it(text: str) -> None:
    with pytest.raises(ValueError, match=r"^(?!.*hunter2)"):
        RedisUrl.parse(text)


def test_password_is_in_no_text_of_a_redis_url() -> None:
    url = RedisUrl.parse("redis://gw:hunter2@h/1")
    assert url.password == "hunter2"
    assert str(url) == "redis://gw@h:6379/1"
    assert "hunter2" not in repr(url)
    assert str(RedisUrl.parse("unix://gw:hunter2@/s")) == "unix://gw@/s"
