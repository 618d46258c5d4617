"""The log-probabilities of the next token, as the OpenAI API's completions have them."""

import msgspec
import numpy as np

from models.contract.types import Array, Ints, item_numbers

MAX_LOGPROB = 1e30  # beyond it is no log-probability; false for NaN too
_TOKEN_PREFIX = "token_id:"  # noqa: S105 - a token of a vocabulary


class _Logprobs(msgspec.Struct):
    top_logprobs: list[dict[str, float] | None]


class _Choice(msgspec.Struct):
    logprobs: _Logprobs


class _Answer(msgspec.Struct):
    choices: list[_Choice]


_decoder = msgspec.json.Decoder(_Answer)


def read_logprobs(answer: bytes) -> tuple[Ints, Array]:
    """Token ids (n,) of the body of an answer, and their numbers (n,) float64, unchecked, as they come.

    Raises ValueError on anything but one choice with one position.
    """
    choices = _decoder.decode(answer).choices  # raises ValueError
    if len(choices) != 1 or len(choices[0].logprobs.top_logprobs) != 1:
        raise ValueError("expected one choice with one position")
    logprobs = choices[0].logprobs.top_logprobs[0]
    if not logprobs:
        raise ValueError("no log-probabilities")
    tokens = item_numbers([_token_id(token) for token in logprobs])
    return tokens, np.fromiter(logprobs.values(), np.float64, len(logprobs))


def check_logprobs(tokens: Ints, scores: Array) -> None:
    """Raise ValueError on what cannot be tokens with their log-probabilities."""
    if not (np.abs(scores) < MAX_LOGPROB).all() or len(set(tokens.tolist())) != len(tokens):
        raise ValueError("expected finite log-probabilities of distinct tokens")


def _token_id(token: str) -> int:
    digits = token.removeprefix(_TOKEN_PREFIX)
    if len(digits) == len(token) or not (digits.isascii() and digits.isdigit() and len(digits) < 10):
        raise ValueError(f"expected {_TOKEN_PREFIX}<number>, got {token[:40]!r}")
    return int(digits)
