"""Reads a file of API keys: JSON Lines, so that a hundred thousand of them are read in about a second.

Each line is a JSON object, ``{"sha256": "...", "user": "...", "tier": "...", "attributes": {"org": "..."}}``, of which
the last two members may be missing. Blank lines are passed over. A message never quotes a line: somebody may have
written the key itself.
"""

from collections.abc import Callable, Collection, Mapping
from io import BytesIO
from pathlib import Path
from string import hexdigits

from gateway.config.diagnostic import ConfigError, Diagnostic
from gateway.config.strict_json import StrictJsonError, parse_strict_json
from gateway.limits.caller import NOTHING
from gateway.limits.identity_source import Claim

_MAX_SIZE = 256 * 1024 * 1024
_MAX_LINE = 16_384
_MAX_TEXT = 1024
_MOST_PROBLEMS = 20
_STRIDE = 128
"""Lines between two pauses: about a millisecond's worth."""

_SHA256_LENGTH = 64
_HEX = frozenset(hexdigits.lower())
_MEMBERS = {"sha256", "user", "tier", "attributes"}


class _RecordError(ValueError):
    """A line is not a record. The message says why."""


def parse_api_keys(
    file: Path, content: bytes, attributes: Collection[str], pause: Callable[[], object]
) -> dict[str, Claim]:
    """The holders of keys, by the keys' SHA-256 in hexadecimal.

    Args:
        file: Where they are, for messages.
        content: What it holds.
        attributes: Names of the attributes that holders may have.
        pause: Called now and then: it may let others have the interpreter.

    Raises:
        ConfigError: with the first problems, at their lines.
    """
    if len(content) > _MAX_SIZE:
        raise ConfigError([Diagnostic(str(file), 0, 0, "", f"the file is larger than {_MAX_SIZE >> 20} MiB")])
    holders: dict[str, Claim] = {}
    problems: list[Diagnostic] = []
    reader = _Reader(attributes)
    for number, line in enumerate(BytesIO(content), 1):
        if not number % _STRIDE:
            pause()
        if line.isspace():
            continue
        try:
            digest, claim = reader.read(line)
            if digest in holders:
                raise _RecordError("this key is in the file already, in a line before")  # noqa: TRY301
            holders[digest] = claim
        except (_RecordError, StrictJsonError) as error:
            problems.append(Diagnostic(str(file), number, 1, "", str(error)))
            if len(problems) == _MOST_PROBLEMS:
                break
    if problems:
        raise ConfigError(problems)
    return holders


class _Reader:
    """Reads lines. What many holders have in common is kept once."""

    def __init__(self, attributes: Collection[str]) -> None:
        self._names = frozenset(attributes)
        self._tiers: dict[str, str] = {}
        self._attributes: dict[tuple[tuple[str, str], ...], Mapping[str, str]] = {(): NOTHING}

    def read(self, line: bytes) -> tuple[str, Claim]:
        """The SHA-256 of a key, and its holder."""
        if len(line) > _MAX_LINE:
            raise _RecordError(f"the line is longer than {_MAX_LINE} bytes")
        record = parse_strict_json(line)
        if not isinstance(record, dict):
            raise _RecordError('a line is a JSON object: {"sha256": "...", "user": "...", "tier": "..."}')
        if not record.keys() <= _MEMBERS:
            raise _RecordError("the line has another member than sha256, user, tier and attributes")
        digest, tier = record.get("sha256"), record.get("tier")
        if not (isinstance(digest, str) and len(digest) == _SHA256_LENGTH and _HEX.issuperset(digest)):
            raise _RecordError(
                "sha256 is not a SHA-256 in 64 lower-case hex digits; make a record with: gateway keys hash"
            )
        if tier is not None:
            tier = self._tiers.setdefault(_text(record, "tier"), tier)
        return digest, Claim(_text(record, "user"), tier, self._attributes_in(record.get("attributes", {})))

    def _attributes_in(self, found: object) -> Mapping[str, str]:
        if not isinstance(found, dict):
            raise _RecordError('attributes is not a JSON object, such as {"org": "acme"}')
        if not found.keys() <= self._names:
            known = ", ".join(sorted(self._names)) or "none"
            raise _RecordError(f"an attribute is not one of 'attributes' in the settings, which are: {known}")
        numbers = {name: str(value) for name, value in found.items() if type(value) is int}  # as in a token's claim
        values = {name: _text({**found, **numbers}, name) for name in found}
        return self._attributes.setdefault(tuple(values.items()), values)


def _text(record: Mapping[str, object], name: str) -> str:
    value = record.get(name)
    if not isinstance(value, str) or not value.strip():
        raise _RecordError(f"{name} is not a text, or is empty")
    if len(value) > _MAX_TEXT or not value.isprintable() or value != value.strip():
        raise _RecordError(f"{name} is longer than {_MAX_TEXT} characters, has control characters or spaces around it")
    return value
