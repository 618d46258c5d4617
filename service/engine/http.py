"""HTTP around the engine's handlers: reading a body, a client that leaves, errors as responses."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from service.engine.errors import ClientGoneError, EngineError, NotFoundError, OverloadedError, TooLargeError
from service.engine.telemetry import Telemetry
from service.json_response import json_response

T = TypeVar("T")

MAX_BODY_BYTES = 1 << 20  # 200 candidates' prompts of 200 tokens take a quarter
RETRY_AFTER_SECONDS = 1  # HTTP knows no less, though a full queue is empty in a fraction of it

Handler = Callable[[Request], Awaitable[Response]]


def counted(endpoint: str, handler: Handler, telemetry: Telemetry) -> Handler:
    """The handler, its engine errors as responses, each request counted by endpoint and outcome."""

    async def answer(request: Request) -> Response:
        outcome = "error"
        try:
            response = await handler(request)
            outcome = "ok"
        except EngineError as error:
            outcome = error.outcome
            response = _error(error)
        except asyncio.CancelledError:
            outcome = "cancelled"
            raise
        finally:
            telemetry.request_done(endpoint, outcome)
        return response

    return answer


async def unless_gone(request: Request, future: asyncio.Future[T]) -> T:
    """What the future gives. Raises ClientGoneError where the client leaves before."""
    watch = asyncio.create_task(_give_up_when_gone(request, future))
    try:
        return await future
    finally:
        watch.cancel()


async def _give_up_when_gone(request: Request, future: asyncio.Future[T]) -> None:
    """The body has been read, so the next message says that the client has left."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
    if not future.done():
        future.set_exception(ClientGoneError("the client has left"))


async def read_body(request: Request) -> bytes:
    """The whole body. Raises TooLargeError beyond ``MAX_BODY_BYTES``."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            raise TooLargeError(f"the body is longer than {MAX_BODY_BYTES} bytes")
    return bytes(body)


def _error(error: EngineError) -> Response:
    headers = {"Retry-After": str(RETRY_AFTER_SECONDS)} if isinstance(error, OverloadedError) else None
    return json_response(error.body(), error.status, headers)


async def http_error(_: Request, error: Exception) -> Response:
    """What Starlette refuses, in the shape of the engine's errors."""
    if isinstance(error, HTTPException) and error.status_code == NotFoundError.status:
        return _error(NotFoundError("no such path"))
    status = error.status_code if isinstance(error, HTTPException) else EngineError.status
    body = {"error": {"message": str(error), "type": "BadRequestError", "param": None, "code": status}}
    return json_response(body, status)


async def bug(_: Request, error: Exception) -> Response:
    """500 for what nobody foresaw."""
    return _error(EngineError(f"the engine failed: {type(error).__name__}"))
