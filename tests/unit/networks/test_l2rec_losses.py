"""Equations 8 and 9 and the balance of loads, one user after the other; what the statistics say."""

import math

import pytest
import torch
from support.tiny_l2rec import START, network, prompts
from torch.nn import functional as F

from models.networks.l2rec import Routes
from models.networks.l2rec_config import ExpertsConfig
from models.networks.l2rec_experts import Route, Router
from models.networks.l2rec_losses import balancing_loss, preference_loss, recommendation_loss
from models.networks.l2rec_statistics import RouterStatistics

TAU = 0.2


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


def test_recommendation_is_equation_8_without_false_negatives() -> None:
    users, rows = F.normalize(torch.randn(3, 4), dim=1), F.normalize(torch.randn(6, 4), dim=1)
    items = torch.tensor([7, 8, 7, 9, 8, 5])  # three targets, two of them the same item; three that were drawn
    seen = torch.tensor([[9, -1], [-1, -1], [5, 7]])  # the last one's own target among them
    negatives = [{1, 4, 5}, {0, 2, 3, 5}, {1, 3, 4}]  # rows that are neither the target's item nor seen
    losses = []
    for user, others in enumerate(negatives):
        exponentials = {row: math.exp(float(users[user] @ rows[row]) / TAU) for row in {user, *others}}
        losses.append(-math.log(exponentials[user] / sum(exponentials.values())))
    loss = recommendation_loss(users, rows, torch.arange(3), items, TAU, seen)
    assert float(loss) == pytest.approx(sum(losses) / 3, rel=1e-5)


def test_preference_is_equation_9() -> None:
    semantic, behavioural = torch.randn(3, 4), torch.randn(3, 4)

    def contrast(ones: torch.Tensor, others: torch.Tensor, user: int, rivals: set[int]) -> float:
        terms = {w: math.exp(float(F.cosine_similarity(ones[user], others[w], dim=0)) / TAU) for w in {user, *rivals}}
        return -math.log(terms[user] / sum(terms.values()))

    def expected(rivals: list[set[int]]) -> float:
        pairs = [
            contrast(semantic, behavioural, user, rivals[user]) + contrast(behavioural, semantic, user, rivals[user])
            for user in range(3)
        ]
        return sum(pairs) / 6

    everybody = [{0, 1, 2}] * 3
    once = preference_loss(semantic, behavioural, TAU, torch.arange(3))
    assert float(once) == pytest.approx(expected(everybody), rel=1e-5)
    twice = preference_loss(semantic, behavioural, TAU, torch.tensor([4, 5, 4]))
    assert float(twice) == pytest.approx(expected([{1}, {0, 2}, {1}]), rel=1e-5)


def routes(probabilities: list[list[float]], top_k: int = 1, padding: int = 0) -> Routes:
    """One block, one sequence; what pads chooses the first expert."""
    found = torch.tensor([probabilities + [[1.0] + [0.0] * (len(probabilities[0]) - 1)] * padding])
    chosen = torch.zeros_like(found, dtype=torch.bool).scatter_(-1, found.topk(top_k).indices, True)
    real = torch.tensor([[True] * len(probabilities) + [False] * padding])
    return Routes((Route(found, chosen),), real)


def test_balance() -> None:
    alike = routes([[0.7, 0.3], [0.3, 0.7]], padding=3)
    assert float(balancing_loss([alike])) == pytest.approx(1.0)
    collapsed = routes([[1.0, 0.0], [1.0, 0.0]])
    assert float(balancing_loss([collapsed])) == pytest.approx(2.0)
    assert float(balancing_loss([alike, collapsed])) == pytest.approx(1.5)
    tilted = routes([[0.5, 0.3, 0.2], [0.6, 0.1, 0.3]], top_k=2)
    assert float(balancing_loss([tilted])) == pytest.approx(3 * (0.5 * 0.55 + 0.25 * 0.2 + 0.25 * 0.25))


def test_balance_pulls_at_the_routers() -> None:
    made = network()
    balancing_loss(made(*prompts()).routes.values()).backward()
    assert all(p.grad is not None for name, p in made.named_parameters() if "routers" in name)


def test_an_expert_that_never_fires_is_reported() -> None:
    found = routes([[0.7, 0.2, 0.1], [0.2, 0.7, 0.1]], padding=2)
    statistics = RouterStatistics.of({"semantic": found})[0] + RouterStatistics.of({"semantic": found})[0]
    assert statistics.tokens == 4
    assert statistics.utilisation.tolist() == [[0.5, 0.5, 0.0]]
    assert statistics.silent == ((0, 2),)
    assert statistics.load_entropy == pytest.approx(math.log(2) / math.log(3))
    entropy = -sum(p * math.log(p) for p in (0.7, 0.2, 0.1))
    assert statistics.token_entropy == pytest.approx(entropy / math.log(3), rel=1e-5)
    assert statistics.lines()[1] == "semantic: never chosen: block 0 expert 2"


def test_statistics_of_both_views_without_what_pads() -> None:
    made = network()
    tokens, lengths, users = prompts()
    semantic, behavioural = RouterStatistics.of(made(tokens, lengths, users).routes)
    assert (semantic.view, behavioural.view) == ("semantic", "behavioural")
    assert (semantic.tokens, behavioural.tokens) == (int(lengths.sum()), 6 + 3 * START)  # items, and the start's tokens
    assert semantic.chosen.sum(dim=1).tolist() == [2.0 * semantic.tokens] * len(made.blocks)  # top-2


def test_collapse() -> None:
    collapsed = RouterStatistics.of({"behavioural": routes([[1.0, 0.0], [1.0, 0.0]])})[0]
    assert (collapsed.load_entropy, collapsed.token_entropy) == (0.0, 0.0)


def test_balance_undoes_collapse() -> None:
    """Tokens that are nearly alike, as a decoder's are, all choose the same experts until the loss spreads them."""
    router = Router(ExpertsConfig(size=16, user_size=4))
    x, users = torch.randn(16) + 0.3 * torch.randn(8, 32, 16), torch.randn(8, 4)
    real = torch.ones(8, 32, dtype=torch.bool)
    optimizer = torch.optim.Adam(router.parameters(), lr=0.01)

    def statistics() -> RouterStatistics:
        return RouterStatistics.of({"semantic": Routes((router(x, users),), real)})[0]

    before = statistics()
    for _ in range(150):
        optimizer.zero_grad()
        balancing_loss([Routes((router(x, users),), real)]).backward()
        optimizer.step()
    after = statistics()
    assert len(before.silent) > 0
    assert after.silent == ()
    assert after.load_entropy > max(0.85, before.load_entropy)
