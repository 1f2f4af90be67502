"""`BadRequest`: why the gateway itself does not serve a request, in words that are labels of a metric."""

from enum import Enum

from gateway.proxy.responses import (
    BAD_REQUEST,
    CONTENT_TOO_LARGE,
    HEAD_TOO_LARGE,
    LOOP_DETECTED,
    METHOD_NOT_ALLOWED,
    REQUEST_TIMEOUT,
    VERSION_NOT_SUPPORTED,
    Response,
)


class BadRequest(Enum):
    """What is wrong with a request. operations.md says what to do about each.

    Attributes:
        reason: The label, also in the access log.
        response: What the client gets.
    """

    UNREADABLE = "unreadable", BAD_REQUEST
    HEAD_TOO_LARGE = "head_too_large", HEAD_TOO_LARGE
    SLOW_HEAD = "slow_head", REQUEST_TIMEOUT
    VERSION = "http_version", VERSION_NOT_SUPPORTED
    METHOD = "method", METHOD_NOT_ALLOWED
    TRANSFER_CODING = "transfer_coding", BAD_REQUEST
    TWO_CALLERS = "two_callers", BAD_REQUEST
    LOOP = "loop", LOOP_DETECTED
    HOST = "host", BAD_REQUEST
    TARGET = "target", BAD_REQUEST
    PATH = "path", BAD_REQUEST
    BROKEN_BODY = "broken_body", BAD_REQUEST
    SLOW_BODY = "slow_body", REQUEST_TIMEOUT
    LARGE_BODY = "large_body", CONTENT_TOO_LARGE

    def __init__(self, reason: str, response: Response) -> None:
        self.reason = reason
        self.response = response
