"""What gateway and engine say to each other beyond the OpenAI API: one history to many adapters, in one request.

``POST /v1/fanout`` takes a :class:`FanoutRequest` and answers 200 with a :class:`FanoutResponse`: one result an
adapter, in the order of the request. An adapter that is not loaded has an error in its place, so that the others' lists
are not lost; 404 says that none of them is. Other refusals are those of ``/v1/completions``.
"""

import base64
from typing import Literal

import msgspec
import numpy as np

from models.contract.types import Array, RankedList, item_numbers

FANOUT_PATH = "/v1/fanout"

Encoding = Literal["float", "base64"]
"""Of an answer's numbers: ``float`` for people, ``base64`` of little-endian int32 and float32 for gateways."""


class FanoutRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Body of ``POST /v1/fanout``.

    Args:
        models: names of adapters, or of the base model, each once.
        prompt: token ids, read once for all models.
        n: how many next tokens to rank for each.
        exclude: token ids that must not be ranked; their probability becomes zero before normalisation.
        allow: token ids that alone may be ranked, all others' probability becomes zero; None: all.
        timeout_ms: what is left of the caller's deadline; what cannot be answered in it is dropped. None: no deadline.
        encoding_format: of the answer's numbers.
    """

    models: list[str]
    prompt: list[int]
    n: int = 100
    exclude: list[int] = []
    allow: list[int] | None = None
    timeout_ms: float | None = None
    encoding_format: Encoding = "base64"


class ModelError(msgspec.Struct, frozen=True):
    """OpenAI's error object."""

    message: str
    type: str
    code: int
    param: str | None = None


class FanoutResult(msgspec.Struct, frozen=True, omit_defaults=True):
    """One model's next tokens, best first, and their log-probabilities; or why there are none."""

    model: str
    tokens: list[int] | str = ""
    logprobs: list[float] | str = ""
    error: ModelError | None = None


class FanoutResponse(msgspec.Struct, frozen=True):
    """Body of the answer."""

    data: list[FanoutResult]
    object: str = "fanout"


def encode_ranking(model: str, ranking: RankedList, encoding: Encoding) -> FanoutResult:
    """A ranked list of tokens as a result."""
    if encoding == "float":
        return FanoutResult(model, ranking.items.tolist(), ranking.scores.tolist())
    return FanoutResult(model, _packed(ranking.items, "<i4"), _packed(ranking.scores, "<f4"))


def decode_ranking(result: FanoutResult) -> RankedList:
    """The ranked tokens of a result without an error. Raises ValueError where it is malformed."""
    try:
        tokens, scores = _numbers(result.tokens, "<i4"), _numbers(result.logprobs, "<f4")
    except OverflowError as exc:
        raise ValueError(f"a token is no int32: {exc}") from exc
    if len(tokens) != len(scores):
        raise ValueError(f"{len(tokens)} tokens with {len(scores)} log-probabilities")
    return RankedList(item_numbers(tokens), np.asarray(scores, np.float32))


def _packed(values: Array, dtype: str) -> str:
    return base64.b64encode(values.astype(dtype).tobytes()).decode("ascii")


def _numbers(values: list[int] | list[float] | str, dtype: str) -> Array:
    if isinstance(values, str):
        return np.frombuffer(base64.b64decode(values, validate=True), dtype)
    return np.asarray(values, dtype)
