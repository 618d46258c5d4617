"""HTTP/1.1 within limits. uvicorn's protocol waits for ever: for the head of a request, of any size, for its body, and
for a client that does not take its answer.

A timer runs only while a connection owes something, so a request that comes in one piece pays for none.
"""

import asyncio
import re
import select
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar, cast

from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from service.gateway.errors import ApiError, error_response
from service.gateway.security.settings import HttpSettings
from service.gateway.stop import Stop
from service.request_id import new_request_id

if TYPE_CHECKING:
    from uvicorn._types import ASGI3Application

Headers = Sequence[tuple[bytes, bytes]]
"""Names in lower case, and values."""

HEADER_OVERHEAD_BYTES = 4  # ": " and the end of the line
_UPGRADE = re.compile(rb"(?<=\n)upgrade(?=:)", re.IGNORECASE)


class LimitedProtocol(HttpToolsProtocol):
    """One connection. What it owes: first a head, then the body that the head promised, and again after each answer."""

    limits: ClassVar[HttpSettings] = HttpSettings()
    stop: ClassVar[Stop] = Stop()
    pages: ClassVar[Mapping[bytes, Headers]] = MappingProxyType({})

    _owed: asyncio.TimerHandle | None = None
    _untaken: asyncio.TimerHandle | None = None
    _in_head = True
    _in_body = False
    _head_bytes = 0
    _is_last = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._await(self.limits.header_timeout_s)

    def connection_lost(self, exc: Exception | None) -> None:
        self._settle()
        super().connection_lost(exc)
        self.resume_writing()

    def pause_writing(self) -> None:
        super().pause_writing()
        # To close it would wait for ever until the client takes what is left.
        self._untaken = self.loop.call_later(self.limits.keep_alive_s, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._untaken is not None:
            self._untaken.cancel()
            self._untaken = None

    def data_received(self, data: bytes) -> None:
        self._head_bytes = self._head_bytes + len(data) if self._in_head else len(data)
        self._in_head = not self._in_body
        super().data_received(_without_upgrade(data) if self._in_head else data)
        if self.transport.is_closing():
            self._settle()
        elif self._in_head and self._head_bytes > self.limits.header_bytes:
            self._refuse(_header_too_large(self.limits))
        elif self._owed is None and (self._in_head or self._in_body):
            self._await(self.limits.header_timeout_s if self._in_head else self.limits.body_timeout_s)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head = True

    def on_headers_complete(self) -> None:
        self._settle()
        if self._exceeds():
            self.app = self._refusal(_header_too_large(self.limits))
        elif self.parser.should_upgrade():  # the parser takes what follows for another protocol's
            self.app = self._refusal(_closing(400, "bad_http", "The connection cannot be upgraded"))
        super().on_headers_complete()
        if self.pages and (own := self.pages.get(_first_part(self.url))):
            self.cycle.default_headers = _replaced(self.cycle.default_headers, own)  # no header may occur twice
        self._in_head, self._in_body = False, True
        if self._is_last or self.stop.asked:
            self.finish()

    def on_message_complete(self) -> None:
        self._settle()
        self._in_body = False
        super().on_message_complete()

    def finish(self) -> None:
        """The request under way is the last one; its answer says so."""
        if self.cycle is not None:
            self.cycle.keep_alive = False

    def shutdown(self) -> None:
        """Close as soon as nothing is owed. A request that lies in the socket unread is under way, too."""
        self._is_last = True
        self.finish()
        answered = self.cycle is None or self.cycle.response_complete
        coming = (self._in_head and self._head_bytes) or _is_unread(self.transport)
        if answered and (self._in_body or not coming):
            self.transport.close()

    def send_400_response(self, msg: str) -> None:
        self._refuse(_closing(400, "bad_http", msg))

    def _exceeds(self) -> bool:
        if len(self.headers) > self.limits.header_count:
            return True
        if self._head_bytes <= self.limits.header_bytes:  # counted together with what came behind the head
            return False
        size = sum(len(name) + len(value) + HEADER_OVERHEAD_BYTES for name, value in self.headers)
        return len(self.url) + size > self.limits.header_bytes

    def _await(self, seconds: float) -> None:
        self._owed = self.loop.call_later(seconds, self._is_late)

    def _settle(self) -> None:
        if self._owed is not None:
            self._owed.cancel()
            self._owed = None

    def _is_late(self) -> None:
        self._owed = None
        if self._in_body:
            self._refuse(_closing(408, "body_timeout", f"The body took more than {self.limits.body_timeout_s:g} s"))
        else:
            self._refuse(_closing(408, "header_timeout", f"The head took more than {self.limits.header_timeout_s:g} s"))

    def _refuse(self, error: ApiError) -> None:
        """Say why, unless an answer is on its way, and close. The application learns that the client is gone."""
        self._settle()
        if self._may_answer():
            if not self._in_body:  # else the route learns that its client is gone, and counts that
                self._count(error)
            self.transport.write(self._answer(error))
        if self.cycle is not None:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self.transport.close()

    def _count(self, error: ApiError) -> None:
        """Where the application wants to know of requests that it never sees: the operators' does not."""
        count = self.app_state.get("unread")
        if count is not None:
            count(error.code)

    def _refusal(self, error: ApiError) -> "ASGI3Application":
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            self._count(error)
            await error_response(error, new_request_id())(scope, receive, send)

        return cast("ASGI3Application", app)

    def _may_answer(self) -> bool:
        if self.cycle is None or self.cycle.response_complete:
            # Nobody waits for words on a connection that never said any.
            return self._head_bytes > 0 and not self._in_body
        return not self.cycle.response_started and self._in_body

    def _answer(self, error: ApiError) -> bytes:
        response = error_response(error, new_request_id())
        headers = [*self.server_state.default_headers, *response.raw_headers]
        lines = [name + b": " + value + b"\r\n" for name, value in headers]
        return b"".join([STATUS_LINE[error.status], *lines, b"\r\n", bytes(response.body)])


def limited(limits: HttpSettings, stop: Stop, pages: Mapping[bytes, Headers]) -> type[LimitedProtocol]:
    """The protocol with these limits, as uvicorn's ``http`` setting wants it.

    ``pages`` are the headers that answers have instead of the server's, by the first part of the path.
    """

    class Protocol(LimitedProtocol):
        pass

    Protocol.limits, Protocol.stop, Protocol.pages = limits, stop, pages
    return Protocol


def _first_part(url: bytes) -> bytes:
    return url.partition(b"?")[0].partition(b"/")[2].partition(b"/")[0]


def _replaced(headers: Headers, own: Headers) -> list[tuple[bytes, bytes]]:
    names = {name for name, _ in own}
    return [*(header for header in headers if header[0] not in names), *own]


def _is_unread(transport: asyncio.Transport) -> bool:
    """Whether bytes have come that the loop has not read yet; to close now would reset the connection."""
    poll = select.poll()
    poll.register(transport.get_extra_info("socket").fileno(), select.POLLIN)
    return bool(poll.poll(0))


def _without_upgrade(data: bytes) -> bytes:
    """The same with no ``Upgrade`` in its head: offers of HTTP/2, such as Java's client makes, are to be ignored.

    The parser would read no body, and take the body for the next request.
    """
    if b"pgrade" not in data:
        return data
    head, end, rest = data.partition(b"\r\n\r\n")
    return _UPGRADE.sub(b"Ignored", head) + end + rest


def _header_too_large(limits: HttpSettings) -> ApiError:
    what = f"more than {limits.header_count} headers, or {limits.header_bytes} bytes of them"
    return _closing(431, "header_too_large", f"The head of the request holds {what}")


def _closing(status: int, code: str, message: str) -> ApiError:
    return ApiError(status, code, message, headers={"Connection": "close"})
