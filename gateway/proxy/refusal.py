"""`Refusal`: the response to a request that a limit or a block refuses. It is the same whatever refused it.

Its text, unless the settings have another, is in `settings/answers.py`.
"""

from http import HTTPStatus
from math import ceil
from secrets import choice

from gateway.proxy.responses import Response
from gateway.settings.answers import Answers


class Refusal:
    """Makes the 429.

    Retry-After (RFC 9110 section 10.2.3) is drawn evenly from the seconds of the setting. It depends on nothing else,
    so it says nothing of a limit; and clients that heed it do not all come back at once.

    Args:
        answers: Body, content type and Retry-After.
    """

    __slots__ = ("_responses",)

    def __init__(self, answers: Answers) -> None:
        plain = Response.of(HTTPStatus.TOO_MANY_REQUESTS, answers.body, answers.content_type)
        if answers.retry_after is None:
            self._responses = [plain]
            return
        least, most = answers.retry_after
        seconds = range(ceil(least), ceil(most) + 1)
        self._responses = [plain.with_header(f"Retry-After: {each}\r\n".encode()) for each in seconds]

    def response(self) -> Response:
        """The response to one request."""
        responses = self._responses
        return responses[0] if len(responses) == 1 else choice(responses)
