"""`gateway token`: make keys and admin tokens on the operator's machine; the gateway itself never signs."""

import argparse
import time
from collections.abc import Collection
from pathlib import Path
from typing import Any, get_args

from gateway.auth.grant import Scope
from gateway.auth.signing import SigningError, SigningKey, issue, make_key, read_key, shared_secret, verifies
from gateway.config.loader import load
from gateway.limits.duration import parse_duration
from gateway.settings.control import AdminPolicy
from gateway.settings.token_key import Algorithm, TokenKey

_CONFIG = Path("config/gateway.yaml")
_STEM = Path("secrets/admin")

_ONE_REQUEST = 60
"""Seconds that a token lives that is made for one request."""


def add_commands(commands: Any) -> None:
    """Add `token` to argparse's subcommands. Its `render` returns what to print.

    `render` raises `SigningError`, and `ConfigError` for invalid settings.
    """
    token = commands.add_parser("token", help="make keys and admin tokens", description="Make keys and admin tokens.")
    kinds = token.add_subparsers(required=True, metavar="keygen|issue")

    keygen = kinds.add_parser("keygen", help="make a key", description="Make a key, and print how to configure it.")
    keygen.add_argument("--algorithm", choices=get_args(Algorithm), default="EdDSA", help="(default %(default)s)")
    keygen.add_argument(
        "--out", metavar="STEM", type=Path, default=_STEM, help="write STEM.key and STEM.pem (default %(default)s)"
    )
    keygen.add_argument("--kid", help="the key's id in tokens (default: the stem's name)")
    keygen.set_defaults(render=_keygen)

    issuing = kinds.add_parser("issue", help="make a token", description="Make a token, and print it.")
    issuing.add_argument("--subject", required=True, type=_subject, help="whose token it is; appears in the audit log")
    issuing.add_argument(
        "--scope", required=True, action="append", type=Scope, metavar="|".join(scope.value for scope in Scope),
        help="what it permits; may be repeated",
    )  # fmt: skip
    issuing.add_argument("--ttl", type=_lifetime, default="15m", help="how long it is valid (default %(default)s)")
    issuing.add_argument("--config", metavar="FILE", type=Path, default=_CONFIG, help="(default %(default)s)")
    issuing.add_argument(
        "--key", metavar="FILE", type=Path,
        help=f"the private key (default: {_STEM}.key; for HS256, the secret from gateway.yaml)",
    )  # fmt: skip
    issuing.add_argument(
        "--kid", help="id of the gateway's key to sign for (default: the one that matches the private key)"
    )
    issuing.set_defaults(render=_issue)


def _subject(text: str) -> str:
    if not text.strip():
        raise argparse.ArgumentTypeError("the subject is empty")
    return text


def _lifetime(text: str) -> int:
    try:
        lifetime = int(parse_duration(text))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is {error}") from None
    if lifetime < 1:
        raise argparse.ArgumentTypeError("a token is valid for at least 1s")
    return lifetime


def _keygen(options: argparse.Namespace) -> str:
    files = make_key(options.algorithm, options.out)
    kid = options.kid or options.out.name
    setting = f"public_key_file: {files.public}" if files.public else f"secret_file: {files.private}"
    return (
        f"# {files.private} is the private key; keep it secret. Add to gateway.yaml, under control.admin.keys:\n"
        f"- kid: {kid}\n  algorithm: {options.algorithm}\n  {setting}"
    )


def _issue(options: argparse.Namespace) -> str:
    policy = load(options.config).settings.control.admin
    return issue_token(
        options.config, policy, options.key, options.kid,
        subject=options.subject, scopes=options.scope, now=int(time.time()), lifetime=options.ttl,
    )  # fmt: skip


def issue_token(
    config: Path,
    policy: AdminPolicy | None,
    private: Path | None,
    kid: str | None,
    *,
    subject: str,
    scopes: Collection[Scope],
    now: int,
    lifetime: int | None = None,
) -> str:
    """Make a token that a gateway accepts.

    Args:
        config: The gateway's settings, for messages.
        policy: Which tokens it accepts; None for none.
        private: The private key; None for the usual one, or the shared secret in the policy.
        kid: The gateway's key; None for the one that matches.
        subject: Who will bear it.
        scopes: What it permits.
        now: Seconds since 1970.
        lifetime: Seconds; without it, enough for one request.

    Raises:
        SigningError: there is no key for it, or the key may not sign such a token.
    """
    if policy is None or not policy.tokens.audience or policy.tokens.issuer is None:
        raise SigningError(f"{config} has no section control.admin, so this gateway accepts no tokens")
    signing, verifying = _select_keys(policy, private, kid)
    if lifetime is None:
        lifetime = int(min(_ONE_REQUEST, verifying.longest or policy.max_lifetime))
    _check_key(policy, verifying, scopes, lifetime)
    return issue(
        signing,
        subject=subject,
        scopes=scopes,
        audience=policy.tokens.audience[0],
        issuer=policy.tokens.issuer,
        now=now,
        lifetime=lifetime,
        kid=verifying.kid,
    )


def _check_key(policy: AdminPolicy, key: TokenKey, scopes: Collection[Scope], lifetime: int) -> None:
    longest, setting = policy.max_lifetime, "control.admin.max_lifetime"
    if key.longest is not None:
        longest, setting = key.longest, "the key's longest in control.admin.keys"
    if lifetime > longest:
        raise SigningError(f"--ttl is longer than {setting}, {longest:.0f} s")
    beyond = [scope.value for scope in scopes if key.scopes and scope.value not in key.scopes]
    if beyond:
        raise SigningError(f"this key may not permit {', '.join(beyond)}; its scopes are {', '.join(key.scopes)}")


def _select_keys(policy: AdminPolicy, private: Path | None, kid: str | None) -> tuple[SigningKey, TokenKey]:
    """The key that signs, and which of the gateway's keys verifies it."""
    named = [key for key in policy.tokens.keys if kid is None or key.kid == kid]
    if private is None and named and named[0].algorithm == "HS256":
        return shared_secret(named[0].key), named[0]
    signing = read_key(private or _STEM.with_name(f"{_STEM.name}.key"))
    label = f" with kid {kid}" if kid else ""
    candidates = [(suited, key) for key in named if (suited := signing.used_with(key.algorithm)) is not None]
    if not candidates:
        raise SigningError(f"the gateway has no {signing.algorithm} key{label}")
    for suited, key in candidates:
        if verifies(key.key, suited):
            return suited, key
    raise SigningError(f"the gateway's {candidates[0][0].algorithm} key{label} does not match this private key")
