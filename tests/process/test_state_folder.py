"""Where the state of a gateway is whose settings do not say so, and what a reload does without."""

import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.process.state_folder import default_state
from gateway.settings.listener import Listener
from tests.kit.process import Process, cli, gateway
from tests.wire import ask, get

CONTROL = (Listener(port=8081),)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    for name in ("unit", "xdg", "home", "etc"):
        (tmp_path / name).mkdir()
    return tmp_path


def found(home: Path, *listeners: Listener, **variables: str) -> str | None:
    environment = {name: value.replace("~", str(home)) for name, value in variables.items()}
    state = default_state(listeners or CONTROL, home / "etc/gateway.yaml", environment)
    return str(state.relative_to(home)) if state is not None else None


ALL = {"STATE_DIRECTORY": "~/unit", "XDG_STATE_HOME": "~/xdg", "HOME": "~/home"}


@pytest.mark.parametrize(
    ("without", "state"),
    [
        ((), "unit"),
        (("STATE_DIRECTORY",), "xdg/gateway/127.0.0.1-8081"),
        (("STATE_DIRECTORY", "XDG_STATE_HOME"), "home/.local/state/gateway/127.0.0.1-8081"),
        (tuple(ALL), "etc/gateway-state/127.0.0.1-8081"),
    ],
)
def test_the_units_folder_then_the_users_then_one_next_to_the_configuration(
    home: Path, without: tuple[str, ...], state: str
) -> None:
    assert found(home, **{name: value for name, value in ALL.items() if name not in without}) == state
    assert (home / state).is_dir()


def test_a_folder_that_cannot_be_written_is_passed_over_and_a_relative_one_ignored(home: Path) -> None:
    (home / "file").touch()
    assert found(home, XDG_STATE_HOME="~/file", HOME="~/home") == "etc/gateway-state/127.0.0.1-8081"
    assert found(home, STATE_DIRECTORY="unit", XDG_STATE_HOME="xdg", HOME="~/home") == (
        "home/.local/state/gateway/127.0.0.1-8081"
    )
    assert found(home, STATE_DIRECTORY="~/unit:~/xdg") == "unit"


def test_the_folder_is_that_of_the_control_listener_and_any_free_port_has_none(home: Path) -> None:
    other = found(home, Listener(port=0), Listener(host="::1", port=8082), HOME="~/home")
    assert other is not None
    assert other.endswith("1-8082")
    unix = found(home, Listener(unix="/run/gateway/control"), HOME="~/home")
    assert unix is not None
    assert "run-gateway-control" in unix
    assert found(home, Listener(port=0), HOME="~/home") is None


async def test_sighup_reloads_without_control_state_and_two_gateways_of_one_file_have_folders_of_their_own(
    home: Path, reserve: Callable[[], int]
) -> None:
    (home / "etc/gateway.yaml").write_text("upstreams: {default: {urls: ['http://127.0.0.1:9']}}\n")
    one, two = reserve(), reserve()
    command = cli("serve", "--config", home / "etc/gateway.yaml", "--listen", "127.0.0.1:0", "--control")
    async with (
        Process.start(*command, f"127.0.0.1:{one}", env={"XDG_STATE_HOME": str(home)}) as first,
        Process.start(*command, f"127.0.0.1:{two}", env={"XDG_STATE_HOME": str(home)}) as second,
    ):
        for process in (first, second):
            await process.says("worker_serving")
            process.signal(signal.SIGHUP)
            await process.says("rules_reloaded")
    for port in (one, two):
        assert '"reload"' in (home / f"gateway/127.0.0.1-{port}/audit.jsonl").read_text()


async def test_without_any_folder_a_reload_is_recorded_in_the_log_and_the_start_says_so() -> None:
    async with gateway("--upstream", "http://127.0.0.1:9") as (process, _, control):
        await process.says("warning: control.state is not set")
        process.signal(signal.SIGHUP)
        await process.says('"event": "audited", "action": "reload"')
        await process.says("rules_reloaded")
        metrics = (await ask(control, get("/metrics"))).body.decode()
    assert 'gateway_rules_reloads_total{outcome="applied"} 1' in metrics


async def test_a_reload_that_cannot_be_recorded_is_refused_and_counted(tmp_path: Path) -> None:
    settings = tmp_path / "gateway.yaml"
    settings.write_text("control: {state: state}\n")
    async with gateway("--config", settings, "--upstream", "http://127.0.0.1:9") as (process, _, control):
        log = tmp_path / "state/audit.jsonl"
        log.write_text("damaged\n")
        process.signal(signal.SIGHUP)
        await process.says("reload_refused")
        metrics = (await ask(control, get("/metrics"))).body.decode()
    assert 'gateway_rules_reloads_total{outcome="rejected"} 1' in metrics
