"""`Answers`: what the gateway's own responses on the public port say."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Answers:
    """The gateway's own responses on the public port.

    Attributes:
        body: The body of every 429, whatever refused the request; `body_file` names a file that holds it.
        content_type: The media type of that body. If it is JSON, the body has to be.
        retry_after: The range that the seconds in Retry-After of every 429 are drawn from, evenly and independently of
            any limit; without it, there is no Retry-After.
        request_id: Whether every response has X-Request-ID, with the id that the access log and the upstream know, so
            that a customer can quote it. One that an upstream sends is kept.
    """

    body: str = "Too Many Requests\n"
    content_type: str = "text/plain; charset=utf-8"
    retry_after: tuple[float, float] | None = None
    request_id: bool = True
