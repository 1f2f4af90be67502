"""`Entry`: a line of the audit log, which holds the hash of the line before.

A line is one JSON object in ASCII, its own hash last:

    {"log":"…","sequence":7,"time":"…","actor":"ana",…,"previous":"<hash of line 6>","hash":"<SHA-256>"}

The hash is over the bytes of the line without its last member, so every changed byte is found. ``log`` names the chain:
drawn at random for its first line, whose sequence is 1 and whose ``previous`` is 64 zeros.

Anyone who can write the file can also compute such hashes, and write another chain. With a key, the last member is
``"hmac"`` instead: HMAC-SHA256 (RFC 2104) of the same bytes, which takes the key to compute. The lines before the first
one with an HMAC are covered by it too, because it covers the hash of the line before.
"""

import hmac
import json
import re
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any, NamedTuple

from gateway.config.strict_json import StrictJsonError, parse_strict_json

_FORM = re.compile(rb'(\{[\x20-\x7e]*),"(hash|hmac)":"([0-9a-f]{64})"\}', re.ASCII)
# Of every line there is. To add one, let `read_line` accept lines without it too: a log with a line that cannot be read
# is damaged, and then nothing can be changed.
_MEMBERS = (
    "log", "sequence", "time", "actor", "jti", "source", "action", "target",
    "before", "after", "reason", "rules", "previous",
)  # fmt: skip
ZEROS = "0" * 64
"""What stands for the hash of the line before the first."""


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
        hash: The hash, or HMAC, of its last line.
        rules: The revision of the rules that were in force then.
        is_keyed: Whether it is an HMAC.
    """

    log: str
    sequence: int = 0
    hash: str = ZEROS
    rules: str = ""
    is_keyed: bool = False


def seal(end: Link, entry: Entry, *, time: str, rules: str, key: bytes | None = None) -> tuple[bytes, Link]:
    """The next line of a chain, with its line break, and the new end. With a key, it has an HMAC."""
    values = (
        end.log, end.sequence + 1, time, entry.actor, entry.jti, entry.source, entry.action, entry.target,
        entry.before, entry.after, entry.reason, rules, end.hash,
    )  # fmt: skip
    body = json.dumps(dict(zip(_MEMBERS, values, strict=True)), separators=(",", ":")).encode()
    name, digest = ("hash", sha256(body).hexdigest()) if key is None else ("hmac", _hmac(key, body))
    line = b'%b,"%b":"%b"}\n' % (body[:-1], name.encode(), digest.encode())
    return line, Link(end.log, end.sequence + 1, digest, rules, is_keyed=key is not None)


def _hmac(key: bytes, body: bytes) -> str:
    return hmac.digest(key, body, "sha256").hex()


def read_line(line: bytes, keys: Sequence[bytes] = ()) -> tuple[Mapping[str, Any], Link]:
    """The members of a line, and the link of the chain that it is.

    Args:
        line: The line.
        keys: One of them must be the key of its HMAC, if it has one. Without keys, an HMAC is not verified.

    Raises:
        BrokenChainError: its bytes are not those that were written.
    """
    form = _FORM.fullmatch(line.removesuffix(b"\n"))
    if form is None or not line.endswith(b"\n"):
        raise BrokenChainError("the line is not complete")
    body, is_keyed, digest = form[1] + b"}", form[2] == b"hmac", form[3].decode()
    if not is_keyed and sha256(body).hexdigest() != digest:
        raise BrokenChainError("the line was changed")
    if is_keyed and keys and not any(hmac.compare_digest(_hmac(key, body), digest) for key in keys):
        raise BrokenChainError("the line was changed, or written with another key")
    try:
        record = parse_strict_json(line)
    except StrictJsonError as error:
        raise BrokenChainError(f"the line is not strict JSON: {error}") from None
    if not isinstance(record, dict) or tuple(record)[:-1] != _MEMBERS or type(record["sequence"]) is not int:
        raise BrokenChainError("not a line of an audit log")
    return record, Link(record["log"], record["sequence"], digest, record["rules"], is_keyed)


def is_written_with(key: bytes | None, line: bytes) -> bool:
    """Whether an intact line was written with a key; with None, whether it was written without any."""
    try:
        _, link = read_line(line, () if key is None else (key,))
    except BrokenChainError:
        return False
    return link.is_keyed == (key is not None)
