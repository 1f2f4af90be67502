"""Reads the section `jwks`: where the keys of an issuer are."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from gateway.config.diagnostic import InvalidError
from gateway.config.entries import Entries
from gateway.config.key_set import MAX_SIZE, KeySetError, parse_key_set
from gateway.config.location import authorities, file
from gateway.config.node import Node
from gateway.config.number import seconds
from gateway.config.reader import reads, string
from gateway.config.scalar import choice, each, text
from gateway.config.section import Section, keys_of
from gateway.settings.token_key import Algorithm, Jwks, TokenKey
from gateway.settings.url import Origin

_URL = re.compile(r"(https://[^/?#@]+)(/[A-Za-z0-9._~!$&'()*+,;=:@%/?-]*)", re.ASCII)
_SHORTEST_REFRESH = 1.0
_OF_URL = ("ca", "refresh", "timeout", "at_most_stale", "grace")
"""Keys that mean nothing for a file."""


@reads("URL", string(r"^https://[^/?#@\s]+/[^#\s]*$"))
def _url(node: Node) -> str:
    value = text(node)
    parts = _URL.fullmatch(value)
    if parts is None:
        raise node.refuse(
            "the keys of an issuer are at https://HOST/PATH, without a user, a password and #; a file is named by "
            "'file'"
        )
    try:
        Origin.parse(parts[1])
    except ValueError as error:
        raise node.refuse(str(error).replace("an upstream's URL", "this URL")) from None
    return value


def read_key_set_file(node: Node, where: Path, algorithms: Sequence[Algorithm]) -> tuple[TokenKey, ...]:
    """The keys in a file.

    Args:
        node: Names it; what is wrong is noted there.
        where: The file.
        algorithms: Those that keys may be used with.

    Raises:
        InvalidError: the file cannot be used.
    """
    try:
        with where.open("rb") as opened:
            found = parse_key_set(opened.read(MAX_SIZE + 1), algorithms)
    except OSError as error:
        raise node.refuse(f"{where}: {error.strerror}") from None
    except KeySetError as error:
        raise node.refuse(f"{where} cannot be used as a key set: {error}") from None
    for refused in found.refused:
        node.warn(f"{where}: {refused}; it is not used")
    return found.keys


def _jwks(entries: Entries) -> Jwks:
    source = entries.one_of("url", "file")
    if "url" not in entries and "file" not in entries:
        entries.node.refuse("where the keys are is missing; write 'url' or 'file'")
    if source is None or source not in entries.values:
        raise InvalidError
    jwks = entries.build(Jwks)
    if source == "file":
        for key in _OF_URL:
            if key in entries:
                entries.at(key).refuse("this is for keys that are fetched from a URL")
        return jwks
    if jwks.refresh < _SHORTEST_REFRESH:
        entries.at("refresh").refuse("keys are fetched once a second at most; write 1s or more")
    if jwks.at_most_stale < jwks.refresh:
        entries.at("at_most_stale").refuse("this is shorter than 'refresh', so the keys would often be too old")
    return jwks


def jwks_section(path: str) -> Section[Jwks]:
    """The section, at a place in `gateway.yaml`."""
    return Section(
        path,
        keys_of(
            Jwks,
            url=_url,
            file=file,
            algorithms=each(choice(*(name for name in get_args(Algorithm) if name != "HS256")), least=1),
            ca=authorities,
            grace=seconds(zero=True),
        ),
        (Jwks,),
        _jwks,
        exclusive=(("url", "file"),),
        one_of=("url", "file"),
    )
