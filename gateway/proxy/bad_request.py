"""`BadRequest`: why the gateway itself does not serve a request, in words that are labels of a metric."""

from enum import Enum

from gateway.limits.unmatched import Unmatched
from gateway.proxy.responses import (
    BAD_REQUEST,
    CONTENT_TOO_LARGE,
    HEAD_TOO_LARGE,
    LOOP_DETECTED,
    METHOD_NOT_ALLOWED,
    REQUEST_TIMEOUT,
    TARGET_TOO_LONG,
    VERSION_NOT_SUPPORTED,
    Response,
)


class BadRequest(Enum):
    """What is wrong with a request. operations.md says what to do about each.

    Attributes:
        reason: The label, also in the access log.
        response: What the client gets.
        why: The same in a sentence, for operators.
    """

    UNREADABLE = "unreadable", BAD_REQUEST, "the request is not valid HTTP"
    TARGET_TOO_LONG = "target_too_long", TARGET_TOO_LONG, "the request target is longer than intake.max_line"
    HEAD_TOO_LARGE = "head_too_large", HEAD_TOO_LARGE, "a header, their number or the head exceeds what intake permits"
    SLOW_HEAD = "slow_head", REQUEST_TIMEOUT, "the head was not complete within intake.head_timeout"
    VERSION = "http_version", VERSION_NOT_SUPPORTED, "the version is neither HTTP/1.1 nor HTTP/1.0"
    METHOD = "method", METHOD_NOT_ALLOWED, "the method is never forwarded"
    TRANSFER_CODING = "transfer_coding", BAD_REQUEST, "the Transfer-Encoding is not chunked"
    TWO_CALLERS = "two_callers", BAD_REQUEST, "a header that identifies the caller is there twice"
    LOOP = "loop", LOOP_DETECTED, "the request has passed this gateway before"
    HOST = "host", BAD_REQUEST, "Host is not one valid name or address"
    TARGET = "target", BAD_REQUEST, "the target is neither a path nor a URL in printable ASCII"
    PATH = "path", BAD_REQUEST, "servers read this spelling of the path in different ways"
    CONDITION = (
        "condition",
        BAD_REQUEST,
        "a header or query key that decides the endpoint is there twice, or servers read it in different ways",
    )
    NOT_DESCRIBED = (
        "not_described",
        BAD_REQUEST,
        "a header in which the proxy that asks describes the request is missing, or there twice",
    )
    BROKEN_BODY = "broken_body", BAD_REQUEST, "the chunked body is malformed"
    SLOW_BODY = "slow_body", REQUEST_TIMEOUT, "the body came too slowly"
    LARGE_BODY = "large_body", CONTENT_TOO_LARGE, "the body is larger than max_body"

    def __init__(self, reason: str, response: Response, why: str) -> None:
        self.reason = reason
        self.response = response
        self.why = why

    @classmethod
    def of(cls, unmatched: Unmatched) -> "BadRequest":
        """Why a request is not served that belongs to no endpoint."""
        return cls.PATH if unmatched is Unmatched.PATH else cls.CONDITION
