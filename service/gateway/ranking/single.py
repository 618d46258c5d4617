"""Questions of those pipelines that ask one model, whose list is served as it is. Pure."""

from dataclasses import dataclass

import numpy as np

from models.contract.collm import CoLLMPrompts
from models.contract.types import Array, Floats, Ints
from service.gateway.bundles.parts import StateModel, ULMRec
from service.gateway.bundles.snapshot import Snapshot
from service.gateway.ranking.effort import fewer, savings
from service.gateway.ranking.settings import (
    CoLLMPipeline,
    HatLLMPipeline,
    L2RecPipeline,
    SinglePipeline,
    ULMRecPipeline,
)
from service.gateway.ranking.user import User
from service.gateway.types import Effort, Reason
from service.workers.classification import Classification
from service.workers.embedding import Embedding
from service.workers.letters import Letters
from service.workers.types import Inquiry

TEXT_ONLY = "text_only"
NEW_INDEX = Reason("new_index", "user")
NOBODY = 0, 0  # communities that are asked, of how many


@dataclass(frozen=True, slots=True)
class Asked:
    """What one adapter is asked, and what the caller should know of that, and of the answer where there is one."""

    inquiry: Inquiry
    reasons: tuple[Reason, ...]
    notes: tuple[Reason, ...] = ()


def ask(pipeline: SinglePipeline, user: User, snapshot: Snapshot, effort: Effort) -> Asked | None:
    """What the pipeline's model is asked. Less effort: for fewer items.

    None where too little is known of the user for this model, or no item is allowed.
    """
    parts = snapshot.parts
    match pipeline:
        case CoLLMPipeline() if parts.collm is not None:
            return _ask_collm(parts.collm, pipeline, user, snapshot, effort)
        case ULMRecPipeline() if parts.ulmrec is not None:
            return _ask_ulmrec(parts.ulmrec, pipeline, user, snapshot, effort)
        case HatLLMPipeline() if parts.hatllm is not None:
            return _ask_for_state(parts.hatllm, pipeline.candidates, user, effort)
        case L2RecPipeline() if parts.l2rec is not None and user.profile is not None:
            return _ask_for_state(parts.l2rec, pipeline.candidates, user, effort, user.profile.embedding)
        case _:
            return None


def _ask_collm(
    prompts: CoLLMPrompts, pipeline: CoLLMPipeline, user: User, snapshot: Snapshot, effort: Effort
) -> Asked | None:
    """The best candidates of the CF model, each in a prompt of its own."""
    wanted = fewer(pipeline.candidates, effort)
    items = _retrieved(user, snapshot, wanted)
    if not len(items):
        return None
    row = None if user.stored_id is None else prompts.user_row(user.stored_id)
    inquiry = Classification(prompts.prompts(user.history, items, row), items)
    saved = savings(NOBODY, (wanted, pipeline.candidates))
    return Asked(inquiry, saved, _text_only(row, prompts.known_items[items]))


def _ask_ulmrec(
    model: ULMRec, pipeline: ULMRecPipeline, user: User, snapshot: Snapshot, effort: Effort
) -> Asked | None:
    """The best candidates of the CF model in its order, all in one prompt, as many as there are letters at most."""
    if not len(user.history):
        return None
    most = min(pipeline.candidates, model.prompts.candidates)
    wanted = fewer(most, effort)
    items = _retrieved(user, snapshot, wanted)
    if not len(items):
        return None
    index, is_new = model.index_of(user.stored_id, user.history)
    prompt = model.prompts.prompt(user.history, items, index)
    inquiry = Letters(prompt, items, model.prompts.answers[: len(items)])
    return Asked(inquiry, savings(NOBODY, (wanted, most)), (NEW_INDEX,) if is_new else ())


def _ask_for_state(
    model: StateModel, candidates: int, user: User, effort: Effort, embedding: Floats | None = None
) -> Asked | None:
    """The best items of all, by the state after the history, which ``embedding`` (d,) routes where it is given."""
    if not len(user.history):
        return None
    if user.allowed is not None and not user.allowed.without(user.excluded).size:
        return None
    wanted = fewer(candidates, effort)
    prompt = model.prompts.prompt(user.history)
    inquiry = Embedding(prompt, wanted, user.excluded, model.index, model.size, user.mask, embedding)
    return Asked(inquiry, savings(NOBODY, (wanted, candidates)))


def _retrieved(user: User, snapshot: Snapshot, n: int) -> Ints:
    """The CF model's best items that may be shown, of a user of whom something is known; at most ``n``."""
    if user.profile is None:
        return np.empty(0, np.int32)
    return snapshot.cf.recommend(user.profile.embedding, n, user.excluded, user.mask).items


def _text_only(row: int | None, known: Array) -> tuple[Reason, ...]:
    """That CoLLM has no vector of the user, or not of all items: these are scored by their titles alone."""
    if row is None:
        return (Reason(TEXT_ONLY, "user"),)
    unknown = int(np.count_nonzero(~known))
    return (Reason(TEXT_ONLY, f"items {unknown}/{len(known)}"),) if unknown else ()
