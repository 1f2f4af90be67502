"""`store`: every kind of Redis can be said in one section, and no secret gets out."""

from pathlib import Path

import pytest

from gateway.settings.store import Sentinel, Store, StoreTls
from gateway.settings.url import HostPort, RedisUrl
from tests.config.reading import gateway_problems, gateway_warnings, load_gateway_text, write_certificates


def store_of(folder: Path, text: str) -> Store:
    return load_gateway_text(folder, f"store: {text}\n").settings.store


def test_memory_is_the_default(tmp_path: Path) -> None:
    assert store_of(tmp_path, "{url: memory, max_buckets: 5}") == Store(max_buckets=5)


def test_redis_with_a_user_and_a_password_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "password").write_bytes(b"hunter2\r\n")
    store = store_of(
        tmp_path, "{url: redis://gw@cache:6380/2, password_file: password, prefix: 'gw:a', deadline: 20ms}"
    )
    assert store == Store(RedisUrl("redis", "cache", 6380, "", "gw", "hunter2", 2), prefix="gw:a", deadline=0.02)
    assert "hunter2" not in repr(store) + str(store)


def test_password_comes_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_PASSWORD", "hunter2")
    url = store_of(tmp_path, "{url: 'unix:///run/redis.sock', password_env: REDIS_PASSWORD}").url
    assert url == RedisUrl("unix", socket="/run/redis.sock", password="hunter2")


def test_sentinels_know_the_address(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("hunter2")
    store = store_of(
        tmp_path,
        "{url: redis://gw@mymaster, sentinel: {service: mymaster, nodes: [a, 'b:1'], username: s, "
        "password_file: password}}",
    )
    nodes = (HostPort("a", 26379), HostPort("b", 1))
    assert store.sentinel == Sentinel("mymaster", nodes, "s", "hunter2")
    assert "hunter2" not in repr(store) + str(store)
    assert str(store) == "Sentinel redis://gw@mymaster:6379/0, a:26379, b:1"


def test_cluster_has_more_nodes(tmp_path: Path) -> None:
    store = store_of(tmp_path, "{url: redis://a, cluster: true, nodes: [b, 'c:7000']}")
    assert (store.cluster, store.nodes) == (True, (HostPort("b", 6379), HostPort("c", 7000)))
    assert str(store) == "Cluster redis://a:6379/0, b:6379, c:7000"


def test_tls_has_certificates(tmp_path: Path) -> None:
    write_certificates(tmp_path, "ca", "cert", "key")
    store = store_of(tmp_path, "{url: rediss://a, tls: {ca: ca, certificate: cert, key: key}}")
    assert store.tls == StoreTls(tmp_path / "ca", tmp_path / "cert", tmp_path / "key")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{url: mysql://a}", "1:14: store.url: a store is memory, redis://HOST:PORT, rediss://HOST:PORT (TLS) or unix"),
        ("{url: 'redis://a?db=1'}", "1:14: store.url: options are not written in the URL; they are keys of `store`"),
        ("{url: redis://a/b}", "1:14: store.url: after the port comes the number of a database or nothing"),
        (
            "{prefix: 'a{b}'}",
            "1:17: store.prefix: 'a{b}' cannot start a key; write at most 64 letters, digits",
        ),
        ("{deadline: 0}", "1:19: store.deadline: '0' is out of range; write more than 0"),
        ("{cluster: true}", "1:18: store.cluster: 'cluster' is for Redis, and the store's url is memory"),
        (
            "{url: redis://a, cluster: true, sentinel: {service: a, nodes: [b]}}",
            "1:34: store.cluster: a Redis Cluster has no Sentinels; write one of the two",
        ),
        (
            "{url: redis://a, sentinel: {service: b, nodes: [c]}}",
            "1:14: store.url: with Sentinels, the URL holds the name of their service instead of a host: redis://b",
        ),
        ("{url: redis://a, sentinel: {service: a}}", "1:35: store.sentinel: the key 'nodes' is missing"),
        ("{url: redis://a/1, cluster: true}", "1:14: store.url: a Redis Cluster is reached over TCP, and has database"),
        ("{url: redis://a, nodes: [b]}", "1:32: store.nodes: more nodes are for a Redis Cluster; write cluster: true"),
        ("{url: redis://a, tls: {}}", "1:30: store.tls: certificates are for TLS, and the URL does not start with red"),
        (
            "{url: rediss://a, tls: {key: /dev/null}}",
            "1:31: store.tls: 'certificate' and 'key' need each other; write both",
        ),
        ("{url: rediss://a, tls: {ca: none}}", "1:36: store.tls.ca: "),
        (
            "{url: redis://a, password_file: hunter2}",
            "1:40: store.password_file: the file named here, relative to ",
        ),
        (
            "{url: redis://a, password_env: hunter2}",
            "1:39: store.password_env: the environment variable named here is not set",
        ),
        (
            "{url: redis://a, password: hunter2}",
            "1:25: store.password: unknown key 'password'; the keys here are ",
        ),
        (
            "{url: redis://a, password_file: /dev/null}",
            "1:40: store.password_file: the file named here is empty",
        ),
        (
            "{url: redis://a, password_file: /etc/hostname, password_env: HOME}",
            "1:69: store.password_env: 'password_file' is given as well; write one of the two",
        ),
        (
            "{url: 'redis://u:hunter2@a', password_env: HOME}",
            "1:14: store.url: a password is given both in the URL and by a key; remove the one in the URL",
        ),
    ],
)
def test_mistake_is_told_without_showing_a_secret(tmp_path: Path, text: str, problem: str) -> None:
    found = gateway_problems(tmp_path, f"store: {text}\n")
    assert found[0].startswith(f"gateway.yaml:{problem}")
    assert "hunter2" not in "".join(found)


def test_password_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "password").write_bytes(b"\xff")
    (found,) = gateway_problems(tmp_path, "store: {url: redis://a, password_file: password}\n")
    assert found == "gateway.yaml:1:8: store: the password is not UTF-8"


def test_password_in_the_url_is_warned_of(tmp_path: Path) -> None:
    warnings = gateway_warnings(tmp_path, "store: {url: 'redis://:hunter2@a'}\n")
    assert warnings[1].endswith("the password is readable here; write password_file or password_env instead")
    assert "hunter2" not in "".join(warnings)


def test_redis_without_a_hash_key_is_warned_of(tmp_path: Path) -> None:
    assert gateway_warnings(tmp_path, "store: {url: redis://a}\n") == [
        (
            "gateway.yaml:1:8: store: without identity.hash_key_file or identity.hash_key_env, anyone who reads "
            "Redis can find out which user a key belongs to"
        )
    ]
