"""What moved an item: the steps of an arrangement, taken one after the other. Only for explanations."""

from dataclasses import dataclass, replace

from service.gateway.explanation import Move, Step
from service.gateway.ranking.arrange import arrange
from service.gateway.ranking.course import Arranged

_Ranks = dict[int, int]  # rank by position in the pool


@dataclass(frozen=True, slots=True)
class Moves:
    """By position in the pool, what moved those items that are served; and how many caps kept out of the list."""

    served: dict[int, Move]
    capped: int


def moves(arranged: Arranged, n: int) -> Moves:
    """Take rotation, then diversity, then the caps, and see which of them changes the rank of one of ``n`` items."""
    wanted, traits, m = arranged.wanted, arranged.traits, len(arranged.traits.shown)
    uncapped = replace(wanted, max_per={})
    before_caps = arrange(uncapped, traits, m)
    steps: list[tuple[Step, _Ranks]] = [
        ("rotation", _ranks(arrange(replace(uncapped, diversity=0.0), traits, m))),
        ("diversity", _ranks(before_caps)),
        ("cap", _ranks(arranged.positions)),
    ]
    served = {
        position: Move(position + 1, _changed(position, steps))
        for rank, position in enumerate(arranged.positions, start=1)
        if rank != position + 1
    }
    return Moves(served, len(set(before_caps[:n]) - set(arranged.positions)))


def _ranks(order: list[int]) -> _Ranks:
    return {position: rank for rank, position in enumerate(order, start=1)}


def _changed(position: int, steps: list[tuple[Step, _Ranks]]) -> tuple[Step, ...]:
    by, rank = [], position + 1
    for step, ranks in steps:
        if ranks[position] != rank:
            by.append(step)
        rank = ranks[position]
    return tuple(by)
