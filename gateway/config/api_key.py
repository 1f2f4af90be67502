"""Reads the identity source `api_key`."""

import re
from contextlib import suppress

from gateway.config.attribute import attribute, by_attribute
from gateway.config.diagnostic import InvalidError
from gateway.config.entries import Entries
from gateway.config.location import file
from gateway.config.node import Node
from gateway.config.reader import reads, string
from gateway.config.scalar import each, header, text
from gateway.config.section import Section
from gateway.limits.caller import NOTHING
from gateway.limits.identity_source import Claim
from gateway.settings.identity import ApiKeys

_SHA256 = "[0-9a-f]{64}"


@reads("64 hex digits", string(f"^{_SHA256}$"))
def _digest(node: Node) -> str:
    """Never quoted in a message: it may be the key itself."""
    value = text(node)
    if re.fullmatch(_SHA256, value, re.ASCII) is None:
        raise node.refuse("not a SHA-256 in 64 lower-case hex digits; make it with: printf %s THE-KEY | sha256sum")
    return value


def _holder(entries: Entries) -> tuple[str, Claim]:
    return entries.build(lambda sha256, user, tier=None, attributes=NOTHING: (sha256, Claim(user, tier, attributes)))


HOLDER = Section(
    "identity.sources.api_key.keys",
    {
        "sha256": _digest,
        "user": text,
        "tier": text,
        "attributes": by_attribute(text, "text"),
    },
    (Claim,),
    _holder,
    required=("sha256", "user"),
    about="A list of API keys.",
    meanings={
        "sha256": "The key's SHA-256: `printf %s THE-KEY | sha256sum`.",
        "user": "The ID of the user whose key it is.",
        "tier": "The user's tier; without it, none.",
        "attributes": "More about the user, by the names that limits have for it: `{org: acme}`.",
    },
)


@reads("list of sections", {"type": "array", "items": HOLDER})
def _holders(node: Node) -> dict[str, Claim]:
    holders: dict[str, Claim] = {}
    for item in node.items():
        with suppress(InvalidError):
            digest, claim = HOLDER(item)
            if digest in holders:
                node.refuse("one key has two users here")
            holders[digest] = claim
    return holders


def _api_keys(entries: Entries) -> ApiKeys:
    if "keys" not in entries and "keys_file" not in entries:
        raise entries.node.refuse("there are no API keys here; write 'keys' or 'keys_file'")
    where = entries.values.pop("keys_file", None)
    if "attributes" in entries and "keys_file" not in entries:
        entries.at("attributes").refuse(
            "this is for keys in a 'keys_file'; those in 'keys' have their attributes there"
        )
    listed = [name for claim in entries.values.get("keys", {}).values() for name in claim.attributes]
    names = dict.fromkeys([*entries.values.pop("attributes", ()), *listed])
    return entries.build(ApiKeys, file=where, attributes=tuple(names))


API_KEY = Section(
    "identity.sources.api_key",
    {"header": header, "keys": _holders, "keys_file": file, "attributes": each(attribute, least=1)},
    (ApiKeys,),
    _api_keys,
    about="A key that the client sends in a header. Only hashes of keys are kept. Give `keys`, `keys_file` or both.",
    meanings={
        "keys": "The known keys.",
        "keys_file": "A file of more of them, in JSON Lines: one such key a line. It is read again by each reload.",
        "attributes": "The names of the attributes that keys in the file may have: `[org, team]`.",
    },
)
