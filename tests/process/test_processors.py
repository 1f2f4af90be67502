"""How many processors a process may use, by what the kernel says of it."""

import os
from pathlib import Path

import pytest

from gateway.process.processors import usable_processors

HERE = len(os.sched_getaffinity(0))


class Kernel:
    """What /proc/self and the control groups say, as files in a folder."""

    def __init__(self, folder: Path) -> None:
        self.process = folder / "self"
        self.process.mkdir()
        self.groups = folder / "cgroup with space"
        self.groups.mkdir()

    def is_in(self, *lines: str, root: str = "/", kind: str = "cgroup2", options: str = "rw") -> None:
        point = str(self.groups).replace(" ", "\\040")
        (self.process / "cgroup").write_text("".join(f"{line}\n" for line in lines))
        (self.process / "mountinfo").write_text(
            "23 1 8:1 / / rw,relatime - ext4 /dev/root rw\n"
            f"31 23 0:28 {root} {point} rw,relatime shared:9 - {kind} {kind} {options}\n"
        )

    def write(self, group: str, **files: str) -> None:
        folder = self.groups / group
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (folder / name.replace("__", ".")).write_text(f"{text}\n")


@pytest.fixture
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Kernel:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: set(range(16)))
    return Kernel(tmp_path)


@pytest.mark.parametrize(
    ("quota", "processors"),
    [
        ("max 100000", 16),
        ("200000 100000", 2),
        ("150000 100000", 2),
        ("50000 100000", 1),
        ("1000 100000", 1),
        ("9900000 100000", 16),
        ("20000 10000", 2),
        ("broken", 16),
        ("", 16),
        ("100000 0", 16),
    ],
)
def test_a_quota_of_version_2_counts_rounded_up(kernel: Kernel, quota: str, processors: int) -> None:
    kernel.is_in("0::/app.slice/gateway.service")
    kernel.write("app.slice/gateway.service", cpu__max=quota)
    assert usable_processors(kernel.process) == processors


@pytest.mark.parametrize(("quota", "processors"), [("-1", 16), ("250000", 3), ("1000", 1)])
def test_a_quota_of_version_1_counts_rounded_up(kernel: Kernel, quota: str, processors: int) -> None:
    kernel.is_in("4:memory:/other", "3:cpu,cpuacct:/docker/abc", "0::/", kind="cgroup", options="rw,cpu,cpuacct")
    kernel.write("docker/abc", cpu__cfs_quota_us=quota, cpu__cfs_period_us="100000")
    assert usable_processors(kernel.process) == processors


def test_the_smallest_quota_of_a_group_and_those_around_it_counts(kernel: Kernel) -> None:
    kernel.is_in("0::/a/b/c")
    kernel.write("a", cpu__max="300000 100000")
    kernel.write("a/b", cpu__max="max 100000")
    kernel.write("a/b/c", cpu__max="800000 100000")
    assert usable_processors(kernel.process) == 3


@pytest.mark.parametrize(
    ("group", "root"),
    [
        ("0::/", "/"),  # in a container with a namespace of its own
        ("0::/docker/abc", "/docker/abc"),  # without: only the container's part is mounted
        ("0::/docker/abc", "/"),  # the path is the host's, and what is mounted is the container's
        ("0::/../../docker/abc", "/"),  # a process of another namespace
    ],
)
def test_a_container_sees_its_own_quota(kernel: Kernel, group: str, root: str) -> None:
    kernel.is_in(group, root=root)
    kernel.write("", cpu__max="200000 100000")
    assert usable_processors(kernel.process) == 2


def test_a_group_of_version_2_without_the_controller_has_no_quota(kernel: Kernel) -> None:
    kernel.is_in("0::/user.slice")
    kernel.write("user.slice")
    assert usable_processors(kernel.process) == 16


def test_where_nothing_is_known_of_groups_the_affinity_counts(tmp_path: Path) -> None:
    assert usable_processors(tmp_path / "gone") == HERE


def test_this_process_is_read_as_it_is() -> None:
    assert 1 <= usable_processors() <= HERE
