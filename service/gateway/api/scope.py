"""What a request carries beside its body."""

from typing import cast

from starlette.requests import Request

from service.gateway.gateway import Gateway
from service.gateway.types import Caller


def gateway_of(request: Request) -> Gateway:
    """The gateway that the application was started with."""
    return cast(Gateway, request.scope["state"]["gateway"])


def caller_of(request: Request) -> Caller:
    """Who calls, as :mod:`service.gateway.api.access` found out."""
    return cast(Caller, request.scope["state"]["caller"])
