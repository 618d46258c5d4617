"""What a request carries beside its body."""

from typing import cast

from starlette.requests import Request

from service.gateway.gateway import Gateway


def gateway_of(request: Request) -> Gateway:
    """The gateway that the application was started with."""
    return cast(Gateway, request.scope["state"]["gateway"])
