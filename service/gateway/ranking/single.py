"""Questions of those pipelines that ask one model, whose list is served as it is. Pure."""

from dataclasses import dataclass

import numpy as np

from models.contract.types import Array
from service.gateway.bundles.snapshot import Snapshot
from service.gateway.ranking.effort import fewer, savings
from service.gateway.ranking.settings import CoLLMPipeline, HatLLMPipeline
from service.gateway.ranking.user import User
from service.gateway.types import Effort, Reason
from service.workers.classification import Classification
from service.workers.embedding import Embedding
from service.workers.types import Inquiry

TEXT_ONLY = "text_only"
NOBODY = 0, 0  # communities that are asked, of how many


@dataclass(frozen=True, slots=True)
class Asked:
    """What one adapter is asked, and what the caller should know of that, and of the answer where there is one."""

    inquiry: Inquiry
    reasons: tuple[Reason, ...]
    notes: tuple[Reason, ...] = ()


def ask_collm(pipeline: CoLLMPipeline, user: User, snapshot: Snapshot, effort: Effort) -> Asked | None:
    """The best candidates of the CF model, to be ranked anew. Less effort: fewer of them.

    None where nothing is known of the user, or no candidate is allowed.
    """
    prompts = snapshot.parts.collm
    if prompts is None or user.profile is None:
        return None
    wanted = fewer(pipeline.candidates, effort)
    items = snapshot.cf.recommend(user.profile.embedding, wanted, user.excluded, user.mask).items
    if not len(items):
        return None
    row = None if user.stored_id is None else prompts.user_row(user.stored_id)
    inquiry = Classification(prompts.prompts(user.history, items, row), items)
    saved = savings(NOBODY, (wanted, pipeline.candidates))
    return Asked(inquiry, saved, _text_only(row, prompts.known_items[items]))


def ask_hatllm(pipeline: HatLLMPipeline, user: User, snapshot: Snapshot, effort: Effort) -> Asked | None:
    """The best items of all, by the state after the history. Less effort: fewer of them.

    None where there is no history, or no item is allowed.
    """
    model = snapshot.parts.hatllm
    if model is None or not len(user.history):
        return None
    if user.allowed is not None and not user.allowed.without(user.excluded).size:
        return None
    wanted = fewer(pipeline.candidates, effort)
    prompt = model.prompts.prompt(user.history)
    inquiry = Embedding(prompt, wanted, user.excluded, model.index, model.size, user.mask)
    return Asked(inquiry, savings(NOBODY, (wanted, pipeline.candidates)))


def _text_only(row: int | None, known: Array) -> tuple[Reason, ...]:
    """That CoLLM has no vector of the user, or not of all items: these are scored by their titles alone."""
    if row is None:
        return (Reason(TEXT_ONLY, "user"),)
    unknown = int(np.count_nonzero(~known))
    return (Reason(TEXT_ONLY, f"items {unknown}/{len(known)}"),) if unknown else ()
