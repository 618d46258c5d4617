"""Query strings, validated."""

from typing import TypeVar

from pydantic import BaseModel, ValidationError
from starlette.requests import Request

from service.gateway.errors import invalid_request

M = TypeVar("M", bound=BaseModel)


def parse_query(request: Request, model: type[M], many: tuple[str, ...] = ()) -> M:
    """A request's query string as a model; ``many`` may be given many times. Raises ApiError."""
    given = request.query_params
    try:
        return model.model_validate({name: given.getlist(name) if name in many else given[name] for name in given})
    except ValidationError as exc:
        raise invalid_request(exc) from exc
