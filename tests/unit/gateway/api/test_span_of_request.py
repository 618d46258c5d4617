"""The span of a request, whatever its headers hold."""

from typing import Any

from service.gateway.api.traced import Traced
from service.tracing import start_tracing

NOBODY = "http://127.0.0.1:1"


async def test_a_traceparent_that_is_no_text_fails_no_request():
    answered: list[str] = []

    async def app(scope: Any, *_: Any) -> None:
        answered.append(scope["path"])

    tracing = start_tracing(NOBODY, "test", 1.0)
    headers = [(b"traceparent", b"\xff\xfe"), (b"tracestate", b"a=\xff")]
    state = {"request_id": "r-1"}
    scope = {"type": "http", "method": "POST", "path": "/recommend", "headers": headers, "state": state}

    async def nothing(*_: Any) -> Any: ...

    await Traced(app, tracing, str)(scope, nothing, nothing)
    tracing.close()
    assert answered == ["/recommend"]
