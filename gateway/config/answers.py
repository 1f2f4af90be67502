"""Reads `answers`."""

import json
import re
from math import ceil

from gateway.config.diagnostic import InvalidError
from gateway.config.entries import Entries
from gateway.config.location import path
from gateway.config.node import Node, quote
from gateway.config.number import seconds
from gateway.config.reader import Value, reads, scalar
from gateway.config.scalar import text
from gateway.config.section import Section, keys_of
from gateway.settings.answers import Answers

_MAX_BODY = 65_536
_MAX_WAIT = 86_400
_MEDIA_TYPE = re.compile(r"[\w!#$&^.+-]+/[\w!#$&^.+-]+(?: *; *[\w!#$&^.+-]+=(?:[\w!#$&^.+-]+|\"[^\"\\]*\"))*", re.ASCII)
_JSON = re.compile(r"[/+]json\b", re.ASCII | re.IGNORECASE)
_seconds = seconds(zero=True)


@reads("media type", scalar())
def media_type(node: Node) -> str:
    """A media type with its parameters (RFC 9110 section 8.3.1)."""
    value = text(node)
    if not value.isprintable() or _MEDIA_TYPE.fullmatch(value) is None:
        raise node.refuse(f"{quote(value)} is not a media type; write one such as application/json")
    return value


@reads("text", scalar())
def _body(node: Node) -> str:
    value = node.scalar("a text")
    if not 0 < len(value.encode()) <= _MAX_BODY:
        raise node.refuse(f"the body has {len(value.encode())} bytes; write 1 to {_MAX_BODY}")
    return value


@reads("file", scalar())
def _body_file(node: Node) -> str:
    found = path(node)
    try:
        with found.open("rb") as file:
            value = file.read(_MAX_BODY + 1)
        body = value.decode()
    except OSError as error:
        raise node.refuse(f"{found}: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise node.refuse(f"{found} is not UTF-8") from None
    if not 0 < len(value) <= _MAX_BODY:
        raise node.refuse(f"{found} is {'too large' if value else 'empty'}; a body has 1 to {_MAX_BODY} bytes")
    return body


def _read_range(node: Node) -> tuple[float, float]:
    ends = node.items()
    if len(ends) != 2:  # noqa: PLR2004 - the two ends of a range
        raise node.refuse("a range has two ends; write [1s, 5s]")
    least, most = map(_seconds, ends)
    if least > most:
        raise node.refuse("the range ends before it begins; write the shorter time first")
    if not 1 <= ceil(most) <= _MAX_WAIT:
        raise node.refuse("Retry-After is from 1 second to 1 day; write a range such as [1s, 5s]")
    return least, most


_range = Value(
    _read_range,
    "range of two durations",
    {"type": "array", "minItems": 2, "maxItems": 2, "items": dict(_seconds.schema)},
)


def _answers(entries: Entries) -> Answers:
    given = entries.one_of("body", "body_file")
    from_file = entries.values.pop("body_file", None)
    if given == "body_file" and from_file is not None:
        entries.values["body"] = from_file
    if given is not None and "body" not in entries.values:
        raise InvalidError  # what is wrong with it has been noted
    answers = entries.build(Answers)
    if _JSON.search(answers.content_type) and not _is_json(answers.body):
        entries.at("content_type").refuse("the body is not JSON; write JSON in 'body' or 'body_file', or another type")
    return answers


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


ANSWERS = Section(
    "answers",
    {
        **keys_of(Answers, body=_body, content_type=media_type, retry_after=_range),
        "body_file": _body_file,
    },
    (Answers,),
    _answers,
    meanings={
        "body": "The body of every 429, whatever refused the request.",
        "body_file": "A file that holds that body; instead of `body`.",
    },
    exclusive=(("body", "body_file"),),
)
