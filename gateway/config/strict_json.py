"""Strict JSON (RFC 8259): what two parsers could read in two ways is refused."""

import json
from typing import Any


class StrictJsonError(ValueError):
    """The bytes are not one JSON value in UTF-8, or are ambiguous. The message quotes nothing of them."""


def parse_strict_json(content: bytes) -> Any:
    """Parse JSON. Duplicate names, NaN, infinities and lone surrogates are refused.

    Raises:
        StrictJsonError: it is not strict JSON.
    """
    try:
        text = content.decode()
    except UnicodeDecodeError:
        raise StrictJsonError("not UTF-8") from None
    try:
        document = _DECODER.decode(text)
        if "\\u" in text:
            # Only an escape can bring in a lone surrogate, which cannot be encoded again.
            json.dumps(document, ensure_ascii=False).encode()
    except StrictJsonError:
        raise
    except UnicodeEncodeError:
        raise StrictJsonError("a string has a lone surrogate") from None
    except (ValueError, RecursionError):
        raise StrictJsonError("not JSON") from None
    return document


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        raise StrictJsonError("an object has two members of the same name")
    return members


def _refuse_constant(_constant: str) -> None:
    raise StrictJsonError("NaN and infinities are not JSON")


def _finite(text: str) -> float:
    number = float(text)
    if number in {float("inf"), float("-inf")}:
        raise StrictJsonError("a number is too large")
    return number


_DECODER = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_refuse_constant, parse_float=_finite)
"""Made once: `json.loads` would make one for each text."""
