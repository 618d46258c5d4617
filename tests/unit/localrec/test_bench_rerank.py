"""The re-ranking benchmark on a tiny model: a real engine process serves it, and agrees with plain passes."""

from pathlib import Path

import pytest

from localrec.bench.random_collm import ANSWER_TOKEN, CoLLMShape, random_collm_bundle
from localrec.bench.random_model import Shape
from localrec.bench.rerank import RerankBenchOptions, measure
from models.contract.bundle import verify_bundle
from models.contract.collm import CoLLMPrompts
from models.contract.errors import BundleError
from models.contract.specs import CoLLMSpec
from service.engine.serve import ServeOptions, serve

pytestmark = pytest.mark.engine

LAYERS = Shape(40, 2, 2, lora_rank=4, hidden_size=64, heads=1, key_value_heads=1, inner_size=128)
SHAPE = CoLLMShape(LAYERS, n_users=5, history_length=3)


def test_random_bundle_is_whole(tmp_path: Path) -> None:
    bundle = verify_bundle(random_collm_bundle(tmp_path, SHAPE).directory)
    served = bundle.served("collm")
    prompts = CoLLMPrompts.load(served.directory)
    assert bundle.manifest.parts == ("local", "collm")
    assert isinstance(served.spec, CoLLMSpec)
    assert served.spec.answer_token == ANSWER_TOKEN
    assert served.max_tokens == prompts.longest + 1
    assert max(map(len, prompts.prompts([1, 2, 3, 4], [5], user=1))) <= prompts.longest


def test_engine_agrees_with_plain_passes_and_computes_the_history_once(tmp_path: Path) -> None:
    bundle = random_collm_bundle(tmp_path, SHAPE)
    metrics = measure(bundle, RerankBenchOptions(candidates=5, rounds=1), tmp_path)
    one = CoLLMPrompts.load(bundle.served("collm").directory).prompts([1, 2, 3], [4], user=0)[0]
    ending = 11 + 3 + 1 + 13  # title, text and token of the feature, closing
    assert metrics["tokens_in_prompts"] == 5 * len(one)
    assert metrics["engine_tokens_computed"] == len(one) - ending + 5 * ending
    assert metrics["spearman_engine_naive"] == pytest.approx(1.0)
    assert metrics["engine_p50_ms"] > 0


def test_model_that_is_not_there_is_refused(tmp_path: Path) -> None:
    bundle = random_collm_bundle(tmp_path, SHAPE)
    options = ServeOptions(model="hatllm")
    with pytest.raises(BundleError, match="has no hatllm model; expected one of local, collm"):
        serve(bundle.directory, "127.0.0.1", 0, options)
    with pytest.raises(BundleError, match="only bundles have a hatllm model"):
        serve(bundle.served("collm").checkpoint, "127.0.0.1", 0, options)
