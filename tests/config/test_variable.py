"""``${NAME}`` in gateway.yaml: an environment variable, where no secret stands."""

from ipaddress import ip_network
from pathlib import Path

import pytest

from tests.config.reading import gateway_problems, load_gateway_text, rules_problems


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "HOST": "10.1.2.3", "PORT": "8443", "TIME": "90s", "SIZE": "64KiB", "TRUE": "true", "NET": "10.0.0.0/8",
        "EMPTY": "", "LINES": "a\nb", "NESTED": "${PORT}", "PASSWORD": "hunter2",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("GONE", raising=False)


def test_a_variable_is_a_value_or_a_part_of_one_of_any_kind(tmp_path: Path) -> None:
    settings = load_gateway_text(
        tmp_path,
        "listen: ${HOST}:${PORT}\n"
        "drain_time: ${TIME}\n"
        "intake: {max_line: '${SIZE}', max_headers: '1${PORT}'}\n"
        'keep_rate_limit_headers: "${TRUE}"\n'
        "identity: {trusted_proxies: ['${NET}', 192.0.2.0/24]}\n",
        upstreams="upstreams: {default: {urls: ['http://${HOST}:9000']}}\n",
    ).settings
    assert (settings.listen[0].host, settings.listen[0].port, settings.drain_time) == ("10.1.2.3", 8443, 90.0)
    assert (settings.intake.max_line, settings.intake.max_headers) == (65_536, 18_443)
    assert settings.keep_rate_limit_headers
    assert settings.identity.trusted_proxies == (ip_network("10.0.0.0/8"), ip_network("192.0.2.0/24"))
    assert str(settings.upstreams["default"].urls[0]) == "http://10.1.2.3:9000"


@pytest.mark.parametrize(
    ("text", "prefix"),
    [("a${PORT}b${PORT}", "a8443b8443"), ("'${EMPTY}a'", "a"), ("$PORT", None), ("$${PORT}", None), ("a$$", None)],
)
def test_only_a_name_in_braces_is_a_variable_and_it_is_read_once(tmp_path: Path, text: str, prefix: str | None) -> None:
    if prefix is None:
        literal = text.replace("$${", "${")
        assert f"{literal!r} cannot start a key" in gateway_problems(tmp_path, f"store: {{prefix: '{text}'}}\n")[0]
    else:
        assert load_gateway_text(tmp_path, f"store:\n  prefix: {text}\n").settings.store.prefix == prefix


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            "workers: ${GONE}\n",
            "1:10: workers: the environment variable 'GONE' is not set; $${ is a ${ that stands for",
        ),
        ("listen: ${HOST}:${GONE}\n", "1:9: listen: the environment variable 'GONE' is not set"),
        ("workers: ${EMPTY}\n", "1:10: workers: '' is not a whole number"),
        ("rules: ${EMPTY}\n", "1:8: rules: the text is empty"),
        ("rules: ${LINES}\n", "1:8: rules: the text contains a line break"),
        ("workers: ${TIME}\n", "1:10: workers: '90s' is not a whole number"),
        ("workers: ${NESTED}\n", "1:10: workers: '${PORT}' is not a whole number"),
        ("workers: '${}'\n", "1:10: workers: '${}' is not a variable; write ${NAME}"),
        ("workers: '${PORT:-1}'\n", "1:10: workers: '${PORT:-1}' is not a variable; write ${NAME}"),
        ("workers: '${A-B}'\n", "1:10: workers: '${A-B}' is not a variable"),
        ("workers: '${PORT'\n", "1:10: workers: '${PORT' is not a variable"),
        ("${PORT}: 1\n", "1:1: '${PORT}': a key takes no variable; only values do"),
        (
            "store: {url: 'redis://a', password_env: '${PASSWORD}'}\n",
            "1:41: store.password_env: this key takes no ${...}",
        ),
        ("store: {url: 'redis://a', password_env: '${GONE}'}\n", "1:41: store.password_env: this key takes no ${...}"),
        (
            "store: {url: 'redis://a', password_file: '${HOST}/x'}\n",
            "1:42: store.password_file: this key takes no ${...}",
        ),
        ("identity: {hash_key_env: '${PASSWORD}'}\n", "1:26: identity.hash_key_env: this key takes no ${...}"),
    ],
)
def test_mistake_is_told_with_its_place_and_shows_no_secret(tmp_path: Path, text: str, problem: str) -> None:
    found = gateway_problems(tmp_path, text)
    assert found[0].startswith(f"gateway.yaml:{problem}")
    assert "hunter2" not in "\n".join(found)


def test_it_means_nothing_in_rules(tmp_path: Path) -> None:
    (problem,) = rules_problems(tmp_path, "limits: [{name: a, per: user, rate: '${PORT}/s'}]\n")
    assert "8443" not in problem
