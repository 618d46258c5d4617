"""Files of tensors, changed."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file


def change_tensors(path: Path, change: Mapping[str, np.ndarray | None]) -> None:
    """Put other tensors into a file, by name; None: take it out."""
    tensors = load_file(path) | change
    save_file({name: np.ascontiguousarray(value) for name, value in tensors.items() if value is not None}, path)
