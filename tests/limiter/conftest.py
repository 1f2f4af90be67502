"""A Redis that has the scripts, for tests that play the same demands to it and to the law."""

from collections.abc import Iterator

import pytest
from redis import Redis

from gateway.redis.scripts import TAKE
from tests.redis_server import RedisServer


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator["Redis"]:
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    server.launch()
    client = Redis(port=server.port, protocol=2)
    client.script_load(TAKE.text)
    yield client
    client.close()
    server.close()
