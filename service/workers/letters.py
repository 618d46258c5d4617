"""What ULMRec is asked: with which candidate's letter the answer begins."""

from dataclasses import dataclass

import numpy as np
import orjson

from models.contract.types import Ints, RankedList, by_score
from service.workers.logprobs import check_logprobs, read_logprobs
from service.workers.types import for_model


@dataclass(frozen=True)
class Letters:
    """Candidates to rank, all in one prompt, a letter each; a score is the letter's log-probability among theirs.

    Args:
        prompt: token ids (int32).
        candidates: (m,) their item numbers, all different, in the prompt's order.
        answers: (m,) int32 token ids of their letters, all different.
    """

    prompt: Ints
    candidates: Ints
    answers: Ints

    path = "/v1/completions"
    reads_long = False

    @property
    def affinity(self) -> str:
        """See :class:`service.workers.types.Inquiry`."""
        return str(self.prompt.tolist())

    def body(self, model: str) -> bytes:
        """JSON body of ``POST /v1/completions``."""
        fields = {
            "prompt": self.prompt,
            "max_tokens": 1,
            "temperature": 0,
            "logprobs": len(self.candidates),
            "return_tokens_as_token_ids": True,
            "allowed_token_ids": self.answers,
        }
        return for_model(model, orjson.dumps(fields, option=orjson.OPT_SERIALIZE_NUMPY))

    def read(self, answer: bytes) -> RankedList:
        """The candidates, best first, ties by item number.

        Raises ValueError on anything but one finite log-probability for each letter.
        """
        tokens, logprobs = read_logprobs(answer)
        check_logprobs(tokens, logprobs)
        if sorted(tokens.tolist()) != sorted(self.answers.tolist()):
            raise ValueError(f"expected the {len(self.answers)} letters of the candidates, got {len(tokens)} tokens")
        given = dict(zip(tokens.tolist(), logprobs.tolist(), strict=True))
        scores = np.asarray([given[letter] for letter in self.answers.tolist()], np.float32)
        return by_score(self.candidates, scores)
