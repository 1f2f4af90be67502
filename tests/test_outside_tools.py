"""What is said of tools that are not there, by pytest and by `make test`."""

import re
import sys
from math import inf
from pathlib import Path

import pytest

from tests.kit.process import Process, run
from tests.outside_tools import TOOLS, debian_release
from tests.untraced import untraced

NEEDY = "tests/deploy/test_docker.py::test_promtool_takes_the_configuration_of_prometheus"
VALKEY_TEST = "tests/limiter/test_contract.py::test_a_bucket_gives_its_burst_and_then_nothing[valkey]"
PROMTOOL = TOOLS["promtool"]


async def python_without_tools(path: Path, *words: str, **environment: str) -> tuple[int, str]:
    async with Process.start(sys.executable, *words, env={**untraced(), "PATH": str(path), **environment}) as process:
        return await process.ends(), process.output


async def test_a_test_whose_tool_is_missing_is_skipped_and_says_what_it_would_have_tested(tmp_path: Path) -> None:
    code, output = await python_without_tools(tmp_path, "-m", "pytest", NEEDY, REQUIRE_TOOLS="")
    assert code == 0, output
    assert "1 skipped" in output
    assert PROMTOOL.absence in output


async def test_where_tools_are_required_a_missing_one_is_a_failure(tmp_path: Path) -> None:
    code, output = await python_without_tools(tmp_path, "-m", "pytest", NEEDY, REQUIRE_TOOLS="1")
    assert code == 1, output
    assert f"REQUIRE_TOOLS is set, and {PROMTOOL.absence}" in output


async def test_make_test_ends_by_naming_what_is_missing(tmp_path: Path) -> None:
    _, would = await run("make", "--dry-run", "--no-print-directory", "test")
    *_, last = would.strip().splitlines()
    assert last == ".venv/bin/python -m tests.outside_tools --missing"
    code, output = await python_without_tools(tmp_path, *last.split()[1:])
    assert (code, output) == (0, "".join(f"Not tested: {tool.absence}\n" for tool in TOOLS.values()))


async def test_the_packages_to_install_are_printed_by_a_bare_python(tmp_path: Path) -> None:
    code, output = await python_without_tools(tmp_path, "-S", "-m", "tests.outside_tools")
    assert code == 0
    had = [tool for tool in TOOLS.values() if tool.can_be_had]
    assert set(output.split()) == {name for tool in had for name in tool.packages.split()}


async def test_so_are_the_modules_of_go_to_build(tmp_path: Path) -> None:
    code, output = await python_without_tools(tmp_path, "-S", "-m", "tests.outside_tools", "--modules")
    assert code == 0
    assert output.split() == [tool.module for tool in TOOLS.values() if tool.module and tool.can_be_had]
    assert all("@v" in tool.module for tool in TOOLS.values() if tool.module)


@pytest.mark.parametrize(
    ("system", "release"),
    [
        ({"ID": "debian", "VERSION_ID": "12"}, 12),
        ({"ID": "debian", "VERSION_CODENAME": "forky"}, inf),
        ({"ID": "ubuntu", "VERSION_ID": "12.04"}, inf),
    ],
    ids=["bookworm", "sid", "not Debian"],
)
def test_a_tool_can_be_had_from_the_release_of_debian_on_that_has_it(system: dict[str, str], release: float) -> None:
    assert debian_release(system) == release


def test_a_tool_that_older_releases_lack_says_which_has_it() -> None:
    assert TOOLS["valkey-server"].absence.endswith("(Debian 13 or later: apt-get install valkey-server)")


async def test_a_tool_that_this_release_lacks_is_not_required(tmp_path: Path) -> None:
    code, output = await python_without_tools(tmp_path, "-m", "pytest", VALKEY_TEST, REQUIRE_TOOLS="1")
    assert code == (1 if TOOLS["valkey-server"].can_be_had else 0), output
    assert TOOLS["valkey-server"].absence in output


def test_the_table_has_the_tools_that_tests_need_and_no_others() -> None:
    marks = [re.findall(r"mark\.needs\((.*?)\)", file.read_text()) for file in Path(__file__).parent.rglob("*.py")]
    needed = {program for found in marks for words in found for program in re.findall(r'"(.*?)"', words)}
    assert needed == TOOLS.keys()
