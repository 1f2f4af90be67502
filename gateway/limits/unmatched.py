"""`Unmatched`: why no endpoint can be found for a request."""

from enum import Enum


class Unmatched(Enum):
    """What servers read in different ways, so that the request has to be rejected."""

    PATH = "path"
    """The spelling of the path, see `PathPolicy`."""
    CONDITION = "condition"
    """A header or query key that a condition reads, see `gateway.limits.condition`."""
