"""`load_keys`: the keys of callers and issuers, from the files that the settings name.

They are read when the gateway starts, before it forks, and again at each reload. What a file holds is in force from the
next reload on, in every worker or in none. Keys that the settings themselves hold do not change.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

from gateway.config.api_key_file import parse_api_keys
from gateway.config.diagnostic import ConfigError, Diagnostic
from gateway.config.key_set import MAX_SIZE, parse_key_set
from gateway.config.token_key import read_again
from gateway.limits.identity_source import Claim
from gateway.settings.gateway import Settings
from gateway.settings.identity import ApiKeys, Jwt
from gateway.settings.token_key import TokenKey, TokenPolicy

ADMIN = "control.admin"
"""The place of the keys of admin tokens."""


@dataclass(frozen=True, slots=True)
class Keys:
    """Keys, by the place in the settings of what they are for, such as ``identity.sources[0]``.

    Attributes:
        tokens: The keys of tokens.
        holders: The holders of API keys, by the keys' SHA-256 in hexadecimal.
        digests: Of what each was made of.
    """

    tokens: Mapping[str, tuple[TokenKey, ...]] = field(default_factory=dict, repr=False)
    holders: Mapping[str, Mapping[str, Claim]] = field(default_factory=dict, repr=False)
    digests: Mapping[str, str] = field(default_factory=dict)

    def changes_since(self, before: "Keys") -> dict[str, Any]:
        """What differs, without the keys: the places where token keys do, and how many API keys.

        It takes tens of milliseconds for a hundred thousand API keys.
        """
        changed = [place for place, digest in self.digests.items() if before.digests.get(place) != digest]
        counts = {"added": 0, "revoked": 0, "changed": 0}
        for place in changed:
            if place in self.holders:
                new, old = self.holders[place], before.holders.get(place, {})
                counts["added"] += len(new.keys() - old.keys())
                counts["revoked"] += len(old.keys() - new.keys())
                counts["changed"] += sum(old.get(digest, claim) != claim for digest, claim in new.items())
        tokens = [place for place in changed if place in self.tokens]
        return ({"token_keys": tokens} if tokens else {}) | ({"api_keys": counts} if any(counts.values()) else {})


def load_keys(settings: Settings, before: Keys | None = None, pause: Callable[[], object] = lambda: None) -> Keys:
    """Read the files. Blocks.

    Args:
        settings: Name them.
        before: The keys in force. Those of files that have not changed are used again.
        pause: Called about every millisecond, to let others have the interpreter.

    Raises:
        ConfigError: with all problems.
    """
    before = before or Keys()
    tokens: dict[str, tuple[TokenKey, ...]] = {}
    holders: dict[str, Mapping[str, Claim]] = {}
    digests: dict[str, str] = {}
    problems: list[Diagnostic] = []
    for place, policy in _policies(settings):
        tokens[place] = tuple(_read_tokens(place, policy, problems))
        digests[place] = sha256(repr([(key.kid, key.key) for key in tokens[place]]).encode()).hexdigest()
    for place, source in _api_keys(settings):
        try:
            content = b"" if source.file is None else source.file.read_bytes()
            digests[place] = sha256(content).hexdigest()
            if before.digests.get(place) == digests[place]:
                holders[place] = before.holders[place]
            else:
                holders[place] = _with_listed(place, source, content, pause)
        except OSError as error:
            problems.append(_unusable(source.file, f"{place}.api_key.keys_file", error))
        except ConfigError as error:
            problems += error.problems
    if problems:
        raise ConfigError(problems)
    return Keys(tokens, holders, digests)


def key_files(settings: Settings) -> dict[str, Path]:
    """The files that are read, by the keys of the settings that name them."""
    found = {f"{place}.api_key.keys_file": source.file for place, source in _api_keys(settings)}
    for place, policy in _policies(settings):
        found[f"{_section(place)}.jwks.file"] = policy.jwks.file if policy.jwks else None
        found |= {_place_of(place, index, key): key.file for index, key in enumerate(policy.keys)}
    return {place: file for place, file in found.items() if file is not None}


def _policies(settings: Settings) -> Iterator[tuple[str, TokenPolicy]]:
    for place, source in settings.identity.places():
        if isinstance(source, Jwt):
            yield place, source.policy
    if settings.control.admin is not None:
        yield ADMIN, settings.control.admin.tokens


def _api_keys(settings: Settings) -> Iterator[tuple[str, ApiKeys]]:
    return ((place, source) for place, source in settings.identity.places() if isinstance(source, ApiKeys))


def _read_tokens(place: str, policy: TokenPolicy, problems: list[Diagnostic]) -> Iterator[TokenKey]:
    if policy.jwks is not None and policy.jwks.file is not None:
        try:
            with policy.jwks.file.open("rb") as opened:
                yield from parse_key_set(opened.read(MAX_SIZE + 1), policy.jwks.algorithms).keys
        except (OSError, ValueError) as error:
            problems.append(_unusable(policy.jwks.file, f"{_section(place)}.jwks.file", error))
        return
    for index, key in enumerate(policy.keys):
        try:
            yield read_again(key)
        except (OSError, ValueError) as error:
            problems.append(_unusable(key.file, _place_of(place, index, key), error))


def _with_listed(place: str, source: ApiKeys, content: bytes, pause: Callable[[], object]) -> Mapping[str, Claim]:
    """The holders in a file, and those in the settings."""
    if source.file is None:
        return source.keys
    filed = parse_api_keys(source.file, content, source.attributes, pause)
    if source.keys.keys() & filed.keys():
        why = "a key is given both here and in 'keys' of the settings"
        raise ConfigError([Diagnostic(str(source.file), 0, 0, f"{place}.api_key.keys_file", why)])
    return {**filed, **source.keys} if source.keys else filed


def _section(place: str) -> str:
    return place if place == ADMIN else f"{place}.jwt"


def _place_of(place: str, index: int, key: TokenKey) -> str:
    return f"{_section(place)}.keys[{index}].{'secret' if key.algorithm == 'HS256' else 'public_key'}_file"


def _unusable(file: Path | None, place: str, error: Exception) -> Diagnostic:
    why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return Diagnostic(str(file), 0, 0, place, why)
