"""Request bodies, read within limits."""

import asyncio

from starlette.types import Receive

from service.gateway.api.strict_json import strict_json
from service.gateway.errors import ApiError, ClientGoneError

MAX_BODY_BYTES = 64 * 1024


async def read_body(receive: Receive, limit: int = MAX_BODY_BYTES) -> bytes:
    """The whole body, however it is sent: one JSON document. Stops reading at the limit.

    How long it may take is the connection's matter: :mod:`service.gateway.protocol`.

    Raises:
        ApiError: 413 beyond the limit, 422 where it is no strict JSON.
        ClientGoneError: the client left.
    """
    body = bytearray()
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGoneError
        body += message.get("body", b"")
        if len(body) > limit:
            raise ApiError(413, "body_too_large", f"The body must not exceed {limit} bytes")
        more = message.get("more_body", False)
    document = bytes(body)
    if len(document) > MAX_BODY_BYTES:
        await asyncio.to_thread(strict_json, document)  # a batch takes tens of milliseconds
    else:
        strict_json(document)
    return document
