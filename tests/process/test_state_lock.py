"""The lock on a state folder, between real processes."""

import os
import signal
from pathlib import Path

import pytest

from gateway.process.state_lock import StateLockError, lock_state
from tests.kit.process import cli as command
from tests.kit.process import gateway, run
from tests.wire import ask, get, upstream

SETTINGS = """\
upstreams: {{default: {{urls: [http://127.0.0.1:{port}]}}}}
listen: 127.0.0.1:0
control: {{listen: 127.0.0.1:0, state: {state}}}
workers: {workers}
store: {{url: memory}}
"""


def settings(folder: Path, name: str, port: int, state: str = "state", workers: int = 1) -> Path:
    file = folder / name
    file.write_text(SETTINGS.format(port=port, state=state, workers=workers))
    return file


def descriptors(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


async def test_a_second_gateway_on_the_same_folder_does_not_start_and_the_first_goes_on(tmp_path: Path) -> None:
    async with upstream() as up:
        first, second = (settings(tmp_path, name, up.port) for name in ("first.yaml", "second.yaml"))
        async with gateway("--config", first) as (process, public, _):
            await process.says("worker_serving")
            code, output = await run(*command("serve", "--config", second))
            assert code == 1
            assert f"control.state: {tmp_path}/state is in use by another gateway (process {process.pid})" in output
            assert (await ask(public, get())).status == 200


async def test_the_folder_of_a_gateway_that_was_killed_is_free_at_once(tmp_path: Path) -> None:
    async with upstream() as up:
        file = settings(tmp_path, "gateway.yaml", up.port)
        async with gateway("--config", file) as (process, _, _):
            await process.says("worker_serving")
            os.kill(process.pid, signal.SIGKILL)
            await process.ends()
            async with gateway("--config", file) as (_, public, _):
                assert (await ask(public, get())).status == 200


@pytest.mark.untraced
async def test_a_rolling_restart_keeps_the_lock_or_moves_it_to_the_folder_in_the_new_settings(tmp_path: Path) -> None:
    async with upstream() as up:
        file, other = settings(tmp_path, "gateway.yaml", up.port), settings(tmp_path, "other.yaml", up.port)
        async with gateway("--config", file) as (process, _, _):
            await process.says("worker_serving")
            for number, state in enumerate(("state", "state", "elsewhere"), 1):
                settings(tmp_path, "gateway.yaml", up.port, state)
                process.signal(signal.SIGUSR2)
                await process.says(rf"(?s)(restart: done.*){{{number}}}")
                settings(tmp_path, "other.yaml", up.port, state)
                code, output = await run(*command("serve", "--config", other))
                assert (code, "in use by another gateway" in output) == (1, True)
            assert descriptors(process.pid) < 40
            settings(tmp_path, "other.yaml", up.port, "state")
            async with gateway("--config", other):
                pass


@pytest.mark.untraced
async def test_a_restart_into_the_folder_of_another_gateway_is_refused(tmp_path: Path) -> None:
    async with upstream() as up:
        file, other = settings(tmp_path, "gateway.yaml", up.port), settings(tmp_path, "other.yaml", up.port, "others")
        async with gateway("--config", other), gateway("--config", file) as (process, public, _):
            await process.says("worker_serving")
            settings(tmp_path, "gateway.yaml", up.port, "others")
            process.signal(signal.SIGUSR2)
            await process.says("restart refused")
            assert f"control.state: {tmp_path}/others is in use by another gateway" in process.output
            assert (await ask(public, get())).status == 200


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StateLockError, match=r"control.state: .*/file/state cannot be written: Not a directory"):
        lock_state(tmp_path / "file" / "state")
