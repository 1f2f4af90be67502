"""`KnownKeys`: what a gateway knows of the keys of an issuer, and when it asks again."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from gateway.settings.token_key import Jwks, TokenKey

ASK_INTERVAL = 30.0
"""Seconds between two fetches for tokens with an unknown ``kid``, or after a failure."""


class FetchError(Exception):
    """A key set could not be fetched. The message says why."""


class KnownKey(NamedTuple):
    """A key of an issuer.

    Attributes:
        key: The key.
        until: When it is no longer used, because the issuer has removed it, in seconds since 1970; None if it has not.
    """

    key: TokenKey
    until: float | None = None


@dataclass(frozen=True, slots=True)
class KnownKeys:
    """What is known. Times are seconds since 1970; 0 is never.

    Attributes:
        asked_at: When the issuer was last asked.
        fetched_at: When it last gave its keys.
        keys: The keys, and those that it has removed and that are still used.
        failure: Why the last fetch failed; empty if it did not.
    """

    asked_at: float = 0.0
    fetched_at: float = 0.0
    keys: tuple[KnownKey, ...] = ()
    failure: str = ""

    def fetched(self, keys: Sequence[TokenKey], now: float, grace: float) -> "KnownKeys":
        """What is known after the issuer has given its keys.

        A key that it has removed is used for `grace` more, unless another has its ``kid``.
        """
        kids = {key.kid for key in keys}
        removed = [
            KnownKey(known.key, now + grace if known.until is None else known.until)
            for known in self.keys
            if known.key.kid not in kids
        ]
        still_used = [known for known in removed if known.until is not None and known.until > now]
        return KnownKeys(now, now, (*map(KnownKey, keys), *still_used))

    def failed(self, why: str, now: float) -> "KnownKeys":
        """What is known after the issuer could not be asked."""
        return replace(self, asked_at=now, failure=why)

    def in_force(self, now: float, at_most_stale: float) -> tuple[TokenKey, ...]:
        """The keys that are used now: none if they were fetched too long ago."""
        if self.is_stale(now, at_most_stale):
            return ()
        return tuple(known.key for known in self.keys if known.until is None or known.until > now)

    def is_stale(self, now: float, at_most_stale: float) -> bool:
        """Whether the keys were fetched too long ago, or never."""
        return now - self.fetched_at > at_most_stale

    def is_due(self, now: float, refresh: float, missed_at: float | None) -> bool:
        """Whether the issuer should be asked.

        Args:
            now: The time. If the issuer was asked after it, the clock was set back.
            refresh: Seconds after which it is asked in any case.
            missed_at: When a token had an unknown ``kid``; None if none had.
        """
        since = now - self.asked_at
        soon = bool(self.failure) or (missed_at is not None and missed_at > self.asked_at)
        return since < 0 or since >= (min(ASK_INTERVAL, refresh) if soon else refresh)

    def document(self, url: str) -> dict[str, Any]:
        """As JSON, which holds nothing that is secret."""
        keys = [
            {"kid": key.kid, "algorithm": key.algorithm, "pem": key.key.decode(), "until": until}
            for key, until in self.keys
        ]
        return {
            "url": url,
            "asked_at": self.asked_at,
            "fetched_at": self.fetched_at,
            "failure": self.failure,
            "keys": keys,
        }

    @classmethod
    def of_document(cls, document: dict[str, Any], jwks: Jwks) -> "KnownKeys":
        """Of JSON. Keys for algorithms that are no longer allowed are left out.

        Raises:
            KeyError, TypeError, ValueError, AttributeError: it is none.
        """
        if document["url"] != jwks.url:
            raise ValueError("it is of another URL")
        keys = tuple(
            KnownKey(TokenKey(each["algorithm"], each["pem"].encode(), each["kid"]), each["until"])
            for each in document["keys"]
            if each["algorithm"] in jwks.algorithms
        )
        return cls(float(document["asked_at"]), float(document["fetched_at"]), keys, str(document["failure"]))
