"""`Rejection`: why something that names a caller, a client or an operator is not accepted."""

from collections.abc import Mapping
from typing import Final, NamedTuple

_OF_TOKENS: Final = (
    "repeated", "too_long", "malformed", "keys_unavailable", "unknown_key", "bad_signature", "no_expiry", "expired",
    "not_yet_valid", "wrong_audience", "wrong_issuer",
)  # fmt: skip

REASONS: Mapping[str, tuple[str, ...]] = {
    "jwt": (*_OF_TOKENS, "no_user"),
    "api_key": ("repeated", "unknown_key"),
    "client_certificate": (
        "missing", "untrusted", "not_yet_valid", "expired", "revoked", "no_name", "several_names",
    ),
    "trusted_header": ("untrusted_peer", "repeated"),
    "x_forwarded_for": ("untrusted_peer", "malformed"),
    "proxy_protocol": ("untrusted_peer", "timeout", "missing", "truncated", "too_long", "malformed"),
    "admin_token": ("no_keys", "missing", *_OF_TOKENS, "lifetime", "no_scope"),
    "bypass_token": ("no_keys", *_OF_TOKENS, "lifetime", "no_scope"),
}  # fmt: skip
"""Why what names a caller, a client or an operator is not accepted, by its source, in the order of the checks."""


class Rejection(NamedTuple):
    """Something that names a caller, and was not accepted.

    Attributes:
        source: What kind of thing it is; a key of `REASONS`.
        reason: One of the source's reasons.
        why: The same in a sentence, which quotes nothing that the client sent.
    """

    source: str
    reason: str
    why: str
