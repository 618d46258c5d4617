"""RQ-VAE against the equations, and on texts whose groups are known."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from models.contract.user_index import id_vector
from models.papers.ulmrec.index import indexer_of, nearest_codes, unique_indices
from models.papers.ulmrec.rqvae import RQVAE, RQVAEConfig, TextsOfUsers, latents, perplexity, train_rqvae
from models.training.divergence import TrainingError
from models.types import Sequences

CONFIG = RQVAEConfig(
    hidden=(16,), size=4, levels=3, codes=8, commitment=0.25, epochs=30, batch=32, step=5e-3, seed=0, by_id=True
)
SIZE, GROUPS = 12, 8


def grouped_texts(n_users: int = 160, noise: float = 0.05) -> TextsOfUsers:
    """Users of 8 groups, whose texts lie around the group's centre; user u is of group u % 8."""
    generator = torch.Generator().manual_seed(0)
    centres = torch.eye(SIZE)[:GROUPS]
    counts = [1 + user % 4 for user in range(n_users)]
    owners = torch.repeat_interleave(torch.arange(n_users), torch.tensor(counts))
    vectors = centres[owners % GROUPS] + noise * torch.randn(len(owners), SIZE, generator=generator)
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    ids = torch.nn.functional.normalize(torch.randn(n_users, SIZE, generator=generator))
    numbers = np.arange(len(owners), dtype=np.int32)
    return TextsOfUsers(torch.nn.functional.normalize(vectors), Sequences(offsets, numbers), ids)


@pytest.fixture(scope="module")
def texts() -> TextsOfUsers:
    return grouped_texts()


@pytest.fixture(scope="module")
def trained(texts: TextsOfUsers) -> RQVAE:
    return train_rqvae(CONFIG, texts, lambda _: None)


def random_model(seed: int = 0) -> RQVAE:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = RQVAE(SIZE, CONFIG)
        torch.nn.init.normal_(model.codebooks)
        torch.nn.init.normal_(model.attention)
    return model


def test_attention_is_equation_1(texts: TextsOfUsers) -> None:
    model = random_model()
    numbers, owners = texts.batch(torch.tensor([5, 3]))
    pooled = model.pooled(texts.vectors[numbers], owners, texts.ids[[5, 3]])
    for row, user in enumerate((5, 3)):
        own = texts.vectors[torch.from_numpy(texts.of_users[user]).long()]
        weights = torch.stack([text @ model.attention @ texts.ids[user] for text in own]).softmax(dim=0)
        torch.testing.assert_close(pooled[row], weights @ own)


def test_codes_and_loss_are_equations_2_to_6() -> None:
    model = random_model().requires_grad_(False)
    latent = torch.randn(5, CONFIG.size, generator=torch.Generator().manual_seed(1))
    found = model.quantize(latent)
    expected = 0.0
    for row in range(5):
        residual = latent[row]
        for level in range(CONFIG.levels):
            distances = [float(((residual - vector) ** 2).sum()) for vector in model.codebooks[level]]
            assert found.codes[row, level] == int(np.argmin(distances))
            torch.testing.assert_close(found.residuals[level, row], residual.detach())
            expected += (1 + CONFIG.commitment) * min(distances) / 5
            residual = residual - model.codebooks[level][found.codes[row, level]]
        torch.testing.assert_close(found.vectors[row], (latent[row] - residual).detach())
    assert float(found.loss) == pytest.approx(expected, rel=1e-5)


def test_gradients_go_where_equation_5_sends_them() -> None:
    model = random_model()
    latent = torch.randn(5, CONFIG.size, requires_grad=True)
    found = model.quantize(latent)
    found.loss.backward()
    residuals = latent.detach()
    expected_latent = torch.zeros_like(residuals)
    for level, codebook in enumerate(model.codebooks.detach()):
        chosen = codebook[found.codes[:, level]]
        expected_latent += 2 * CONFIG.commitment * (residuals - chosen) / 5  # the second term alone
        expected_codes = torch.zeros_like(codebook).index_add(0, found.codes[:, level], 2 * (chosen - residuals) / 5)
        torch.testing.assert_close(model.codebooks.grad[level], expected_codes)  # the first term alone
        residuals = residuals - chosen
    torch.testing.assert_close(latent.grad, expected_latent)


def test_the_gradient_of_the_reconstruction_goes_past_the_codes(texts: TextsOfUsers) -> None:
    model = random_model()
    numbers, owners = texts.batch(torch.arange(4))
    pooled = model.pooled(texts.vectors[numbers], owners, texts.ids[:4])
    loss, found = model(pooled, torch.zeros(4, SIZE))
    (loss - found.loss).backward()
    assert model.codebooks.grad is None or not model.codebooks.grad.any()
    assert model.encoder[0].weight.grad.any()
    assert model.attention.grad.any()


def test_groups_of_users_are_told_apart_by_the_first_codes(texts: TextsOfUsers, trained: RQVAE) -> None:
    _, nearest = unique_indices(trained.codebooks.detach().numpy(), latents(trained, texts))
    groups = [{user % GROUPS for user in np.flatnonzero(nearest[:, 0] == code)} for code in range(CONFIG.codes)]
    assert sum(len(group) for group in groups) == GROUPS
    assert all(len(group) <= 1 for group in groups)


def test_attention_learns_which_texts_tell_of_the_others_and_differs_by_user() -> None:
    """Of each user's four texts the first is his group's centre, marked; the others lie around it."""
    generator, n_users = torch.Generator().manual_seed(0), 160
    owners = torch.repeat_interleave(torch.arange(n_users), 4)
    noise = 0.4 * torch.randn(len(owners), SIZE, generator=generator)
    noise[:, -1] = 0
    noise[::4] = torch.eye(SIZE)[-1]
    vectors = torch.nn.functional.normalize(torch.eye(SIZE)[owners % GROUPS] + noise)
    of_users = Sequences(np.arange(0, len(owners) + 1, 4), np.arange(len(owners), dtype=np.int32))
    ids = torch.from_numpy(np.stack([id_vector(f"user {user}", SIZE) for user in range(n_users)]))

    attention = train_rqvae(CONFIG, TextsOfUsers(vectors, of_users, ids), lambda _: None).attention.detach()

    weights = (vectors * (ids @ attention.T)[owners]).sum(dim=1).view(n_users, 4).softmax(dim=1)
    assert weights[:, 0].mean() > 0.35
    assert weights[:, 0].std() > 0.02


def test_without_ids_there_is_nothing_to_learn_and_all_texts_count_the_same(texts: TextsOfUsers) -> None:
    model = train_rqvae(replace(CONFIG, by_id=False, epochs=2), texts, lambda _: None)
    assert not model.attention.any()


def test_training_is_the_same_again(texts: TextsOfUsers) -> None:
    one, other, third = (
        train_rqvae(replace(CONFIG, epochs=2, seed=seed), texts, lambda _: None).codebooks for seed in (0, 0, 1)
    )
    assert torch.equal(one, other)
    assert not torch.equal(one, third)


def test_dead_codes_come_back() -> None:
    texts = grouped_texts(noise=0.4)
    lines: list[str] = []
    model = train_rqvae(replace(CONFIG, epochs=10), texts, lines.append)
    _, nearest = unique_indices(model.codebooks.detach().numpy(), latents(model, texts))
    assert all(perplexity(level, CONFIG.codes) > CONFIG.codes / 2 for level in nearest.T)
    assert lines[-1].startswith("RQ-VAE epoch 10/10  loss ")


def test_fewer_users_than_codes() -> None:
    few = grouped_texts(n_users=3)
    model = train_rqvae(replace(CONFIG, epochs=2), few, lambda _: None)
    indices, _ = unique_indices(model.codebooks.detach().numpy(), latents(model, few))
    assert len(np.unique(indices, axis=0)) == 3


def test_a_loss_that_is_no_number_ends_training(texts: TextsOfUsers) -> None:
    with pytest.raises(TrainingError, match=r"the loss is (nan|inf) in batch \d"):
        train_rqvae(replace(CONFIG, step=1e20), texts, lambda _: None)


def test_the_indexer_computes_the_same_without_torch(texts: TextsOfUsers, trained: RQVAE) -> None:
    vectors = texts.vectors.half().numpy()
    same = replace(texts, vectors=torch.from_numpy(vectors).float())
    indexer = indexer_of(trained, vectors, np.empty((0, CONFIG.levels), np.int32))
    with_ids = latents(trained, same)
    weights = indexer.attention
    for user in range(20):
        own = np.asarray(vectors[same.of_users[user]], np.float32)
        asked = own @ weights @ same.ids[user].numpy()
        pooled = np.exp(asked - asked.max()) / np.exp(asked - asked.max()).sum() @ own
        np.testing.assert_allclose(indexer.encode(pooled.astype(np.float32)), with_ids[user], atol=1e-5)
        assert (
            indexer.nearest_free(with_ids[user]).tolist()
            == nearest_codes(indexer.codebooks, with_ids)[0][user].tolist()
        )


def test_perplexity_is_the_number_of_codes_that_are_used_alike() -> None:
    assert perplexity(np.asarray([0, 1, 2, 3] * 5), 8) == pytest.approx(4)
    assert perplexity(np.zeros(7, int), 8) == pytest.approx(1)
