"""What a gateway's workers share, and what is said where there is no place for it."""

import fcntl
import os
import signal
import socket
import tempfile
from pathlib import Path

import pytest

from gateway.process.runtime import RuntimeFolderError, open_runtime
from tests.kit.process import Process, cli
from tests.waiting import eventually


def test_without_a_folder_to_write_to_it_says_how_to_mend_that(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    with pytest.raises(RuntimeFolderError, match="tmpfs at /tmp"), open_runtime():
        pass


def test_a_folder_too_deep_for_a_socket_is_refused_and_not_left_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = tmp_path / ("d" * 100)
    deep.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(deep))
    with pytest.raises(RuntimeFolderError, match="set TMPDIR to a short path"), open_runtime():
        pass
    assert list(deep.iterdir()) == []


def test_the_folder_is_locked_while_it_is_in_use_so_that_nobody_tidies_it_away() -> None:
    with open_runtime() as runtime:
        descriptor = os.open(runtime.folder, os.O_RDONLY)
        with pytest.raises(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    os.close(descriptor)
    assert not runtime.folder.exists()


def test_the_folder_of_a_killed_gateway_is_removed_at_the_next_start_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    killed, elsewhere, unmarked = tmp_path / "gateway-killed", tmp_path / "elsewhere", tmp_path / "gateway-notes"
    for folder in (killed, elsewhere):
        folder.mkdir()
        with socket.socket(socket.AF_UNIX) as mark:
            mark.bind(str(folder / "00000.sock"))
        (folder / "rules.yaml").touch()
    unmarked.mkdir()
    (unmarked / "00000.sock").touch()
    (tmp_path / "gateway-link").symlink_to(elsewhere)
    with open_runtime() as first:
        assert not killed.exists()
        with open_runtime() as second:
            assert first.folder.exists()
            assert second.folder.exists()
        assert sorted(each.name for each in tmp_path.iterdir()) == sorted(
            ["elsewhere", "gateway-link", "gateway-notes", first.folder.name]
        )
    assert (elsewhere / "rules.yaml").exists()


@pytest.mark.untraced
async def test_a_gateway_that_was_killed_leaves_a_folder_that_the_next_start_removes(tmp_path: Path) -> None:
    place = tmp_path / "t"
    place.mkdir()

    def folders() -> set[str]:
        return {each.name for each in place.glob("gateway-*")}

    start = (*cli("serve", "--upstream", "http://127.0.0.1:9", "--listen", "127.0.0.1:0"), "--control", "127.0.0.1:0")
    async with Process.start(*start, env={"TMPDIR": str(place)}) as killed:
        await killed.says("worker_serving")
        (left,) = folders()
        async with Process.start(*start, env={"TMPDIR": str(place)}) as beside:
            await beside.says("worker_serving")
            assert left in folders()  # it is in use
            assert len(folders()) == 2
            beside.signal(signal.SIGTERM)
            assert await beside.ends() == 0
        killed.signal(signal.SIGKILL)
        await killed.ends()
    assert folders() == {left}

    async def is_removed() -> bool:
        """The worker, which holds the lock as well, notices that its supervisor is gone, and drains."""
        async with Process.start(*start, env={"TMPDIR": str(place)}) as after:
            await after.says("worker_serving")
            after.signal(signal.SIGTERM)
            assert await after.ends() == 0
            return folders() == set()

    await eventually(is_removed)
