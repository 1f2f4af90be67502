"""``${NAME}`` in `gateway.yaml`: the value of an environment variable, in a value that is no secret.

It is the whole value or a part of it, in quotes or without. ``$${`` is a ``${`` that stands for itself. There are no
defaults.
"""

import re
from collections.abc import Mapping

NAME = "[A-Za-z_][A-Za-z0-9_]*"
_REFERENCE = re.compile(rf"\$\$\{{|\$\{{(?P<name>{NAME})\}}|\$\{{(?P<rest>[^}}]*\}}?)", re.ASCII)


def refers(text: str) -> bool:
    """Whether a text names a variable, rightly or wrongly."""
    return any(found[0] != "$${" for found in _REFERENCE.finditer(text))


def fill(text: str, variables: Mapping[str, str]) -> str:
    """A text with the values of the variables it names.

    Raises:
        ValueError: a variable is not set, or is not written as ``${NAME}``.
    """

    def value(found: re.Match[str]) -> str:
        if found[0] == "$${":
            return "${"
        if found["name"] is None:
            raise ValueError(
                f"'${{{found['rest']}' is not a variable; write ${{NAME}} with letters, digits and _, and no default, "
                "or $${ for a ${ that stands for itself"
            )
        if found["name"] not in variables:
            raise ValueError(
                f"the environment variable {found['name']!r} is not set; $${{ is a ${{ that stands for itself"
            )
        return variables[found["name"]]

    return _REFERENCE.sub(value, text)
