"""Reads the name of a claim in a token."""

from gateway.config.node import Node, quote
from gateway.config.reader import reads
from gateway.config.scalar import text


@reads("claim", {"anyOf": [text, {"type": "array", "items": text, "minItems": 1}]}, show=".".join)
def claim(node: Node) -> tuple[str, ...]:
    """The name of a claim, followed by the names that lead into the objects within it.

    ``user.id`` are two names. A text with a colon is a URI (RFC 7519 section 2), and one name, whatever dots it has.
    A list gives each name as it is.
    """
    if not node.is_scalar:
        names = tuple(text(item) for item in node.items())
        if not names:
            raise node.refuse("the list is empty")
        return names
    value = text(node)
    names = (value,) if ":" in value else tuple(value.split("."))
    if not all(names):
        raise node.refuse(
            f"{quote(value)} has a dot without a name beside it; write user.id for the member id of the claim user, or "
            f"[{value}] if this is the name of one claim"
        )
    return names
