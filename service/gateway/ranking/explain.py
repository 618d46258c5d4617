"""Which voters put an item where it is."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

from models.contract.fusion import fuse
from models.contract.selection import FusionSettings, Voter, ballots
from models.contract.types import Ints
from service.gateway.types import Vote


def votes(
    items: Ints, voters: Sequence[Voter], excluded: Ints, fusion: FusionSettings
) -> Mapping[int, tuple[Vote, ...]]:
    """The votes for each of ``items``, the largest contribution first.

    A fused score is a sum over lists, so a voter's contribution is the score that its list alone would give.
    """
    found: dict[int, list[Vote]] = defaultdict(list)
    wanted = set(items.tolist())
    for ballot in ballots(voters, excluded, fusion):
        alone = fuse([ballot.ranking], [ballot.weight], fusion.method, fusion.k)
        for rank, (item, score) in enumerate(zip(alone.items.tolist(), alone.scores.tolist(), strict=True), start=1):
            if item in wanted:
                found[item].append(Vote(ballot.voter, rank, score))
    return {item: tuple(sorted(given, key=lambda vote: -vote.contribution)) for item, given in found.items()}
