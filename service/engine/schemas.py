"""Requests of the OpenAI/vLLM contract, as far as the engine speaks it; responses: ``service.engine.responses``.

A field that vLLM knows and that cannot change a greedy one-token answer is accepted, checked for its type and ignored.
Any other unknown field is refused: to ignore what a caller asked for is to answer another question.
"""

import base64
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import msgspec
import numpy as np

from models.contract.types import Floats, Ints
from service.engine.errors import BadRequestError
from service.wire import FanoutRequest

MAX_BIAS = 100.0  # OpenAI's bound; vLLM clamps to it too
MAX_USER_NUMBER = float(np.finfo(np.float16).max)  # of a user's embedding, which is stored as float16

R = TypeVar("R", bound=msgspec.Struct)

TokenIds = list[int | list[int]]
"""A prompt, or a list that holds one."""


@dataclass(frozen=True)
class Limits:
    """What a request must keep within.

    Args:
        vocabulary_size: token ids end there.
        max_prompt_tokens: tokens of a prompt.
        max_logprobs: upper bound of ``logprobs``.
        max_calls: calls at once.
        user_size: numbers of a user's embedding; 0: the model reads none.
    """

    vocabulary_size: int
    max_prompt_tokens: int
    max_logprobs: int
    max_calls: int
    user_size: int = 0


class CompletionRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Body of ``POST /v1/completions``."""

    model: str
    prompt: TokenIds
    max_tokens: int | None = None
    logprobs: int | None = None
    temperature: float | None = None
    logit_bias: dict[int, float] | None = None
    allowed_token_ids: list[int] | None = None
    n: int | None = 1
    echo: bool | None = False
    stream: bool | None = False
    return_tokens_as_token_ids: bool | None = True
    # Ignored:
    add_special_tokens: bool = True
    cache_salt: str | None = None
    min_p: float | None = None
    priority: int = 0
    request_id: str | None = None
    seed: int | None = None
    session_id: str | None = None
    skip_special_tokens: bool = True
    spaces_between_special_tokens: bool = True
    top_k: int | None = None
    top_p: float | None = None
    user: str | None = None

    def check(self, limits: Limits) -> None:
        """Raises BadRequestError where more is asked for than one greedy token with log-probabilities."""
        _expect("max_tokens", self.max_tokens, (1,))
        _expect("temperature", self.temperature, (None, 0))
        _expect("n", self.n, (None, 1))
        _expect("echo", self.echo, (None, False))
        _expect("stream", self.stream, (None, False))
        _expect("return_tokens_as_token_ids", self.return_tokens_as_token_ids, (None, True))
        if self.logprobs is not None and not 0 <= self.logprobs <= limits.max_logprobs:
            message = f"logprobs: {self.logprobs} is out of range; expected 0 to {limits.max_logprobs}"
            raise BadRequestError(message, "logprobs")

    def n_best(self, limits: Limits) -> int:
        """Ranked tokens wanted: at least the one that is generated."""
        return min(max(self.logprobs or 0, 1), limits.vocabulary_size)


class EmbeddingRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Body of ``POST /v1/embeddings``.

    ``use_activation`` (default true, as in vLLM) scales the vector to length 1. ``user_embedding``, ours alone: base64
    of little-endian float32, of the user whose history the prompt is; where it is absent, of nobody: zeros.
    """

    model: str
    input: TokenIds
    user_embedding: str | None = None
    encoding_format: Literal["float", "base64"] = "float"
    use_activation: bool | None = None
    # Ignored:
    add_special_tokens: bool = True
    priority: int = 0
    request_id: str | None = None
    user: str | None = None


class ClassifyRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Body of ``POST /classify``: one prompt, or many. ``use_activation`` (default true, as in vLLM): sigmoid."""

    model: str
    input: TokenIds
    use_activation: bool | None = None
    # Ignored:
    add_special_tokens: bool = True
    cache_salt: str | None = None
    priority: int = 0
    request_id: str | None = None
    user: str | None = None


class LoadAdapterRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Body of ``POST /v1/load_lora_adapter``."""

    lora_name: str
    lora_path: str
    load_inplace: bool = False


class UnloadAdapterRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Body of ``POST /v1/unload_lora_adapter``. ``lora_int_id`` is vLLM's and ignored."""

    lora_name: str
    lora_int_id: int | None = None


_DECODERS: dict[type[msgspec.Struct], msgspec.json.Decoder[Any]] = {
    kind: msgspec.json.Decoder(kind)
    for kind in (
        CompletionRequest,
        EmbeddingRequest,
        ClassifyRequest,
        FanoutRequest,
        LoadAdapterRequest,
        UnloadAdapterRequest,
    )
}


def decode(body: bytes, kind: type[R]) -> R:
    """Parse a body as one of the requests. Raises BadRequestError naming the field."""
    try:
        decoded: R = _DECODERS[kind].decode(body)
        return decoded
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        field = re.search(r"at `\$\.(\w+)", str(exc))
        raise BadRequestError(str(exc), field and field[1]) from exc


def token_ids(prompt: Sequence[int | list[int]], name: str, limits: Limits) -> Ints:
    """The one prompt in ``prompt``, checked. Raises BadRequestError."""
    tokens = prompt[0] if len(prompt) == 1 and isinstance(prompt[0], list) else prompt
    if not tokens:
        raise BadRequestError(f"{name}: must hold at least one token id", name)
    if any(isinstance(token, list) for token in tokens):
        raise BadRequestError(f"{name}: expected one prompt of token ids, got {len(tokens)}", name)
    if len(tokens) > limits.max_prompt_tokens:
        message = f"{name}: {len(tokens)} tokens, at most {limits.max_prompt_tokens} are possible"
        raise BadRequestError(message, name)
    return _checked_tokens(tokens, name, limits)


def prompts(given: Sequence[int | list[int]], name: str, limits: Limits) -> list[Ints]:
    """The prompts in ``given``, or the one that it is, checked. Raises BadRequestError."""
    nested = [each for each in given if isinstance(each, list)]
    if not nested:
        return [token_ids(given, name, limits)]
    if len(nested) < len(given):
        raise BadRequestError(f"{name}: expected token ids, or prompts of token ids, got both", name)
    if len(nested) > limits.max_calls:
        raise BadRequestError(f"{name}: {len(nested)} prompts, at most {limits.max_calls} are possible", name)
    return [token_ids(each, name, limits) for each in nested]


def user_embedding(encoded: str | None, limits: Limits) -> Floats | None:
    """(user_size,) float32 of a user; None where the model reads none. Raises BadRequestError."""
    name, size = "user_embedding", limits.user_size
    if not size:
        if encoded is not None:
            raise BadRequestError(f"{name}: this model reads none: a bundle's l2rec model does", name)
        return None
    if encoded is None:
        return np.zeros(size, np.float32)
    try:
        given = np.frombuffer(base64.b64decode(encoded, validate=True), "<f4")
    except ValueError as exc:
        raise BadRequestError(f"{name}: expected base64 of float32 numbers: {exc}", name) from exc
    if len(given) != size:
        raise BadRequestError(f"{name}: {len(given)} numbers, expected {size}", name)
    if not (np.abs(given) <= MAX_USER_NUMBER).all():
        raise BadRequestError(f"{name}: expected finite numbers of at most {MAX_USER_NUMBER:.0f}", name)
    return given.astype(np.float32)


def biases(logit_bias: Mapping[int, float] | None, limits: Limits) -> tuple[Ints, Floats]:
    """Token ids and what is added to their logits. Raises BadRequestError on ids outside the vocabulary."""
    if not logit_bias:
        return np.empty(0, np.int32), np.empty(0, np.float32)
    tokens = _checked_tokens(list(logit_bias), "logit_bias", limits)
    values = np.fromiter(logit_bias.values(), np.float32, len(logit_bias))
    return tokens, np.clip(values, -MAX_BIAS, MAX_BIAS)


def check_fanout(request: FanoutRequest, limits: Limits) -> None:
    """Raises BadRequestError where models or ``n`` are not what can be answered."""
    if not request.models:
        raise BadRequestError("models: must name at least one model", "models")
    if len(request.models) > limits.max_calls:
        message = f"models: {len(request.models)} are named, at most {limits.max_calls} are possible"
        raise BadRequestError(message, "models")
    if len(set(request.models)) < len(request.models):
        raise BadRequestError("models: each can be named once", "models")
    if not 1 <= request.n <= limits.max_logprobs:
        raise BadRequestError(f"n: {request.n} is out of range; expected 1 to {limits.max_logprobs}", "n")


def exclusions(tokens: Sequence[int], limits: Limits) -> tuple[Ints, Floats]:
    """Token ids and what is added to their logits so that they are not ranked. Raises BadRequestError."""
    if not tokens:
        return np.empty(0, np.int32), np.empty(0, np.float32)
    checked = _checked_tokens(tokens, "exclude", limits)
    return checked, np.full(len(checked), -np.inf, np.float32)


def allowances(tokens: Sequence[int] | None, name: str, limits: Limits) -> Ints | None:
    """Token ids that alone may be ranked; None: all. Raises BadRequestError where there are none."""
    if tokens is None:
        return None
    if not tokens:
        raise BadRequestError(f"{name}: must hold at least one token id, or be left out", name)
    return _checked_tokens(tokens, name, limits)


def _expect(name: str, value: object, allowed: Sequence[object]) -> None:
    if value not in allowed:
        raise BadRequestError(f"{name}: {value} is not supported; expected {allowed[-1]}", name)


def _checked_tokens(tokens: Sequence[Any], name: str, limits: Limits) -> Ints:
    lowest, highest = min(tokens), max(tokens)
    if lowest < 0 or highest >= limits.vocabulary_size:
        outside = lowest if lowest < 0 else highest
        message = f"{name}: token id {outside} is outside the vocabulary; expected 0 to {limits.vocabulary_size - 1}"
        raise BadRequestError(message, name)
    return np.fromiter(tokens, np.int32, len(tokens))
