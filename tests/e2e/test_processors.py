"""The number of workers is that of the processors the gateway may use, of a real process in a real control group."""

import os
import re
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

import pytest

from tests.kit.process import cli, gateway, run

STORE = ("--upstream", "http://127.0.0.1:9", "--store", "redis://127.0.0.1:9/0")
PINNED = "import os, sys; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); os.execv(sys.argv[1], sys.argv[1:])"
IN_GROUP = "import os, sys; open(sys.argv[1], 'w').write(str(os.getpid())); os.execv(sys.argv[2], sys.argv[2:])"


@pytest.fixture
def half_a_processor() -> Iterator[Path]:
    """A control group whose quota is half a processor."""
    root = Path("/sys/fs/cgroup")
    files = {
        root / "cpu": {"cpu.cfs_period_us": "100000", "cpu.cfs_quota_us": "50000"},
        root: {"cpu.max": "50000 100000"},
    }
    for parent, settings in files.items():
        group = parent / f"gateway-test-{uuid4().hex}"
        with suppress(OSError):
            group.mkdir()
            try:
                for name, text in settings.items():
                    with (group / name).open("r+") as file:
                        file.write(text)
                yield group
                return
            finally:
                group.rmdir()
    pytest.skip("this process may not make a control group with a CPU quota")


async def test_a_process_that_is_pinned_to_one_processor_has_one_worker() -> None:
    code, output = await run(sys.executable, "-c", PINNED, *cli("check", *STORE))
    assert code == 0
    assert re.search(r"^workers +1, one for each processor that this process may use$", output, re.MULTILINE)


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="one processor is all there is")
async def test_a_quota_of_half_a_processor_is_one_worker(half_a_processor: Path) -> None:
    code, output = await run(sys.executable, "-c", IN_GROUP, half_a_processor / "cgroup.procs", *cli("check", *STORE))
    assert code == 0
    assert re.search(r"^workers +1, one for each", output, re.MULTILINE)


async def test_the_number_of_workers_can_be_said_and_one_is_enough_for_the_memory_store() -> None:
    assert "\nworkers   3\n" in (await run(*cli("check", *STORE, "--workers", "3")))[1]
    assert "\nworkers   1\n" in (await run(*cli("check", "--upstream", "http://127.0.0.1:9")))[1]


async def test_as_many_workers_are_started_as_check_says() -> None:
    _, output = await run(*cli("check", *STORE))
    found = re.search(r"^workers +(\d+)", output, re.MULTILINE)
    assert found is not None
    async with gateway(*STORE) as (process, _, _):
        assert f"\n  workers  {found[1]}\n" in process.output
        for _ in range(int(found[1])):
            await process.says("worker_serving")
        assert len(process.children) == int(found[1])
