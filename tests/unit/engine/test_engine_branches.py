"""Prompts that begin alike: what they share goes through once, and every answer is that of a pass of its own."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from support.families import FAMILIES, random_backbone

from models.contract.errors import BundleError
from models.contract.types import Ints, item_numbers
from service.engine.lora import LoraFactors
from service.engine.model import LanguageModel, ModelSettings, Query, rows
from service.engine.packing import Batch
from service.engine.sequences import Branched, common_beginning
from service.engine.telemetry import BatchCost

pytestmark = pytest.mark.engine
CPU = torch.device("cpu")
SETTINGS = ModelSettings(lora_rank=4, adapter_capacity=2, device="cpu", dtype="float32", answer_token=7)
BEGINNING, ENDS = [5, 6, 7, 5, 9], ([1], [2, 3, 4], [2, 3, 5], [8, 8])


def prompts(beginning: list[int] = BEGINNING) -> list[Ints]:
    return [item_numbers([*beginning, *end]) for end in ENDS]


@pytest.fixture(scope="module", params=list(FAMILIES))
def tied(request: pytest.FixtureRequest) -> LanguageModel:
    """A model of one family, as a re-ranker is: tied vocabulary; slot 1 changes all layers, slot 2 the upper two."""
    config = FAMILIES[request.param]()
    config.tie_word_embeddings = True
    with torch.inference_mode():
        engine = LanguageModel(random_backbone(config).model, SETTINGS)
    generator = torch.Generator().manual_seed(1)
    for slot, layers in ((1, range(4)), (2, range(2, 4))):
        targets = {
            name: target
            for name, target in engine.adapters.targets().items()
            if any(f"layers.{layer}." in name for layer in layers)
        }
        weights = {
            name: LoraFactors(
                torch.randn(target.rank, target.n_in, generator=generator) * 0.2,
                torch.randn(target.n_out, target.rank, generator=generator) * 0.2,
            )
            for name, target in targets.items()
        }
        engine.adapters.write(slot, weights)
    return engine


def check(engine: LanguageModel, queries: list[Query]) -> None:
    """Fail unless answers are those of passes of their own, prompt by prompt, nothing shared."""
    for query, answer in zip(queries, engine.answer(queries), strict=True):
        alone = engine.answer([Query(query.tokens, query.slot, query.n_best)])[0]
        np.testing.assert_allclose(answer.state, alone.state, atol=1e-5, rtol=1e-5)
        assert answer.logit == pytest.approx(alone.logit, abs=1e-5, rel=1e-5)
        assert answer.ranking.items.tolist() == alone.ranking.items.tolist()


@pytest.mark.parametrize("slot", [0, 1, 2])
def test_candidates_of_one_user(tied: LanguageModel, slot: int) -> None:
    check(tied, [Query(tokens, slot, shared=len(BEGINNING)) for tokens in prompts()])


def test_users_adapters_and_whole_prompts_in_one_batch(tied: LanguageModel) -> None:
    other = prompts([4, 4])
    queries = [Query(tokens, slot, shared=5) for slot in (2, 0, 1) for tokens in prompts()]
    queries += [Query(tokens, slot, shared=2) for slot in (1, 2) for tokens in other]
    queries += [Query(tokens, 1, 3) for tokens in (*prompts()[:2], item_numbers(BEGINNING))]
    check(tied, queries)


@pytest.mark.parametrize("family", list(FAMILIES))
def test_logit_is_the_answer_tokens(family: str) -> None:
    model = random_backbone(FAMILIES[family]()).model
    tokens = prompts()[1]
    with torch.inference_mode():
        expected = model(input_ids=torch.from_numpy(tokens.astype(np.int64))[None]).logits[0, -1, 7]
        engine = LanguageModel(model, SETTINGS)
    assert engine.classifies
    assert engine.answer([Query(tokens)])[0].logit == pytest.approx(float(expected), abs=1e-5)


@pytest.mark.parametrize("token", [-1, 16])
def test_answer_token_outside_the_vocabulary_is_refused(token: int) -> None:
    with torch.inference_mode(), pytest.raises(BundleError, match=f"answer token {token} is outside"):
        LanguageModel(random_backbone(FAMILIES["llama"]()).model, replace(SETTINGS, answer_token=token))


def test_what_is_shared_is_computed_once(tied: LanguageModel) -> None:
    costs: list[BatchCost] = []
    tied.watch(costs.append)
    tied.answer([Query(tokens, 1, shared=5) for tokens in prompts()])
    tied.answer([Query(tokens, 1) for tokens in prompts()])
    ends = sum(map(len, ENDS))
    assert costs == [BatchCost(4, 20 + ends, 5 + ends), BatchCost(4, 20 + ends, 20 + ends)]


def test_model_without_an_answer_token_gives_no_logit(model: LanguageModel) -> None:
    assert model.answer([Query(item_numbers([1]))])[0].logit is None
    assert not model.classifies


def test_arrangement() -> None:
    tokens = prompts()
    batch = Batch.of([tokens[1], tokens[0], tokens[1], tokens[1][:6]], [2, 1, 1, 1], CPU, [5, 5, 5, 0])
    assert batch.order.tolist() == [1, 2, 3, 0]
    assert batch.slots.tolist() == [1, 1, 1, 2]
    assert isinstance(batch.prompts, Branched)
    assert batch.tokens.tolist() == [*BEGINNING, 1, 2, 3, 4, *BEGINNING, 2]
    assert batch.piece_slots.tolist() == [1, 1, 1, 1, 2, 2]
    assert batch.tokens[batch.call_rows].tolist() == [*BEGINNING, 1, 2, 3, 4, *BEGINNING, 2, *BEGINNING, 2, 3, 4]
    assert batch.call_prompts.tolist() == [0, 1, 2, 1]
    assert batch.calls.positions.tolist() == [*range(5), 5, 5, 6, 7, *range(6), *range(5), 5, 6, 7]
    assert batch.calls.last.tolist() == [5, 8, 14, 22]
    assert batch.calls.last_positions.tolist() == [5, 7, 5, 7]
    assert batch.calls.longest == 8


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([[1, 2, 3]], 0),
        ([[1, 2, 3], [1, 2, 4]], 2),
        ([[1, 2, 3], [1, 2, 3]], 2),
        ([[1, 2, 3], [1, 2]], 1),
        ([[1], [1, 2]], 0),
        ([[1, 2], [2, 2]], 0),
        ([[1, 5, 3], [1, 6, 3], [1, 5, 4]], 1),
    ],
)
def test_common_beginning(given: list[list[int]], expected: int) -> None:
    assert common_beginning([item_numbers(tokens) for tokens in given]) == expected


def test_rows_of_candidates() -> None:
    assert rows([Query(tokens, 1, shared=5) for tokens in prompts()]) == 2 * (5 + sum(map(len, ENDS)))
