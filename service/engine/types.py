"""The seams of the engine: a model that answers batches, and where its adapters lie."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from models.contract.types import Ints
from service.engine.model import Answer, Query
from service.engine.telemetry import BatchCost


class AdapterStore(Protocol):
    """Slots for adapters; slot 0 is the base model's."""

    @property
    def files(self) -> tuple[str, ...]:
        """Names of an adapter's files."""
        ...

    @property
    def size_bytes(self) -> int:
        """Memory that adapters take."""
        ...

    def prepare(self, slot: int, directory: Path) -> Callable[[], None]:
        """Read an adapter into a slot that no request uses: one at a time, in any thread, while batches run.

        What comes back lets batches see it. That is called in the model's thread, between batches, and copies nothing.

        Raises AdapterError where the files are not those of an adapter of this model, or there is no memory for it.
        """
        ...


class ServedNetwork(Protocol):
    """A loaded model. One thread at a time may answer, or publish adapters.

    Attributes:
        vocabulary_size: token ids end there.
        max_tokens: of the longest sequence.
        ranks: whether it ranks next tokens.
        classifies: whether there is a token whose logit scores a prompt.
        user_size: numbers of a user's embedding; 0: it reads none.
        store: of its adapters.
    """

    vocabulary_size: int
    max_tokens: int
    ranks: bool
    user_size: int

    @property
    def classifies(self) -> bool: ...

    @property
    def store(self) -> AdapterStore: ...

    def check(self, tokens: Ints) -> None:
        """Raises BadRequestError where token ids of the vocabulary are no prompt of this model."""
        ...

    def answer(self, queries: Sequence[Query]) -> list[Answer]:
        """Answer a batch; ``answers[i]`` belongs to ``queries[i]``."""
        ...

    def watch(self, observe: Callable[[BatchCost], None]) -> None:
        """Tell ``observe``, in the model's thread, what each batch costs."""
        ...

    def warm_up(self, n_tokens: int, n_queries: int) -> None:
        """Answer dummy prompts of so many tokens, one and many, so that nothing is new to the first real batch."""
        ...
