"""How many tokens each layer computes."""

import torch
from support.hats import START, batch_of, hat_titles_of

from models.contract.hatllm import Mask
from models.papers.hatllm.attention import segments_of
from models.papers.hatllm.plan import Masks, Plan, make_plan
from models.papers.hatllm.prompts import layout_of

HISTORY = [1, 3, 0, 2]  # titles of 2, 4, 1 and 3 tokens
TOKENS = len(START) + 10


def plan_of(masks: tuple[Mask, ...], *, last_only: bool) -> Plan:
    titles = hat_titles_of(16)
    tokens, where = batch_of(titles, [HISTORY])
    if last_only:
        where[:, : TOKENS - 1] = False
    found = segments_of(tokens, layout_of(titles, masks))
    return make_plan(masks, [None] * len(masks), where, Masks(found, torch.float32))


def given_and_gone_on(plan: Plan) -> list[tuple[int, int]]:
    """Tokens that each layer is given, and those of them whose output it computes."""
    return [(s.places.shape[1], s.places.shape[1] if s.asked is None else s.asked.shape[1]) for s in plan.steps]


def test_under_cross_layers_items_are_their_last_tokens() -> None:
    masks: tuple[Mask, ...] = ("intra", "causal", "cross", "cross")
    kept = len(START) + len(HISTORY)

    assert given_and_gone_on(plan_of(masks, last_only=False)) == [
        (TOKENS, TOKENS),
        (TOKENS, kept),
        (kept, kept),
        (kept, 1 + len(HISTORY)),  # the instruction's end and the items' predict
    ]
    assert given_and_gone_on(plan_of(masks, last_only=True))[-1] == (kept, 1)


def test_before_an_intra_layer_other_items_are_needed_by_nobody() -> None:
    masks: tuple[Mask, ...] = ("intra", "intra")

    assert given_and_gone_on(plan_of(masks, last_only=True)) == [(len(START) + 3, len(START) + 3), (len(START) + 3, 1)]


def test_places_are_those_in_the_prompt() -> None:
    plan = plan_of(("causal", "cross"), last_only=False)

    assert plan.steps[1].places.tolist() == [[0, 1, 2, 4, 8, 9, 12]]


def test_plain_causal_layers_need_no_mask() -> None:
    plan = plan_of(("causal", "causal"), last_only=False)

    assert plan.steps[0].mask is None
    assert plan.steps[1].mask is not None  # its queries are fewer than its keys
