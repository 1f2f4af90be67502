"""An issuer of tokens: a TLS server that publishes its keys, and can be told to misbehave."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import jwt

from gateway.auth.signing import SigningKey
from gateway.settings.token_key import Algorithm
from tests.auth.keys import Pair, pair, signed
from tests.proxy.keys import make_keys
from tests.wire import Conversation, Script, upstream

EXPIRES = 4_000_000_000


@cache
def keys(algorithm: Algorithm = "EdDSA", number: int = 0) -> Pair:
    return pair(algorithm, number)


def jwk(key: Pair, kid: str | None = None, **more: Any) -> dict[str, Any]:
    """The public half of a key as an issuer publishes it; a member that is None in `more` is left out."""
    algorithm = jwt.get_algorithm_by_name(key.signing.algorithm)
    members = algorithm.to_jwk(algorithm.prepare_key(key.verifying), as_dict=True)
    members.pop("key_ops", None)
    members |= {"use": "sig", "alg": key.signing.algorithm} | ({"kid": kid} if kid else {})
    return {name: value for name, value in (members | more).items() if value is not None}


def key_set(*jwks: dict[str, Any]) -> bytes:
    return json.dumps({"keys": jwks}).encode()


def token(key: SigningKey, kid: str, **claims: Any) -> str:
    return signed({"sub": "ana", "exp": EXPIRES, **claims}, {"alg": key.algorithm, "kid": kid}, key)


@dataclass
class Issuer:
    """What it does can be changed at any time.

    Attributes:
        url: Where it publishes its keys.
        ca: The certificate that signed its own.
        asked: How often it was asked.
        respond: What it does when it is asked.
    """

    url: str
    ca: Path
    asked: int = 0
    respond: Script = field(default=lambda _: asyncio.sleep(0))

    def publish(self, *jwks: dict[str, Any]) -> None:
        self.respond = answers(key_set(*jwks))


def answers(body: bytes, status: str = "200 OK", *fields: str) -> Script:
    head = "\r\n".join([f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *fields, "", ""])

    return sends(head.encode() + body)


def sends(raw: bytes) -> Script:
    async def respond(talk: Conversation) -> None:
        await talk.send(raw)

    return respond


async def hangs(talk: Conversation) -> None:
    await talk.reader.read()  # until the client closes


async def endless(talk: Conversation) -> None:
    """A gigabyte; the client will not have it."""
    await talk.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1073741824\r\n\r\n")
    for _ in range(1024):
        await talk.send(b" " * (1 << 20))


@asynccontextmanager
async def issuing(folder: Path) -> AsyncIterator[Issuer]:
    """Run an issuer while the block runs."""
    (folder / "issuer").mkdir()
    made = make_keys(folder / "issuer")
    issuer = Issuer("", made.authority)

    async def talk(conversation: Conversation) -> None:
        await conversation.request()
        issuer.asked += 1
        await issuer.respond(conversation)

    async with upstream(talk, ssl=made.server) as served:
        issuer.url = f"https://127.0.0.1:{served.port}/keys?of=this"
        yield issuer
