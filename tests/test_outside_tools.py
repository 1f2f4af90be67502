"""What a run says of tools that are not there. Runs pytest as `make test` does, on a test that needs one."""

import re
import sys
from pathlib import Path

from tests.e2e.process import Process
from tests.outside_tools import TOOLS

NEEDY = "tests/deploy/test_docker.py::test_promtool_takes_the_configuration_of_prometheus"


async def pytest_without_tools(path: Path, **environment: str) -> tuple[int, str]:
    command = (sys.executable, "-m", "pytest", "-n", "1", "-p", "no:cacheprovider", NEEDY)
    async with Process.start(*command, env={"PATH": str(path), **environment}) as process:
        return await process.ends(), process.output


async def test_a_run_ends_by_naming_what_is_missing_what_it_tests_and_how_to_get_it(tmp_path: Path) -> None:
    code, output = await pytest_without_tools(tmp_path, REQUIRE_TOOLS="")
    assert code == 0, output
    end = output.partition("not tested for want of a tool")[2]
    tool = TOOLS["promtool"]
    assert f"promtool: {tool.tests} (1 tests)" in end
    assert f"apt-get install {tool.packages}" in end


async def test_where_tools_are_required_a_missing_one_is_a_failure(tmp_path: Path) -> None:
    code, output = await pytest_without_tools(tmp_path, REQUIRE_TOOLS="1")
    assert code == 1, output
    assert "promtool is not installed (Debian: apt-get install prometheus), and REQUIRE_TOOLS is set" in output


async def test_the_packages_to_install_are_printed_by_a_bare_python() -> None:
    command = (sys.executable, "-S", "-m", "tests.outside_tools")
    async with Process.start(*command) as process:
        assert await process.ends() == 0
    assert set(process.output.split()) == {name for tool in TOOLS.values() for name in tool.packages.split()}


def test_the_table_has_the_tools_that_tests_need_and_no_others() -> None:
    marks = [re.findall(r"mark\.needs\((.*?)\)", file.read_text()) for file in Path(__file__).parent.rglob("test_*.py")]
    needed = {program for found in marks for words in found for program in re.findall(r'"(.*?)"', words)}
    assert needed == TOOLS.keys()
