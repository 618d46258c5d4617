"""From what is asked to an HTTP request, and from its answer back. No I/O."""

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar
from urllib.parse import quote

import msgspec

from localrec.client.errors import ApiError, MalformedAnswerError
from localrec.client.types import (
    ErrorBody,
    Event,
    Events,
    ItemFilter,
    Recommendation,
    RefusedRequest,
    Scalar,
    SimilarItems,
)

T = TypeVar("T")
DELETION_SECONDS = 60.0


class Ask(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One user's request, as ``POST /recommend`` takes it. What is left out has the service's default.

    Args:
        user_id: whose list.
        n: items wanted, 1 to 100.
        history: item ids, oldest first; replaces what the service knows.
        context: device, page, locale, …: written to the exposure log.
        exclude_items: never show these.
        exclude_seen: never show what the user has seen.
        candidates: rank only these.
        filters: by attribute, allowed values or an :class:`ItemFilter`.
        strict_filters: False fills the list up with popular items that pass the filters.
        diversity: 0, the models' order, to 1, as different as can be.
        max_per: items of one value of an attribute, at most.
        deadline_ms: how long the service may take.
        explain: say how the list came about.
        use_cache: whether a list of a moment ago will do.
    """

    user_id: str
    n: int = 10
    history: Sequence[str] | None = None
    context: Mapping[str, Scalar] = {}
    exclude_items: Sequence[str] = ()
    exclude_seen: bool = True
    candidates: Sequence[str] | None = None
    filters: Mapping[str, Sequence[str] | ItemFilter] = {}
    strict_filters: bool = True
    diversity: float = 0.0
    max_per: Mapping[str, int] = {}
    deadline_ms: int | None = None
    explain: bool = False
    use_cache: bool = True


@dataclass(frozen=True)
class Call(Generic[T]):
    """One HTTP request, and how its answer is read. Every call may be repeated: none does anything twice.

    ``timeout_seconds`` is for calls that take longer than lists do; None: the client's.
    """

    method: str
    path: str
    body: bytes | None
    read: Callable[[bytes], T]
    timeout_seconds: float | None = None


class _Responses(msgspec.Struct):
    responses: list[Any]


class _Error(msgspec.Struct):
    error: ErrorBody
    request_id: str = ""


def recommend(ask: Ask) -> Call[Recommendation]:
    """``POST /recommend``."""
    return Call("POST", "/recommend", msgspec.json.encode(ask), _reader(Recommendation))


def recommend_batch(asks: Sequence[Ask]) -> Call[list[Recommendation | RefusedRequest]]:
    """``POST /recommend/batch``: an answer for each, in their order."""
    return Call("POST", "/recommend/batch", msgspec.json.encode({"requests": list(asks)}), _read_batch)


def similar(item_id: str, n: int) -> Call[SimilarItems]:
    """``GET /items/{id}/similar``."""
    return Call("GET", f"/items/{quote(item_id, safe='')}/similar?n={n}", None, _reader(SimilarItems))


def record(events: Sequence[Event]) -> Call[Events]:
    """``POST /events``. Events without an id are given one, the same for every attempt."""
    named = [event if event.event_id else msgspec.structs.replace(event, event_id=uuid.uuid4().hex) for event in events]
    return Call("POST", "/events", msgspec.json.encode({"events": named}), _reader(Events))


def user(user_id: str) -> Call[dict[str, Any]]:
    """``GET /users/{id}``."""
    return Call("GET", f"/users/{quote(user_id, safe='')}", None, _reader(dict[str, Any]))


def delete_user(user_id: str) -> Call[dict[str, Any]]:
    """``DELETE /users/{id}``, which reads the whole of the streams."""
    return Call("DELETE", f"/users/{quote(user_id, safe='')}", None, _reader(dict[str, Any]), DELETION_SECONDS)


def refusal(status: int, body: bytes, retry_after: str | None) -> ApiError:
    """The error that an answer with another status than 200 is."""
    try:
        said = msgspec.json.decode(body, type=_Error)
    except ValueError:  # a proxy's page
        said = _Error(ErrorBody("http_error", body[:200].decode(errors="replace")))
    error = said.error
    return ApiError(status, error.code, error.message, error.field, said.request_id, _seconds(retry_after))


def _reader(kind: type[T]) -> Callable[[bytes], T]:
    decoder = msgspec.json.Decoder(kind)

    def read(body: bytes) -> T:
        try:
            return decoder.decode(body)
        except ValueError as exc:
            raise MalformedAnswerError(f"{exc}: {body[:200].decode(errors='replace')}") from exc

    return read


_read_responses = _reader(_Responses)


def _read_batch(body: bytes) -> list[Recommendation | RefusedRequest]:
    try:
        return [_outcome(answer) for answer in _read_responses(body).responses]
    except (msgspec.ValidationError, TypeError) as exc:
        raise MalformedAnswerError(str(exc)) from exc


def _outcome(answer: Any) -> Recommendation | RefusedRequest:
    if "error" in answer:
        return msgspec.convert(answer, RefusedRequest)
    return msgspec.convert(answer, Recommendation)


def _seconds(retry_after: str | None) -> float | None:
    """A number of seconds; the header's other form, a date, counts as silence."""
    return float(retry_after) if retry_after and retry_after.isascii() and retry_after.isdigit() else None
