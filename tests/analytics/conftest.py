"""One PostgreSQL for all tests here, with a database of its own for each; and the event loop that the gateway has."""

from asyncio import AbstractEventLoop
from collections.abc import Callable, Iterator, Mapping
from itertools import count

import pytest
import uvloop

from tests.postgres_server import PostgresServer, postgres_server

_NUMBERS = count(1)


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], AbstractEventLoop]]:
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    with postgres_server() as server:
        yield server


@pytest.fixture
async def database(postgres: PostgresServer) -> str:
    return await postgres.database(f"test{next(_NUMBERS)}")
