"""The title form, small and untrained: title tokens, a compiled checkpoint with adapters, bundles."""

from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
from support.bundles import worker_bundle

from models.contract.bundle import MANIFEST, Bundle, hash_files, open_bundle, write_manifest
from models.contract.prompts import TitleTokens
from models.contract.specs import ModelSpec

RANK = 4
HISTORY_LENGTH = 12
TRUNK_LAYERS = 2


def random_titles(n_items: int, n_words: int, longest: int = 4, seed: int = 0) -> TitleTokens:
    """Titles of 1 to ``longest`` - 1 random words, each ended by word 0; word 2 starts."""
    rng = np.random.default_rng(seed)
    parts = [np.append(rng.integers(3, n_words, rng.integers(1, longest)), 0) for _ in range(n_items)]
    offsets = np.concatenate([[0], np.cumsum([len(part) for part in parts])]).astype(np.int64)
    return TitleTokens((2,), offsets, np.concatenate(parts).astype(np.int32), n_words)


def as_title_bundle(bundle: Bundle, titles: TitleTokens) -> Bundle:
    """Make a bundle in place one of the title form, as far as a gateway can see."""
    titles.save(bundle.directory)
    (bundle.directory / MANIFEST).unlink()
    model = msgspec.structs.replace(bundle.manifest.model, form="title", item_tokens=titles.longest)
    manifest = msgspec.structs.replace(bundle.manifest, model=model, files=hash_files(bundle.directory))
    return open_bundle(write_manifest(bundle.directory, manifest).directory)


@dataclass(frozen=True)
class TitleFiles:
    """A compiled checkpoint, its adapters by name, and the title tokens beside it."""

    directory: Path
    titles: TitleTokens
    adapters: tuple[str, ...]

    @property
    def checkpoint(self) -> Path:
        return self.directory / "checkpoint"

    def adapter(self, name: str) -> Path:
        """Directory of an adapter."""
        return self.directory / "adapters" / name


def write_title_files(directory: Path, backbone_directory: Path, n_items: int, adapters: tuple[str, ...]) -> TitleFiles:
    """Random item rows and random adapters on the two top layers of a backbone of four."""
    import torch
    from peft import get_peft_model

    from models.llm.backbone import load_backbone
    from models.llm.item_token import save_adapter
    from models.llm.title import compile_head, full_model, title_lora

    backbone = load_backbone(str(backbone_directory))
    titles = random_titles(n_items, backbone.model.config.vocab_size)
    files = TitleFiles(directory, titles, adapters)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        base = full_model(backbone, backbone.n_layers, titles)
        lora = title_lora(TRUNK_LAYERS, backbone.n_layers, RANK, 2.0 * RANK, 0.0)
        model = get_peft_model(base, lora)
        compile_head(model, torch.randn(n_items, backbone.hidden_size) * 0.2, titles)
        for name in adapters:
            for parameter in (p for p in model.parameters() if p.requires_grad):
                torch.nn.init.normal_(parameter, std=0.1)
            save_adapter(model, files.adapter(name))
    model.unload().save_pretrained(str(files.checkpoint))
    backbone.tokenizer.save_pretrained(files.checkpoint)
    titles.save(directory)
    return files


def title_bundle(files: TitleFiles) -> Bundle:
    """A bundle that holds what workers need and nothing else."""
    model = ModelSpec(
        "title", HISTORY_LENGTH, files.titles.n_items, RANK, files.adapters, "random", files.titles.longest
    )
    return worker_bundle(files.directory, model)
