"""Load over gRPC, from a program in Go that install.sh builds of `benchmarks/peers/grpc_load`."""

import json
from collections.abc import Iterable
from http import HTTPStatus
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.kit.grpc_question import GrpcQuestion
from benchmarks.kit.load import Load, Responses
from benchmarks.kit.programs import find
from tests.kit.process import Process

PROGRAM = "grpc_load"


async def generate_grpc(load: Load) -> Responses:
    """Call in the name of one user after another; there are as many calls at a time as otherwise connections."""
    assert load.grpc is not None
    users = map(str, range(load.users))
    output = await _run(load.port, load.grpc, users, load.connections, load.seconds, load.begin)
    result = json.loads(output.rpartition("BENCH ")[2])
    if result["broken"]:
        raise RuntimeError(f"{result['broken']} calls failed")
    return Responses(result["requests"], result["refused"], result["seconds"], result["p50"], result["p99"])


async def call(port: int, user: str, question: GrpcQuestion) -> int:
    """200 if a call gets a response, 0 if not."""
    return HTTPStatus.OK if "ok" in await _run(port, question, [user], 1, 0, 0) else 0


def _write(path: Path, messages: Iterable[bytes]) -> None:
    path.write_bytes(b"".join(len(each).to_bytes(4, "big") + each for each in messages))


async def _run(
    port: int, question: GrpcQuestion, users: Iterable[str], callers: int, seconds: float, first: int
) -> str:
    with TemporaryDirectory(prefix="bench-") as folder:
        messages = Path(folder, "messages")
        encoded = map(question.encode, users)
        _write(messages, encoded)
        arguments = map(str, (messages, callers, seconds, first, question.connections))
        program = find(PROGRAM) or PROGRAM
        async with Process.start(program, f"127.0.0.1:{port}", question.method, *arguments) as process:
            await process.ends()
        return process.output
