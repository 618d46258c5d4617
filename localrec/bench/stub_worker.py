"""A worker without a model: speaks the worker contract and ranks by a hash. For benchmarks and tests.

It can be told to misbehave: ``POST /stub`` with the fields of :class:`Orders`.
"""

import asyncio
import hashlib
from enum import StrEnum
from functools import lru_cache

import msgspec
import numpy as np
import orjson
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from models.contract.types import Floats
from service.json_response import json_response

GARBAGE = b'{"choices": [{"logprobs": {"top_logprobs": [{"token_id:x": "high"}]}}]}'


class Mode(StrEnum):
    """How completions are answered."""

    OK = "ok"
    BUSY = "busy"  # 503
    GARBAGE = "garbage"  # 200, but not the contract
    BROKEN = "broken"  # 500


class Orders(msgspec.Struct, forbid_unknown_fields=True):
    """What the stub does. ``slow_adapters`` are delayed, or all where it is empty; ``load_seconds`` delays loads."""

    mode: Mode = Mode.OK
    delay_seconds: float = 0.0
    slow_adapters: tuple[str, ...] = ()
    load_seconds: float = 0.0
    forget_adapters: bool = False


class StubWorker:
    """State of one stub: the base model's name, the adapters that are loaded, what it was told, what it was asked."""

    def __init__(self, base: str, n_items: int) -> None:
        self.base = base
        self.n_items = n_items
        self.adapters: set[str] = set()
        self.orders = Orders()
        self.counts = {"completions": 0, "finished": 0, "loads": 0}

    async def health(self, _: Request) -> Response:
        """``GET /health``."""
        return Response(status_code=200)

    async def models(self, _: Request) -> Response:
        """``GET /v1/models``."""
        base = [{"id": self.base, "parent": None}]
        return json_response({"data": base + [{"id": name, "parent": self.base} for name in sorted(self.adapters)]})

    async def load(self, request: Request) -> Response:
        """``POST /v1/load_lora_adapter``."""
        name = orjson.loads(await request.body())["lora_name"]
        self.counts["loads"] += 1
        await asyncio.sleep(self.orders.load_seconds)
        if name in self.adapters:
            return json_response({"message": f"The lora adapter '{name}' has already been loaded."}, 400)
        self.adapters.add(name)
        return json_response({"message": "Success"})

    async def complete(self, request: Request) -> Response:
        """``POST /v1/completions``."""
        asked = orjson.loads(await request.body())
        self.counts["completions"] += 1
        model, orders = asked["model"], self.orders
        if orders.delay_seconds and (not orders.slow_adapters or model.endswith(orders.slow_adapters)):
            await asyncio.sleep(orders.delay_seconds)
        if orders.mode is Mode.BUSY:
            return json_response({"error": "busy"}, 503)
        if orders.mode is Mode.BROKEN:
            return json_response({"error": "broken"}, 500)
        if orders.mode is Mode.GARBAGE:
            return Response(GARBAGE, media_type="application/json")
        if model != self.base and model not in self.adapters:
            return json_response({"error": {"message": f"The model `{model}` does not exist."}}, 404)
        self.counts["finished"] += 1
        scores = stub_scores(model, tuple(asked["prompt"]), self.n_items).copy()
        for token, bias in asked["logit_bias"].items():
            scores[int(token)] += bias
        return json_response(_completion(scores, asked["logprobs"]))

    async def order(self, request: Request) -> Response:
        """``POST /stub``: what to do from now on."""
        self.orders = msgspec.json.decode(await request.body(), type=Orders)
        if self.orders.forget_adapters:
            self.adapters.clear()
        return json_response(self.counts)

    async def count(self, _: Request) -> Response:
        """``GET /stub``: what was asked so far."""
        return json_response(self.counts)


@lru_cache(maxsize=512)
def stub_scores(model: str, prompt: tuple[int, ...], n_items: int) -> Floats:
    """Log-probability-like scores (n_items + 1,) of every token, a pure function of adapter and prompt."""
    seed = hashlib.blake2b(f"{model}:{prompt}".encode(), digest_size=8).digest()
    rng = np.random.default_rng(int.from_bytes(seed, "little"))
    return np.asarray(-rng.permutation(n_items + 1) / 8, dtype=np.float32)


def create_stub(base: str, n_items: int) -> Starlette:
    """The stub as an ASGI application."""
    stub = StubWorker(base, n_items)
    return Starlette(
        routes=[
            Route("/v1/completions", stub.complete, methods=["POST"]),
            Route("/v1/load_lora_adapter", stub.load, methods=["POST"]),
            Route("/v1/models", stub.models),
            Route("/health", stub.health),
            Route("/stub", stub.order, methods=["POST"]),
            Route("/stub", stub.count, methods=["GET"]),
        ]
    )


def serve_stub(base: str, n_items: int, port: int) -> None:
    """Serve a stub on loopback until a signal."""
    uvicorn.run(create_stub(base, n_items), host="127.0.0.1", port=port, log_level="warning", access_log=False)


def _completion(scores: Floats, count: int) -> dict[str, object]:
    best = np.argsort(-scores, kind="stable")[:count]
    logprobs = {f"token_id:{token}": float(scores[token]) for token in best.tolist()}
    return {"choices": [{"text": "", "logprobs": {"top_logprobs": [logprobs]}}]}
