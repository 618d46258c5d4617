"""A tiny checkpoint with three adapters, the engine's model on it, and the engine behind a real socket."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from support.checkpoints import write_adapter, write_checkpoint
from support.engine import ADAPTERS, MODEL_SETTINGS, N_ITEMS, RANK, Client, Gate, Start, running
from support.small_l2rec import write_l2rec

from service.engine.adapter_files import read_adapter
from service.engine.app import EngineSettings
from service.engine.model import LanguageModel


@pytest.fixture(scope="session")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Directory with ``checkpoint`` and ``adapters/c00 …``. Read only."""
    directory = tmp_path_factory.mktemp("engine")
    checkpoint = write_checkpoint(directory / "checkpoint", N_ITEMS)
    for seed, name in enumerate(ADAPTERS, start=1):
        write_adapter(directory / "adapters" / name, checkpoint, seed, RANK)
    return directory


@pytest.fixture(scope="session")
def l2rec_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two bundles' parts of L2Rec, ``a`` and ``b``, with one backbone. Read only."""
    directory = tmp_path_factory.mktemp("l2rec")
    for seed, name in enumerate("ab", start=1):
        write_l2rec(directory / name, n_items=20, seed=seed)
    return directory


@pytest.fixture
def model(root: Path) -> LanguageModel:
    """The engine's model without adapters."""
    return LanguageModel.load(root / "checkpoint", MODEL_SETTINGS)


@pytest.fixture
def adapted(model: LanguageModel, root: Path) -> LanguageModel:
    """The engine's model with adapter ``c00`` in slot 1, ``c01`` in slot 2, ``c02`` in slot 3."""
    for slot, name in enumerate(ADAPTERS, start=1):
        model.adapters.write(slot, read_adapter(root / "adapters" / name, model.adapters.targets()))
    return model


@pytest.fixture
def gate(model: LanguageModel, monkeypatch: pytest.MonkeyPatch) -> Gate:
    """The model's batches wait until it is opened."""
    gate = Gate(model)
    monkeypatch.setattr(model, "answer", gate.answer)
    return gate


@pytest.fixture
async def start(root: Path, model: LanguageModel) -> AsyncIterator[Start]:
    """Start an engine on ``model`` with some settings changed; returns a client of it."""
    settings = EngineSettings("base", root / "checkpoint", root / "adapters", max_model_tokens=22)
    async with AsyncExitStack() as stack:

        async def started(**changes: Any) -> Client:
            return await stack.enter_async_context(running(model, replace(settings, **changes)))

        yield started


@pytest.fixture
def dirty_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is allocated without a value holds nan, as memory that was used before may."""
    allocate = torch.Tensor.new_empty
    monkeypatch.setattr(torch.Tensor, "new_empty", lambda like, *a, **k: allocate(like, *a, **k).fill_(torch.nan))
