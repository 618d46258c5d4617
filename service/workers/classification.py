"""What CoLLM is asked: for each candidate, whether the user would like it."""

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
import orjson

from models.contract.types import Ints, RankedList, by_score
from service.workers.types import for_model


class _Class(msgspec.Struct):
    index: int
    probs: list[float]


class _Answer(msgspec.Struct):
    data: list[_Class]


_decoder = msgspec.json.Decoder(_Answer)


@dataclass(frozen=True)
class Classification:
    """Candidates to score, a prompt each; a score is the logit of the answer "Yes".

    Args:
        prompts: token ids (int32), one prompt a candidate.
        candidates: (n,) their item numbers, all different.
    """

    prompts: Sequence[Ints]
    candidates: Ints

    path = "/classify"
    reads_long = False

    @property
    def affinity(self) -> str:
        """See :class:`service.workers.types.Inquiry`."""
        return str(self.prompts[0].tolist())

    def body(self, model: str) -> bytes:
        """JSON body of ``POST /classify``."""
        fields = {"input": list(self.prompts), "use_activation": False}
        return for_model(model, orjson.dumps(fields, option=orjson.OPT_SERIALIZE_NUMPY))

    def read(self, answer: bytes) -> RankedList:
        """The candidates, best first, ties by item number.

        Raises ValueError on anything but one finite number for each prompt.
        """
        classes = sorted(_decoder.decode(answer).data, key=lambda each: each.index)  # raises ValueError
        if [each.index for each in classes] != list(range(len(self.candidates))):
            raise ValueError(f"expected an answer to each of {len(self.candidates)} prompts, got {len(classes)}")
        if any(len(each.probs) != 1 for each in classes):
            raise ValueError("expected one number a prompt: the classifier has one label")
        with np.errstate(over="ignore"):  # what is no float32 is refused
            scores = np.asarray([each.probs[0] for each in classes], np.float32)
        if not np.isfinite(scores).all():
            raise ValueError("expected finite scores")
        return by_score(self.candidates, scores)
