"""Every error that a caller can get, in one JSON shape.

``{"error": {"code", "message", "field"}, "request_id"}``; of one request of a batch, ``{"error": {…}, "user_id"}``

| status | code               | when                                                       |
| ------ | ------------------ | ---------------------------------------------------------- |
| 400    | bad_http           | not HTTP/1.x, or a header twice that decides something     |
| 401    | unauthorized       | an API key is missing, unknown or expired                  |
| 403    | forbidden          | the API key lacks the scope; without keys, a foreign page  |
| 404    | not_found          | no such path, no such bundle                               |
| 404    | unknown_item       | the bundle in service does not know the item               |
| 404    | unknown_user       | nothing is held of the user                                |
| 404    | no_portrait        | the bundle in service shows nothing of its communities     |
| 404    | no_report          | there is no report of the experiments                      |
| 405    | method_not_allowed | another method is expected                                 |
| 408    | header_timeout     | the head of the request took too long                      |
| 408    | body_timeout       | the body took too long                                     |
| 409    | bad_bundle         | the bundle cannot be served; the pointer stays             |
| 409    | bad_report         | the report of the experiments cannot be read               |
| 413    | body_too_large     | more than 64 KiB, events 512 KiB, a batch 1 MiB            |
| 414    | uri_too_long       | path and query exceed 4 KiB                                |
| 415    | encoded_body       | the body is compressed                                     |
| 422    | invalid_json       | the body is no JSON, or ambiguous: a key twice, NaN, …     |
| 422    | invalid_request    | a field is missing, unknown, of a wrong type, out of range |
| 422    | invalid_filter     | no item has the attribute, or none has a number for it     |
| 429    | rate_limited       | too many requests with this API key; see Retry-After       |
| 431    | header_too_large   | more headers, or more bytes of them, than allowed          |
| 500    | internal           | a bug; the log has it                                      |
| 503    | no_bundle          | nothing was published yet, or it could not be loaded       |
| 503    | overloaded         | too many requests in flight; see Retry-After               |
| 503    | store_unavailable  | Redis did not answer; see Retry-After                      |
"""

from collections.abc import Mapping

from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from service.json_response import json_response

_CODES = {404: "not_found", 405: "method_not_allowed"}


class ApiError(Exception):
    """An error with a status, a machine-readable code, and where it applies the field at fault."""

    def __init__(
        self, status: int, code: str, message: str, field: str | None = None, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.field = field
        self.headers = headers


class ClientGoneError(Exception):
    """The client closed its connection before the answer."""


def no_bundle() -> ApiError:
    """There is nothing to answer from yet."""
    return ApiError(503, "no_bundle", "No bundle is in service", headers={"Retry-After": "1"})


def overloaded() -> ApiError:
    """More is asked than can be answered in time."""
    return ApiError(503, "overloaded", "Too many requests in flight", headers={"Retry-After": "1"})


def internal_error() -> ApiError:
    """A bug."""
    return ApiError(500, "internal", "Internal error")


def request_id_of(request: Request) -> str:
    """The id that the door gave a request."""
    return str(request.scope["state"]["request_id"])


def invalid_request(exc: ValidationError) -> ApiError:
    """The first problem of a body, in the caller's terms."""
    problem = exc.errors(include_url=False, include_context=False, include_input=False)[0]
    field = ".".join(str(part) for part in problem["loc"]) or None
    code = "invalid_json" if problem["type"] == "json_invalid" else "invalid_request"
    return ApiError(422, code, problem["msg"], field)


def error_response(error: ApiError, request_id: str) -> Response:
    """The one error shape."""
    return json_response({"error": error_fields(error), "request_id": request_id}, error.status, error.headers)


def error_fields(error: ApiError) -> dict[str, str | None]:
    """What is said of an error."""
    return {"code": error.code, "message": error.message, "field": error.field}


def error_of(exc: Exception) -> ApiError:
    """One of Starlette's own errors (unknown path, wrong method) as ours."""
    if not isinstance(exc, HTTPException):
        return internal_error()
    code = _CODES.get(exc.status_code, "http_error")
    return ApiError(exc.status_code, code, str(exc.detail), headers=exc.headers)


async def on_http_exception(request: Request, exc: Exception) -> Response:
    """What Starlette refused."""
    return error_response(error_of(exc), request_id_of(request))


async def on_api_error(request: Request, exc: Exception) -> Response:
    """What a route refused."""
    error = exc if isinstance(exc, ApiError) else internal_error()
    return error_response(error, request_id_of(request))


async def on_store_silent(request: Request, exc: Exception) -> Response:
    """Redis did not answer, and nothing else could."""
    retry = {"Retry-After": "1"}
    return error_response(ApiError(503, "store_unavailable", f"Redis: {exc}", headers=retry), request_id_of(request))


async def on_bug(request: Request, _: Exception) -> Response:
    """Anything that nobody foresaw. The server logs the traceback."""
    return error_response(internal_error(), request_id_of(request))
