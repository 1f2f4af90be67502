"""Of all tests: which process runs which, that one whose tool is missing is skipped or fails, their own ports, and that
Hypothesis measures no time."""

import os
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack

import pytest
from hypothesis import HealthCheck, is_hypothesis_test, settings
from xdist.remote import Producer  # type: ignore[import-untyped]
from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]

from gateway.build import COMPILED, VERSION
from gateway.limits import bucket
from tests.outside_tools import TOOLS
from tests.redis_server import PREFERRED, VALKEY
from tests.reserved_port import ReservedPort
from tests.untraced import untraced_here

TOGETHER = {"tests/limiter/test_bound.py", "tests/e2e/test_early_responses.py"}
"""Files whose tests look at one thing that takes long to make; of the second, what `go run` compiles and keeps."""

LONG = ("tests/e2e/", "tests/docs/", "tests/benchmarks/")
"""Folders of tests that take seconds. They come first, so that at the end no worker waits for another's last one."""

UNTRACED = (*LONG, "tests/hostile/")
"""Folders of tests that coverage does not count: they run what the tests of the rooms have covered, and `TRACED`."""

TRACED = {
    f"tests/e2e/test_{name}.py"
    for name in ("check_online", "command", "operating", "service_manager", "tracing", "workers")
}
"""Files of theirs that it counts all the same: most of a command or of a process runs nowhere else."""


class _TestByTest(LoadScopeScheduling):  # type: ignore[misc]
    """Who is free gets the next test, in the order of the files; those that belong together go together, and first."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return file if file in TOGETHER else nodeid


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadScopeScheduling | None:
    """Take the place of ``--dist load``, which is what ``-n`` alone means."""
    return _TestByTest(config, log) if config.getoption("dist") == "load" else None


# How long an example takes says how busy the machine is.
settings.register_profile("suite", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("suite")


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Generator[None, object, object]:
    """Coverage does not count what generated examples reach: they differ from run to run, and tracing them is slow."""
    if not is_hypothesis_test(pyfuncitem.obj) and pyfuncitem.get_closest_marker("untraced") is None:
        return (yield)
    with untraced_here():
        return (yield)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: not item.nodeid.startswith(LONG))
    for item in items:
        if item.nodeid.startswith(UNTRACED) and item.nodeid.partition("::")[0] not in TRACED:
            item.add_marker("untraced")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--build", choices=("pure", "compiled"), help="fail unless it is this build that is tested")


def pytest_report_header() -> str:
    return f"gateway: {VERSION}, {bucket.__file__}"


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("build") not in {None, "compiled" if COMPILED else "pure"}:
        raise pytest.UsageError(f"{bucket.__file__} is of the other build")
    config.addinivalue_line("markers", "pure: stands in for something that compiled code uses directly")
    config.addinivalue_line("markers", "needs(program, ...): tools from tests/outside_tools.py that the test runs")
    config.addinivalue_line("markers", "untraced: repeats so much what others have covered that tracing it is slow")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    if COMPILED and item.get_closest_marker("pure") is not None:
        pytest.skip("it stands in for something that compiled code uses directly")
    for marker in item.iter_markers("needs"):
        for tool in (TOOLS[program] for program in marker.args):
            if not tool.is_missing:
                continue
            if tool.can_be_had and os.environ.get("REQUIRE_TOOLS", "0") not in {"", "0"}:
                pytest.fail(f"REQUIRE_TOOLS is set, and {tool.absence}", pytrace=False)
            pytest.skip(tool.absence)


@pytest.fixture(autouse=True, scope="session")
def _state_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Gateways without `control.state` leave nothing in the home of who runs the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        yield


@pytest.fixture(autouse=True, scope="session")
def _no_public_authorities() -> Iterator[None]:
    """No test trusts the machine's authorities, which aiohttp loads at import: 60 ms of every process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_CERT_FILE", os.devnull)
        yield


@pytest.fixture(params=["redis", pytest.param(VALKEY, marks=pytest.mark.needs("valkey-server"))])
def redis_and_valkey(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The test runs on Redis, and on Valkey where that is installed."""
    if request.param == VALKEY:
        monkeypatch.setenv(PREFERRED, VALKEY)


@pytest.fixture
def reserve() -> Iterator[Callable[[], int]]:
    """Reserve a port until the end of the test."""
    with ExitStack() as stack:
        yield lambda: stack.enter_context(ReservedPort()).number
