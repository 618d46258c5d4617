"""What the frozen trunk makes of prompts, computed once for all adapters and epochs, on disk and memory-mapped.

One file of bfloat16 states, a row a token, prompt after prompt. Not float16, although that is more precise: language
models have a few entries of many thousands in their hidden states (attention sinks), near float16's end.
Memory holds one batch of prompts; disk holds n_tokens · hidden_size · 2 bytes.
"""

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from models.contract.errors import DataError
from models.contract.types import Ints
from models.training.device import mixed_precision
from models.types import Report

BATCH_TOKENS = 4096  # in one pass through the trunk, padding included; bounds memory
_STATES, _PROGRESS = "states.bin", "progress.json"


@dataclass(frozen=True)
class TokenPrompts:
    """Token ids of many prompts, one after the other: prompt i is ``ids[offsets[i]:offsets[i + 1]]``."""

    offsets: NDArray[np.int64]
    ids: Ints

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, row: int) -> Ints:
        return self.ids[self.offsets[row] : self.offsets[row + 1]]

    @staticmethod
    def of(prompts: Sequence[Ints]) -> "TokenPrompts":
        """From one array per prompt."""
        lengths = np.asarray([len(prompt) for prompt in prompts], np.int64)
        ids = np.concatenate(prompts) if prompts else np.empty(0, np.int32)
        return TokenPrompts(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64), ids)

    def digest(self, source: str) -> str:
        """Stands for the prompts and for ``source``, what reads them."""
        return sha256(source.encode() + b"\0" + self.offsets.tobytes() + self.ids.tobytes()).hexdigest()


@dataclass(frozen=True)
class TrunkCache:
    """The states of some prompts, read from disk as they are needed.

    Args:
        prompts: what was read.
        states: (n_tokens, hidden) bfloat16, memory-mapped.
    """

    prompts: TokenPrompts
    states: Tensor

    @classmethod
    def open(cls, directory: Path, prompts: TokenPrompts, source: str) -> Self:
        """Open what :func:`fill` wrote. Raises DataError where it is missing, unfinished or of other prompts."""
        progress = _Progress.read(directory)
        if progress is None or progress.digest != prompts.digest(source) or progress.done < len(prompts):
            raise DataError(f"{directory}: holds no finished trunk states of these prompts; compute them first")
        return cls(prompts, _as_states(_mapped(directory, len(prompts.ids), progress.hidden_size, "c")))

    def read(self, rows: Sequence[int]) -> Tensor:
        """(b, longest, hidden) bfloat16 states of some prompts, zeros on the right."""
        parts = [self.states[self.prompts.offsets[row] : self.prompts.offsets[row + 1]] for row in rows]
        return pad_sequence(parts, batch_first=True)


def fill(directory: Path, trunk: Any, prompts: TokenPrompts, source: str, report: Report) -> None:
    """Write the states of all prompts; what an interrupted call has left there is not computed again.

    Args:
        directory: existing; holds one cache.
        trunk: the shallow decoder, see ``backbone.trunk``, on the device that computes.
        prompts: what it reads.
        source: names the trunk: the states of another one are not taken for this one's.
        report: told a line for every tenth of the tokens.
    """
    hidden_size, digest = int(trunk.config.hidden_size), prompts.digest(source)
    progress = _Progress.read(directory)
    if progress is None or progress.digest != digest or not (directory / _STATES).exists():
        _allocate(directory / _STATES, len(prompts.ids) * hidden_size)
        progress = _Progress(digest, hidden_size, 0)
        progress.write(directory)
    order = np.argsort(-np.diff(prompts.offsets), kind="stable")
    mapped = _mapped(directory, len(prompts.ids), hidden_size, "r+")
    told = _Tenths(len(prompts.ids), report)
    for batch in _batches(order[progress.done :], prompts):
        _fill_batch(_as_states(mapped), trunk, prompts, batch)
        mapped.flush()  # the record of what is done must not come before what is done
        progress = _Progress(digest, hidden_size, progress.done + len(batch))
        progress.write(directory)
        told.add(sum(len(prompts[row]) for row in batch))


@torch.inference_mode()
def trunk_states(trunk: Any, tokens: Sequence[Ints]) -> Tensor:
    """(b, longest, hidden) states of prompts padded on the right: attention is causal, so the padding is not seen."""
    device = next(trunk.parameters()).device
    padded = pad_sequence([torch.from_numpy(t.astype(np.int64)) for t in tokens], batch_first=True)
    with mixed_precision(device):
        states: Tensor = trunk(input_ids=padded.to(device), use_cache=False).last_hidden_state
    return states


@dataclass(frozen=True)
class _Progress:
    """How many prompts, longest first, are on disk."""

    digest: str
    hidden_size: int
    done: int

    @classmethod
    def read(cls, directory: Path) -> Self | None:
        try:
            return cls(**json.loads((directory / _PROGRESS).read_bytes()))
        except (OSError, ValueError, TypeError):
            return None

    def write(self, directory: Path) -> None:
        temporary = directory / f".{_PROGRESS}.tmp"
        temporary.write_text(json.dumps(vars(self)) + "\n")
        os.replace(temporary, directory / _PROGRESS)


class _Tenths:
    """Says every time that another tenth of the work is done."""

    def __init__(self, total: int, report: Report) -> None:
        self._total, self._report, self._done = total, report, 0

    def add(self, n: int) -> None:
        before, self._done = self._done, self._done + n
        if self._done * 10 // self._total > before * 10 // self._total:
            self._report(f"{self._done:,} of {self._total:,} tokens")


def _fill_batch(states: Tensor, trunk: Any, prompts: TokenPrompts, batch: Sequence[int]) -> None:
    computed = trunk_states(trunk, [prompts[row] for row in batch]).to(states.dtype).cpu()
    for place, row in enumerate(batch):
        states[prompts.offsets[row] : prompts.offsets[row + 1]] = computed[place, : len(prompts[row])]


def _batches(order: NDArray[np.int64], prompts: TokenPrompts) -> Iterator[list[int]]:
    """Rows in the given order, longest first, as many as fit into ``BATCH_TOKENS``, one at least."""
    at = 0
    while at < len(order):
        size = max(BATCH_TOKENS // max(len(prompts[order[at]]), 1), 1)
        yield order[at : at + size].tolist()
        at += size


def _allocate(path: Path, n_numbers: int) -> None:
    with path.open("wb") as file:
        file.truncate(n_numbers * torch.bfloat16.itemsize)


def _mapped(directory: Path, n_tokens: int, hidden_size: int, mode: Literal["r+", "c"]) -> "np.memmap[Any, Any]":
    """The file as (n_tokens, hidden) int16, as numpy has no bfloat16. Mode ``c`` never writes to the file."""
    return np.memmap(directory / _STATES, np.int16, mode, shape=(n_tokens, hidden_size))


def _as_states(mapped: "np.memmap[Any, Any]") -> Tensor:
    return torch.from_numpy(mapped).view(torch.bfloat16)
