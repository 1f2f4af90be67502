"""The audit log's format: a chain of lines, each of which holds the hash of the one before.

A line is one JSON object in ASCII, its own hash last:

    {"log":"…","sequence":7,"time":"…","actor":"ana",…,"previous":"<hash of line 6>","hash":"<SHA-256>"}

The hash is over the bytes of the line without its last member, so every changed byte is found. ``log`` names the chain:
drawn at random for its first line, whose sequence is 1 and whose ``previous`` is 64 zeros.
"""

import json
import re
from collections.abc import Iterable, Mapping
from hashlib import sha256
from typing import Any, NamedTuple

from gateway.auth.strict_json import StrictJsonError, parse_strict_json

_FORM = re.compile(rb'(\{[\x20-\x7e]*),"hash":"([0-9a-f]{64})"\}', re.ASCII)
_MEMBERS = (
    "log", "sequence", "time", "actor", "jti", "source", "action", "target",
    "before", "after", "reason", "rules", "previous",
)  # fmt: skip
_ZEROS = "0" * 64


class BrokenChainError(Exception):
    """A line is not what was written, or not where it was written. The message says which line, and why."""


class Entry(NamedTuple):
    """What a line records.

    Attributes:
        action: What was done, such as ``override.set``.
        target: What was changed. A user is named by their digest.
        actor: Who did it: a token's ``sub``, or a word in parentheses for anyone else.
        jti: Which token they used.
        source: The address they used it from.
        before: What was in force.
        after: What is in force now.
        reason: Why, in the actor's words; for a refused attempt, in ours.
    """

    action: str
    target: str = ""
    actor: str = "(gateway)"
    jti: str = ""
    source: str = ""
    before: Any = None
    after: Any = None
    reason: str = ""


class Link(NamedTuple):
    """The end of a chain.

    Attributes:
        log: The name of the chain.
        sequence: The number of its last line; 0 if it has none yet.
        hash: The hash of its last line.
        rules: The revision of the rules that were in force then.
    """

    log: str
    sequence: int = 0
    hash: str = _ZEROS
    rules: str = ""


def seal(end: Link, entry: Entry, *, time: str, rules: str) -> tuple[bytes, Link]:
    """The next line of a chain, with its line break, and the new end."""
    values = (
        end.log, end.sequence + 1, time, entry.actor, entry.jti, entry.source, entry.action, entry.target,
        entry.before, entry.after, entry.reason, rules, end.hash,
    )  # fmt: skip
    body = json.dumps(dict(zip(_MEMBERS, values, strict=True)), separators=(",", ":")).encode()
    digest = sha256(body).hexdigest()
    return b'%b,"hash":"%b"}\n' % (body[:-1], digest.encode()), Link(end.log, end.sequence + 1, digest, rules)


def read_line(line: bytes) -> tuple[Mapping[str, Any], Link]:
    """The members of a line, and the link of the chain that it is.

    Raises:
        BrokenChainError: its bytes are not those that were written.
    """
    form = _FORM.fullmatch(line.removesuffix(b"\n"))
    if form is None or not line.endswith(b"\n"):
        raise BrokenChainError("the line is not complete")
    if sha256(form[1] + b"}").hexdigest() != form[2].decode():
        raise BrokenChainError("the line was changed")
    try:
        record = parse_strict_json(line)
    except StrictJsonError as error:
        raise BrokenChainError(f"the line is not strict JSON: {error}") from None
    if not isinstance(record, dict) or tuple(record) != (*_MEMBERS, "hash") or type(record["sequence"]) is not int:
        raise BrokenChainError("not a line of an audit log")
    return record, Link(record["log"], record["sequence"], record["hash"], record["rules"])


def verify_chain(lines: Iterable[bytes]) -> Link | None:
    """Verify a chain. Returns its end; None if there are no lines.

    A chain that begins later than with line 1 is taken for one whose oldest files were archived.

    Raises:
        BrokenChainError: a line was changed, added, moved or removed.
    """
    end: Link | None = None
    for number, line in enumerate(lines, 1):
        place = f"line {number}" if end is None else f"the line after sequence {end.sequence}"
        try:
            record, link = read_line(line)
        except BrokenChainError as error:
            raise BrokenChainError(f"{place}: {error}") from None
        before = end or Link(link.log, link.sequence - 1, record["previous"] if link.sequence > 1 else _ZEROS)
        if link.log != before.log:
            raise BrokenChainError(f"{place}: the line belongs to another log")
        if link.sequence != before.sequence + 1:
            raise BrokenChainError(
                f"{place}: its sequence is {link.sequence}; lines are missing, added or out of order"
            )
        if record["previous"] != before.hash:
            raise BrokenChainError(f"{place}: the hash of the line before does not match")
        end = link
    return end
