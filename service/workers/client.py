"""HTTP client of one worker: the OpenAI API as stock vLLM serves it, and the fan-out that only our engine has."""

import asyncio
import errno
from collections.abc import Mapping, Sequence

import aiohttp
import msgspec
import orjson

from service.request_id import REQUEST_ID_HEADER, current
from service.tracing import Tracing
from service.wire import FANOUT_PATH, FanoutResponse, FanoutResult, decode_ranking
from service.workers.completion import Completion
from service.workers.types import Inquiry, Outcome, OutcomeKind, ServedModels

_ALREADY_LOADED = b"already been loaded"
_JSON = {"Content-Type": "application/json"}


class WorkerError(Exception):
    """A worker cannot be used. The message says why."""


class NobodyListensError(WorkerError):
    """There is no such process now."""


class _Model(msgspec.Struct):
    id: str
    parent: str | None = None


class _Models(msgspec.Struct):
    data: list[_Model]


_models_decoder = msgspec.json.Decoder(_Models)
_fanout_decoder = msgspec.json.Decoder(FanoutResponse)


class WorkerClient:
    """One worker at ``url``, through a session that belongs to the caller; with ``tracing``, questions have spans."""

    def __init__(self, session: aiohttp.ClientSession, url: str, tracing: Tracing | None = None) -> None:
        self._session = session
        self._tracing = tracing
        self.url = url.rstrip("/")

    async def ask(self, model: str, inquiry: Inquiry) -> Outcome:
        """One adapter's answer, as a ranked list of items."""
        answer = await self._ask(inquiry.path, inquiry.body(model))
        if isinstance(answer, Outcome):
            return answer
        try:
            ranking = await asyncio.to_thread(inquiry.read, answer) if inquiry.reads_long else inquiry.read(answer)
            return Outcome(OutcomeKind.OK, ranking)
        except ValueError as exc:
            return Outcome(OutcomeKind.INVALID, detail=str(exc))

    async def fan_out(self, models: Sequence[str], completion: Completion, timeout_seconds: float) -> list[Outcome]:
        """The same of many adapters in one call, in their order; the worker drops what takes it longer."""
        answer = await self._ask(FANOUT_PATH, completion.fanout_body(models, timeout_seconds))
        if isinstance(answer, Outcome):
            return [answer] * len(models)
        try:
            return parse_fanout(answer, models, completion)
        except ValueError as exc:
            return [Outcome(OutcomeKind.INVALID, detail=str(exc))] * len(models)

    async def served_models(self) -> ServedModels:
        """What the worker serves now. Raises WorkerError where it is not healthy or does not say."""
        await self._get("/health")
        try:
            models = _models_decoder.decode(await self._get("/v1/models")).data
        except ValueError as exc:  # what msgspec raises on malformed JSON and on a wrong shape
            raise WorkerError(f"/v1/models: {exc}") from exc
        return ServedModels(
            bases=frozenset(m.id for m in models if m.parent is None),
            adapters=frozenset(m.id for m in models if m.parent is not None),
        )

    async def load_adapter(self, name: str, path: str) -> None:
        """Load an adapter from a path on the worker's side. One that is there already counts as loaded."""
        body = orjson.dumps({"lora_name": name, "lora_path": path})
        status, answer = await self._request("POST", "/v1/load_lora_adapter", body)
        if status != 200 and not (status == 400 and _ALREADY_LOADED in answer):
            raise WorkerError(f"not loaded from {path}: status {status}: {answer[:200].decode(errors='replace')}")

    async def unload_adapter(self, name: str) -> None:
        """Unload an adapter. One that is not there counts as unloaded."""
        status, answer = await self._request("POST", "/v1/unload_lora_adapter", orjson.dumps({"lora_name": name}))
        if status not in {200, 404}:
            raise WorkerError(f"{name}: not unloaded: status {status}: {answer[:200].decode(errors='replace')}")

    async def _ask(self, path: str, body: bytes) -> bytes | Outcome:
        """The body of an answer; or what came of it where that is no answer."""
        headers = _headers()
        if self._tracing is None:
            return await self._post(path, body, headers)
        with self._tracing.call(f"worker {path}", headers) as span:
            answer = await self._post(path, body, headers)
            span.note(replica=self.url, outcome=answer.kind if isinstance(answer, Outcome) else OutcomeKind.OK)
            if isinstance(answer, Outcome):
                span.failed(answer.detail)
            return answer

    async def _post(self, path: str, body: bytes, headers: Mapping[str, str]) -> bytes | Outcome:
        try:
            async with self._session.post(self.url + path, data=body, headers=headers) as response:
                answer = await response.read()
        except aiohttp.ClientConnectionError as exc:
            return Outcome(OutcomeKind.UNREACHABLE, detail=str(exc))
        except aiohttp.ClientError as exc:
            return Outcome(OutcomeKind.INVALID, detail=str(exc))
        if response.status == 200:
            return answer
        kind, wait = _kind_of_status(response.status), response.headers.get("Retry-After", "")
        return Outcome(kind, detail=f"status {response.status}", retry_after_seconds=_seconds(wait))

    async def _get(self, path: str) -> bytes:
        status, body = await self._request("GET", path, None)
        if status != 200:
            raise WorkerError(f"{path}: status {status}")
        return body

    async def _request(self, method: str, path: str, body: bytes | None) -> tuple[int, bytes]:
        try:
            async with self._session.request(method, self.url + path, data=body, headers=_JSON) as response:
                return response.status, await response.read()
        except aiohttp.ClientError as exc:
            refused = isinstance(exc, aiohttp.ClientConnectorError) and exc.errno == errno.ECONNREFUSED
            raise (NobodyListensError if refused else WorkerError)(f"{path}: {exc}") from exc


def _kind_of_status(status: int) -> OutcomeKind:
    if status == 404:
        return OutcomeKind.NOT_FOUND
    if status == 504:  # our engine's word that the deadline is nearer than the answer
        return OutcomeKind.TIMEOUT
    return OutcomeKind.REFUSED if status in {429, 503} else OutcomeKind.INVALID


def _headers() -> dict[str, str]:
    request_id = current.get()
    return {**_JSON, REQUEST_ID_HEADER: request_id} if request_id else dict(_JSON)


def _seconds(retry_after: str) -> float:
    """A number of seconds; the other form of the header, a date, is not worth a parser."""
    return float(retry_after) if retry_after.isascii() and retry_after.isdigit() and len(retry_after) < 10 else 0.0


def parse_fanout(body: bytes, models: Sequence[str], completion: Completion) -> list[Outcome]:
    """Outcomes of a fan-out answer, in the order of ``models``. Raises ValueError where it is not one for them."""
    results = _fanout_decoder.decode(body).data  # raises ValueError
    if [result.model for result in results] != list(models):
        raise ValueError("expected one result for each of the models, in their order")
    return [_outcome(result, completion) for result in results]


def _outcome(result: FanoutResult, completion: Completion) -> Outcome:
    if result.error is not None:
        return Outcome(_kind_of_status(result.error.code), detail=result.error.message)
    try:
        ranking = decode_ranking(result)
        return Outcome(OutcomeKind.OK, completion.ranked(ranking.items, ranking.scores))
    except ValueError as exc:
        return Outcome(OutcomeKind.INVALID, detail=str(exc))
