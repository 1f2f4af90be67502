"""How many workers a gateway has: by default one for each processor that it may use.

That depends on the affinity of the process, and on the CPU quota of its control groups.

A container's quota is a limit on CPU time, not on processors: every processor of the host is seen in it. More workers
than the quota has room for are throttled all at once, in the middle of requests.
"""

import os
import re
from collections.abc import Iterator
from math import ceil
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from gateway.config.flags import MAX_WORKERS
from gateway.settings.gateway import Settings

_ESCAPE = re.compile(r"\\([0-7]{3})")


class _Mount(NamedTuple):
    """A hierarchy of control groups: where its group `root` is mounted."""

    root: PurePosixPath
    point: Path
    kind: str
    options: list[str]


def usable_processors(process: Path = Path("/proc/self")) -> int:
    """Processors that this process may use: those of its affinity, or its CPU quota, rounded up, if that is less.

    Args:
        process: The process' folder in /proc, for its control groups.
    """
    return max(1, min([len(os.sched_getaffinity(0)), *(ceil(quota) for quota in _quotas(process))]))


def _quotas(process: Path) -> Iterator[float]:
    """The CPU quotas, in processors, of a process' control group and of all groups around it."""
    try:
        groups = (process / "cgroup").read_text().splitlines()
        mounts = [_mount(line) for line in (process / "mountinfo").read_text().splitlines()]
    except OSError:
        return
    for line in groups:
        _, controllers, path = line.split(":", 2)
        kind = "cgroup" if controllers else "cgroup2"
        if controllers and "cpu" not in controllers.split(","):
            continue
        for mount in mounts:
            if mount.kind == kind and (not controllers or "cpu" in mount.options):
                for folder in _folders(mount, PurePosixPath(path)):
                    quota = _quota(folder)
                    if quota is not None:
                        yield quota


def _mount(line: str) -> _Mount:
    """Parse a line of mountinfo, see proc_pid_mountinfo(5)."""
    fields, _, more = line.partition(" - ")
    root, point = (_ESCAPE.sub(lambda octal: chr(int(octal[1], 8)), text) for text in fields.split(" ")[3:5])
    kind, _, options = more.split(" ", 2)
    return _Mount(PurePosixPath(root), Path(point), kind, options.split(","))


def _folders(mount: _Mount, group: PurePosixPath) -> Iterator[Path]:
    """The folders of a group and of those around it, as far as they are mounted."""
    below = group.relative_to(mount.root) if group.is_relative_to(mount.root) else PurePosixPath()
    if ".." in below.parts:  # a group outside of this process' namespace
        below = PurePosixPath()
    for folder in (below, *below.parents):
        yield mount.point / folder


def _quota(folder: Path) -> float | None:
    """The CPU quota of one group, in processors; None if it has none."""
    try:
        if (folder / "cpu.max").exists():
            quota, period = (folder / "cpu.max").read_text().split()  # version 2: "max" or microseconds
        else:
            quota, period = ((folder / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
        return int(quota) / int(period) if int(quota) > 0 else None
    except (OSError, ValueError, ZeroDivisionError):
        return None


def worker_count(settings: Settings) -> int:
    """As many as the settings say; else one with the memory store, and one for each usable processor with Redis."""
    if settings.workers is not None:
        return settings.workers
    return 1 if settings.store.url is None else min(usable_processors(), MAX_WORKERS)
