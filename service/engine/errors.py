"""Every refusal of the engine, in OpenAI's shape.

EngineError
├── BadRequestError    400: the request cannot be understood or is out of range
├── AdapterError       400: an adapter cannot be used; nothing of it was loaded
├── NotFoundError      404: no such model, adapter or path
├── TooLargeError      413: the body, or what it asks for, is larger than any request of ours
├── ClientGoneError    499: the client left before its answer; nobody reads this
├── OverloadedError    503: the queue is full
└── DeadlineError      504: the answer would come after the caller's deadline; it was not computed
"""

from typing import Any


class EngineError(Exception):
    """Base of all refusals: HTTP status, OpenAI's error type, and the field that is to blame, if one is."""

    status = 500
    type = "InternalServerError"
    outcome = "error"

    def __init__(self, message: str, field: str | None = None) -> None:
        super().__init__(message)
        self.field = field

    def body(self) -> dict[str, Any]:
        """The error as JSON."""
        return {"error": {"message": str(self), "type": self.type, "param": self.field, "code": self.status}}


class BadRequestError(EngineError):
    """A field is missing, of the wrong type, out of range, or asks for what the engine does not do."""

    status = 400
    type = "BadRequestError"
    outcome = "bad_request"


class AdapterError(EngineError):
    """The message names the adapter's path and what is wrong with it."""

    status = 400
    type = "InvalidUserInput"
    outcome = "bad_adapter"


class NotFoundError(EngineError):
    """The message names what was asked for."""

    status = 404
    type = "NotFoundError"
    outcome = "not_found"


class TooLargeError(EngineError):
    """The message names the limit."""

    status = 413
    type = "BadRequestError"
    outcome = "bad_request"


class ClientGoneError(EngineError):
    """Raised at whoever waits for an answer that nobody wants any more."""

    status = 499
    type = "ClientGone"
    outcome = "cancelled"


class OverloadedError(EngineError):
    """Refused at once, so that the caller can go on without this answer."""

    status = 503
    type = "ServiceUnavailableError"
    outcome = "overloaded"


class DeadlineError(EngineError):
    """Dropped before it cost anything, so that others' answers are in time."""

    status = 504
    type = "DeadlineExceededError"
    outcome = "deadline"
