"""What a request carries beside its body."""

from dataclasses import replace
from typing import cast

from starlette.requests import Request

from service.gateway.experiments.override import OVERRIDE_HEADER
from service.gateway.gateway import Gateway
from service.gateway.types import Caller

_OVERRIDE_HEADER = OVERRIDE_HEADER.lower().encode()  # as ASGI has it


def gateway_of(request: Request) -> Gateway:
    """The gateway that the application was started with."""
    return cast(Gateway, request.scope["state"]["gateway"])


def key_of(request: Request) -> str:
    """The name of the caller's API key; empty where none is needed."""
    return cast(Caller, request.scope["state"]["caller"]).key


def caller_of(request: Request) -> Caller:
    """Who calls, as :mod:`service.gateway.api.access` found out, and the variants that the header asks for."""
    caller = cast(Caller, request.scope["state"]["caller"])
    asked = [value for name, value in request.scope["headers"] if name == _OVERRIDE_HEADER]
    return replace(caller, variants=b",".join(asked).decode("latin-1")) if asked else caller
