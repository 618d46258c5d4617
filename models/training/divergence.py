"""What every trainer does when its loss is no longer a number: it stops, and the batch is kept for whoever looks."""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from models.contract.errors import LocalRecError

ADVICE = "a smaller learning rate may help"
FAILED_BATCH = "failed_batch.safetensors"


class TrainingError(LocalRecError):
    """Training diverged. ``batch`` holds the tensors that the loss came from; None where nobody saw it, or it is kept.

    The message says where it happened, and names the file that holds the batch where it was kept.
    """

    def __init__(self, message: str, batch: Mapping[str, Tensor] | None = None) -> None:
        super().__init__(message)
        self.batch = batch


def check_loss(loss: float, where: str, batch: Mapping[str, Tensor]) -> None:
    """Raises TrainingError where the loss is NaN or infinite."""
    if not math.isfinite(loss):
        raise TrainingError(f"the loss is {loss} in {where}; {ADVICE}", batch)


@contextmanager
def failed_batch_kept(directory: Path) -> Iterator[None]:
    """Write the batch of a TrainingError inside to ``FAILED_BATCH`` in a directory, and name it in the message.

    What leaves has no batch any more: it is kept once, by the innermost directory.
    """
    try:
        yield
    except TrainingError as exc:
        if exc.batch is None:
            raise
        path = directory / FAILED_BATCH
        own = {name: value.clone(memory_format=torch.contiguous_format) for name, value in exc.batch.items()}
        save_file(own, path)  # which takes no two views of one tensor
        raise TrainingError(f"{exc}; the batch is saved in {path}") from exc
