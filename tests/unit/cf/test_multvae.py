"""The global model."""

import numpy as np
import pytest
import torch
from support.checkerboard import checkerboard, share_of_right_colour

from models.cf.multvae import MultVAE, MultVAEConfig, MultVAEScorer, embed, train_multvae
from models.contract.cf import CFModel
from models.contract.types import item_numbers
from models.evaluation.metrics import mean_ndcg
from models.types import Sequences, by_history

SMALL = MultVAEConfig(
    embedding_size=8, dropout=0.2, anneal_steps=100, learning_rate=0.03, batch_size=10, epochs=40, patience=40
)


def parameters(model: CFModel) -> list[np.ndarray]:
    return [model.encoder_weight, model.encoder_bias, model.item_factors, model.item_bias]


def short(seed: int) -> MultVAEConfig:
    return MultVAEConfig(embedding_size=4, batch_size=10, epochs=2, seed=seed)


@pytest.fixture
def network() -> MultVAE:
    torch.manual_seed(3)
    network = MultVAE(n_items=9, embedding_size=5, dropout=0.5)
    torch.nn.init.normal_(network.mean_bias)
    torch.nn.init.normal_(network.decoder.bias)
    return network


@pytest.mark.gpu
def test_finds_the_colour_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    devices: set[str] = set()
    loss = MultVAE.loss

    def spy(network: MultVAE, items: torch.Tensor, offsets: torch.Tensor, kl_weight: float) -> torch.Tensor:
        devices.add(items.device.type)
        return loss(network, items, offsets, kl_weight)

    monkeypatch.setattr(MultVAE, "loss", spy)
    test_finds_the_colour()
    assert devices == {"cuda"}


def test_finds_the_colour() -> None:
    board = checkerboard()
    model = train_multvae(board.train, board.valid, board.n_items, SMALL)
    assert share_of_right_colour(MultVAEScorer(model), board) == 1.0


def test_fold_in_equals_the_encoders_mean(network: MultVAE) -> None:
    network.eval()
    histories = Sequences.of([item_numbers([0, 4, 8]), item_numbers([]), item_numbers([2])])
    mean, _ = network.encode(torch.from_numpy(histories.items).long(), torch.from_numpy(histories.offsets))
    np.testing.assert_allclose(embed(network.export(), histories), mean.detach().numpy(), rtol=1e-5, atol=1e-6)


def test_encoder_equals_the_dense_formula_on_an_l2_normalised_row(network: MultVAE) -> None:
    network.eval()
    row = torch.zeros(9)
    row[[1, 3, 7]] = 1.0
    normalised = torch.nn.functional.normalize(row, dim=0)
    mean, logvar = network.encode(torch.tensor([1, 3, 7]), torch.tensor([0, 3]))
    torch.testing.assert_close(mean[0], normalised @ network.mean_weight + network.mean_bias)
    torch.testing.assert_close(logvar[0], normalised @ network.logvar_weight + network.logvar_bias)


def test_scores_equal_the_decoders_logits(network: MultVAE) -> None:
    model, z = network.export(), torch.randn(2, 5)
    np.testing.assert_allclose(model.scores(z.numpy()), network.decoder(z).detach().numpy(), rtol=1e-5, atol=1e-5)


def test_loss_is_the_annealed_negative_bound(network: MultVAE) -> None:
    network.eval()
    with torch.no_grad():
        network.logvar_weight.zero_()
        network.logvar_bias.fill_(-60.0)  # no noise: z is the mean
    items, offsets = torch.tensor([0, 4, 2]), torch.tensor([0, 2, 3])
    mean, logvar = network.encode(items, offsets)
    posterior = torch.distributions.Normal(mean, (0.5 * logvar).exp())
    kl = torch.distributions.kl_divergence(posterior, torch.distributions.Normal(0.0, 1.0)).sum(dim=1)
    log_probabilities = torch.log_softmax(network.decoder(mean), dim=1)
    likelihood = torch.stack([log_probabilities[0, [0, 4]].sum(), log_probabilities[1, 2]])
    torch.testing.assert_close(network.loss(items, offsets, 0.3), (0.3 * kl - likelihood).mean())


def test_dropout_hides_items_while_training_only(network: MultVAE) -> None:
    items, offsets = torch.arange(9), torch.tensor([0, 9])
    network.train()
    assert not torch.equal(network.encode(items, offsets)[0], network.encode(items, offsets)[0])
    network.eval()
    assert torch.equal(network.encode(items, offsets)[0], network.encode(items, offsets)[0])


def test_same_seed_gives_the_same_model_and_another_seed_another() -> None:
    board = checkerboard()
    first, again, other = (train_multvae(board.train, board.valid, board.n_items, short(seed)) for seed in (0, 0, 1))
    for a, b in zip(parameters(first), parameters(again), strict=True):
        np.testing.assert_array_equal(a, b)
    assert not np.array_equal(first.item_factors, other.item_factors)


def test_training_leaves_the_callers_random_numbers_alone() -> None:
    board = checkerboard()
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    train_multvae(board.train, board.valid, board.n_items, short(seed=0))
    assert torch.equal(torch.rand(3), expected)


def test_best_epoch_is_kept_and_told() -> None:
    board, seen = checkerboard(), list[float]()
    model = train_multvae(board.train, board.valid, board.n_items, SMALL, lambda epoch, ndcg: seen.append(ndcg))
    assert mean_ndcg(by_history(MultVAEScorer(model)), board.valid) == pytest.approx(max(seen))


def test_users_without_history_and_repeated_items_do_no_harm() -> None:
    board = checkerboard()
    doubled = [np.repeat(board.train[row], 2) for row in range(len(board.train))]
    model = train_multvae(Sequences.of([*doubled, item_numbers([])]), board.valid, board.n_items, short(seed=0))
    once = train_multvae(board.train, board.valid, board.n_items, short(seed=0))
    np.testing.assert_array_equal(model.item_factors, once.item_factors)


def test_nobody_has_no_embeddings() -> None:
    model = MultVAE(4, 3, 0.0).export()
    assert embed(model, Sequences.of([])).shape == (0, 3)
    assert MultVAEScorer(model).scores(Sequences.of([])).shape == (0, 4)
