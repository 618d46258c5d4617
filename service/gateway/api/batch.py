"""``POST /recommend/batch``: up to a hundred requests, each answered or refused by itself."""

import asyncio
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated

import msgspec
import orjson
from starlette.requests import Request
from starlette.responses import Response

from service.gateway.api.body import read_body
from service.gateway.api.disconnect import ClientWatch
from service.gateway.api.recommend import RECOMMEND_PATH, parse, timings_ms
from service.gateway.api.render import complete
from service.gateway.api.reply import JsonReply
from service.gateway.api.route import CLIENT_GONE_STATUS
from service.gateway.api.schemas import MAX_REQUESTS
from service.gateway.api.scope import caller_of, gateway_of, key_of
from service.gateway.errors import (
    ApiError,
    ClientGoneError,
    error_fields,
    error_response,
    internal_error,
    request_id_of,
)
from service.gateway.gateway import Gateway
from service.gateway.respond import Gate
from service.gateway.tables import MAX_DEADLINE_MS
from service.gateway.telemetry import RequestLabels
from service.gateway.traffic.turnstile import Turnstile
from service.gateway.types import Caller, Trace
from service.request_id import new_request_id

logger = logging.getLogger(__name__)

BATCH_PATH = f"{RECOMMEND_PATH}/batch"
MAX_BATCH_BYTES = 2**20


class _Body(msgspec.Struct, forbid_unknown_fields=True):
    """The requests unread: what is wrong with one of them is that one's error."""

    requests: Annotated[list[msgspec.Raw], msgspec.Meta(min_length=1, max_length=MAX_REQUESTS)]


class _Named(msgspec.Struct):
    """What is read of a request that is refused."""

    user_id: Annotated[str, msgspec.Meta(max_length=256)] | None = None


@dataclass(frozen=True, slots=True)
class _Batch:
    """What the requests of one body share: caller, deadline, and the gate before the workers."""

    gateway: Gateway
    caller: Caller
    gate: Gate

    async def answer(self, bodies: Sequence[bytes]) -> list[bytes]:
        """All at once, so that one round trip brings all users' state. In their order."""
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._one(body)) for body in bodies]
        return [task.result() for task in tasks]

    async def _one(self, body: bytes) -> bytes:
        started, trace, request_id = time.perf_counter(), Trace(), new_request_id()
        try:
            ready = await self.gateway.responder.respond(parse(body), self.caller, request_id, trace, self.gate)
            return complete(ready.body, request_id, timings_ms(trace, started))
        except ApiError as error:
            return _refusal(error, body)
        except Exception:
            logger.exception("a request of a batch failed")
            return _refusal(internal_error(), body)
        finally:
            self.gateway.requests.stages_ended(trace)


async def recommend_batch(request: Request) -> Response:
    """``POST /recommend/batch``: the lists of many users."""
    gateway, request_id, started = gateway_of(request), request_id_of(request), time.perf_counter()
    labels, status = RequestLabels(BATCH_PATH), 500
    try:
        answers = await _answers(gateway, request)
        labels, status = labels._replace(outcome="ok"), 200
        timings = orjson.dumps(timings_ms(Trace(), started))
        body = b'{"request_id":"%b","responses":[%b],"timings_ms":%b}'
        return JsonReply(body % (request_id.encode(), b",".join(answers), timings))
    except ApiError as error:
        labels, status = labels._replace(outcome=error.code), error.status
        return error_response(error, request_id)
    except ClientGoneError:
        labels, status = labels._replace(outcome="client_gone"), CLIENT_GONE_STATUS
        return Response(status_code=CLIENT_GONE_STATUS)
    finally:
        seconds = time.perf_counter() - started
        gateway.requests.ended(labels, seconds, status, request_id, key_of(request))


async def _answers(gateway: Gateway, request: Request) -> list[bytes]:
    bodies = _split(await read_body(request.receive, MAX_BATCH_BYTES))
    settings, admission = gateway.settings, gateway.traffic.admission
    caller = caller_of(request)
    gateway.access.charge(caller, len(bodies) - 1)
    weight = min(len(bodies), settings.batch.parallel)
    deadline_ms = min(round(settings.default_deadline_ms * settings.batch.deadline_factor), MAX_DEADLINE_MS)
    admission.enter(weight, batch=True)
    try:
        gate = Turnstile(settings.batch.parallel)
        with ClientWatch(request.receive):
            return await _Batch(gateway, replace(caller, deadline_ms=deadline_ms, batch=True), gate).answer(bodies)
    finally:
        admission.leave(weight, batch=True)


def _split(body: bytes) -> list[bytes]:
    try:
        return [bytes(raw) for raw in msgspec.json.decode(body, type=_Body).requests]
    except msgspec.ValidationError as exc:
        message, _, path = str(exc).partition(" - at `$.")
        raise ApiError(422, "invalid_request", message, path.rstrip("`") or None) from exc
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise ApiError(422, "invalid_json", str(exc)) from exc


def _refusal(error: ApiError, body: bytes) -> bytes:
    try:
        user_id = msgspec.json.decode(body, type=_Named).user_id
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        user_id = None
    return orjson.dumps({"error": error_fields(error), "user_id": user_id})
