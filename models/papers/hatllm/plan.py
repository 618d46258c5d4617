"""What each layer of a masked decoder must compute, so that the states that are asked for come out right."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from models.contract.hatllm import Mask, Segments, visible

Window = int | None  # tokens that a layer sees back; None: all


class Masks:
    """The masks of one batch, each built once.

    Args:
        found: segments of tokens (b, n).
        dtype: of the states.
    """

    def __init__(self, found: Segments, dtype: torch.dtype) -> None:
        self.found, self.dtype = found, dtype
        self._visible: dict[tuple[Mask, Window], Tensor] = {}
        self._added: dict[tuple[Mask, Window], Tensor] = {}

    def visible(self, mask: Mask, window: Window) -> Tensor:
        """(b, n, n) bool: which token k (last axis) token j sees."""
        if (mask, window) not in self._visible:
            seen: Tensor = visible(mask, self.found)
            if window is not None:
                seen = seen & (self.found.places[:, :, None] - self.found.places[:, None, :] < window)
            self._visible[mask, window] = seen
        return self._visible[mask, window]

    def added(self, mask: Mask, window: Window) -> Tensor:
        """(b, 1, n, n) what is added to the attention's logits: 0 or -∞."""
        if (mask, window) not in self._added:
            self._added[mask, window] = added(self.visible(mask, window), self.dtype)
        return self._added[mask, window]


@dataclass(frozen=True)
class Chosen:
    """Some tokens of each row, in their order.

    Args:
        index: (b, k) their places in the row; rows with fewer are filled up with tokens that do not count.
        counts: (b, k) bool, which of them count.
    """

    index: Tensor
    counts: Tensor


@dataclass(frozen=True)
class Step:
    """What one layer computes of the k tokens a row that it is given.

    Args:
        places: (b, k) the tokens' places.
        asked: (b, q) which of them are needed further on; None: all.
        mask: (b, 1, q, k) added to the attention's logits; None: plain causal attention.
    """

    places: Tensor
    asked: Tensor | None
    mask: Tensor | None


@dataclass(frozen=True)
class Plan:
    """The layers' steps.

    Args:
        kept: (b, k) tokens that the first layer is given.
        steps: one a layer.
        asked: (b, q) bool: which of the tokens that the last layer gives are asked for.
    """

    kept: Tensor
    steps: tuple[Step, ...]
    asked: Tensor


def make_plan(masks: Sequence[Mask], windows: Sequence[Window], where: Tensor, built: Masks) -> Plan:
    """Go back from the states that are asked for to what they depend on.

    Args:
        masks: one a layer.
        windows: one a layer.
        where: (b, n) bool, whose states are asked for.
        built: the batch's masks.
    """
    needed = [where]  # by the outputs of the last layer, of the one before, …
    for mask, window in zip(reversed(masks), reversed(windows), strict=True):
        seen = (built.visible(mask, window) & needed[-1][:, :, None]).any(dim=1)
        needed.append(needed[-1] if torch.equal(seen, needed[-1]) else seen)
    needed.reverse()
    chosen: dict[int, Chosen] = {id(tokens): _choose(tokens) for tokens in needed}
    made: dict[tuple[Mask, Window, int, int], Step] = {}
    places = {key: at(built.found.places, tokens.index) for key, tokens in chosen.items()}
    steps = []
    for mask, window, given, asked in zip(masks, windows, needed[:-1], needed[1:], strict=True):
        key = (mask, window, id(given), id(asked))
        if key not in made:
            made[key] = _step(built, mask, window, chosen[id(given)], chosen[id(asked)], places[id(given)])
        steps.append(made[key])
    return Plan(chosen[id(needed[0])].index, tuple(steps), chosen[id(where)].counts)


def at(values: Tensor, index: Tensor) -> Tensor:
    """Entries (b, k, …) of (b, n, …) at ``index`` (b, k)."""
    rows = torch.arange(len(index), device=index.device)[:, None]
    return values[rows, index]


def added(seen: Tensor, dtype: torch.dtype) -> Tensor:
    """What is added to the attention's logits, (b, 1, q, k), where ``seen`` (b, q, k) says what is seen."""
    zeros = torch.zeros(seen.shape, dtype=dtype, device=seen.device)
    return zeros.masked_fill_(~seen, float("-inf"))[:, None]


def _choose(tokens: Tensor) -> Chosen:
    most = max(int(tokens.sum(dim=1).max()), 1)
    index = torch.argsort(~tokens, dim=1, stable=True)[:, :most]
    return Chosen(index, at(tokens, index))


def _step(built: Masks, mask: Mask, window: Window, given: Chosen, asked: Chosen, places: Tensor) -> Step:
    all_go_on = given is asked
    if all_go_on and mask == "causal" and window is None and built.found.sequences is None:
        return Step(places, None, None)  # tokens stand in their order, what does not count behind them
    n_tokens = built.found.places.shape[1]
    seen = built.visible(mask, window).gather(1, asked.index[:, :, None].expand(-1, -1, n_tokens))
    seen = seen.gather(2, given.index[:, None, :].expand(-1, seen.shape[1], -1))
    seen = seen & given.counts[:, None, :] | ~asked.counts[:, :, None]
    within = None if all_go_on else _within(given, asked, n_tokens)
    return Step(places, within, added(seen, built.dtype))


def _within(given: Chosen, asked: Chosen, n_tokens: int) -> Tensor:
    """(b, q) where the asked tokens stand among those given; 0 for tokens that do not count."""
    number = torch.arange(given.index.shape[1], device=given.index.device).expand_as(given.index)
    stands = torch.zeros((len(number), n_tokens), dtype=torch.int64, device=number.device)
    return stands.scatter_(1, given.index, number).gather(1, asked.index)
