"""What a request carries beside its body."""

from typing import cast

from starlette.requests import Request

from service.gateway.experiments.override import OVERRIDE_HEADER
from service.gateway.gateway import Gateway
from service.gateway.types import Caller

_OVERRIDE_HEADER = OVERRIDE_HEADER.lower().encode()  # as ASGI has it
_ANYBODY = Caller()


def gateway_of(request: Request) -> Gateway:
    """The gateway that the application was started with."""
    return cast(Gateway, request.scope["state"]["gateway"])


def caller_of(request: Request) -> Caller:
    """Who calls, and the variants that the header asks for."""
    asked = [value for name, value in request.scope["headers"] if name == _OVERRIDE_HEADER]
    return Caller(variants=b",".join(asked).decode("latin-1")) if asked else _ANYBODY
