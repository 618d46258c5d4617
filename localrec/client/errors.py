"""What can go wrong on a client's side.

ClientError
├── ApiError               the service answered with an error
├── UnreachableError       no connection, or it broke
├── TimeoutExceededError   no answer in time
└── MalformedAnswerError   an answer that is none of this service's
"""


class ClientError(Exception):
    """Anything that keeps a call from giving its answer."""


class ApiError(ClientError):
    """The service's own word.

    Args:
        status: HTTP status.
        code: short and stable, for programs.
        message: for people.
        field: what in the request is at fault, where something is.
        request_id: to look it up in the service's records.
        retry_after_seconds: how long the service asks to be left alone; None where it does not say.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        field: str | None = None,
        request_id: str = "",
        retry_after_seconds: float | None = None,
    ) -> None:
        where = f" ({field})" if field else ""
        super().__init__(f"{status} {code}{where}: {message}")
        self.status = status
        self.code = code
        self.message = message
        self.field = field
        self.request_id = request_id
        self.retry_after_seconds = retry_after_seconds


class UnreachableError(ClientError):
    """No connection to the service, or it broke before the answer was complete."""


class TimeoutExceededError(ClientError):
    """The call's time was over before it had an answer, attempts included."""


class MalformedAnswerError(ClientError):
    """What came back is no answer of this service: a proxy's page, perhaps."""
