"""`gateway.yaml`: every section reaches the settings, and what does not go together is refused."""

import re
from ipaddress import ip_network
from pathlib import Path

import pytest

from gateway.config.diagnostic import ConfigError
from gateway.config.flags import Flags
from gateway.config.loader import load
from gateway.limits.identity_source import ClientCertificate
from gateway.limits.path import PathPolicy
from gateway.settings.gateway import Settings
from gateway.settings.intake import Intake
from gateway.settings.listener import Listener, Tls
from gateway.settings.upstream import UpstreamTls
from gateway.settings.url import Origin
from tests.config.reading import UPSTREAMS, gateway_problems, gateway_warnings, load_gateway_text, write_certificates


def test_defaults_are_those_of_the_settings(tmp_path: Path) -> None:
    assert load_gateway_text(tmp_path, "").settings == Settings.of_one(Origin("http", "127.0.0.1", 9000))


def test_plain_sections_reach_the_settings(tmp_path: Path) -> None:
    settings = load_gateway_text(
        tmp_path,
        "intake: {idle_timeout: 1m, max_line: 64KiB, max_header: 1KiB, max_headers: 50}\n"
        "paths: {case_sensitive: true, encoded_slash: pass}\n"
        "workers: 1\ndrain_delay: 5s\ndrain_time: 0\nkeep_rate_limit_headers: true\n",
    ).settings
    assert settings.intake == Intake(60.0, 65536, 1024, 50)
    assert settings.paths == PathPolicy(case_sensitive=True, encoded_slash="pass")
    assert (settings.workers, settings.drain_delay, settings.drain_time) == (1, 5.0, 0.0)
    assert settings.keep_rate_limit_headers


def test_listener_is_an_address_or_a_mapping(tmp_path: Path) -> None:
    write_certificates(tmp_path, "cert.pem", "key.pem")
    settings = load_gateway_text(
        tmp_path,
        "listen: '[::1]:8443'\ncontrol: {listen: {host: localhost, tls: {certificate: cert.pem, key: key.pem}}}\n",
    ).settings
    assert settings.listen == (Listener("::1", 8443),)
    tls = Tls(tmp_path / "cert.pem", tmp_path / "key.pem")
    assert settings.control.listen == (Listener("localhost", 8081, tls),)


def test_tls_towards_an_upstream_reaches_the_settings(tmp_path: Path) -> None:
    write_certificates(tmp_path, "ca.pem", "cert.pem", "key.pem")
    for name, read in (("app.test.", "app.test"), ("'::1'", "::1"), ("'[::1]'", "::1"), ("192.0.2.1", "192.0.2.1")):
        text = f"tls: {{ca: ca.pem, certificate: cert.pem, key: key.pem, server_name: {name}}}"
        upstreams = f"upstreams: {{default: {{urls: [https://a], {text}}}}}\n"
        settings = load_gateway_text(tmp_path, "", upstreams=upstreams).settings
        files = (tmp_path / "ca.pem", tmp_path / "cert.pem", tmp_path / "key.pem")
        assert settings.upstreams["default"].tls == UpstreamTls(*files, read)


def test_listeners_are_a_list_of_any_of_their_forms(tmp_path: Path) -> None:
    settings = load_gateway_text(
        tmp_path,
        "listen: ['[::]:1', unix:/run/a, unix:///run/b, {unix: /run/c, mode: 0666}, {host: '::', ipv6_only: false}]\n"
        "control: {listen: [127.0.0.1:3, {port: 4}, unix:/run/d]}\n",
    ).settings
    assert settings.listen == (
        Listener("::", 1),
        Listener(unix="/run/a"),
        Listener(unix="/run/b"),
        Listener(unix="/run/c", mode=0o666),
        Listener("::", 8080, ipv6_only=False),
    )
    assert settings.control.listen == (
        Listener("127.0.0.1", 3),
        Listener("127.0.0.1", 4),
        Listener(port=8081, unix="/run/d"),
    )


@pytest.mark.parametrize(
    ("listen", "problem"),
    [
        ("[]", "listen: the list is empty"),
        ("[127.0.0.1:1, 127.0.0.1:1]", "listen[1]: 127.0.0.1:1 is taken by 127.0.0.1:1 in this list"),
        ("[127.0.0.1:1, 0.0.0.0:1]", "listen[1]: 0.0.0.0:1 is taken by 127.0.0.1:1 in this list"),
        ("['[::]:1', '[2001:db8::1]:1']", "listen[1]: [2001:db8::1]:1 is taken by [::]:1 in this list"),
        ("[{host: '::', port: 1, ipv6_only: false}, 0.0.0.0:1]", "listen[1]: 0.0.0.0:1 is taken by [::]:1 in"),
        ("[127.0.0.1:0, {port: 0}]", "listen[1]: 127.0.0.1:0 is taken by 127.0.0.1:0 in this list"),
        ("[unix:/a, {unix: /a, mode: 600}]", "listen[1]: unix:/a is taken by unix:/a in this list"),
        ("unix:a", "listen: a Unix socket is unix:/PATH, and the path starts with /, as in unix:/run/app.sock"),
        ("unix://a/b", "listen: a Unix socket is unix:/PATH, and the path starts with /"),
        ("unix:@abstract", "listen: a Unix socket is unix:/PATH, and the path starts with /"),
        ("{unix: gw.sock}", "listen.unix: a Unix socket is unix:/PATH, and the path starts with /"),
        (f"unix:/{'x' * 107}", "listen: the path of a Unix socket has at most 107 bytes"),
        (f"unix:/{'é' * 54}", "listen: the path of a Unix socket has at most 107 bytes"),
        ("{unix: /a, port: 1}", "listen.port: 'port' is for TCP, and 'unix' is given; write one of the two"),
        ("{unix: /a, host: '::', ipv6_only: false}", "listen.host: 'host' is for TCP, and 'unix' is given"),
        ("{port: 1, proxy_protocol: [10.0.0.1/8]}", "listen.proxy_protocol[0]: '10.0.0.1/8' has bits set after its"),
        ("{port: 1, mode: 600}", "listen.mode: 'mode' is for a Unix socket; write unix: /PATH"),
        ("{unix: /a, mode: 888}", "listen.mode: '888' is no file mode; write three octal digits, such as 660"),
        ("{unix: /a, mode: rw}", "listen.mode: 'rw' is no file mode; write three octal digits, such as 660"),
        ("{host: 0.0.0.0, ipv6_only: false}", "listen.ipv6_only: 'ipv6_only' is for an IPv6 address such as ::, and"),
    ],
)
def test_mistake_in_a_listener_is_told(tmp_path: Path, listen: str, problem: str) -> None:
    found = gateway_problems(tmp_path, f"listen: {listen}\n")
    assert re.sub(r":\d+:\d+", "", found[0]).startswith(f"gateway.yaml: {problem}")
    found = gateway_problems(tmp_path, f"control:\n  listen: {listen}\n")
    assert re.sub(r":\d+:\d+", "", found[0]).startswith(f"gateway.yaml: control.{problem}")


def test_the_control_plane_is_not_where_any_public_listener_is(tmp_path: Path) -> None:
    for public, control in (
        ("[unix:/a, 127.0.0.1:1]", "unix:/a"),
        ("[127.0.0.1:1, '[::]:2']", "['[::1]:2', '[::1]:3']"),
    ):
        (found,) = gateway_problems(tmp_path, f"listen: {public}\ncontrol: {{listen: {control}}}\n")
        assert "control: the control plane cannot listen where the public port does" in found


def test_flags_keep_the_tls_settings_of_the_file_if_its_listeners_agree(tmp_path: Path) -> None:
    write_certificates(tmp_path, "cert.pem", "key.pem")
    file, tls = tmp_path / "gateway.yaml", "tls: {certificate: cert.pem, key: key.pem}"
    file.write_text(f"upstreams: {{default: {{urls: [http://a]}}}}\nlisten: [{{{tls}}}, {{unix: /a, {tls}}}]\n")
    found = load(file, Flags(listen=["127.0.0.1:1", "unix:/b"])).settings.listen
    assert [each.tls is not None for each in found] == [True, True]
    file.write_text(f"upstreams: {{default: {{urls: [http://a]}}}}\nlisten: [{{{tls}}}, unix:/a]\n")
    with pytest.raises(ConfigError, match="--listen: the listeners in the file differ in their TLS settings"):
        load(file, Flags(listen=["127.0.0.1:1"]))


def test_upstream_reaches_the_settings(tmp_path: Path) -> None:
    write_certificates(tmp_path, "ca.pem")
    settings = load_gateway_text(
        tmp_path,
        "upstreams:\n  api:\n    urls: [https://a, 'https://[::1]:8443']\n    connect_timeout: 250ms\n"
        "    eject_time: 0\n    max_idle: 3\n    host: upstream\n    ca: ca.pem\n",
        upstreams="",
    ).settings
    api = settings.upstreams["api"]
    assert [str(url) for url in api.urls] == ["https://a", "https://[::1]:8443"]
    assert (api.connect_timeout, api.eject_time, api.max_idle, api.host) == (0.25, 0.0, 3, "upstream")
    assert api.ca == tmp_path / "ca.pem"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            "lisen: 1\n",
            "1:1: lisen: unknown key 'lisen'; the keys here are ",
        ),
        ("listen: :8080\n", "1:9: listen: the host is missing; write 127.0.0.1:8080, or 0.0.0.0:8080 for every IPv4"),
        ("listen: 8080\n", "1:9: listen: the host is missing; write 127.0.0.1:8080"),
        ("listen: {port: 70000}\n", "1:16: listen.port: 70000 is out of range; write 0 to 65535"),
        ("listen: {tls: {certificate: x.pem}}\n", "1:15: listen.tls: the key 'key' is missing"),
        (
            "control: 127.0.0.1:1\n",
            (
                "1:10: control: expected a mapping of keys to values, found a single value; its keys are admin, "
                "audit_key_env, audit_key_file, audit_size, check_from, hosts, listen, state"
            ),
        ),
        ("control: {listen: 127.0.0.1:8080}\n", "1:10: control: the control plane cannot listen where the public port"),
        (
            "workers: 2\n",
            "1:10: workers: each process has its own memory store, so 2 workers would let 2 times",
        ),
        ("workers: 0\n", "1:10: workers: 0 is out of range; write 1 to 1024"),
        ("rules: gone\n", "1:8: rules: "),
        (f"rules: {'x' * 300}\n", "1:8: rules: "),
        (
            "drain_time: soon\n",
            "1:13: drain_time: 'soon' is not a duration; write 500ms, 2s, 1m, 1h, 1d, or a number of",
        ),
        (
            "intake: {max_head: 8KiB, max_line: 16KiB}\n",
            "1:36: intake.max_line: max_head is 8192, which bounds the whole head; raise it as well",
        ),
        (
            "intake: {max_line: 64KB}\n",
            "1:20: intake.max_line: '64KB' is not a size, because 'KB' is not a unit; the units are B, KiB, MiB, GiB",
        ),
        (
            "log: {level: warn}\n",
            "1:14: log.level: 'warn' is not one of the options; write debug, info, warning or error (did you mean",
        ),
        (
            "paths: {encoded_slash: accept}\n",
            "1:24: paths.encoded_slash: 'accept' is not one of the options; write reject or pass",
        ),
    ],
)
def test_mistake_is_told_with_its_place_and_the_way_out(tmp_path: Path, text: str, problem: str) -> None:
    found = gateway_problems(tmp_path, text)
    assert found[0].startswith(f"gateway.yaml:{problem}")


@pytest.mark.parametrize(
    ("upstreams", "problem"),
    [
        ("workers: 1\n", "1:1: the key 'upstreams' is missing: where is the API?"),
        ("upstreams: {}\n", "1:12: upstreams: there is no upstream; write one called default"),
        ("upstreams: {default: {}}\n", "1:22: upstreams.default: the key 'urls' is missing"),
        ("upstreams: {default: {urls: []}}\n", "1:29: upstreams.default.urls: the list is empty"),
        (
            "upstreams: {My API: {urls: [http://a]}}\n",
            "1:13: upstreams.'My API': 'My API' is not a name; write at most 64 of a-z",
        ),
        (
            "upstreams: {default: {urls: [http://a/v1]}}\n",
            "1:30: upstreams.default.urls[0]: an upstream's URL ends after the port; a request's path is forwarded",
        ),
        (
            "upstreams: {default: {urls: [http://a], verify: False}}\n",
            "1:49: upstreams.default.verify: 'False' is neither true nor false (did you mean false?)",
        ),
        (
            "upstreams: {default: {urls: [https://a], ca: none.pem}}\n",
            "1:46: upstreams.default.ca: ",
        ),
        (
            "upstreams: {default: {urls: [http://a], ca: ca.pem}}\n",
            "1:45: upstreams.default.ca: certificates are for https, and no URL here starts with https://",
        ),
        (
            "upstreams: {default: {urls: [http://a, unix:/a], tls: {server_name: a}}}\n",
            "1:55: upstreams.default.tls: certificates are for https, and no URL here starts with https://",
        ),
        (
            "upstreams: {default: {urls: [https://a], ca: ca.pem, tls: {ca: ca.pem}}}\n",
            "1:46: upstreams.default.ca: 'ca' is in 'tls' as well; write one of the two",
        ),
        (
            "upstreams: {default: {urls: [https://a], tls: {certificate: ca.pem}}}\n",
            "1:47: upstreams.default.tls: 'certificate' and 'key' need each other; write both",
        ),
        (
            "upstreams: {default: {urls: [https://a], tls: {key: ca.pem}}}\n",
            "1:47: upstreams.default.tls: 'certificate' and 'key' need each other; write both",
        ),
        (
            "upstreams: {default: {urls: [https://a], tls: {server_name: 'a:443'}}}\n",
            "1:61: upstreams.default.tls.server_name: an IPv6 address is written in brackets",
        ),
        (
            "upstreams: {default: {urls: [https://a], tls: {server_name: a/b}}}\n",
            "1:61: upstreams.default.tls.server_name: the host is neither an address nor a name",
        ),
        (
            "upstreams: {default: {urls: [https://a], tls: {sni: a}}}\n",
            "1:48: upstreams.default.tls.sni: unknown key 'sni'; the keys here are ca, certificate, key, server_name",
        ),
        (
            "upstreams: {default: {urls: [http://a], time_out: 3s}}\n",
            "1:41: upstreams.default.time_out: unknown key 'time_out'; the keys here are ca, connect_timeout, ",
        ),
    ],
)
def test_mistake_in_an_upstream_is_told(tmp_path: Path, upstreams: str, problem: str) -> None:
    write_certificates(tmp_path, "ca.pem")
    (found,) = gateway_problems(tmp_path, "", upstreams=upstreams)
    assert found.startswith(f"gateway.yaml:{problem}")


def test_control_plane_that_others_can_reach_is_warned_of(tmp_path: Path) -> None:
    assert gateway_warnings(tmp_path, "control: {listen: 0.0.0.0:8081}\n") == [
        (
            "gateway.yaml:1:10: control: the control plane listens on 0.0.0.0, where other machines may reach it; "
            "allow only those that should"
        )
    ]
    assert gateway_warnings(tmp_path, "control: {listen: localhost:8081}\n") == []


def test_upstream_that_need_not_prove_itself_is_warned_of(tmp_path: Path) -> None:
    (warning,) = load_gateway_text(
        tmp_path, "", upstreams="upstreams: {default: {urls: [https://a], verify: false}}\n"
    ).warnings[1:]
    assert "anyone between the gateway and this upstream" in warning.message


def test_the_names_that_the_control_listener_answers_to_have_no_port(tmp_path: Path) -> None:
    names = "[ops.example, '*.ops.example', '*', 'a:1', 'http://a', '*a']"
    found = gateway_problems(tmp_path, f"control: {{hosts: {names}}}\n")
    bad = ("'a:1'", "'http://a'", "'*a'")
    assert [name in each and "is not a host name" in each for name, each in zip(bad, found, strict=True)] == [True] * 3


def test_load_balancers_of_the_public_port_may_send_the_proxy_protocol(tmp_path: Path) -> None:
    text = "listen: [{port: 1, proxy_protocol: [10.0.0.1, 2001:db8::/32]}, {unix: /a, proxy_protocol: [unix]}]\n"
    first, second = load_gateway_text(tmp_path, text).settings.listen
    assert first.proxy_protocol == (ip_network("10.0.0.1"), ip_network("2001:db8::/32"))
    assert str(first) == "127.0.0.1:1, PROXY protocol from 10.0.0.1/32, 2001:db8::/32"
    assert second.proxy_protocol == ("unix",)
    file = tmp_path / "gateway.yaml"
    file.write_text(UPSTREAMS + "listen: {proxy_protocol: [10.0.0.1]}\n")
    (replaced,) = load(file, Flags(listen=["127.0.0.1:7"])).settings.listen
    assert (replaced.port, replaced.proxy_protocol) == (7, (ip_network("10.0.0.1"),))
    identity = "identity: {trusted_proxies: [10.0.0.0/8, unix]}\n"
    for listen, relay in (
        ("{port: 1, proxy_protocol: [10.0.0.1]}", "10.0.0.1/32"),
        ("{unix: /a, proxy_protocol: [unix]}", "unix"),
    ):
        (warning,) = gateway_warnings(tmp_path, f"listen: {listen}\n{identity}")
        assert f"{relay} is in trusted_proxies, and in proxy_protocol of" in warning
    assert (
        gateway_warnings(
            tmp_path, "listen: {port: 1, proxy_protocol: [10.0.0.1]}\nidentity: {trusted_proxies: [11.0.0.1]}\n"
        )
        == []
    )
    everybody = gateway_warnings(tmp_path, "listen: {port: 1, proxy_protocol: [0.0.0.0/0]}\n")
    assert "0.0.0.0/0 is everybody: any client can then claim to come from any address" in everybody[0]
    (problem,) = gateway_problems(tmp_path, "listen: {unix: /a, proxy_protocol: [10.0.0.1]}\n")
    assert "listen.proxy_protocol: peers on a Unix socket have no addresses; write [unix]" in problem
    (problem,) = gateway_problems(tmp_path, "listen: {port: 1, proxy_protocol: [unix]}\n")
    assert "listen.proxy_protocol: 'unix' stands for peers on Unix sockets" in problem
    (problem,) = gateway_problems(tmp_path, "control: {listen: {port: 2, proxy_protocol: [10.0.0.1]}}\n")
    assert "the control plane does not read the PROXY protocol" in problem


def test_a_listener_may_ask_for_client_certificates(tmp_path: Path) -> None:
    write_certificates(tmp_path, "ca.pem", "cert.pem", "cert.key")
    (tmp_path / "none.pem").write_text("nothing")
    tls = "certificate: cert.pem, key: cert.key"
    who = "identity: {sources: [{client_certificate: {name: uri}}]}\n"
    text = f"listen: {{tls: {{{tls}, client_ca: ca.pem, client_certificate: optional}}}}\n{who}"
    settings = load_gateway_text(tmp_path, text).settings
    assert settings.listen[0].tls == Tls(tmp_path / "cert.pem", tmp_path / "cert.key", tmp_path / "ca.pem", "optional")
    assert str(settings.listen[0]) == "127.0.0.1:8080, TLS, client certificates optional"
    assert settings.identity.sources == (ClientCertificate("uri"),)
    for text, problem in (
        (
            f"listen: {{tls: {{{tls}, client_certificate: optional}}}}\n",
            "without 'client_ca' no certificate of a client",
        ),
        (f"listen: {{tls: {{{tls}, client_ca: none.pem}}}}\n", "this file holds no certificate in PEM"),
        (f"listen: {{tls: {{{tls}}}}}\n{who}", "no listener asks for client certificates: set tls.client_ca in"),
        (
            f"control: {{listen: {{port: 8081, tls: {{{tls}, client_ca: ca.pem}}}}}}\n",
            "knows operators by their tokens",
        ),
        ("identity: {sources: [{client_certificate: {name: cn}}]}\n", "'cn' is not one of the options; write uri, dns"),
        ("identity: {sources: [{client_certificate: {}}]}\n", "the key 'name' is missing"),
        (
            f"doors: {{forward_auth: {{from: [unix], listen: {{tls: {{{tls}, client_ca: ca.pem}}}}}}}}\n",
            "by their networks",
        ),
    ):
        assert problem in "\n".join(gateway_problems(tmp_path, text))


def test_files_are_watched_ten_times_a_second_at_most(tmp_path: Path) -> None:
    assert load_gateway_text(tmp_path, "watch: 5s\n").settings.watch == 5
    assert load_gateway_text(tmp_path, "").settings.watch is None
    (said,) = gateway_problems(tmp_path, "watch: 99ms\n")
    assert "watch: files are looked at ten times a second at most" in said
