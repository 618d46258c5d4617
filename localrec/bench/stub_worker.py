"""A worker without a model: speaks the worker contract and ranks by a hash. For benchmarks and tests.

It can be told to misbehave: ``POST /stub`` with the fields of :class:`Orders`.
"""

import asyncio
import base64
import hashlib
from collections.abc import Mapping, Sequence
from enum import StrEnum
from functools import lru_cache
from typing import Any

import msgspec
import numpy as np
import orjson
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from models.contract.types import Floats, RankedList, item_numbers
from service.json_response import json_response
from service.wire import FANOUT_PATH, FanoutRequest, FanoutResponse, FanoutResult, ModelError, encode_ranking

GARBAGE = b'{"choices": [{"logprobs": {"top_logprobs": [{"token_id:x": "high"}]}}], "data": [{"model": 7}]}'
STATE_SIZE = 16  # numbers of a state
FORBIDDEN = -9999.0  # how vLLM writes the log-probability of a token that is not allowed


class Mode(StrEnum):
    """How completions are answered."""

    OK = "ok"
    BUSY = "busy"  # 503
    GARBAGE = "garbage"  # 200, but not the contract
    BROKEN = "broken"  # 500
    TOO_LATE = "too_late"  # 504, as our engine says where the deadline is nearer than the answer


class Orders(msgspec.Struct, forbid_unknown_fields=True):
    """What the stub does.

    Args:
        mode: how completions are answered.
        delay_seconds: before an answer.
        delays: seconds by the end of an adapter's name, where they differ from ``delay_seconds``.
        load_seconds: before a load ends of ``slow_loads`` (ends of names), or of any where that is empty.
        stalls: whether nothing is answered while a load runs, as in vLLM.
        slots: adapters that can be loaded, 0 for any number; one more is refused.
        keeps: whether unloading fails.
        unwell: how many looks at its health fail, from now on.
        forget_adapters: drop all that is loaded, now.
        forgetful: know no adapter in a fan-out.
        ignored: adapters (ends of names) that are loaded, but answer as the base model does.
        impostors: adapters (ends of names) that answer as the adapters of other names do.
        retry_after: seconds that a 503 asks for.
    """

    mode: Mode = Mode.OK
    delay_seconds: float = 0.0
    delays: dict[str, float] = {}
    load_seconds: float = 0.0
    slow_loads: tuple[str, ...] = ()
    stalls: bool = False
    slots: int = 0
    keeps: bool = False
    unwell: int = 0
    forget_adapters: bool = False
    forgetful: bool = False
    ignored: tuple[str, ...] = ()
    impostors: dict[str, str] = {}
    retry_after: int = 0

    def wait_seconds(self, models: Sequence[str]) -> float:
        """How long an answer for these adapters is waited for: as long as the slowest takes."""
        return max(map(self._wait_seconds, models), default=0.0)

    def _wait_seconds(self, model: str) -> float:
        return next((seconds for end, seconds in self.delays.items() if model.endswith(end)), self.delay_seconds)


class StubWorker:
    """State of one stub: the base model's name, the adapters that are loaded, what it was told, what it was asked."""

    def __init__(self, base: str, n_items: int) -> None:
        self.base = base
        self.n_items = n_items
        self.adapters: set[str] = set()
        self.orders = Orders()
        names = (
            "completions",
            "fanouts",
            "classifications",
            "embeddings",
            "finished",
            "cancelled",
            "loads",
            "unloads",
            "looks",
        )
        self.counts = dict.fromkeys(names, 0)
        self._turns = asyncio.Lock()

    async def health(self, _: Request) -> Response:
        """``GET /health``."""
        self.counts["looks"] += 1
        if self.orders.unwell:
            self.orders.unwell -= 1
            return Response(status_code=500)
        return Response(status_code=200)

    async def models(self, _: Request) -> Response:
        """``GET /v1/models``."""
        base = [{"id": self.base, "parent": None}]
        return json_response({"data": base + [{"id": name, "parent": self.base} for name in sorted(self.adapters)]})

    async def load(self, request: Request) -> Response:
        """``POST /v1/load_lora_adapter``."""
        name = orjson.loads(await request.body())["lora_name"]
        self.counts["loads"] += 1
        slow = not self.orders.slow_loads or name.endswith(self.orders.slow_loads)
        seconds = self.orders.load_seconds if slow else 0.0
        if self.orders.stalls:
            async with self._turns:
                await asyncio.sleep(seconds)
        else:
            await asyncio.sleep(seconds)
        if name in self.adapters:
            return json_response({"message": f"The lora adapter '{name}' has already been loaded."}, 400)
        if self.orders.slots and len(self.adapters) >= self.orders.slots:
            return json_response({"message": "no slot is free"}, 400)
        self.adapters.add(name)
        return json_response({"message": "Success"})

    async def unload(self, request: Request) -> Response:
        """``POST /v1/unload_lora_adapter``."""
        name = orjson.loads(await request.body())["lora_name"]
        self.counts["unloads"] += 1
        if self.orders.keeps:
            return json_response({"message": "it is kept"}, 500)
        if name not in self.adapters:
            return json_response({"message": f"The lora adapter '{name}' cannot be found."}, 404)
        self.adapters.remove(name)
        return json_response({"message": "Success"})

    async def complete(self, request: Request) -> Response:
        """``POST /v1/completions``."""
        asked = orjson.loads(await request.body())
        self.counts["completions"] += 1
        model = asked["model"]
        refusal = await self._alone(request, model)
        if refusal is not None:
            return refusal
        excluded = [int(token) for token in asked.get("logit_bias", {})]
        allowed = asked.get("allowed_token_ids")
        ranking = self._ranked(model, asked["prompt"], excluded, allowed, asked["logprobs"])
        scores = np.where(np.isfinite(ranking.scores), ranking.scores, FORBIDDEN)
        return json_response(_completion(RankedList(ranking.items, scores)))

    async def fan_out(self, request: Request) -> Response:
        """``POST /v1/fanout``."""
        asked = msgspec.json.decode(await request.body(), type=FanoutRequest)
        self.counts["fanouts"] += 1
        refusal = await self._refusal(request, asked.models)
        if refusal is not None:
            return refusal
        results = [self._result(model, asked) for model in asked.models]
        if all(result.error for result in results):
            return json_response({"error": {"message": "None of the models exists."}}, 404)
        self.counts["finished"] += 1
        return Response(msgspec.json.encode(FanoutResponse(results)), media_type="application/json")

    async def classify(self, request: Request) -> Response:
        """``POST /classify``."""
        asked = orjson.loads(await request.body())
        self.counts["classifications"] += 1
        refusal = await self._alone(request, asked["model"])
        if refusal is not None:
            return refusal
        name = self._answers_as(asked["model"])
        data = [
            {"index": at, "label": "LABEL_0", "probs": [stub_logit(name, tuple(prompt))], "num_classes": 1}
            for at, prompt in enumerate(asked["input"])
        ]
        return json_response({"object": "list", "data": data})

    async def embed(self, request: Request) -> Response:
        """``POST /v1/embeddings``."""
        asked = orjson.loads(await request.body())
        self.counts["embeddings"] += 1
        refusal = await self._alone(request, asked["model"])
        if refusal is not None:
            return refusal
        name, prompt = self._answers_as(asked["model"]), tuple(asked["input"])
        user = asked.get("user_embedding")
        state = stub_state(name, prompt) if user is None else stub_user_vector(name, prompt, _floats(user))
        embedding = base64.b64encode(state.astype("<f4").tobytes()).decode("ascii")
        return json_response({"object": "list", "data": [{"index": 0, "embedding": embedding}]})

    async def order(self, request: Request) -> Response:
        """``POST /stub``: what to do from now on."""
        self.orders = msgspec.json.decode(await request.body(), type=Orders)
        if self.orders.forget_adapters:
            self.adapters.clear()
        return json_response(self._report())

    async def report(self, _: Request) -> Response:
        """``GET /stub``: what was asked so far, and what is loaded."""
        return json_response(self._report())

    def _report(self) -> Mapping[str, Any]:
        return self.counts | {"adapters": sorted(self.adapters)}

    async def _refusal(self, request: Request, models: list[str]) -> Response | None:
        """Wait as long as was ordered, and fail where that was ordered."""
        orders = self.orders
        if orders.stalls:
            async with self._turns:
                pass
        seconds = orders.wait_seconds(models)
        if seconds and await _is_left_within(request, seconds):
            self.counts["cancelled"] += 1
            return Response(status_code=499)
        if orders.mode is Mode.BUSY:
            headers = {"Retry-After": str(orders.retry_after)} if orders.retry_after else None
            return json_response({"error": "busy"}, 503, headers)
        if orders.mode is Mode.BROKEN:
            return json_response({"error": "broken"}, 500)
        if orders.mode is Mode.TOO_LATE:
            return json_response({"error": "the deadline is nearer than the answer"}, 504)
        return Response(GARBAGE, media_type="application/json") if orders.mode is Mode.GARBAGE else None

    async def _alone(self, request: Request, model: str) -> Response | None:
        """The same for a call to one model, which may not be there."""
        refusal = await self._refusal(request, [model])
        if refusal is not None:
            return refusal
        if not self._knows(model):
            return json_response({"error": {"message": f"The model `{model}` does not exist."}}, 404)
        self.counts["finished"] += 1
        return None

    def _knows(self, model: str) -> bool:
        return model == self.base or model in self.adapters

    def _result(self, model: str, asked: FanoutRequest) -> FanoutResult:
        if not self._knows(model) or self.orders.forgetful:
            return FanoutResult(model, error=ModelError(f"The model `{model}` does not exist.", "NotFoundError", 404))
        ranking = self._ranked(model, asked.prompt, asked.exclude, asked.allow, asked.n)
        keep = ~np.isin(ranking.items, asked.exclude) & np.isfinite(ranking.scores)
        return encode_ranking(model, RankedList(ranking.items[keep], ranking.scores[keep]), asked.encoding_format)

    def _ranked(
        self, model: str, prompt: list[int], excluded: list[int], allowed: list[int] | None, n: int
    ) -> RankedList:
        only = None if allowed is None else tuple(allowed)
        return _ranking(self._answers_as(model), tuple(prompt), tuple(excluded), only, n, self.n_items)

    def _answers_as(self, model: str) -> str:
        if model == self.base or model.endswith(self.orders.ignored):
            return ""
        for end, other in self.orders.impostors.items():
            if model.endswith(end):
                return model.removesuffix(end) + other
        return model


async def _is_left_within(request: Request, seconds: float) -> bool:
    """Wait, but only as long as the client does; the body has been read, so the next message says that it has left."""
    try:
        async with asyncio.timeout(seconds):
            while (await request.receive())["type"] != "http.disconnect":
                pass
    except TimeoutError:
        return False
    return True


@lru_cache(maxsize=8192)
def _ranking(
    model: str,
    prompt: tuple[int, ...],
    excluded: tuple[int, ...],
    allowed: tuple[int, ...] | None,
    n: int,
    n_items: int,
) -> RankedList:
    """Kept, so that in a benchmark the stub costs next to nothing: it runs beside what is measured."""
    scores = stub_scores(model, prompt, n_items).copy()
    scores[list(excluded)] -= 100.0
    if allowed is not None:
        scores[np.setdiff1d(np.arange(len(scores)), allowed)] = -np.inf
    best = np.argsort(-scores, kind="stable")[:n]
    return RankedList(item_numbers(best), scores[best])


@lru_cache(maxsize=512)
def stub_scores(model: str, prompt: tuple[int, ...], n_items: int) -> Floats:
    """Log-probability-like scores (n_items + 1,) of every token, a pure function of adapter and prompt.

    The base model's name is empty here, whatever it is called elsewhere.
    """
    return np.asarray(-_rng(model, prompt).permutation(n_items + 1) / 8, dtype=np.float32)


def stub_logit(model: str, prompt: tuple[int, ...]) -> float:
    """A classifier's number for a prompt, a pure function of adapter and prompt; two prompts hardly share one."""
    return float(_rng(model, prompt).integers(-8_000, 8_000)) / 1_000


def stub_state(model: str, prompt: tuple[int, ...]) -> Floats:
    """A state (STATE_SIZE,) after a prompt, a pure function of adapter and prompt."""
    return _rng(model, prompt).standard_normal(STATE_SIZE, dtype=np.float32)


def stub_user_vector(model: str, prompt: tuple[int, ...], user: Floats) -> Floats:
    """A vector (STATE_SIZE,) of length 1 for a prompt of a user (d,), a pure function of adapter, prompt and user."""
    drawn = _rng(model, prompt, user).standard_normal(STATE_SIZE, dtype=np.float32)
    return np.asarray(drawn / np.linalg.norm(drawn), np.float32)


def _floats(encoded: str) -> Floats:
    return np.frombuffer(base64.b64decode(encoded, validate=True), "<f4").astype(np.float32)


def _rng(model: str, prompt: tuple[int, ...], user: Floats | None = None) -> np.random.Generator:
    of_user = "" if user is None else f":{user.tolist()}"
    seed = hashlib.blake2b(f"{model}:{prompt}{of_user}".encode(), digest_size=8).digest()
    return np.random.default_rng(int.from_bytes(seed, "little"))


def create_stub(base: str, n_items: int) -> Starlette:
    """The stub as an ASGI application."""
    stub = StubWorker(base, n_items)
    return Starlette(
        routes=[
            Route("/v1/completions", stub.complete, methods=["POST"]),
            Route(FANOUT_PATH, stub.fan_out, methods=["POST"]),
            Route("/classify", stub.classify, methods=["POST"]),
            Route("/v1/embeddings", stub.embed, methods=["POST"]),
            Route("/v1/load_lora_adapter", stub.load, methods=["POST"]),
            Route("/v1/unload_lora_adapter", stub.unload, methods=["POST"]),
            Route("/v1/models", stub.models),
            Route("/health", stub.health),
            Route("/stub", stub.order, methods=["POST"]),
            Route("/stub", stub.report, methods=["GET"]),
        ]
    )


def serve_stub(base: str, n_items: int, port: int) -> None:
    """Serve a stub on loopback until a signal."""
    uvicorn.run(create_stub(base, n_items), host="127.0.0.1", port=port, log_level="warning", access_log=False)


def _completion(ranking: RankedList) -> dict[str, object]:
    pairs = zip(ranking.items.tolist(), ranking.scores.tolist(), strict=True)
    logprobs = {f"token_id:{token}": score for token, score in pairs}
    return {"choices": [{"text": "", "logprobs": {"top_logprobs": [logprobs]}}]}
