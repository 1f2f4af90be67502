"""Cases of raw requests: the starter set as it was given, and what a row of it means."""

import json
import zlib
from base64 import b64decode
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "cases"


@dataclass(frozen=True)
class Case:
    """Bytes of a client, and what may become of them.

    Attributes:
        name: Unique.
        raw: What is sent on one connection.
        accept: Outcomes that are safe, any of them: see `tests.hostile.judge`.
        trusting: Whether the client passes for a trusted proxy.
        half_close: Whether the client closes its half behind the last byte.
        spent: Whether the bucket of ``/limited`` is empty before.
    """

    name: str
    raw: bytes
    accept: tuple[Mapping[str, Any], ...]
    trusting: bool = False
    half_close: bool = False
    spent: bool = False
    why: str = field(default="", compare=False)


def _row(row: Mapping[str, Any]) -> Case:
    raw = b64decode(row["raw_b64"]) if "raw_b64" in row else zlib.decompress(b64decode(row["raw_zb64"]))
    return Case(
        row["id"],
        raw,
        tuple(row["accept"]),
        # Who the user is, a client that is not trusted cannot say; the rows about user ids mean one that can.
        trusting=row["profile"] == "behind-lb" or row["category"] == "user",
        half_close=bool(row.get("half_close")),
        spent=any("precondition" in way for way in row["accept"]),
        why=row["why"],
    )


def starter() -> list[Case]:
    """The 189 requests that this corpus began with."""
    text = (FOLDER / "starter_requests.jsonl").read_text(encoding="utf-8")
    return [_row(json.loads(line)) for line in text.splitlines()]
