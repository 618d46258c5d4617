"""L2Rec's network: its equations, literally; what does not matter; what is frozen; bad input."""

import pytest
import torch
from support.families import FAMILIES
from support.tiny_l2rec import LAYOUT, SEPARATOR, START, USER_SIZE, decoder, network, prompts
from torch import Tensor, nn
from torch.nn import functional as F

from models.contract.errors import ConfigError
from models.networks.l2rec import L2RecNetwork
from models.networks.l2rec_config import ExpertsConfig, Pooling

TOLERANCE = {"rtol": 1e-3, "atol": 1e-4}


def literal_items(made: L2RecNetwork, tokens: list[int]) -> Tensor:
    """X_b of equation 2 (1, start + items, size), of a prompt without padding."""
    words, pooled, item = made.decoder.embed_tokens(torch.tensor(tokens)), [], []
    for place, token in enumerate(tokens[START:], START):
        item.append(words[place])
        if token == SEPARATOR:
            mean = sum(item) / len(item)
            length = sum(word.norm() for word in item) / len(item)
            vector = mean / mean.norm() * length
            pooled.append(vector + made.projector.linear(vector))
            item = []
    return torch.cat([made.decoder.embed_tokens(torch.tensor(tokens[:START])), torch.stack(pooled)])[None]


def unit_scale(x: Tensor) -> Tensor:
    return x / x.square().mean().sqrt()


def literal_fused(made: L2RecNetwork, semantic: Tensor, behavioural: Tensor) -> Tensor:
    """Equation 7."""
    first, second = (p.linear(h) + h for p, h in zip(made.fusion.projections, (semantic, behavioural), strict=True))
    share = torch.sigmoid(made.fusion.gate.weight @ torch.cat([first, second]) + made.fusion.gate.bias)
    mixed = share * first + (1 - share) * second
    return mixed / mixed.norm()


def literal_state(states: Tensor, pooling: Pooling) -> Tensor:
    """h_v of a prompt's states (n, size)."""
    return unit_scale(states[-1] if pooling == "last" else states[START:].mean(dim=0))


def without_experts(pooling: Pooling) -> L2RecNetwork:
    """Experts that add nothing, so that the frozen decoder is the oracle."""
    made = network(pooling=pooling)
    for block in made.blocks:
        for experts in block.experts.values():
            nn.init.zeros_(experts.b)
    return made


@pytest.mark.parametrize("pooling", ["last", "mean"])
@torch.no_grad()
def test_inputs_and_fusion_are_the_equations(pooling: Pooling) -> None:
    made = without_experts(pooling)
    tokens, lengths, users = prompts()
    views = made(tokens, lengths, users)
    for row, length in enumerate(lengths.tolist()):
        prompt = tokens[row, :length].tolist()
        items = literal_items(made, prompt)
        semantic = literal_state(made.decoder(torch.tensor([prompt])).last_hidden_state[0], pooling)
        behavioural = literal_state(made.decoder(inputs_embeds=items).last_hidden_state[0], pooling)
        torch.testing.assert_close(views.semantic[row], semantic, **TOLERANCE)
        torch.testing.assert_close(views.behavioural[row], behavioural, **TOLERANCE)
        torch.testing.assert_close(views.fused[row], literal_fused(made, semantic, behavioural), **TOLERANCE)


@torch.no_grad()
def test_a_routed_block_is_the_merged_weights_of_each_token() -> None:
    """Equation 3 in weight space: the layer of a token is W + ΔW of its user, view and route."""
    made = network()
    tokens, _, users = (each[:1] for each in prompts())
    block, normed, seen = made.decoder.layers[0], [], []
    query = block.self_attn.q_proj
    with made._adapted("semantic", users) as runs:
        hooks = [
            block.input_layernorm.register_forward_hook(lambda _, __, y: normed.append(y)),
            query.register_forward_hook(lambda _, __, y: seen.append(y)),  # behind the experts'
        ]
        made.decoder(inputs_embeds=made.decoder.embed_tokens(tokens), use_cache=False)
    for hook in hooks:
        hook.remove()
    experts, config = made.blocks[0].experts["q_proj"], made.config
    for place in range(tokens.shape[1]):
        weights = [*runs[0].routes[0].weights[0, place].tolist(), 1.0]  # the semantic view's own, then the shared one
        rows = [slice(k * config.rank, (k + 1) * config.rank) for k in range(len(weights))]
        added = sum(g * experts.b[r].T @ experts.a[r] for g, r in zip(weights, rows, strict=True))
        merged = query.weight + config.alpha / config.rank * added
        torch.testing.assert_close(seen[0][0, place], merged @ normed[0][0, place], **TOLERANCE)


@pytest.mark.parametrize("family", list(FAMILIES))
@torch.no_grad()
def test_padding_and_neighbours_never_matter(family: str) -> None:
    made = network(family)
    tokens, lengths, users = prompts()
    together = made(tokens, lengths, users)
    base = made.base(tokens, lengths)
    for row, length in enumerate(lengths.tolist()):
        one = (tokens[row : row + 1, :length], lengths[row : row + 1])
        alone = made(*one, users[row : row + 1])
        for name in ("semantic", "behavioural", "fused"):
            torch.testing.assert_close(getattr(together, name)[row], getattr(alone, name)[0], **TOLERANCE)
        torch.testing.assert_close(base[row], made.base(*one)[0], **TOLERANCE)


@pytest.mark.parametrize("pooling", ["last", "mean"])
@pytest.mark.parametrize("family", list(FAMILIES))
@torch.no_grad()
def test_untrained_it_is_the_base_model(family: str, pooling: Pooling) -> None:
    frozen = decoder(family)
    config = ExpertsConfig(size=frozen.config.hidden_size, user_size=USER_SIZE, pooling=pooling)
    made = L2RecNetwork(frozen, LAYOUT, config)
    tokens, lengths, users = prompts()
    torch.testing.assert_close(made(tokens, lengths, users).fused, made.base(tokens, lengths), **TOLERANCE)
    trained = network(family, pooling=pooling)(tokens, lengths, users).fused
    assert float((trained - made.base(tokens, lengths)).norm(dim=1).min()) > 0.05


@torch.no_grad()
def test_the_user_routes_and_the_decoder_is_left_as_it_was() -> None:
    made = network()
    before = {name: value.clone() for name, value in made.decoder.state_dict().items()}
    tokens, lengths, users = prompts()
    ours, others = made(tokens, lengths, users), made(tokens, lengths, -users)
    nobody = made(tokens, lengths, torch.zeros_like(users))
    assert float((ours.fused - others.fused).norm(dim=1).min()) > 1e-3
    assert float((ours.fused - nobody.fused).norm(dim=1).min()) > 1e-3
    assert torch.isfinite(nobody.fused).all()
    torch.testing.assert_close(nobody.fused.norm(dim=1), torch.ones(3))
    assert all(torch.equal(value, before[name]) for name, value in made.decoder.state_dict().items())
    assert not any(module._forward_hooks for module in made.decoder.modules())
    agnostic = network(personal=False)
    torch.testing.assert_close(agnostic(tokens, lengths, users).fused, agnostic(tokens, lengths, -users).fused)


@torch.no_grad()
def test_several_networks_share_a_decoder() -> None:
    one = network()
    other = L2RecNetwork(one.decoder, LAYOUT, one.config)
    other.load_state_dict({name: 0.5 * value for name, value in one.state_dict().items()})
    given = prompts()
    first, second = one(*given).fused, other(*given).fused
    assert not torch.allclose(first, second, **TOLERANCE)
    assert torch.equal(one(*given).fused, first)


@pytest.mark.parametrize(
    ("views", "kept", "left"),
    [(("semantic",), "semantic", "behavioural"), (("behavioural",), "behavioural", "semantic")],
)
@torch.no_grad()
def test_a_view_without_the_other(views: tuple[str, ...], kept: str, left: str) -> None:
    made = network(views=views)
    found = made(*prompts())
    assert getattr(found, left) is None
    assert set(found.routes) == {kept}
    expected = F.normalize(made.fusion.projections[0](getattr(found, kept)), dim=-1)
    torch.testing.assert_close(found.fused, expected)
    assert made.base(*prompts()[:2]).shape == (3, made.config.size)


def test_gradient_reaches_every_expert_and_nothing_frozen() -> None:
    made = network(top_k=2)
    tokens, lengths, _ = prompts()
    for seed in range(6):
        users = 3 * torch.randn(3, USER_SIZE, generator=torch.Generator().manual_seed(seed))
        (made(tokens, lengths, users).fused * torch.linspace(-1, 1, made.config.size)).sum().backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in made.parameters())
    for block in made.blocks:
        for experts in block.experts.values():
            assert experts.a.grad.ne(0).any(dim=1).all(), "an expert's A"
            assert experts.b.grad.ne(0).any(dim=1).all(), "an expert's B"
    frozen = list(made.decoder.parameters())
    assert all(parameter.grad is None and not parameter.requires_grad for parameter in frozen)
    assert not {id(parameter) for parameter in frozen} & {id(parameter) for parameter in made.parameters()}


@torch.no_grad()
def test_autocast_is_near_to_float32() -> None:
    made, given = network(experts=2, top_k=2), prompts()  # all of them: rounding decides nearly equal ones anew
    exact = made(*given).fused
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rounded = made(*given).fused
    assert rounded.dtype == torch.float32
    assert float((rounded * exact).sum(dim=1).min()) > 0.98


@torch.no_grad()
def test_a_decoder_in_bfloat16() -> None:
    made, given = network(experts=2, top_k=2), prompts()
    exact, base = made(*given).fused, made.base(*given[:2])
    made.decoder.bfloat16()
    made.blocks.bfloat16()
    assert float((made(*given).fused * exact).sum(dim=1).min()) > 0.95
    assert float((made.base(*given[:2]) * base).sum(dim=1).min()) > 0.95


def test_a_prompt_without_items_is_refused() -> None:
    tokens, lengths, users = prompts()
    lengths[2] = START
    with pytest.raises(ValueError, match="prompt 2 holds no item"):
        network()(tokens, lengths, users)


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"size": 3}, "size: 3; the decoder's states have"),
        ({"rank": 0}, "rank: 0"),
        ({"top_k": 4}, "top_k: 4; expected 1 to the 3 experts"),
        ({"top_k": 0}, "top_k: 0"),
        ({"shared": 0, "experts": 0}, "expected at least one"),
        ({"targets": ("q_proj", "q_proj")}, "each once"),
        ({"targets": ("lm_head",)}, "targets"),
        ({"views": ()}, "views"),
    ],
)
def test_impossible_settings(settings: dict[str, object], complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        network(**settings)


def test_a_target_that_the_decoder_has_not() -> None:
    frozen = decoder()
    frozen.layers[1].mlp.up_proj = nn.Identity()
    with pytest.raises(ConfigError, match="no linear layer up_proj"):
        L2RecNetwork(frozen, LAYOUT, ExpertsConfig(size=frozen.config.hidden_size, user_size=USER_SIZE))
