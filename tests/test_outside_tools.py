"""What is said of tools that are not there, by pytest and by `make test`."""

import re
import sys
from pathlib import Path

from tests.kit.process import Process, run
from tests.outside_tools import TOOLS

NEEDY = "tests/deploy/test_docker.py::test_promtool_takes_the_configuration_of_prometheus"
PROMTOOL = TOOLS["promtool"]


async def python_without_tools(path: Path, *words: str, **environment: str) -> tuple[int, str]:
    async with Process.start(sys.executable, *words, env={"PATH": str(path), **environment}) as process:
        return await process.ends(), process.output


async def test_a_test_whose_tool_is_missing_is_skipped_and_says_what_it_would_have_tested(tmp_path: Path) -> None:
    code, output = await python_without_tools(tmp_path, "-m", "pytest", "-n", "1", NEEDY, REQUIRE_TOOLS="")
    assert code == 0, output
    assert "1 skipped" in output
    assert PROMTOOL.absence in output


async def test_where_tools_are_required_a_missing_one_is_a_failure(tmp_path: Path) -> None:
    code, output = await python_without_tools(tmp_path, "-m", "pytest", "-n", "1", NEEDY, REQUIRE_TOOLS="1")
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
    assert set(output.split()) == {name for tool in TOOLS.values() for name in tool.packages.split()}


def test_the_table_has_the_tools_that_tests_need_and_no_others() -> None:
    marks = [re.findall(r"mark\.needs\((.*?)\)", file.read_text()) for file in Path(__file__).parent.rglob("test_*.py")]
    needed = {program for found in marks for words in found for program in re.findall(r'"(.*?)"', words)}
    assert needed == TOOLS.keys()
