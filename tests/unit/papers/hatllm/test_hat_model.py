"""HatLLM's network against the paper's equations, its two implementations against each other."""

import math

import numpy as np
import pytest
import torch
from support.families import FAMILIES, random_backbone
from support.hats import N_ITEMS, SEPARATOR, START, batch_of, hat_model
from torch import Tensor

from models.contract.errors import ConfigError
from models.contract.hatllm import Mask
from models.papers.hatllm.model import HatModel
from models.papers.hatllm.prompts import with_placeholders

HISTORIES = [[1, 3, 0, 2], [5, 4], [], [0]]
LAYOUTS: list[tuple[Mask, ...]] = [
    ("intra", "causal", "cross", "cross"),
    ("intra", "intra", "cross", "cross"),
    ("intra", "causal", "cross-pre", "cross-pre"),
    ("cross", "causal", "intra", "intra"),
    ("causal", "cross", "causal", "intra"),
    ("causal", "causal", "causal", "causal"),
]


def model_of(family: str, masks: tuple[Mask, ...], *, fast: bool = True) -> HatModel:
    return hat_model(random_backbone(FAMILIES[family]()), masks, fast=fast)


def seen(mask: Mask, tokens: list[int], j: int, k: int) -> bool:
    """Equations 2 to 5 for one pair of tokens."""

    def item(place: int) -> int:
        return sum(token == SEPARATOR for token in tokens[len(START) : place])

    items_j, items_k = j >= len(START), k >= len(START)
    both, same = items_j and items_k, item(j) == item(k)
    if j < k:
        return False
    if mask == "intra":
        return not (both and not same)
    if mask == "cross":
        return not (both and j != k and not (tokens[j] == SEPARATOR and tokens[k] == SEPARATOR))
    if mask == "cross-pre":
        return not (both and same and j != k)
    return True


def literal_states(model: HatModel, tokens: list[int]) -> Tensor:
    """(n, hidden) of a Llama, token by token and head by head, with the adapter in its weights."""
    language_model = model.language_model.merge_and_unload()
    decoder, config = language_model.model, language_model.config
    states = decoder.embed_tokens.weight[tokens]
    for layer, mask in zip(decoder.layers, model.layout.masks, strict=True):
        normed = torch.stack([root_mean_square(state, layer.input_layernorm.weight) for state in states])
        states = states + torch.stack(
            [attended(layer.self_attn, config, normed, tokens, mask, j) for j in range(len(tokens))]
        )
        normed = torch.stack([root_mean_square(state, layer.post_attention_layernorm.weight) for state in states])
        gate = normed @ layer.mlp.gate_proj.weight.T
        states = states + (gate * gate.sigmoid() * (normed @ layer.mlp.up_proj.weight.T)) @ layer.mlp.down_proj.weight.T
    return torch.stack([root_mean_square(state, decoder.norm.weight) for state in states])


def attended(
    attention: torch.nn.Module, config: object, normed: Tensor, tokens: list[int], mask: Mask, j: int
) -> Tensor:
    """What attention gives token j."""
    d, heads, groups = config.head_dim, config.num_attention_heads, config.num_key_value_heads
    parts = []
    for head in range(heads):
        of_query, of_key = slice(head * d, (head + 1) * d), head // (heads // groups)
        of_key = slice(of_key * d, (of_key + 1) * d)
        query = turned(attention.q_proj.weight[of_query] @ normed[j], j)
        visible = [k for k in range(len(tokens)) if seen(mask, tokens, j, k)]
        logits = [float(query @ turned(attention.k_proj.weight[of_key] @ normed[k], k)) / math.sqrt(d) for k in visible]
        weights = [math.exp(logit - max(logits)) for logit in logits]
        values = [attention.v_proj.weight[of_key] @ normed[k] for k in visible]
        parts.append(sum(w * value for w, value in zip(weights, values, strict=True)) / sum(weights))
    return attention.o_proj.weight @ torch.cat(parts)


def turned(vector: Tensor, place: int) -> Tensor:
    """Rotary position of a query or key (d,)."""
    half = len(vector) // 2
    angles = place * 10_000.0 ** (-torch.arange(half) / half)
    left, right = vector[:half], vector[half:]
    return torch.cat([left * angles.cos() - right * angles.sin(), right * angles.cos() + left * angles.sin()])


def root_mean_square(state: Tensor, weight: Tensor) -> Tensor:
    return state / (state.square().mean() + 1e-6).sqrt() * weight


@pytest.mark.parametrize("masks", LAYOUTS, ids=", ".join)
@torch.no_grad()
def test_the_states_are_those_of_the_equations(masks: tuple[Mask, ...]) -> None:
    model = model_of("llama", masks)
    tokens, where = batch_of(model.titles, HISTORIES)
    reference = model_of("llama", masks, fast=False)

    expected = [
        literal_states(model_of("llama", masks), model.titles.prompt(history).tolist())[model.titles.ends(history)]
        for history in HISTORIES
    ]

    torch.testing.assert_close(reference.states(tokens, where), torch.cat(expected), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(model.states(tokens, where), torch.cat(expected), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("asked", ["ends", "last", "all"])
@pytest.mark.parametrize("masks", LAYOUTS, ids=", ".join)
@pytest.mark.parametrize("family", FAMILIES)
def test_computing_what_is_needed_gives_the_same_as_computing_everything(
    family: str, masks: tuple[Mask, ...], asked: str
) -> None:
    model = model_of(family, masks)
    tokens, ends = batch_of(model.titles, HISTORIES)
    lengths = [len(model.titles.prompt(history)) for history in HISTORIES]
    within = torch.arange(tokens.shape[1]) < torch.tensor(lengths)[:, None]
    last = torch.arange(tokens.shape[1]) == torch.tensor(lengths)[:, None] - 1
    where = {"ends": ends, "last": last, "all": within}[asked]

    scores, gradients = {}, {}
    for fast in (False, True):
        model.fast = fast
        model.zero_grad()
        logits = model.logits(tokens, where)
        (logits * torch.linspace(-1, 1, N_ITEMS)).sum().backward()
        scores[fast] = logits.detach()
        gradients[fast] = torch.cat([p.grad.flatten() for p in model.parameters() if p.requires_grad])

    torch.testing.assert_close(scores[True], scores[False], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(gradients[True], gradients[False], atol=1e-5, rtol=1e-4)
    assert gradients[True].abs().max() > 1e-3


@torch.no_grad()
def test_shallow_layers_do_not_know_what_else_is_in_the_history() -> None:
    model = model_of("llama", ("intra",) * 4)
    tokens, where = batch_of(model.titles, [[3, 1], [3, 2]])
    states = model.states(tokens, where).view(2, 3, -1)

    torch.testing.assert_close(states[0, 1], states[1, 1])
    assert not torch.allclose(states[0, 2], states[1, 2])


def test_a_training_step_moves_adapter_and_head_only() -> None:
    model = model_of("llama", LAYOUTS[0])
    before = {name: value.clone() for name, value in model.named_parameters()}
    tokens, where = batch_of(model.titles, HISTORIES)
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    model.logits(tokens, where).logsumexp(1).sum().backward()
    optimizer.step()

    moved = {name for name, value in model.named_parameters() if not torch.equal(value, before[name])}
    assert moved == {name for name in before if "lora_" in name or name.startswith("head.")}


def test_an_item_vector_stands_in_the_prompt_and_its_mapping_learns() -> None:
    vectors = np.random.default_rng(0).normal(size=(N_ITEMS, 3)).astype(np.float32)
    model = hat_model(random_backbone(FAMILIES["llama"]()), ("causal",) * 4, vectors=vectors)
    titles = with_placeholders(model.titles)
    tokens, where = batch_of(titles, HISTORIES)
    reference = hat_model(random_backbone(FAMILIES["llama"]()), ("causal",) * 4, vectors=vectors, fast=False)
    scores = model.logits(tokens, where)
    scores.square().sum().backward()

    assert titles.prompt([3]).tolist()[-2:] == [model.titles.n_words + 3, SEPARATOR]
    torch.testing.assert_close(scores, reference.logits(tokens, where), atol=1e-5, rtol=1e-4)
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in model.item_vectors.parameters())


def test_item_vectors_of_another_catalogue_are_refused() -> None:
    with pytest.raises(ConfigError, match="2 for 6 items"):
        hat_model(random_backbone(FAMILIES["llama"]()), ("causal",) * 4, vectors=np.zeros((2, 3), np.float32))


@torch.no_grad()
def test_reduced_precision_gives_nearly_the_same() -> None:
    model = model_of("llama", LAYOUTS[0])
    tokens, where = batch_of(model.titles, HISTORIES)
    exact = model.logits(tokens, where)
    with torch.autocast("cpu", torch.bfloat16):
        rough = model.logits(tokens, where)

    assert float((exact - rough.float()).norm() / exact.norm()) < 0.05


@pytest.mark.gpu
@torch.no_grad()
def test_on_a_gpu_the_states_are_the_same() -> None:
    model = model_of("llama", LAYOUTS[0])
    tokens, where = batch_of(model.titles, HISTORIES)
    expected = model.logits(tokens, where)
    model.cuda()

    for fast in (True, False):
        model.fast = fast
        given = model.logits(tokens.cuda(), where.cuda())
        torch.testing.assert_close(given.cpu(), expected, atol=1e-4, rtol=1e-3)


def test_scores_are_float32_in_mixed_precision() -> None:
    model = model_of("llama", LAYOUTS[0])
    tokens, where = batch_of(model.titles, HISTORIES)
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        scores, states = model.logits(tokens, where), model.states(tokens, where)
    torch.testing.assert_close(scores, model.head(states), rtol=1e-6, atol=1e-6)
