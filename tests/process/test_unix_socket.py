"""The file of a Unix socket: it is taken over only when stale, and goes with the gateway whose it is."""

import fcntl
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.process import unix_socket
from gateway.process.sockets import ListenError, bind, close, discard, of_worker, probe
from gateway.settings.listener import Listener

START = """
import sys
from gateway.process.sockets import ListenError, bind
from gateway.settings.listener import Listener
sys.stdin.readline()
try:
    bound = bind(Listener(unix=sys.argv[1]))
    print("listens", flush=True)
except ListenError:
    print("refused", flush=True)
sys.stdin.readline()
"""


def stale(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))


@pytest.mark.untraced
def test_of_many_that_start_at_once_on_a_stale_socket_one_listens(tmp_path: Path) -> None:
    path = tmp_path / "gw.sock"
    for _ in range(5):
        stale(path)
        command = (sys.executable, "-c", START, str(path))
        started = [
            subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(4)
        ]
        for each in started:
            assert each.stdin is not None
            each.stdin.write("go\n")
            each.stdin.flush()
        said = [each.stdout.readline() for each in started if each.stdout is not None]
        assert sorted(said) == ["listens\n", "refused\n", "refused\n", "refused\n"]
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
        for each in started:
            each.communicate("end\n", timeout=20)
        path.unlink()


def test_a_full_backlog_is_somebody_who_listens(tmp_path: Path) -> None:
    path = tmp_path / "gw.sock"
    with socket.socket(socket.AF_UNIX) as listening, socket.socket(socket.AF_UNIX) as client:
        listening.bind(str(path))
        listening.listen(0)
        client.connect(str(path))
        with pytest.raises(ListenError, match="another program listens there"):
            bind(Listener(unix=str(path)))
    assert path.exists()


def test_a_datagram_socket_is_somebody_elses(tmp_path: Path) -> None:
    path = tmp_path / "gw.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
        other.bind(str(path))
        with pytest.raises(ListenError):
            bind(Listener(unix=str(path)))
    assert path.exists()


def test_a_dry_run_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "gw.sock"
    probe(Listener(unix=str(path)))
    assert not path.exists()
    stale(path)
    probe(Listener(unix=str(path)))
    assert path.exists()


@pytest.mark.skipif(os.getuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_to_is_found_by_a_dry_run(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(ListenError, match="the folder cannot be written to"):
        probe(Listener(unix=str(tmp_path / "gw.sock")))


def test_a_folder_that_stays_locked_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unix_socket, "_LOCK_TIMEOUT", 0.05)
    folder = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(folder, fcntl.LOCK_EX)
    try:
        with pytest.raises(ListenError, match="another program keeps the folder locked"):
            bind(Listener(unix=str(tmp_path / "gw.sock")))
    finally:
        os.close(folder)


def test_workers_share_a_unix_socket_and_have_ports_of_their_own(tmp_path: Path) -> None:
    unix, port = Listener(unix=str(tmp_path / "gw.sock")), Listener(port=0)
    bound = {each: bind(each, 3) for each in (unix, port)}
    assert [len(bound[each]) for each in (unix, port)] == [1, 3]
    for number in range(2):
        mine = of_worker(bound, number, 2)
        assert mine[unix] == bound[unix]
        assert mine[port] == bound[port][number::2]
    for listener, sockets in bound.items():
        close(listener, sockets)
    assert not (tmp_path / "gw.sock").exists()


def test_a_socket_that_somebody_else_has_put_in_its_place_stays(tmp_path: Path) -> None:
    path = tmp_path / "gw.sock"
    listener = Listener(unix=str(path))
    sockets = bind(listener)
    path.unlink()
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        other.listen()
        close(listener, sockets)
        assert path.exists()


def test_what_is_not_listened_on_any_more_is_removed_though_a_worker_still_holds_it(tmp_path: Path) -> None:
    path = tmp_path / "gw.sock"
    (opened,) = bind(Listener(unix=str(path)))
    with opened.dup():
        discard([opened])
        assert not path.exists()
