"""Every family of language models against Hugging Face and PEFT: all adapters of many users in one pass."""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from support.families import FAMILIES, SMALL, random_backbone
from torch import nn
from transformers import AutoModelForCausalLM, MistralConfig

from models.contract.errors import BundleError
from models.contract.types import Floats, Ints, item_numbers
from models.llm.item_token import LORA_TARGETS, save_adapter
from service.engine.adapter_files import read_adapter
from service.engine.model import LanguageModel, ModelSettings, Query

pytestmark = pytest.mark.engine

RANK, VOCABULARY = 4, 16
SETTINGS = ModelSettings(RANK, adapter_capacity=2, device="cpu", dtype="float32")
# What each adapter changes: everything, some projections, the last layer only, layers in the middle.
ADAPTERS = (
    (LORA_TARGETS, [0, 1, 2, 3]),
    (("q_proj", "v_proj"), [1, 2, 3]),
    (LORA_TARGETS, [3]),
    (("k_proj", "down_proj"), [1, 2]),
)


@dataclass(frozen=True)
class Files:
    """A checkpoint, and adapters ``0`` … beside it."""

    checkpoint: Path

    def adapter(self, number: int) -> Path:
        """Directory of an adapter."""
        return self.checkpoint.parent / str(number)


@pytest.fixture(scope="module", params=list(FAMILIES))
def files(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Files:
    """One family."""
    files = Files(tmp_path_factory.mktemp("family") / "checkpoint")
    config = FAMILIES[request.param]()
    config.tie_word_embeddings = False
    random_backbone(config).model.save_pretrained(files.checkpoint)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        for number, (targets, layers) in enumerate(ADAPTERS):
            write_random_adapter(files, number, targets, layers)
    return files


def write_random_adapter(files: Files, number: int, targets: Sequence[str], layers: list[int]) -> None:
    base = AutoModelForCausalLM.from_pretrained(files.checkpoint, dtype=torch.float32)
    config = LoraConfig(r=RANK, lora_alpha=8.0, target_modules=list(targets), layers_to_transform=layers)
    model = get_peft_model(base, config)
    for parameter in (p for p in model.parameters() if p.requires_grad):
        nn.init.normal_(parameter, std=0.2)
    save_adapter(model, files.adapter(number))


@pytest.fixture
def engine(files: Files) -> LanguageModel:
    """All adapters loaded, adapter ``0`` in slot 1 and so on."""
    engine = LanguageModel.load(files.checkpoint, SETTINGS)
    for number in range(len(ADAPTERS)):
        engine.adapters.write(number + 1, read_adapter(files.adapter(number), engine.adapters.targets()))
    return engine


@contextmanager
def offline(files: Files, slot: int) -> Iterator[nn.Module]:
    """The checkpoint with the adapter of a slot, as PEFT has it."""
    base = AutoModelForCausalLM.from_pretrained(files.checkpoint, dtype=torch.float32)
    with warnings.catch_warnings(action="ignore", category=FutureWarning), torch.inference_mode():
        yield (PeftModel.from_pretrained(base, str(files.adapter(slot - 1))) if slot else base).eval()


def users(lengths: Sequence[int]) -> list[Ints]:
    rng = np.random.default_rng(5)
    return [item_numbers(rng.integers(0, VOCABULARY, length)) for length in lengths]


def log_probabilities(model: nn.Module, tokens: Ints) -> Floats:
    logits = model(input_ids=torch.from_numpy(tokens.astype(np.int64))[None]).logits
    scores: Floats = torch.log_softmax(logits[0, -1], dim=-1).numpy()
    return scores


@pytest.mark.parametrize("lengths", [(1, 7, 3, 12), (6, 6, 6)])
def test_fan_out_is_what_peft_gives_adapter_by_adapter(
    files: Files, engine: LanguageModel, lengths: tuple[int, ...]
) -> None:
    asked = [(user, slot) for user in users(lengths) for slot in range(len(ADAPTERS) + 1)]
    answers = engine.answer([Query(user, slot, VOCABULARY) for user, slot in asked])
    for slot in range(len(ADAPTERS) + 1):
        with offline(files, slot) as model:
            for (user, own), answer in zip(asked, answers, strict=True):
                if own == slot:
                    expected = log_probabilities(model, user)
                    assert answer.ranking.items.tolist() == np.argsort(-expected).tolist()
                    np.testing.assert_allclose(answer.ranking.scores, expected[answer.ranking.items], atol=1e-4)


def test_fan_out_is_the_single_calls(engine: LanguageModel) -> None:
    """However the batch is composed: layers that one adapter leaves alone are shared or not, rows are padded or not."""
    queries = [Query(user, slot, 10) for user in users((2, 9, 9, 4)) for slot in (3, 0, 1, 4, 2)]
    for query, together in zip(queries, engine.answer(queries), strict=True):
        alone = engine.answer([query])[0]
        assert together.ranking.items.tolist() == alone.ranking.items.tolist()
        np.testing.assert_allclose(together.ranking.scores, alone.ranking.scores, atol=1e-4)
        np.testing.assert_allclose(together.state, alone.state, atol=1e-4)


def test_bfloat16_is_close(files: Files, engine: LanguageModel) -> None:
    half = LanguageModel.load(files.checkpoint, ModelSettings(RANK, device="cpu", dtype="bfloat16"))
    for number in range(len(ADAPTERS)):
        half.adapters.write(number + 1, read_adapter(files.adapter(number), half.adapters.targets()))
    queries = [Query(user, slot, VOCABULARY) for user in users((5, 9, 12)) for slot in range(len(ADAPTERS) + 1)]
    for exact, rounded in zip(engine.answer(queries), half.answer(queries), strict=True):
        by_token = exact.ranking.scores[np.argsort(exact.ranking.items)]
        assert rounded.ranking.scores.dtype == np.float32
        difference = np.abs(by_token[rounded.ranking.items] - rounded.ranking.scores)
        assert difference.mean() < 0.03 * np.ptp(by_token)


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        (MistralConfig(**SMALL), "architecture mistral is not known; expected one of llama"),
        (FAMILIES["llama"](), "rope_type dynamic"),
    ],
)
def test_unknown_architecture_is_refused(tmp_path: Path, config: object, reason: str) -> None:
    if "rope" in reason:
        config.rope_parameters = {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 10000.0}  # type: ignore[attr-defined]
    random_backbone(config).model.save_pretrained(tmp_path)
    with pytest.raises(BundleError, match=reason):
        LanguageModel.load(tmp_path, SETTINGS)
