"""What the local models are asked: the next item after a history, as the OpenAI API's completions have it."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import msgspec
import numpy as np
import orjson

from models.contract.numbers import among
from models.contract.prompts import start_token
from models.contract.types import Array, Ints, RankedList
from service.wire import FanoutRequest
from service.workers.logprobs import check_logprobs, read_logprobs
from service.workers.types import for_model

EXCLUDING_BIAS = -100.0  # the lowest the API allows: the item's probability becomes zero for every purpose


@dataclass(frozen=True)
class Completion:
    """The part of a request that all communities share.

    Args:
        prompt: token ids of the history.
        candidates: how many items to rank.
        excluded: item numbers that must not be ranked; they travel as ``logit_bias``, with the start token.
        n_items: how many items there are.
        item_offset: token id of item 0. It is 0 in the item-token form alone, where the start token follows the items.
        allowed: item numbers that alone may be ranked, none of them excluded; they travel as ``allowed_token_ids``, in
            the place of what is excluded. None: all.
    """

    prompt: list[int]
    candidates: int
    excluded: Ints
    n_items: int
    item_offset: int = 0
    allowed: Ints | None = None

    path = "/v1/completions"
    reads_long = False

    @property
    def affinity(self) -> str:
        """See :class:`service.workers.types.Inquiry`."""
        return str(self.prompt)

    def body(self, model: str) -> bytes:
        """JSON body of ``POST /v1/completions`` for one adapter."""
        return for_model(model, self._shared_body)

    def fanout_body(self, models: Sequence[str], timeout_seconds: float) -> bytes:
        """JSON body of ``POST /v1/fanout`` for many adapters: a :class:`service.wire.FanoutRequest`."""
        request = FanoutRequest(
            models=list(models),
            prompt=self.prompt,
            n=self.candidates,
            exclude=[] if self.allowed is not None else self._excluded_tokens(),
            allow=self._allowed_tokens(),
            timeout_ms=timeout_seconds * 1e3,
        )
        return msgspec.json.encode(request)

    def read(self, answer: bytes) -> RankedList:
        """Items of an answer, best first, ties by item number: only those that may be ranked.

        Raises ValueError on anything but one position with finite log-probabilities of distinct token ids.
        """
        return self.ranked(*read_logprobs(answer))

    def ranked(self, tokens: Ints, scores: Array) -> RankedList:
        """Tokens with their log-probabilities as ranked items. Raises ValueError on what cannot be either."""
        check_logprobs(tokens, scores)
        items = tokens - self.item_offset
        known = (items >= 0) & (items < self.n_items)
        items, best = items[known], np.asarray(scores[known], dtype=np.float32)
        keep = ~among(items, self.excluded)
        if self.allowed is not None:  # vLLM fills up with others where fewer are allowed than were asked for
            keep &= among(items, self.allowed)
        items, best = items[keep], best[keep]
        order = np.lexsort((items, -best))[: self.candidates]
        return RankedList(items[order], best[order])

    @cached_property
    def _shared_body(self) -> bytes:
        # Encoded once for all communities of a request: the exclusions may be a thousand entries.
        fields: dict[str, object] = {
            "prompt": self.prompt,
            "max_tokens": 1,
            "temperature": 0,
            "logprobs": self.candidates,
            "return_tokens_as_token_ids": True,
        }
        if self.allowed is not None:
            fields["allowed_token_ids"] = self._allowed_tokens()
        else:
            fields["logit_bias"] = dict.fromkeys(map(str, self._excluded_tokens()), EXCLUDING_BIAS)
        return orjson.dumps(fields)

    def _excluded_tokens(self) -> list[int]:
        tokens: list[int] = (self.excluded + self.item_offset).tolist()
        return tokens if self.item_offset else [*tokens, start_token(self.n_items)]

    def _allowed_tokens(self) -> list[int] | None:
        return None if self.allowed is None else (self.allowed + self.item_offset).tolist()
