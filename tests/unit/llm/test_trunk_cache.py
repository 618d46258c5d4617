from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from models.contract.errors import DataError
from models.llm import trunk_cache
from models.llm.backbone import Backbone, trunk
from models.llm.trunk_cache import TokenPrompts, TrunkCache, fill

SOURCE = "tiny, 2 layers"


class CountingTrunk(nn.Module):
    """Another trunk that keeps account of what it is asked, and may break down."""

    def __init__(self, inner: Any, batches: int | None = None) -> None:
        super().__init__()
        self.inner, self.config, self.left, self.seen = inner, inner.config, batches, 0

    def forward(self, input_ids: Tensor, use_cache: bool) -> SimpleNamespace:
        if self.left == 0:
            raise RuntimeError("power cut")
        self.left = None if self.left is None else self.left - 1
        self.seen += len(input_ids)
        return SimpleNamespace(last_hidden_state=self.inner(input_ids=input_ids).last_hidden_state)


@pytest.fixture(scope="module")
def shallow(backbone: Backbone) -> Any:
    return trunk(backbone, 2)


@pytest.fixture
def prompts() -> TokenPrompts:
    rng = np.random.default_rng(0)
    return TokenPrompts.of([rng.integers(3, 15, n).astype(np.int32) for n in (3, 9, 1, 30, 9, 4)])


@pytest.fixture(autouse=True)
def _small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trunk_cache, "BATCH_TOKENS", 20)


def silent(line: str) -> None:
    pass


def test_states_are_those_of_each_prompt_alone(
    shallow: Any, prompts: TokenPrompts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    exact = trunk_cache.mixed_precision
    monkeypatch.setattr(trunk_cache, "mixed_precision", lambda device: exact(device, enabled=False))
    fill(tmp_path, shallow, prompts, SOURCE, silent)
    read = TrunkCache.open(tmp_path, prompts, SOURCE).read([4, 2, 3])
    assert (read.shape, read.dtype) == ((3, 30, 64), torch.bfloat16)
    for place, row in enumerate([4, 2, 3]):
        tokens = torch.from_numpy(prompts[row].astype(np.int64)).unsqueeze(0)
        alone = shallow(input_ids=tokens).last_hidden_state[0]
        torch.testing.assert_close(read[place, : len(alone)].float(), alone, rtol=2**-8, atol=1e-5)  # stored
        assert not read[place, len(alone) :].any()


def test_what_was_computed_before_an_interruption_is_kept(shallow: Any, prompts: TokenPrompts, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="power cut"):
        fill(tmp_path, CountingTrunk(shallow, batches=2), prompts, SOURCE, silent)
    with pytest.raises(DataError, match="no finished trunk states"):
        TrunkCache.open(tmp_path, prompts, SOURCE)
    rest = CountingTrunk(shallow)
    fill(tmp_path, rest, prompts, SOURCE, silent)
    assert rest.seen == 3  # of six: the longest alone, then two together
    (tmp_path / "whole").mkdir()
    fill(tmp_path / "whole", shallow, prompts, SOURCE, silent)
    caches = [TrunkCache.open(directory, prompts, SOURCE) for directory in (tmp_path, tmp_path / "whole")]
    assert torch.equal(*(cache.read(range(6)) for cache in caches))


def test_a_finished_cache_is_not_computed_again(shallow: Any, prompts: TokenPrompts, tmp_path: Path) -> None:
    fill(tmp_path, shallow, prompts, SOURCE, silent)
    again = CountingTrunk(shallow)
    fill(tmp_path, again, prompts, SOURCE, silent)
    assert again.seen == 0


def test_other_prompts_and_other_trunks_are_not_taken_for_these(
    shallow: Any, prompts: TokenPrompts, tmp_path: Path
) -> None:
    fill(tmp_path, shallow, prompts, SOURCE, silent)
    other = TokenPrompts(prompts.offsets, prompts.ids[::-1].copy())
    for wrong, source in ((other, SOURCE), (prompts, "tiny, 1 layers")):
        with pytest.raises(DataError, match="no finished trunk states"):
            TrunkCache.open(tmp_path, wrong, source)
    anew = CountingTrunk(shallow)
    fill(tmp_path, anew, other, SOURCE, silent)
    assert anew.seen == len(other)


def test_a_row_a_token_and_two_bytes_a_number(shallow: Any, prompts: TokenPrompts, tmp_path: Path) -> None:
    fill(tmp_path, shallow, prompts, SOURCE, silent)
    assert (tmp_path / "states.bin").stat().st_size == len(prompts.ids) * 64 * 2


def test_reading_never_changes_the_file(shallow: Any, prompts: TokenPrompts, tmp_path: Path) -> None:
    fill(tmp_path, shallow, prompts, SOURCE, silent)
    before = (tmp_path / "states.bin").read_bytes()
    TrunkCache.open(tmp_path, prompts, SOURCE).states.zero_()
    assert (tmp_path / "states.bin").read_bytes() == before


def test_progress_is_told_until_the_end(shallow: Any, prompts: TokenPrompts, tmp_path: Path) -> None:
    told: list[str] = []
    fill(tmp_path, shallow, prompts, SOURCE, told.append)
    assert told[-1] == "56 of 56 tokens"
