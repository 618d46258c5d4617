"""From what training left to a bundle's part; what is in it is told in :mod:`models.contract.l2rec`."""

import shutil
from pathlib import Path

import numpy as np

from models.contract.bundle import CF_MODEL, CHECKPOINT
from models.contract.cf import CFModel
from models.contract.index import top_n
from models.contract.l2rec import CONFIG_KEY, EXPERTS_CONFIG, EXPERTS_WEIGHTS, ITEM_ROWS, PART
from models.contract.probe import BASE, PROBED_ITEMS, Probe
from models.contract.prompts import TitleTokens
from models.contract.specs import L2RecSpec
from models.contract.types import item_numbers
from models.llm.backbone import load_backbone
from models.networks.l2rec_config import ExpertsConfig
from models.networks.l2rec_files import read_experts_config
from models.papers.hatllm.export import PROBED_HISTORY
from models.papers.hatllm.model import cut_backbone
from models.papers.hatllm.scoring import HISTORY_LENGTH
from models.papers.l2rec.scoring import L2RecScorer, load_reader
from models.papers.l2rec.training import Trained, read_description
from models.types import Sequences


def export_part(directory: Path, target: Path) -> L2RecSpec:
    """Write a bundle's part.

    Args:
        directory: what :func:`models.papers.l2rec.training.train_l2rec` left.
        target: directory of the part, ``l2rec/`` in a bundle.

    Returns:
        What workers and gateway must know.

    Raises:
        BundleError: the training is not over, or its files are damaged.
    """
    described, titles = read_description(directory), TitleTokens.load(directory)
    target.mkdir(parents=True, exist_ok=True)
    _write_checkpoint(described, read_experts_config(directory), target / CHECKPOINT)
    adapter = target / "adapters" / PART
    adapter.mkdir(parents=True)
    for name in (EXPERTS_CONFIG, EXPERTS_WEIGHTS):
        shutil.copyfile(directory / name, adapter / name)
    titles.save(target)
    reader = load_reader(target)
    rows = reader.item_rows()
    np.save(target / ITEM_ROWS, rows)
    make_probe(L2RecScorer(reader, rows, CFModel.load(directory / CF_MODEL))).save(target)
    return L2RecSpec(
        base_model=Path(described.backbone).name,
        history_length=described.history_length,
        user_size=reader.user_size,
        lora_rank=reader.network.config.rank,
        max_tokens=len(titles.start) + described.history_length * titles.longest,
    )


def make_probe(scorer: L2RecScorer) -> Probe:
    """What the base model and the adapter rank for a history of items from all over the catalogue, and its user."""
    prompts = scorer.reader.prompts
    n = min(PROBED_HISTORY, prompts.history_length, scorer.n_items // 4)
    history = item_numbers(np.linspace(0, scorer.n_items - 1, n).astype(np.int32))
    one = Sequences.of([history])
    scores = {BASE: scorer.base_scores(one)[0], PART: scorer.scores(one)[0]}
    lists = {name: top_n(of_items, PROBED_ITEMS, history) for name, of_items in scores.items()}
    return Probe(history, item_numbers(prompts.prompt(history)), lists, embedding=scorer.users(one)[0])


def _write_checkpoint(described: Trained, experts: ExpertsConfig, directory: Path) -> None:
    backbone = load_backbone(described.backbone)
    model = cut_backbone(backbone, described.layers)
    read = {HISTORY_LENGTH: described.history_length, "pooling": experts.pooling, "views": experts.views}
    model.config.update({CONFIG_KEY: described.layout | read})
    model.save_pretrained(directory)
    backbone.tokenizer.save_pretrained(directory)
