"""`docker/`: the image's recipe, the services around it, and the gateway with the settings that it has there."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from redis.asyncio import Redis

from gateway.config.loader import load
from tests.kit.process import ROOT, Process, cli, gateway, run
from tests.redis_server import binaries
from tests.wire import ask, get, upstream

DOCKER = ROOT / "docker"
COMPOSE: dict[str, Any] = yaml.safe_load((DOCKER / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
GATEWAYS = ("gateway-1", "gateway-2")
OURS = (*GATEWAYS, "upstream", "secrets")

each_service = pytest.mark.parametrize("name", SERVICES)


def stages() -> list[list[str]]:
    """The Dockerfile's instructions, a list for each stage."""
    text = re.sub(r"\\\n", " ", re.sub(r"^\s*#.*\n", "", (DOCKER / "Dockerfile").read_text(), flags=re.MULTILINE))
    return [part.strip().splitlines() for part in re.split(r"^(?=FROM )", text, flags=re.MULTILINE)[1:]]


def mounts(service: str) -> dict[str, tuple[str, bool]]:
    """By path in the container: what is mounted there, and whether it can be written to."""
    told = (volume.split(":") for volume in SERVICES[service]["volumes"])
    return {target: (source, mode != ["ro"]) for source, target, *mode in told}


def in_a_container(service: str, root: Path) -> Path:
    """Lay a container's files out in a folder, with volumes of secrets filled. Returns its gateway.yaml."""
    for target, (source, _) in mounts(service).items():
        place = root / target.removeprefix("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        if source.startswith("."):
            place.symlink_to((DOCKER / source).resolve())
        else:
            place.mkdir()
    script = (DOCKER / "make_secrets.py").read_text()
    for folder, name in re.findall(r'"(\w+)/([\w-]+)"', script):
        (root / "etc/gateway/secrets" / folder / name).write_text("x" * 64)
    return root / "etc/gateway/gateway.yaml"


def test_the_image_is_built_in_stages_and_its_last_one_installs_nothing() -> None:
    build, final = stages()
    assert build[0] == "FROM ${BASE} AS build"
    assert final[0] == "FROM ${BASE}"
    # Nothing is run in it, so no compiler gets there, and files come from the other stage alone.
    words = [line.split()[0] for line in final]
    assert "RUN" not in words
    assert "ADD" not in words
    assert [line for line in final if line.startswith("COPY")] == [
        "COPY --from=build /opt/gateway /opt/gateway",
        "COPY --from=build --chown=65532:65532 /state /var/lib/gateway",
    ]
    assert any("--require-hashes" in line for line in build)
    # What it builds is the compiled build.
    assert any("HATCH_BUILD_HOOK_ENABLE_CUSTOM=true" in line and "pip wheel" in line for line in build)


def test_the_image_runs_as_a_user_that_is_not_root_and_says_how_it_fares() -> None:
    final = dict(line.split(None, 1) for line in stages()[-1])
    uid, gid = final["USER"].split(":")
    assert int(uid) >= 10_000
    assert int(gid) >= 10_000
    assert "http://127.0.0.1:8081/healthz" in final["HEALTHCHECK"]
    assert final["ENTRYPOINT"] == '["gateway"]'
    assert "/etc/gateway/gateway.yaml" in final["CMD"]


def test_only_what_the_image_needs_is_sent_to_the_builder() -> None:
    lines = (DOCKER / "Dockerfile.dockerignore").read_text().splitlines()
    allowed = {line[1:] for line in lines if line.startswith("!")}
    assert "*" in lines
    copied = {word for line in stages()[0] if line.startswith("COPY") for word in line.split()[1:-1]}
    assert copied == allowed
    assert all((ROOT / name).exists() for name in allowed)


def test_compose_has_what_it_takes() -> None:
    assert SERVICES.keys() == {*OURS, "redis", "prometheus", "grafana"}


@each_service
def test_a_service_is_contained(name: str) -> None:
    service = SERVICES[name]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert {"mem_limit", "cpus", "pids_limit"} <= service.keys()
    assert "privileged" not in service
    if name != "grafana":
        assert service["read_only"] is True
    if name.startswith("gateway"):
        assert service["tmpfs"] == ["/tmp"]
    if name != "secrets":
        assert not service.get("user", "").startswith("0")
    else:
        assert service["network_mode"] == "none"


@each_service
def test_a_service_is_reached_from_this_machine_alone(name: str) -> None:
    assert all(port.startswith("127.0.0.1:") for port in SERVICES[name].get("ports", ()))


@each_service
def test_an_image_from_elsewhere_has_a_version(name: str) -> None:
    image = SERVICES[name]["image"]
    assert (image == "rate-limiting-gateway") == (name in OURS)
    assert name in OURS or re.search(r":v?\d+\.\d+", image)


@each_service
def test_what_is_mounted_is_there_and_no_file_can_be_changed(name: str) -> None:
    for source, writable in mounts(name).values() if "volumes" in SERVICES[name] else ():
        if source.startswith("."):
            assert (DOCKER / source).exists()
            assert not writable
        else:
            assert source in COMPOSE["volumes"]


@each_service
def test_no_secret_stands_in_compose(name: str) -> None:
    environment = SERVICES[name].get("environment", {})
    assert not [key for key in environment if re.search("PASS|SECRET|TOKEN|KEY", key)]


def test_gateways_differ_only_in_what_is_their_own() -> None:
    one, two = (dict(SERVICES[name]) for name in GATEWAYS)
    assert not set(one.pop("ports")) & set(two.pop("ports"))
    assert set(one.pop("volumes")) ^ set(two.pop("volumes")) == {
        "state-1:/var/lib/gateway",
        "state-2:/var/lib/gateway",
    }
    assert one == two


def test_only_gateways_reach_redis_and_only_they_hold_their_secrets() -> None:
    assert COMPOSE["networks"]["store"] == {"internal": True}
    assert {name for name, service in SERVICES.items() if "store" in service.get("networks", ())} == {
        *GATEWAYS,
        "redis",
    }
    holders = {
        name for name in SERVICES for volume in SERVICES[name].get("volumes", ()) if "gateway-secrets:" in volume
    }
    assert holders == {*GATEWAYS, "secrets"}


async def test_redis_is_bounded_forgets_the_least_used_and_keeps_the_rest_on_disk(tmp_path: Path) -> None:
    settings = tmp_path / "redis.conf"
    settings.write_text((DOCKER / "redis.conf").read_text().replace("dir /data", f"dir {tmp_path}"))
    binary = next(iter(binaries().values()))
    socket = tmp_path / "redis.sock"
    async with Process.start(binary, settings, "--port", "0", "--unixsocket", socket) as process:
        await process.says("(?i)ready to accept connections")
        async with Redis(unix_socket_path=str(socket), decode_responses=True) as redis:
            told = await redis.config_get("maxmemory*", "appendonly", "appendfsync", "save")
    assert (told["maxmemory"], told["maxmemory-policy"]) == ("134217728", "volatile-lru")
    assert (told["appendonly"], told["appendfsync"], told["save"]) == ("yes", "everysec", "")
    # With room for the process above it.
    assert SERVICES["redis"]["mem_limit"] == "384m"


@pytest.mark.parametrize("name", GATEWAYS)
def test_settings_load_as_the_container_has_them(name: str, tmp_path: Path) -> None:
    loaded = load(in_a_container(name, tmp_path))
    # The one warning is about the control plane on all interfaces, of which the file says why.
    assert ["control plane listens on 0.0.0.0" in str(warning) for warning in loaded.warnings] == [True]
    settings = loaded.settings
    assert loaded.rules.limits
    assert settings.control.admin is not None
    assert settings.identity.hash_key
    assert str(settings.store.url) == "redis://redis:6379/0"
    # Volumes are mounted where the settings look, and what is written goes to one that can be written to.
    assert mounts(name)[str(settings.control.state)] == (f"state-{name[-1]}", True)
    assert SERVICES[name]["stop_grace_period"] == f"{settings.drain_time + 15:.0f}s"
    ports = {int(port.rpartition(":")[2]) for port in SERVICES[name]["ports"]}
    assert ports == {each.port for each in (*settings.listen, *settings.control.listen)}


async def test_nothing_of_the_control_plane_is_on_the_public_port(tmp_path: Path) -> None:
    config = in_a_container("gateway-1", tmp_path)
    config.unlink()
    config.write_text((DOCKER / "gateway.yaml").read_text().replace("/var/lib/gateway", str(tmp_path)))
    async with upstream() as up:
        flags = ("--store", "memory", "--workers", "1", "--upstream", f"http://127.0.0.1:{up.port}")
        async with gateway("--config", config, *flags) as (_, public, control):
            for path in ("/healthz", "/readyz", "/metrics"):
                assert (await ask(control, get(path))).body != b"ok"
                answer = await ask(public, get(path))
                assert (answer.status, answer.body) == (200, b"ok")
            assert len(up.requests) == 3


def texts(folder: Path) -> dict[str, str]:
    return {file.name: file.read_text() for file in folder.glob("*/*")}


async def test_secrets_are_made_once(tmp_path: Path) -> None:
    script = tmp_path / "make_secrets.py"
    script.write_text((DOCKER / "make_secrets.py").read_text().replace('"/secrets"', repr(str(tmp_path))))
    for folder in ("store", "gateway"):
        (tmp_path / folder).mkdir()
    python = cli()[0]
    made = []
    for _ in range(2):
        assert await run(python, script) == (0, "")
        made.append(texts(tmp_path))
    assert made[0] == made[1]
    assert made[0].keys() == {"redis", "hash-key", "admin"}
    assert {len(secret) for secret in made[0].values()} == {64}
    assert len(set(made[0].values())) == 3


def test_prometheus_scrapes_every_gateway_and_has_the_alerts() -> None:
    config = yaml.safe_load((DOCKER / "prometheus" / "prometheus.yaml").read_text())
    (job,) = config["scrape_configs"]
    assert job["job_name"] == "gateway"
    assert job["static_configs"][0]["targets"] == [f"{name}:8081" for name in GATEWAYS]
    assert config["rule_files"] == ["alerts.yaml"]
    # They meet on a network.
    assert all("watch" in SERVICES[name]["networks"] for name in (*GATEWAYS, "prometheus", "grafana"))


@pytest.mark.needs("promtool")
async def test_promtool_takes_the_configuration_of_prometheus() -> None:
    code, said = await run("promtool", "check", "config", DOCKER / "prometheus" / "prometheus.yaml")
    assert code == 0, said
