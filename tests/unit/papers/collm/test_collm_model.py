"""Hybrid encoding against a literal implementation of equation 2."""

from dataclasses import replace

import pytest
import torch
from support.collm import colour_data, tiny_collm, write_reader

from models.cf.pointwise.types import Pairs
from models.llm.training import IGNORED, TARGETS
from models.papers.collm.config import CoLLMConfig
from models.papers.collm.model import CoLLM
from models.papers.collm.task import pairs_in
from models.papers.collm.tuning import Inputs, feature_model

DATA = colour_data()


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> tuple[CoLLMConfig, Inputs]:
    config = replace(tiny_collm(write_reader(tmp_path_factory.mktemp("reader"))), tuning="UI-token")
    return config, Inputs.read(config, DATA)


def test_each_token_has_its_word_or_its_feature(inputs: tuple[CoLLMConfig, Inputs]) -> None:
    model, tokens, pairs, _ = _batch(*inputs)
    prompts = inputs[1].prompts
    words = model.language_model.get_base_model().get_input_embeddings().weight
    users, items = model.features(pairs)
    encoded = model.encode(tokens, pairs)
    for row, ids in enumerate(tokens.tolist()):
        for place, token in enumerate(ids):
            if token >= prompts.n_words + len(prompts.users):
                expected = items[row]
            elif token >= prompts.n_words:
                expected = users[row]
            else:
                expected = words[token]
            torch.testing.assert_close(encoded[row, place], expected)


def test_the_prediction_is_the_answers_logit_at_the_last_token(inputs: tuple[CoLLMConfig, Inputs]) -> None:
    model, tokens, pairs, where = _batch(*inputs)
    found = model(tokens, where, pairs)
    for row in range(len(tokens)):
        length = int(where[row].nonzero()) + 1
        embeddings = model.encode(tokens, pairs)[row : row + 1, :length]
        logits = model.language_model(inputs_embeds=embeddings).logits[0, -1]
        torch.testing.assert_close(found[row], logits[inputs[1].answer], rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_predictions_are_float32_in_mixed_precision(inputs: tuple[CoLLMConfig, Inputs]) -> None:
    model, tokens, pairs, where = _batch(*inputs)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = model(tokens, where, pairs)
    assert logits.dtype == torch.float32
    assert not torch.equal(logits, logits.bfloat16().float())


@torch.no_grad()
def _batch(config: CoLLMConfig, inputs: Inputs) -> tuple[CoLLM, torch.Tensor, Pairs, torch.Tensor]:
    model = feature_model(config, inputs, None, None)
    prompted = inputs.prompted(DATA.test, model)
    last = len(DATA.test)
    batch = prompted.batch(torch.tensor([0, 5, last - 2, last - 1]).numpy())
    return model, batch["tokens"], pairs_in(batch), batch[TARGETS] != IGNORED
