"""Strict JSON (RFC 8259): what two readers could read in two ways is not read at all."""

import json
from typing import Any


class StrictJsonError(ValueError):
    """The bytes are not one JSON value in UTF-8, or mean different things to different readers."""


def parse_strict_json(content: bytes) -> Any:
    """Read JSON. Keys that stand twice, NaN, infinities and lone surrogates are refused.

    Raises:
        DocumentError: it is none; the message says why, and quotes nothing.
    """
    try:
        text = content.decode()
    except UnicodeDecodeError:
        raise StrictJsonError("it is not UTF-8") from None
    try:
        document = json.loads(text, object_pairs_hook=_once, parse_constant=_refuse, parse_float=_finite)
        if "\\u" in text:
            # Only an escape can bring in half of a surrogate pair; no encoder takes it.
            json.dumps(document, ensure_ascii=False).encode()
    except StrictJsonError:
        raise
    except UnicodeEncodeError:
        raise StrictJsonError("a text in it holds half a surrogate pair") from None
    except (ValueError, RecursionError):
        raise StrictJsonError("it is not JSON") from None
    return document


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise StrictJsonError("a key stands twice in an object")
    return found


def _refuse(_word: str) -> None:
    raise StrictJsonError("NaN and infinities are not JSON")


def _finite(text: str) -> float:
    number = float(text)
    if number in {float("inf"), float("-inf")}:
        raise StrictJsonError("a number is too large")
    return number
