"""The engine's HTTP side: the OpenAI/vLLM contract on Starlette."""

from asyncio import to_thread
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from math import inf
from pathlib import Path
from time import monotonic

import msgspec
import numpy as np
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from service.engine.batcher import MAX_ROWS, Batcher
from service.engine.errors import BadRequestError, NotFoundError, TooLargeError
from service.engine.http import Handler, bug, counted, http_error, read_body, unless_gone
from service.engine.model import Answer, Query, rows
from service.engine.registry import AdapterRegistry, unknown_model
from service.engine.responses import (
    classify_response,
    completion_response,
    embedding_response,
    fanout_error,
    model_card,
)
from service.engine.schemas import (
    ClassifyRequest,
    CompletionRequest,
    EmbeddingRequest,
    Limits,
    LoadAdapterRequest,
    UnloadAdapterRequest,
    allowances,
    biases,
    check_fanout,
    decode,
    exclusions,
    prompts,
    token_ids,
    user_embedding,
)
from service.engine.sequences import common_beginning
from service.engine.telemetry import Telemetry
from service.engine.traced import traced
from service.engine.types import ServedNetwork
from service.json_response import json_response
from service.tracing import Tracing
from service.wire import FanoutRequest, FanoutResponse, encode_ranking

MAX_CLASSIFIED_ROWS = 8 * MAX_ROWS  # of tokens in a request: 200 candidates, each with 150 that it does not share


@dataclass(frozen=True)
class EngineSettings:
    """What the engine serves and how much it takes on.

    Args:
        model_id: name of the base model.
        checkpoint: its directory, reported as the model's root.
        adapter_root: the directory that adapters must lie in.
        max_model_tokens: prompt and generated token together.
        max_logprobs: upper bound of ``logprobs``.
        max_batch: calls (a prompt under an adapter) in one forward pass at most.
        max_queue: calls that wait at most; what comes then is answered 503 at once, a request of more calls 400.
    """

    model_id: str
    checkpoint: Path
    adapter_root: Path
    max_model_tokens: int
    max_logprobs: int = 1024
    max_batch: int = 64
    max_queue: int = 1024


def create_app(model: ServedNetwork, settings: EngineSettings, tracing: Tracing | None = None) -> Starlette:
    """The application for a loaded model."""
    engine = Engine(model, settings)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        engine.batcher.start()
        await engine.warm_up()
        yield
        await engine.batcher.close()
        if tracing is not None:
            await to_thread(tracing.close)

    def posting(path: str, name: str, handler: Handler) -> Route:
        return Route(path, traced(path, counted(name, handler, engine.telemetry), tracing), methods=["POST"])

    posts: dict[str, Handler] = {
        "completions": engine.completions,
        "embeddings": engine.embeddings,
        "fanout": engine.fanout,
        "load_lora_adapter": engine.load_adapter,
        "unload_lora_adapter": engine.unload_adapter,
    }
    routes = [
        Route("/health", engine.health),
        Route("/metrics", engine.metrics),
        Route("/v1/models", engine.models),
        *(posting(f"/v1/{name}", name, handler) for name, handler in posts.items()),
        posting("/classify", "classify", engine.classify),
    ]
    return Starlette(routes=routes, lifespan=lifespan, exception_handlers={HTTPException: http_error, Exception: bug})


class Engine:
    """Requests to queries, answers to responses."""

    def __init__(self, model: ServedNetwork, settings: EngineSettings) -> None:
        self.telemetry = Telemetry()
        self._model = model
        self.batcher: Batcher[Query, Answer] = Batcher(
            model.answer, settings.max_batch, settings.max_queue, self.telemetry, rows=rows
        )
        self._settings = settings
        self._limits = Limits(
            model.vocabulary_size,
            settings.max_model_tokens - 1,
            settings.max_logprobs,
            settings.max_queue,
            model.user_size,
        )
        self._adapters = AdapterRegistry(settings.model_id, settings.adapter_root, model.store, self.batcher)
        model.watch(self.telemetry.batch_formed)
        self.telemetry.watch(
            queue_length=lambda: len(self.batcher),
            queue_calls=lambda: self.batcher.n_queries,
            loaded_adapters=lambda: len(self._adapters),
            adapter_bytes=lambda: model.store.size_bytes,
        )

    async def warm_up(self) -> None:
        """Run the smallest and the largest batch of the longest prompts that requests can hold, seen by no estimate.

        In the model's thread: torch's own threads belong to the one that calls.
        """
        n_tokens = min(self._limits.max_prompt_tokens, MAX_ROWS)
        n_queries = min(self._settings.max_batch, max(MAX_ROWS // n_tokens, 1))
        await self.batcher.between_batches(lambda: self._model.warm_up(n_tokens, n_queries))

    async def health(self, _: Request) -> Response:
        """``GET /health``: the loop turns; 503 where nothing takes batches off the queue any more."""
        return Response(status_code=200 if self.batcher.works else 503)

    async def metrics(self, _: Request) -> Response:
        """``GET /metrics``."""
        return Response(self.telemetry.render(), media_type=CONTENT_TYPE_LATEST)

    async def models(self, _: Request) -> Response:
        """``GET /v1/models``: the base model and what is loaded on it."""
        settings = self._settings
        base = model_card(settings.model_id, str(settings.checkpoint), None, settings.max_model_tokens)
        loaded = [model_card(a.name, str(a.path), settings.model_id, None) for a in self._adapters.residents]
        return json_response({"object": "list", "data": [base, *loaded]})

    async def completions(self, request: Request) -> Response:
        """``POST /v1/completions``: the next token, and with ``logprobs`` the ranked list of next tokens."""
        body = decode(await read_body(request), CompletionRequest)
        self._check_ranks("model")
        body.check(self._limits)
        tokens = token_ids(body.prompt, "prompt", self._limits)
        biased_tokens, added = biases(body.logit_bias, self._limits)
        allowed = allowances(body.allowed_token_ids, "allowed_token_ids", self._limits)
        hold = self._adapters.hold(body.model)
        query = Query(tokens, hold.slots[body.model], body.n_best(self._limits), biased_tokens, added, allowed)
        answer = await unless_gone(request, self.batcher.submit(query, left=hold.release))
        return json_response(completion_response(body.model, len(tokens), answer.ranking, body.logprobs))

    async def embeddings(self, request: Request) -> Response:
        """``POST /v1/embeddings``: the state after the final norm at the last token, or L2Rec's vector of a user."""
        body = decode(await read_body(request), EmbeddingRequest)
        tokens = token_ids(body.input, "input", self._limits)
        self._model.check(tokens)
        user = user_embedding(body.user_embedding, self._limits)
        hold = self._adapters.hold(body.model)
        query = Query(tokens, hold.slots[body.model], user=user)
        answer = await unless_gone(request, self.batcher.submit(query, left=hold.release))
        return json_response(embedding_response(body.model, len(tokens), answer.state, body))

    async def classify(self, request: Request) -> Response:
        """``POST /classify``: the answer token's logit, or its sigmoid, after each prompt."""
        body = decode(await read_body(request), ClassifyRequest)
        if not self._model.classifies:
            raise BadRequestError("this model does not classify: a bundle's collm model does", "model")
        tokens = prompts(body.input, "input", self._limits)
        shared = common_beginning(tokens)
        _check_rows(rows([Query(each, shared=shared) for each in tokens]))
        hold = self._adapters.hold(body.model)
        queries = [Query(each, hold.slots[body.model], shared=shared) for each in tokens]
        answers = await unless_gone(request, self.batcher.submit_all(queries, left=hold.release))
        logits = np.asarray([answer.logit for answer in answers], np.float32)
        return json_response(classify_response(body.model, sum(map(len, tokens)), logits, body))

    async def fanout(self, request: Request) -> Response:
        """``POST /v1/fanout``: one history under many adapters, a ranked list for each; see ``service.wire``."""
        arrived = monotonic()
        body = decode(await read_body(request), FanoutRequest)
        self._check_ranks("models")
        check_fanout(body, self._limits)
        tokens = token_ids(body.prompt, "prompt", self._limits)
        excluded = exclusions(body.exclude, self._limits)
        allowed = allowances(body.allow, "allow", self._limits)
        n_best = min(body.n, self._limits.vocabulary_size)
        deadline = inf if body.timeout_ms is None else arrived + body.timeout_ms / 1000
        hold = self._adapters.hold_all(body.models)
        slots = hold.slots
        if not slots:
            raise NotFoundError(f"None of the models exists: {', '.join(body.models)}", "models")
        queries = [Query(tokens, slot, n_best, *excluded, allowed) for slot in slots.values()]
        answers = await unless_gone(request, self.batcher.submit_all(queries, deadline, hold.release))
        rankings = {name: answer.ranking for name, answer in zip(slots, answers, strict=True)}
        results = [
            encode_ranking(name, rankings[name], body.encoding_format)
            if name in rankings
            else fanout_error(name, unknown_model(name))
            for name in body.models
        ]
        return Response(msgspec.json.encode(FanoutResponse(results)), media_type="application/json")

    async def load_adapter(self, request: Request) -> Response:
        """``POST /v1/load_lora_adapter``."""
        body = decode(await read_body(request), LoadAdapterRequest)
        if body.load_inplace:
            raise BadRequestError("load_inplace: not supported; give new weights a new name and path", "load_inplace")
        await self._adapters.load(body.lora_name, body.lora_path)
        return Response(f"Success: LoRA adapter '{body.lora_name}' added successfully.")

    async def unload_adapter(self, request: Request) -> Response:
        """``POST /v1/unload_lora_adapter``."""
        body = decode(await read_body(request), UnloadAdapterRequest)
        self._adapters.unload(body.lora_name)
        return Response(f"Success: LoRA adapter '{body.lora_name}' removed successfully.")

    def _check_ranks(self, field: str) -> None:
        if not self._model.ranks:
            raise BadRequestError("this model ranks no tokens: it answers /v1/embeddings", field)


def _check_rows(n_rows: int) -> None:
    """Raises TooLargeError where prompts are more than a pass should hold: it would take minutes and gigabytes."""
    if n_rows > MAX_CLASSIFIED_ROWS:
        raise TooLargeError(f"input: {n_rows} rows of tokens, at most {MAX_CLASSIFIED_ROWS} are possible", "input")
