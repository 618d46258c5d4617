"""A tiny language model, and what is trained from it once for all tests. Read only.

torch is imported where it is needed: most unit tests do without.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from support.runs import FinishedRun


@pytest.fixture(scope="session")
def one_thread() -> Iterator[None]:
    """Tiny tensors: more threads only wait for one another."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def backbone_directory(one_thread: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Llama of 4 layers."""
    from support.backbones import write_backbone

    return write_backbone(tmp_path_factory.mktemp("backbone"))


@pytest.fixture(scope="session")
def finished_run(backbone_directory: Path, tmp_path_factory: pytest.TempPathFactory) -> "FinishedRun":
    """A run directory after all stages, bundle included."""
    from support.runs import finish_run

    return finish_run(tmp_path_factory.mktemp("run"), backbone_directory)
