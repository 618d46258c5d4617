"""The id of the request that is being answered: the caller's where it gave one, and on every call made for it."""

import re
import secrets
from contextvars import ContextVar

REQUEST_ID_HEADER = "X-Request-Id"
REQUEST_ID_NAME = REQUEST_ID_HEADER.lower().encode()  # as ASGI has it
MAX_ID = 64
_VALID = re.compile(rb"[A-Za-z0-9._-]{1,%d}" % MAX_ID)  # nothing that JSON, a header or a log line would have to quote

current: ContextVar[str] = ContextVar("request_id", default="")


def new_request_id() -> str:
    """16 hexadecimal digits."""
    return secrets.token_hex(8)


def request_id_from(given: bytes | None) -> str:
    """The id that a caller gave; a new one where it gave none, or one that is not letters, digits, `.`, `_` and `-`."""
    return given.decode() if given is not None and _VALID.fullmatch(given) else new_request_id()
