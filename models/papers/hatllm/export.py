"""From what training left to a bundle's part; what is in it is told in :mod:`models.contract.hatllm`."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from safetensors.numpy import load_file

from models.contract.bundle import CHECKPOINT
from models.contract.errors import BundleError
from models.contract.hatllm import CONFIG_KEY, ITEM_ROWS, PART, HatLayout
from models.contract.index import top_n
from models.contract.probe import BASE, PROBED_ITEMS, Probe
from models.contract.prompts import TitleTokens
from models.contract.specs import HatLLMSpec
from models.contract.types import Floats, Ints, item_numbers
from models.llm.backbone import Backbone, load_backbone
from models.llm.item_token import ADAPTER_CONFIG, ADAPTER_WEIGHTS
from models.papers.hatllm.model import cut_backbone
from models.papers.hatllm.scoring import HISTORY_LENGTH, HatScorer
from models.papers.hatllm.training import ADAPTER, DESCRIPTION, HEAD, PROJECTION, TABLE, Trained
from models.types import Sequences

PROBED_HISTORY = 10  # items, at most


@dataclass(frozen=True)
class HatParts:
    """Everything that the bundle's part is made of.

    Args:
        backbone: that was adapted.
        layout: which layer attends how.
        titles: what items look like in prompts.
        history_length: items of a prompt at most.
        item_rows: (n_items, hidden) float32.
        adapter: PEFT directory.
    """

    backbone: Backbone
    layout: HatLayout
    titles: TitleTokens
    history_length: int
    item_rows: Floats
    adapter: Path


def export_part(directory: Path, target: Path) -> HatLLMSpec:
    """Write a bundle's part.

    Args:
        directory: what :func:`models.papers.hatllm.training.train_hatllm` left.
        target: directory of the part, ``hatllm/`` in a bundle.

    Returns:
        What workers and gateway must know.

    Raises:
        BundleError: the training is not over, or its prompts hold vectors beside the words' (LLaRA).
    """
    try:
        described = msgspec.json.decode((directory / DESCRIPTION).read_bytes(), type=Trained)
    except (OSError, msgspec.MsgspecError) as exc:
        raise BundleError(f"{directory}: no HatLLM that is trained: {exc}") from exc
    head = load_file(directory / HEAD)
    rows = np.ascontiguousarray(head[TABLE] @ head[PROJECTION], np.float32)
    layout = HatLayout.of_config(described.layout, len(described.layout["masks"]))
    titles, backbone = TitleTokens.load(directory), load_backbone(described.backbone)
    parts = HatParts(backbone, layout, titles, described.history_length, rows, directory / ADAPTER)
    return write_part(parts, target)


def write_part(parts: HatParts, target: Path) -> HatLLMSpec:
    """Write a bundle's part into the directory ``target``, and return what workers and gateway must know of it."""
    target.mkdir(parents=True, exist_ok=True)
    _write_checkpoint(parts, target / CHECKPOINT)
    adapter = target / "adapters" / PART
    adapter.mkdir(parents=True)
    for name in (ADAPTER_CONFIG, ADAPTER_WEIGHTS):
        shutil.copyfile(parts.adapter / name, adapter / name)
    parts.titles.save(target)
    np.save(target / ITEM_ROWS, parts.item_rows)
    scorer = HatScorer.load(target)
    make_probe(scorer).save(target)
    return HatLLMSpec(
        base_model=Path(parts.backbone.name).name,
        history_length=parts.history_length,
        lora_rank=_rank(scorer),
        max_tokens=len(parts.titles.start) + parts.history_length * parts.titles.longest,
    )


def make_probe(scorer: HatScorer) -> Probe:
    """What the base model and the adapter rank for a history of items from all over the catalogue."""
    n_items = scorer.n_items
    n = min(PROBED_HISTORY, scorer.prompts.history_length, n_items // 4)
    history = item_numbers(np.linspace(0, n_items - 1, n).astype(np.int32))
    scores = {BASE: scorer.base_scores(history), PART: scorer.scores(Sequences.of([history]))[0]}
    lists = {name: top_n(of_items, PROBED_ITEMS, history) for name, of_items in scores.items()}
    return Probe(history, _prompt(scorer, history), lists)


def _write_checkpoint(parts: HatParts, directory: Path) -> None:
    model = cut_backbone(parts.backbone, len(parts.layout.masks))
    model.config.update({CONFIG_KEY: parts.layout.as_config() | {HISTORY_LENGTH: parts.history_length}})
    model.save_pretrained(directory)
    parts.backbone.tokenizer.save_pretrained(directory)


def _rank(scorer: HatScorer) -> int:
    config: Any = scorer.language_model.peft_config["default"]
    return int(config.r)


def _prompt(scorer: HatScorer, history: Ints) -> Ints:
    return item_numbers(scorer.prompts.prompt(history))
