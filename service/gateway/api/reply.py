"""Answers that cost little to send: no headers but the two that say what the body is."""

from starlette.responses import Response

JSON_TYPE = (b"content-type", b"application/json")


class JsonReply(Response):
    """A body that is JSON already.

    Args:
        body: the JSON.
        status: of the answer.
        headers: more headers, names in lower case.
    """

    def __init__(self, body: bytes, status: int = 200, headers: tuple[tuple[bytes, bytes], ...] = ()) -> None:
        self.status_code = status  # starlette's own initialiser would look for cookies, charsets and given headers
        self.body = body
        self.background = None
        self.raw_headers = [JSON_TYPE, (b"content-length", b"%d" % len(body)), *headers]
