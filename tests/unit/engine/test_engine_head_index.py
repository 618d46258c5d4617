"""Very large vocabularies by index: nearly the exact lists, exactly where it cannot help."""

from dataclasses import replace
from pathlib import Path

import faiss
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from support.checkpoints import write_adapter, write_checkpoint
from support.engine import RANK
from support.tables import TABLE_RANK, write_empty_checkpoint

from models.contract.types import item_numbers
from service.engine.adapter_files import read_adapter
from service.engine.head_index import MAX_ALLOWED, HeadIndex
from service.engine.model import LanguageModel, ModelSettings, Query

pytestmark = pytest.mark.engine
N_ITEMS = 2000


def load(checkpoint: Path, head_index_items: int, table_rank: int = 0) -> LanguageModel:
    settings = ModelSettings(RANK, table_rank, device="cpu", dtype="float32", head_index_items=head_index_items)
    return LanguageModel.load(checkpoint, settings)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``checkpoint`` with rows of width 8 in groups, as catalogues have them, and ``adapter``. Read only."""
    directory = tmp_path_factory.mktemp("index")
    checkpoint = write_checkpoint(directory / "checkpoint", N_ITEMS)
    tensors = load_file(checkpoint / "model.safetensors")
    generator = torch.Generator().manual_seed(0)
    groups = torch.randn(20, 8, generator=generator)
    table = groups[torch.arange(N_ITEMS + 1) % 20] + 0.5 * torch.randn(N_ITEMS + 1, 8, generator=generator)
    tensors["lm_head.weight"] = table @ torch.randn(8, 64, generator=generator) * 0.3
    save_file(tensors, checkpoint / "model.safetensors", {"format": "pt"})
    write_adapter(directory / "adapter", checkpoint, 1, RANK)
    return directory


def with_adapter(root: Path, head_index_items: int) -> LanguageModel:
    model = load(root / "checkpoint", head_index_items)
    model.adapters.write(1, read_adapter(root / "adapter", model.adapters.targets()))
    return model


def queries(n_best: int = 20) -> list[Query]:
    rng = np.random.default_rng(4)
    return [Query(item_numbers(rng.integers(0, N_ITEMS, 8)), slot, n_best) for slot in (0, 1) for _ in range(10)]


def test_lists_are_nearly_the_exact_ones(root: Path) -> None:
    indexed, exact = with_adapter(root, N_ITEMS), with_adapter(root, N_ITEMS + 2)
    assert exact.index_recall(queries()) == 1.0
    assert 0.8 < indexed.index_recall(queries()) <= 1.0
    for found, expected in zip(indexed.answer(queries()), exact.answer(queries()), strict=True):
        shared = np.isin(expected.ranking.items, found.ranking.items)
        kept = np.isin(found.ranking.items, expected.ranking.items)
        difference = found.ranking.scores[kept] - expected.ranking.scores[shared]  # the normaliser is an estimate
        np.testing.assert_allclose(difference, difference[0], atol=1e-3)
        assert abs(difference[0]) < 0.3


def test_excluded_tokens_are_passed_over_and_other_biases_take_the_exact_way(root: Path) -> None:
    indexed, exact = with_adapter(root, N_ITEMS), with_adapter(root, N_ITEMS + 2)
    plain = queries()[0]
    best = indexed.answer([plain])[0].ranking.items[:10]
    excluded = Query(plain.tokens, 0, 20, best, np.full(10, -np.inf, np.float32))
    biased = Query(plain.tokens, 0, 20, item_numbers([7]), np.full(1, 50, np.float32))
    state_only = Query(plain.tokens)
    without, with_bias, nothing, again = indexed.answer([excluded, biased, state_only, plain])
    assert not np.isin(without.ranking.items, best).any()
    assert len(without.ranking) == 20
    expected = exact.answer([biased])[0].ranking
    assert with_bias.ranking.items.tolist() == expected.items.tolist()
    np.testing.assert_allclose(with_bias.ranking.scores, expected.scores, atol=1e-4)
    assert len(nothing.ranking) == 0
    assert again.ranking.items[:10].tolist() == best.tolist()


def test_few_allowed_tokens_are_ranked_exactly_without_the_head(root: Path) -> None:
    indexed, exact = with_adapter(root, N_ITEMS), with_adapter(root, N_ITEMS + 2)
    plain = queries()[-1]
    full = exact.answer([replace(plain, n_best=N_ITEMS + 1)])[0].ranking.items
    allowed, out = full[::5], full[:10:5]
    minus = np.full(len(out), -np.inf, np.float32)
    asked = [replace(plain, allowed=allowed), plain, replace(plain, allowed=allowed, biased_tokens=out, biases=minus)]
    expected, searched = exact.answer(asked), indexed.answer([plain])[0].ranking
    indexed._head = replace(indexed._head, wide=None)  # the exact way would find nonsense now
    narrowed, other, without = indexed.answer(asked)
    assert narrowed.ranking.items.tolist() == allowed[:20].tolist()
    np.testing.assert_allclose(narrowed.ranking.scores, expected[0].ranking.scores, atol=1e-4)
    assert other.ranking.items.tolist() == searched.items.tolist()
    assert without.ranking.items.tolist() == allowed[2:22].tolist()
    np.testing.assert_allclose(without.ranking.scores, expected[2].ranking.scores, atol=1e-4)


def test_many_allowed_tokens_or_fewer_than_asked_for_take_the_exact_way(
    large: tuple[LanguageModel, LanguageModel],
) -> None:
    indexed, exact = large
    plain = Query(queries()[0].tokens, 0, 20)
    full = exact.answer([replace(plain, n_best=N_LARGE)])[0].ranking.items
    many, few = full[: MAX_ALLOWED * 2 + 2 : 2], full[::1000]
    assert len(many) > MAX_ALLOWED
    got = indexed.answer([replace(plain, allowed=many), replace(plain, allowed=few)])
    assert [each.ranking.items.tolist() for each in got] == [many[:20].tolist(), few.tolist()]


def test_no_index_where_adapters_have_tables_or_the_head_is_empty(root: Path, tmp_path: Path) -> None:
    assert load(root / "checkpoint", 10, TABLE_RANK)._index is None
    assert load(write_empty_checkpoint(tmp_path / "empty", 50), 10)._index is None


def test_fewer_tokens_than_asked_for() -> None:
    rows = np.random.default_rng(0).standard_normal((40, 4)).astype(np.float32)
    ranking = HeadIndex(rows).ranked(rows[:1], [Query(item_numbers([1]), 0, 1000)])[0]
    assert 0 < len(ranking) <= 40
    assert (np.diff(ranking.scores) <= 0).all()


N_LARGE = 12_000


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> tuple[LanguageModel, LanguageModel]:
    """One checkpoint with an index and without."""
    checkpoint = write_checkpoint(tmp_path_factory.mktemp("large"), N_LARGE)
    return load(checkpoint, N_LARGE), load(checkpoint, N_LARGE + 2)


@pytest.mark.parametrize("n_excluded", [1000, 10_000])
def test_many_excluded_tokens_take_the_exact_way(
    large: tuple[LanguageModel, LanguageModel], n_excluded: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    indexed, exact = large
    assert indexed._index is not None
    depths: list[int] = []
    search = indexed._index._index.search
    monkeypatch.setattr(
        indexed._index._index, "search", lambda states, depth: depths.append(depth) or search(states, depth)
    )
    plain = Query(queries()[0].tokens, 0, 20)
    ranking = exact.answer([Query(plain.tokens, 0, N_LARGE)])[0].ranking
    best = ranking.items[:n_excluded]
    excluding = Query(plain.tokens, 0, 20, best, np.full(n_excluded, -np.inf, np.float32))
    _, got = indexed.answer([plain, excluding])
    expected = exact.answer([excluding])[0].ranking
    assert got.ranking.items.tolist() == expected.items.tolist() == ranking.items[n_excluded:][:20].tolist()
    np.testing.assert_allclose(got.ranking.scores, expected.scores, atol=1e-4)
    assert depths == [20]  # the other query is searched no deeper


def test_list_that_the_index_cannot_fill_is_the_exact_one(large: tuple[LanguageModel, LanguageModel]) -> None:
    indexed, exact = large
    query = Query(queries()[0].tokens, 0, N_LARGE)
    got, expected = indexed.answer([query])[0].ranking, exact.answer([query])[0].ranking
    assert len(got) == N_LARGE
    assert got.items.tolist() == expected.items.tolist()


def test_threads_are_torchs(root: Path) -> None:
    indexed, before = with_adapter(root, N_ITEMS), faiss.omp_get_max_threads()
    try:
        faiss.omp_set_num_threads(torch.get_num_threads() + 1)
        indexed.answer(queries()[:1])
        assert faiss.omp_get_max_threads() == torch.get_num_threads()
    finally:
        faiss.omp_set_num_threads(before)
