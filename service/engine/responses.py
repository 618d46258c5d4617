"""Responses of the OpenAI/vLLM contract, as far as the engine speaks it."""

import base64
import time
from typing import Any
from uuid import uuid4

import numpy as np

from models.contract.types import Floats, RankedList
from service.engine.errors import EngineError
from service.engine.schemas import ClassifyRequest, EmbeddingRequest
from service.wire import FanoutResult, ModelError

CLASS_LABEL = "LABEL_0"  # Hugging Face's name of the one class


def fanout_error(model: str, error: EngineError) -> FanoutResult:
    """An adapter's refusal in the place of its list."""
    return FanoutResult(model, error=ModelError(str(error), error.type, error.status, error.field))


def completion_response(model: str, n_prompt_tokens: int, ranking: RankedList, logprobs: int | None) -> dict[str, Any]:
    """vLLM's answer with one generated token, tokens written as ``token_id:<id>``.

    Raises EngineError where no token is ranked: then the model's numbers are broken, not the request.
    """
    if not len(ranking):
        raise EngineError(f"{model} ranks no token: its logits are no finite numbers")
    names = [f"token_id:{token}" for token in ranking.items.tolist()]
    scores = ranking.scores.tolist()
    ranked = {
        "tokens": names[:1],
        "token_logprobs": scores[:1],
        "top_logprobs": [dict(zip(names, scores, strict=True))],
        "text_offset": [0],
    }
    choice = {
        "index": 0,
        "text": names[0],
        "logprobs": None if logprobs is None else ranked,
        "finish_reason": "length",
        "stop_reason": None,
    }
    return {
        "id": f"cmpl-{uuid4().hex}",
        "object": "text_completion",
        "created": int(time.time()),
        "model": model,
        "choices": [choice],
        "usage": _usage(n_prompt_tokens, 1),
    }


def embedding_response(model: str, n_prompt_tokens: int, state: Floats, request: EmbeddingRequest) -> dict[str, Any]:
    """OpenAI's answer with one embedding, as numbers or as base64 of little-endian float32.

    Raises EngineError where one is no finite number: then the model's numbers are broken, not the request.
    """
    if not np.isfinite(state).all():
        raise EngineError(f"{model} gives no vector: its numbers are not finite")
    if request.use_activation is not False:
        state = state / np.maximum(np.linalg.norm(state), np.float32(1e-12))
    as_base64 = request.encoding_format == "base64"
    embedding = base64.b64encode(state.astype("<f4").tobytes()).decode() if as_base64 else state.tolist()
    return {
        "id": f"embd-{uuid4().hex}",
        "object": "list",
        "created": int(time.time()),
        "model": model,
        "data": [{"index": 0, "object": "embedding", "embedding": embedding}],
        "usage": _usage(n_prompt_tokens, 0),
    }


def classify_response(model: str, n_prompt_tokens: int, logits: Floats, request: ClassifyRequest) -> dict[str, Any]:
    """vLLM's answer: one number a prompt, of logits (n,).

    Raises EngineError where one is no finite number: then the model's numbers are broken, not the request.
    """
    if not np.isfinite(logits).all():
        raise EngineError(f"{model} scores nothing: its logits are no finite numbers")
    scores = logits if request.use_activation is False else 1 / (1 + np.exp(-logits.astype(np.float64)))
    data = [
        {"index": index, "label": CLASS_LABEL, "probs": [score], "num_classes": 1}
        for index, score in enumerate(scores.tolist())
    ]
    return {
        "id": f"classify-{uuid4().hex}",
        "object": "list",
        "created": int(time.time()),
        "model": model,
        "data": data,
        "usage": _usage(n_prompt_tokens, 0),
    }


def model_card(name: str, root: str, parent: str | None, max_model_len: int | None) -> dict[str, Any]:
    """One entry of ``GET /v1/models``; adapters have a parent."""
    return {
        "id": name,
        "object": "model",
        "created": int(time.time()),
        "owned_by": "localrec",
        "root": root,
        "parent": parent,
        "max_model_len": max_model_len,
    }


def _usage(n_prompt_tokens: int, n_completion_tokens: int) -> dict[str, int]:
    return {
        "prompt_tokens": n_prompt_tokens,
        "completion_tokens": n_completion_tokens,
        "total_tokens": n_prompt_tokens + n_completion_tokens,
    }
