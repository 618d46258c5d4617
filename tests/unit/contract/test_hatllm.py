"""Masks against the equations, letter by letter, on random prompts."""

from itertools import product

import numpy as np
import pytest

from models.contract.errors import BundleError
from models.contract.hatllm import HatLayout, Mask, Segments, segments, visible

SEPARATOR = 7
LAYOUT = HatLayout(("intra", "causal", "cross"), instruction_tokens=3, separator=SEPARATOR)
MASKS: tuple[Mask, ...] = ("intra", "causal", "cross", "cross-pre")


def random_prompt(rng: np.random.Generator) -> list[int]:
    """Token ids: an instruction, which may hold the separator, and up to five items of one to four tokens."""
    words = [int(rng.integers(0, 9)) for _ in range(LAYOUT.instruction_tokens)]
    for _ in range(int(rng.integers(0, 6))):
        words += [int(rng.integers(0, SEPARATOR)) for _ in range(int(rng.integers(0, 4)))] + [SEPARATOR]
    return words


def literal_item(tokens: list[int], place: int) -> int:
    """Number of a token's item, -1 for the instruction."""
    if place < LAYOUT.instruction_tokens:
        return -1
    return sum(token == SEPARATOR for token in tokens[LAYOUT.instruction_tokens : place])


def literally_visible(mask: Mask, tokens: list[int], j: int, k: int) -> bool:
    """Equations 2 to 5 as they stand in the paper, for one pair of tokens."""

    def of_item(place: int) -> bool:
        return literal_item(tokens, place) >= 0

    def is_last(place: int) -> bool:
        return of_item(place) and tokens[place] == SEPARATOR

    same = literal_item(tokens, j) == literal_item(tokens, k)
    masked = {
        "causal": False,
        "intra": of_item(j) and of_item(k) and not same,
        "cross-pre": j != k and of_item(j) and of_item(k) and same,
        "cross": j != k and of_item(j) and of_item(k) and (not is_last(j) or not is_last(k)),
    }[mask]
    return j >= k and not masked


def found(tokens: list[int]) -> Segments:
    """Of one prompt."""
    return segments(np.asarray(tokens), np.arange(len(tokens)), LAYOUT)


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("seed", range(20))
def test_masks_are_the_papers_on_random_prompts(mask: Mask, seed: int) -> None:
    tokens = random_prompt(np.random.default_rng(seed))

    seen = visible(mask, found(tokens))

    n = len(tokens)
    expected = [[literally_visible(mask, tokens, j, k) for k in range(n)] for j in range(n)]
    np.testing.assert_array_equal(seen, expected)


@pytest.mark.parametrize("mask", MASKS)
def test_rows_padded_on_the_right_see_what_they_saw_alone(mask: Mask) -> None:
    rng = np.random.default_rng(0)
    prompts = [random_prompt(rng) for _ in range(8)]
    longest = max(map(len, prompts))
    for filler in (0, SEPARATOR):
        padded = np.asarray([[*tokens, *[filler] * (longest - len(tokens))] for tokens in prompts])
        seen = visible(mask, segments(padded, np.arange(longest), LAYOUT))
        for row, tokens in enumerate(prompts):
            n = len(tokens)
            np.testing.assert_array_equal(seen[row, :n, :n], visible(mask, found(tokens)))
            assert not seen[row, :n, n:].any()


@pytest.mark.parametrize("mask", MASKS)
def test_sequences_packed_into_one_row_do_not_see_each_other(mask: Mask) -> None:
    rng = np.random.default_rng(1)
    prompts = [random_prompt(rng) for _ in range(4)]
    parts = [found(tokens) for tokens in prompts]
    owners = np.repeat(np.arange(4), [len(tokens) for tokens in prompts])
    packed = Segments(
        np.concatenate([part.items for part in parts]),
        np.concatenate([part.last for part in parts]),
        np.arange(len(owners)),
        owners,
    )

    seen = visible(mask, packed)

    for one, other in product(range(4), range(4)):
        block = seen[np.ix_(owners == one, owners == other)]
        if one == other:
            np.testing.assert_array_equal(block, visible(mask, parts[one]))
        else:
            assert not block.any()


def test_torch_and_numpy_agree() -> None:
    torch = pytest.importorskip("torch")
    tokens = random_prompt(np.random.default_rng(3))
    theirs = segments(torch.tensor(tokens), torch.arange(len(tokens)), LAYOUT)
    for mask in MASKS:
        np.testing.assert_array_equal(visible(mask, theirs).numpy(), visible(mask, found(tokens)))


def test_a_layout_goes_through_the_checkpoints_configuration() -> None:
    assert HatLayout.of_config(LAYOUT.as_config(), 3) == LAYOUT


@pytest.mark.parametrize(
    ("change", "complaint"),
    [({"masks": ["intra", "sideways", "cross"]}, "masks are of"), ({"masks": ["intra"]}, "1 masks for 3 layers")],
)
def test_a_layout_that_does_not_fit_is_refused(change: dict[str, list[str]], complaint: str) -> None:
    with pytest.raises(BundleError, match=complaint):
        HatLayout.of_config(LAYOUT.as_config() | change, 3)
