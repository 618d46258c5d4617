"""What HatLLM and L2Rec are asked: the state after a history. Which items it is nearest to, is found here."""

import base64
from dataclasses import dataclass

import msgspec
import numpy as np
import orjson

from models.contract.index import ItemIndex
from models.contract.types import Array, Floats, Ints, RankedList
from service.workers.types import for_model

MAX_STATE = 1e15  # beyond it is no state: items' products with it overflow; false for NaN too


class _State(msgspec.Struct):
    embedding: str


class _Answer(msgspec.Struct):
    data: list[_State]


_decoder = msgspec.json.Decoder(_Answer)


@dataclass(frozen=True)
class Embedding:
    """A history to read, and the items to rank by its state.

    Args:
        prompt: token ids of the history.
        candidates: how many items to rank.
        excluded: item numbers that must not be ranked.
        index: finds items by the inner product of their rows with a state.
        size: numbers of a state.
        allowed: (n_items,) bool, the items that alone may be ranked; None: all.
        user: (d,) float32, the embedding by which L2Rec routes; None: the model knows no users.
    """

    prompt: list[int]
    candidates: int
    excluded: Ints
    index: ItemIndex
    size: int
    allowed: Array | None = None
    user: Floats | None = None

    path = "/v1/embeddings"
    reads_long = True  # milliseconds for some ten thousand items

    @property
    def affinity(self) -> str:
        """See :class:`service.workers.types.Inquiry`."""
        return str(self.prompt)

    def body(self, model: str) -> bytes:
        """JSON body of ``POST /v1/embeddings``. The state is wanted as it is, not brought to unit length."""
        fields = {"input": self.prompt, "encoding_format": "base64", "use_activation": False}
        if self.user is not None:
            fields["user_embedding"] = base64.b64encode(self.user.astype("<f4").tobytes()).decode()
        return for_model(model, orjson.dumps(fields))

    def read(self, answer: bytes) -> RankedList:
        """The items with the largest inner products. Raises ValueError on anything but one state of finite numbers."""
        state = self._state(answer)
        return self.index.search(state, self.candidates, self.excluded, self.allowed)

    def _state(self, answer: bytes) -> Floats:
        states = _decoder.decode(answer).data  # raises ValueError
        if len(states) != 1:
            raise ValueError(f"expected one state, got {len(states)}")
        state = np.frombuffer(base64.b64decode(states[0].embedding, validate=True), "<f4")
        if state.shape != (self.size,) or not (np.abs(state) < MAX_STATE).all():
            raise ValueError(f"expected {self.size} finite numbers, got {len(state)}, or others")
        return state
