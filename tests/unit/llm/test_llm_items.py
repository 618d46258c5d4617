from pathlib import Path

import pytest
import torch
from transformers import AutoModel, AutoTokenizer, BertConfig, BertModel

from models.contract.catalogue import Item
from models.contract.errors import ConfigError
from models.llm import items
from models.llm.backbone import Backbone
from models.llm.items import check_encoder, fit_whitening, item_states, item_text, sentence_states

TEXTS = ["red", "blue fish", "red fox drum bell rose", "lamp boat", "blue coat ring leaf bell fish drum", "fox"]


@pytest.mark.parametrize(
    ("item", "text"),
    [
        (Item("1", "Lamp", "Acme", ("Home", "Light"), {"year": "1999"}), "Lamp. Acme. Home, Light. 1999"),
        (Item("1", "Lamp"), "Lamp"),
        (Item("1", None, "Acme", (), {"colour": "red", "size": ""}), "Acme. red"),
        (Item("b-17"), "b-17"),
    ],
)
def test_item_text_is_one_line_of_all_there_is(item: Item, text: str) -> None:
    assert item_text(item) == text


def test_states_are_the_mean_over_all_tokens_but_the_first(backbone: Backbone) -> None:
    tokens = torch.tensor([backbone.tokenizer.encode("blue fish drum")])
    expected = backbone.model(input_ids=tokens, output_hidden_states=True).hidden_states[2][0, 1:].mean(dim=0)
    torch.testing.assert_close(item_states(backbone, ["blue fish drum"], 2, 8)[0], expected)


def test_the_only_token_is_kept(backbone: Backbone) -> None:
    tokens = torch.tensor([backbone.tokenizer.encode("fox")])
    expected = backbone.model(input_ids=tokens, output_hidden_states=True).hidden_states[2][0, 0]
    torch.testing.assert_close(item_states(backbone, ["fox"], 2, 8)[0], expected)


@pytest.mark.parametrize("batch_size", [1, 2, 4])
def test_states_do_not_depend_on_batch_or_padding(
    backbone: Backbone, monkeypatch: pytest.MonkeyPatch, batch_size: int
) -> None:
    together = item_states(backbone, TEXTS, 2, 8)
    monkeypatch.setattr(items, "BATCH_SIZE", batch_size)
    torch.testing.assert_close(item_states(backbone, TEXTS, 2, 8), together, atol=1e-5, rtol=1e-4)
    backwards = item_states(backbone, TEXTS[::-1], 2, 8).flip(0)
    torch.testing.assert_close(backwards, together, atol=1e-5, rtol=1e-4)


def test_long_texts_are_cut(backbone: Backbone) -> None:
    cut, short = item_states(backbone, ["red fox drum bell rose", "red fox drum"], 2, max_tokens=3)
    torch.testing.assert_close(cut, short, atol=1e-5, rtol=1e-4)


@pytest.fixture
def encoder(backbone: Backbone, tmp_path: Path) -> str:
    """A tiny untrained sentence encoder with the backbone's tokenizer."""
    torch.manual_seed(0)
    tokenizer = backbone.tokenizer
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        pad_token_id=tokenizer.pad_token_id,
    )
    BertModel(config).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    return str(tmp_path)


def test_a_sentence_is_the_mean_over_its_tokens_and_does_not_depend_on_its_neighbours(encoder: str) -> None:
    model, tokenizer = AutoModel.from_pretrained(encoder).eval(), AutoTokenizer.from_pretrained(encoder)
    together = sentence_states(encoder, TEXTS, 8)
    for row, text in enumerate(TEXTS):
        with torch.no_grad():
            alone = model(**tokenizer(text, return_tensors="pt", return_token_type_ids=False)).last_hidden_state
        torch.testing.assert_close(together[row], alone[0].mean(dim=0), atol=1e-5, rtol=1e-4)


def test_a_sentence_encoder_that_is_not_there_is_named(tmp_path: Path) -> None:
    for look in (check_encoder, lambda encoder: sentence_states(encoder, TEXTS, 8)):
        with pytest.raises(ConfigError, match=r"^text_encoder: .*nowhere.* no hub id or directory"):
            look(str(tmp_path / "nowhere"))


def test_a_sentence_encoder_that_is_there_passes(encoder: str) -> None:
    check_encoder(encoder)


def correlated(n: int, rank: int, hidden: int = 24, offset: float = 0.0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    factors = torch.randn(n, rank, generator=generator) * torch.logspace(1, -1, rank)
    return factors @ torch.randn(rank, hidden, generator=generator) + offset


def assert_white(vectors: torch.Tensor) -> None:
    n, k = vectors.shape
    torch.testing.assert_close(vectors.mean(dim=0), torch.zeros(k), atol=2e-3, rtol=0)
    torch.testing.assert_close(vectors.T @ vectors / n, torch.eye(k), atol=2e-3, rtol=0)


@pytest.mark.parametrize("dimensions", [1, 5, 24])
def test_whitened_vectors_have_zero_mean_and_unit_covariance(dimensions: int) -> None:
    states = correlated(200, 24, offset=30.0)
    vectors = fit_whitening(states, dimensions)(states)
    assert vectors.shape == (200, dimensions)
    assert_white(vectors)


def test_the_directions_of_largest_variance_are_kept() -> None:
    states = torch.zeros(4, 3)
    states[:, 1] = torch.tensor([10.0, -10.0, 10.0, -10.0])
    states[:, 2] = torch.tensor([1.0, 1.0, -1.0, -1.0])
    vectors = fit_whitening(states, 1)(states)
    torch.testing.assert_close(vectors[:, 0].abs(), torch.ones(4))
    assert vectors[0] * vectors[1] < 0


@pytest.mark.parametrize("offset", [0.0, 300.0])
def test_directions_without_variance_are_not_blown_up(offset: float) -> None:
    states = correlated(100, 5, offset=offset)
    vectors = fit_whitening(states, 24)(states)
    assert vectors.shape == (100, 5)
    assert_white(vectors)


def test_items_of_equal_text_add_no_direction(backbone: Backbone) -> None:
    states = item_states(backbone, [*TEXTS, *TEXTS, "red lamp boat fox drum rose coat"], 2, 8)
    vectors = fit_whitening(states, 64)(states)
    assert vectors.shape[1] == len(TEXTS)  # 7 texts differ in 6 directions
    torch.testing.assert_close(vectors[: len(TEXTS)], vectors[len(TEXTS) : 2 * len(TEXTS)], atol=1e-3, rtol=1e-3)


def test_fewer_items_than_directions() -> None:
    states = correlated(4, 24)
    assert fit_whitening(states, 128)(states).shape == (4, 3)


def test_whitening_is_kept_for_items_to_come() -> None:
    states = correlated(50, 24)
    whitening = fit_whitening(states, 8)
    torch.testing.assert_close(whitening(states[:3]), whitening(states)[:3])
