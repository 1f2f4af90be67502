"""`tracing`: off unless it is there, refused without its packages, and no secret gets out."""

import sys
from pathlib import Path

import pytest

from gateway.config.summary import summary
from gateway.settings.tracing import Tracing
from tests.config.reading import gateway_problems, gateway_warnings, load_gateway_text, write_certificates
from tests.kit.process import cli, run

URL = "http://127.0.0.1:4318/v1/traces"


def tracing_of(folder: Path, text: str) -> Tracing | None:
    return load_gateway_text(folder, f"tracing: {text}\n").settings.tracing


def refused(folder: Path, text: str) -> str:
    (problem,) = gateway_problems(folder, f"tracing: {text}\n")
    return problem


def test_it_is_off_by_default(tmp_path: Path) -> None:
    loaded = load_gateway_text(tmp_path, "")
    assert loaded.settings.tracing is None
    assert "tracing" not in summary(loaded, 1)


def test_an_endpoint_is_enough(tmp_path: Path) -> None:
    assert tracing_of(tmp_path, f"{{endpoint: '{URL}'}}") == Tracing(URL, 0.1, "gateway")
    assert f"tracing   {URL}, sample 0.1\n" in summary(
        load_gateway_text(tmp_path, f"tracing: {{endpoint: '{URL}'}}\n"), 1
    )


@pytest.mark.parametrize(("text", "share"), [("0", 0.0), ("1", 1.0), ("0.25", 0.25), ("1.0", 1.0)])
def test_a_share_is_a_number_from_0_to_1(text: str, share: float, tmp_path: Path) -> None:
    tracing = tracing_of(tmp_path, f"{{endpoint: '{URL}', sample: {text}}}")
    assert tracing is not None
    assert tracing.sample == share


@pytest.mark.parametrize("text", ["1.1", "-0.1", "10%", "1e-3", ".5", "'0.5'"])
def test_anything_else_is_no_share(text: str, tmp_path: Path) -> None:
    assert ": tracing.sample: " in refused(tmp_path, f"{{endpoint: '{URL}', sample: {text}}}")


@pytest.mark.parametrize(
    ("endpoint", "why"),
    [
        ("http://a:4318", "the path is missing (http://a:4318/v1/traces?)"),
        ("https://a/", "the path is missing (https://a/v1/traces?)"),
        ("http://user:secret@a/v1/traces", "a collector's URL has no user and no password"),
        ("grpc://a:4317/v1/traces", "a collector is http://HOST:PORT or https://HOST:PORT"),
        ("a:4318/v1/traces", "a collector is http://HOST:PORT/PATH or https://HOST:PORT/PATH, without ? and #"),
        ("http://a/v1/traces?key=1", "a collector is http://HOST:PORT/PATH or https://HOST:PORT/PATH, without ? and #"),
    ],
)
def test_an_endpoint_that_cannot_be_is_refused_with_the_reason(endpoint: str, why: str, tmp_path: Path) -> None:
    problem = refused(tmp_path, f"{{endpoint: '{endpoint}'}}")
    assert problem.startswith("gateway.yaml:1:21: tracing.endpoint: ")
    assert why.partition(" (")[0] in problem
    assert why.rpartition(" (")[2].rstrip("?)") in problem
    assert "secret" not in problem


def test_the_credential_comes_from_a_file_or_the_environment_and_is_in_no_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "credential").write_text("Bearer hunter2\n")
    monkeypatch.setenv("COLLECTOR_KEY", "Bearer hunter2")
    for where in ("credential_file: credential", "credential_env: COLLECTOR_KEY"):
        text = f"tracing: {{endpoint: '{URL}', credential_header: X-Api-Key, {where}}}\n"
        loaded = load_gateway_text(tmp_path, text)
        tracing = loaded.settings.tracing
        assert tracing is not None
        assert (tracing.credential_header, tracing.credential) == ("X-Api-Key", "Bearer hunter2")
        assert "hunter2" not in repr(loaded.settings) + summary(loaded, 1)


def test_a_credential_that_would_be_more_than_a_headers_value_is_refused(tmp_path: Path) -> None:
    (tmp_path / "credential").write_bytes(b"a\r\nX-Other: hunter2")
    problem = refused(tmp_path, f"{{endpoint: '{URL}', credential_file: credential}}")
    assert "not one line of ASCII" in problem
    assert "hunter2" not in problem


@pytest.mark.parametrize(
    ("host", "warned"),
    [("http://collector", True), ("http://10.0.0.1", True), ("http://[::1]", False), ("https://a", False)],
)
def test_a_credential_that_others_can_read_on_its_way_is_warned_of(host: str, warned: bool, tmp_path: Path) -> None:
    (tmp_path / "credential").write_text("hunter2")
    text = f"tracing: {{endpoint: '{host}:4318/v1/traces', credential_file: credential}}\n"
    assert any("use https://" in each for each in gateway_warnings(tmp_path, text)) is warned


def test_certificates_are_for_https(tmp_path: Path) -> None:
    write_certificates(tmp_path, "ca.pem")
    assert "certificates are for https" in refused(tmp_path, f"{{endpoint: '{URL}', ca: ca.pem}}")


async def test_without_the_extra_it_is_refused_with_what_to_install(tmp_path: Path) -> None:
    config = tmp_path / "gateway.yaml"
    upstreams = "upstreams: {default: {urls: [http://127.0.0.1:9000]}}\n"
    config.write_text(f"{upstreams}tracing: {{endpoint: '{URL}'}}\n")
    blocked = "import sys; sys.modules['opentelemetry'] = None; from gateway.commands.cli import main; sys.exit(main())"
    code, said = await run(sys.executable, "-c", blocked, "serve", "--config", config)
    assert code == 2
    assert f"{config}:2:10: tracing: tracing needs packages that are not installed" in said
    assert "install the extra otel, see docs/installing.md" in said
    assert "1 problem; nothing was done" in said
    # Without tracing, the packages are not missed.
    config.write_text(upstreams)
    assert (await run(sys.executable, "-c", blocked, "check", "--config", config))[0] == 0
    assert (await run(*cli("check", "--config", config)))[0] == 0
