"""Experts and router against equations 3 to 5, one number after the other."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from models.networks.l2rec_config import ExpertsConfig, View
from models.networks.l2rec_experts import Experts, Router

RANK, SHARED, OWN, N_IN, N_OUT = 2, 2, 3, 7, 5
TOLERANCE = {"rtol": 1e-4, "atol": 1e-5}


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


def experts() -> Experts:
    made = Experts(N_IN, N_OUT, RANK, SHARED, {"semantic": OWN, "behavioural": OWN})
    torch.nn.init.normal_(made.b)
    return made


def literal(made: Experts, x: Tensor, view: View, weights: Tensor) -> Tensor:
    """Equation 3 of tokens (b, n, n_in), with g (b, n, OWN); a loop over experts."""
    first = 0 if view == "semantic" else OWN + SHARED
    added = torch.zeros(*x.shape[:2], N_OUT)
    pairs = [(expert, None) for expert in range(OWN, OWN + SHARED)] + [(first + k, k) for k in range(OWN)]
    for expert, k in pairs:
        rows = slice(expert * RANK, (expert + 1) * RANK)
        update = x @ made.a[rows].T @ made.b[rows]
        added = added + (update if k is None else weights[:, :, k, None] * update)
    return added


def columns(view: View, weights: Tensor) -> Tensor:
    shared = torch.ones(*weights.shape[:2], SHARED)
    parts = [weights, shared] if view == "semantic" else [shared, weights]
    return torch.cat(parts, dim=-1).repeat_interleave(RANK, dim=-1)


def gradients(made: Experts, y: Tensor) -> list[Tensor]:
    return list(torch.autograd.grad((y * torch.arange(1.0, N_OUT + 1)).sum(), list(made.parameters())))


@pytest.mark.parametrize("view", ["semantic", "behavioural"])
def test_one_product_is_the_sum_over_experts(view: View) -> None:
    made, x = experts(), torch.randn(2, 4, N_IN)
    weights = torch.rand(2, 4, OWN) * (torch.rand(2, 4, OWN) > 0.5)
    y = torch.randn(2, 4, N_OUT)

    fast = made(y, x, view, columns(view, weights))
    slow = y + literal(made, x, view, weights)

    torch.testing.assert_close(fast, slow, **TOLERANCE)
    for one, other in zip(gradients(made, fast), gradients(made, slow), strict=True):
        torch.testing.assert_close(one, other, **TOLERANCE)


def test_in_bfloat16() -> None:
    made, x, weights = experts(), torch.randn(2, 4, N_IN), torch.rand(2, 4, OWN)
    y = torch.zeros(2, 4, N_OUT)
    slow = literal(made, x, "semantic", weights)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        fast = made(y.bfloat16(), x.bfloat16(), "semantic", columns("semantic", weights))
    assert fast.dtype == torch.bfloat16
    assert float((fast - slow).detach().norm() / slow.detach().norm()) < 0.02
    ours, theirs = gradients(made, fast), gradients(made, slow)
    assert all(float((a - b).norm() / b.norm()) < 0.03 for a, b in zip(ours, theirs, strict=True))


def test_a_view_leaves_the_experts_of_the_other_alone() -> None:
    made, x = experts(), torch.randn(1, 2, N_IN)
    made(torch.zeros(1, 2, N_OUT), x, "semantic", columns("semantic", torch.ones(1, 2, OWN))).sum().backward()
    assert made.a.grad is not None
    own, other = made.a.grad[: (OWN + SHARED) * RANK], made.a.grad[(OWN + SHARED) * RANK :]
    assert own.ne(0).any(dim=1).all()
    assert not other.any()


def router(**settings: object) -> Router:
    return Router(ExpertsConfig(**({"size": 6, "user_size": 4, "experts": 5, "router_size": 3} | settings)))


def literal_probabilities(made: Router, x: Tensor, u: Tensor) -> Tensor:
    """p of equations 4 and 5 for one token (6,) and user (4,)."""
    x = x / x.square().mean().sqrt()
    u = u / u.square().mean().sqrt() if u.any() else u

    def network(inner: Tensor, outer: Tensor, given: Tensor) -> Tensor:
        return outer @ F.gelu(inner @ given)

    context = network(made.context_in.weight, made.context_out.weight, x)
    if not made.personal:
        return context.softmax(dim=0)
    preference = network(made.user_in.weight, made.user_out.weight, u)
    interaction = network(made.both_in.weight, made.both_out.weight, torch.cat([x, u]))
    return (context + preference * interaction).softmax(dim=0)


@pytest.mark.parametrize("personal", [True, False])
def test_routes_are_the_equations(personal: bool) -> None:
    made, x, users = router(personal=personal), 3 * torch.randn(2, 3, 6), 3 * torch.randn(2, 4)
    users[1] = 0
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter)
    route = made(x, users)
    for row in range(2):
        for place in range(3):
            expected = literal_probabilities(made, x[row, place], users[row])
            torch.testing.assert_close(route.probabilities[row, place], expected, rtol=1e-3, atol=1e-5)
            best = set(expected.topk(2).indices.tolist())
            assert set(route.chosen[row, place].nonzero()[:, 0].tolist()) == best
            kept = torch.stack([p if k in best else p * 0 for k, p in enumerate(expected)])
            torch.testing.assert_close(route.weights[row, place], kept, rtol=1e-3, atol=1e-5)


def test_of_nobody_the_context_alone_decides() -> None:
    made, x = router(), torch.randn(1, 3, 6)
    alone = router(personal=False)
    alone.load_state_dict({name: value for name, value in made.state_dict().items() if name.startswith("context")})
    torch.testing.assert_close(made(x, torch.zeros(1, 4)).probabilities, alone(x, torch.zeros(1, 4)).probabilities)
    assert not torch.allclose(made(x, torch.ones(1, 4)).probabilities, alone(x, torch.ones(1, 4)).probabilities)


def test_routes_are_chosen_in_float32() -> None:
    made, x, users = router(), torch.randn(1, 3, 6), torch.randn(1, 4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        route = made(x, users)
    assert torch.equal(route.probabilities, made(x, users).probabilities)
    assert made.bfloat16()(x.bfloat16(), users.bfloat16()).probabilities.dtype == torch.float32
