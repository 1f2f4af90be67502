"""`LogPolicy`: which events are logged, and in which format."""

from dataclasses import dataclass
from typing import Literal

Level = Literal["debug", "info", "warning", "error"]
Format = Literal["auto", "json", "text"]


@dataclass(frozen=True, slots=True)
class LogPolicy:
    """Which events are logged, and in which format. Lines of the access log do not depend on the level.

    Attributes:
        level: The lowest level that is logged. `debug` adds the details that libraries log.
        format: `json` is one object a line, `text` is for people; `auto` is text on a terminal and JSON elsewhere.
    """

    level: Level = "info"
    format: Format = "auto"
