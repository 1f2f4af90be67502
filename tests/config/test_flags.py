"""Flags of the command line: over the file, with the same checks, and named in errors."""

from pathlib import Path

from gateway.config.flags import Flags
from gateway.config.loader import load
from gateway.settings.listener import Listener
from gateway.settings.url import HostPort, Origin, RedisUrl
from tests.config.reading import flag_problems, write_certificates


def test_flags_alone_are_a_gateway(tmp_path: Path) -> None:
    rules = tmp_path / "rules.yaml"
    rules.write_text("limits: [{name: a, per: user, rate: 1/s}]\n")
    loaded = load(
        None,
        Flags(
            upstream="http://127.0.0.1:9000",
            listen=["0.0.0.0:80", "unix:/run/gateway.sock"],
            control=["[::1]:81"],
            store="redis://:hunter2@cache",
            rules=str(rules),
            workers="4",
        ),
    )
    settings = loaded.settings
    assert settings.upstreams["default"].urls == (Origin("http", "127.0.0.1", 9000),)
    assert settings.listen == (Listener("0.0.0.0", 80), Listener(unix="/run/gateway.sock"))
    assert settings.control.listen == (Listener("::1", 81),)
    assert settings.store.url == RedisUrl("redis", "cache", 6379, password="hunter2")
    assert (settings.rules, settings.workers) == (rules, 4)
    assert [limit.name for limit in loaded.rules.limits] == ["a"]
    assert "stands here for all to read" not in "".join(map(str, loaded.warnings))


def test_flags_replace_what_they_name_and_leave_the_rest(tmp_path: Path) -> None:
    file = tmp_path / "gateway.yaml"
    file.write_text(
        "upstreams: {default: {urls: [http://a], max_idle: 7}, other: {urls: [http://b]}}\n"
        "store: {url: redis://a, cluster: true, nodes: [b], prefix: mine}\n"
        "control: {listen: {host: 127.0.0.2, port: 1}}\n"
        "rules: rules.yaml\n"
    )
    (tmp_path / "rules.yaml").write_text("limits: []\n")
    settings = load(
        file, Flags("http://c", control=["127.0.0.1:2"], store="memory", rules=str(tmp_path / "rules.yaml"))
    ).settings
    assert settings.upstreams["default"].urls == (Origin("http", "c", 80),)
    assert settings.upstreams["default"].max_idle == 7
    assert settings.upstreams["other"].urls == (Origin("http", "b", 80),)
    assert (settings.store.url, settings.store.cluster, settings.store.nodes) == (None, False, ())
    assert settings.store.prefix == "mine"
    assert settings.control.listen == (Listener("127.0.0.1", 2),)


def test_certificates_stay_when_the_flag_says_tls_too(tmp_path: Path) -> None:
    file = tmp_path / "gateway.yaml"
    file.write_text("upstreams: {default: {urls: [http://a]}}\nstore: {url: rediss://a, tls: {ca: ca.pem}}\n")
    write_certificates(tmp_path, "ca.pem")
    assert load(file, Flags(store="rediss://b")).settings.store.tls.ca == tmp_path / "ca.pem"
    assert load(file, Flags(store="redis://b")).settings.store.tls.ca is None


def test_every_bad_flag_is_named() -> None:
    flags = Flags("127.0.0.1:9000", [":8080"], ["8081"], "redis://u:hunter2@", "none.yaml", "many")
    assert flag_problems(flags) == [
        "--control: the host is missing; write 127.0.0.1:8081, or 0.0.0.0:8081 for every IPv4 interface",
        "--listen: the host is missing; write 127.0.0.1:8080, or 0.0.0.0:8080 for every IPv4 interface",
        "--rules: none.yaml: No such file or directory",
        "--store: the host is missing; write 127.0.0.1:PORT, or 0.0.0.0:PORT for every IPv4 interface",
        "--upstream: an upstream is http://HOST:PORT, https://HOST:PORT or unix:/PATH",
        "--workers: 'many' is not a whole number; write decimal digits only",
    ]


def test_checks_across_settings_blame_the_flag() -> None:
    problems = flag_problems(Flags("http://a", store="memory", workers="2"))
    assert problems[0].startswith("--workers: each process has its own memory store")
    problems = flag_problems(Flags("http://a", listen=["127.0.0.1:81"], control=["127.0.0.1:81"]))
    assert problems == ["--control: the control plane cannot listen where the public port does"]


def test_without_a_file_the_upstream_has_to_be_named() -> None:
    assert flag_problems(Flags()) == ["--upstream: say where the API is, or name a file with --config"]


def test_empty_flag_is_refused() -> None:
    assert flag_problems(Flags(upstream=""))[0].startswith("--upstream: ")


def test_addresses_print_as_they_are_written() -> None:
    assert str(HostPort("::1", 80)) == "[::1]:80"
