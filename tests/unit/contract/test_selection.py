"""From ranked lists to the served list: exclusion and fallbacks."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.contract.fusion import FusionMethod
from models.contract.selection import FusionSettings, Voter, ballots, fuse_voters, select, without
from models.contract.types import Ints, Membership, RankedList, item_numbers

NOTHING = item_numbers([])


def ranked(*items: int) -> RankedList:
    return RankedList(item_numbers(items), np.arange(len(items), 0, -1, dtype=np.float32))


class Fallback:
    """Gives its items in order, and remembers what it was asked."""

    def __init__(self, *items: int) -> None:
        self.ranking = ranked(*items)
        self.asked: list[tuple[int, list[int]]] = []

    def __call__(self, n: int, excluded: Ints) -> RankedList:
        self.asked.append((n, excluded.tolist()))
        left = without(self.ranking, excluded)
        return RankedList(left.items[:n], left.scores[:n])


class TestWithout:
    def test_order_and_scores_stay(self) -> None:
        left = without(ranked(4, 2, 9, 1), item_numbers([2, 1, 77]))

        assert left.items.tolist() == [4, 9]
        assert left.scores.tolist() == [4.0, 2.0]

    def test_nothing_excluded_and_nothing_ranked(self) -> None:
        assert without(ranked(4, 2), NOTHING).items.tolist() == [4, 2]
        assert len(without(ranked(), item_numbers([1]))) == 0


class TestFuseVoters:
    def test_ranks_are_counted_among_what_may_be_shown(self) -> None:
        voters = [Voter(Membership(0, 1.0), ranked(1, 2, 3)), Voter(Membership(1, 1.0), ranked(3, 2))]

        fused = fuse_voters(voters, item_numbers([1]), FusionSettings(FusionMethod.RRF, k=0.0))

        assert fused.items.tolist() == [2, 3]  # both 1 + 1/2 now, the tie goes by item number
        np.testing.assert_allclose(fused.scores, [1.5, 1.5])

    def test_no_community_votes_below_candidates(self) -> None:
        voters = [Voter(Membership(0, 1.0), ranked(1, 2, 3, 4))]

        fused = fuse_voters(voters, item_numbers([2]), FusionSettings(candidates=2))

        assert fused.items.tolist() == [1, 3]

    def test_weights_follow_the_membership_of_each_list(self) -> None:
        voters = [Voter(Membership(3, 0.1, 0.9), ranked(1, 2)), Voter(Membership(0, 0.8, 0.2), ranked(2, 1))]

        assert fuse_voters(voters, NOTHING, FusionSettings(FusionMethod.WRRF_CF)).items[0] == 2
        assert fuse_voters(voters, NOTHING, FusionSettings(FusionMethod.WRRF_LLM)).items[0] == 1

    def test_others_vote_only_where_the_settings_name_them(self) -> None:
        voters = [Voter(Membership(0, 1.0), ranked(1, 2), "c00"), Voter(None, ranked(2, 1), "cf")]
        fused = {
            weight: fuse_voters(voters, NOTHING, FusionSettings(others=(("cf", weight),))).items.tolist()
            for weight in (0.0, 0.5, 3.0)
        }

        assert fused == {0.0: [1, 2], 0.5: [1, 2], 3.0: [2, 1]}
        assert fuse_voters(voters, NOTHING, FusionSettings(others=(("global", 3.0),))).items.tolist() == [1, 2]

    @pytest.mark.parametrize("method", list(FusionMethod))
    def test_a_weight_of_1_is_as_much_as_all_communities_together(self, method: FusionMethod) -> None:
        members = [Membership(number, 0.5 / (1 + number), 0.2 * (1 + number)) for number in range(3)]
        voters = [Voter(None, ranked(2, 1), "cf"), *(Voter(member, ranked(1, 2)) for member in members)]

        cast = ballots(voters, NOTHING, FusionSettings(method, others=(("cf", 1.5),)))

        of_communities = sum(ballot.weight for ballot in cast if ballot.voter.membership)
        assert [b.weight for b in cast if not b.voter.membership] == [pytest.approx(1.5 * of_communities)]
        assert [b.voter for b in cast] == voters

    def test_who_belongs_to_no_community_gets_the_lists_of_the_others(self) -> None:
        voters = [Voter(None, ranked(3, 1), "global"), Voter(None, ranked(2, 4), "cf")]

        fused = fuse_voters(voters, item_numbers([3]), FusionSettings(others=(("cf", 0.5), ("global", 2.0))))

        assert fused.items.tolist() == [1, 2, 4]
        np.testing.assert_allclose(fused.scores, [2.0, 0.5, 0.25])

    def test_scores_are_those_of_the_items_that_are_left(self) -> None:
        """The last item among the candidates is what the scores are measured from."""
        voters = [Voter(Membership(0, 1.0), ranked(1, 2, 3, 4))]

        fused = fuse_voters(voters, item_numbers([1]), FusionSettings(FusionMethod.SCORES, candidates=2))

        assert (fused.items.tolist(), fused.scores.tolist()) == ([2, 3], [2.0, 0.0])

    def test_no_voters(self) -> None:
        assert len(fuse_voters([], item_numbers([1]), FusionSettings())) == 0


class TestSelect:
    def test_fallbacks_fill_in_order_and_only_as_far_as_needed(self) -> None:
        cf, popular, never = Fallback(1, 5, 6), Fallback(5, 7, 8, 9), Fallback(10)

        chosen = select(
            ranked(1, 2), "local", item_numbers([2]), 4, [("cf", cf), ("popular", popular), ("never", never)]
        )

        assert chosen.items.tolist() == [1, 5, 6, 7]
        assert chosen.sources == ("local", "cf", "cf", "popular")
        assert cf.asked == [(3, [2, 1])]
        assert popular.asked == [(1, [2, 1, 5, 6])]
        assert never.asked == []

    def test_a_full_list_asks_nobody(self) -> None:
        fallback = Fallback(3)

        chosen = select(ranked(4, 2, 9), "local", NOTHING, 2, [("cf", fallback)])

        assert (chosen.items.tolist(), chosen.sources, fallback.asked) == ([4, 2], ("local", "local"), [])

    def test_a_fallback_that_gives_too_much_is_cut(self) -> None:
        chosen = select(ranked(), "local", NOTHING, 2, [("cf", lambda n, out: ranked(5, 6, 7))])

        assert chosen.items.tolist() == [5, 6]
        assert len(chosen.sources) == len(chosen.scores) == 2

    def test_scores_stay_with_their_items(self) -> None:
        chosen = select(ranked(4, 2), "local", item_numbers([4]), 2, [("cf", Fallback(7))])

        assert chosen.items.tolist() == [2, 7]
        assert chosen.scores.tolist() == [1.0, 1.0]

    def test_the_list_is_short_where_everybody_runs_out(self) -> None:
        chosen = select(ranked(1), "local", NOTHING, 5, [("cf", Fallback(1, 2)), ("popular", Fallback(2))])

        assert chosen.items.tolist() == [1, 2]

    @given(
        own=st.lists(st.integers(0, 20), unique=True),
        excluded=st.lists(st.integers(0, 20)),
        fallbacks=st.lists(st.lists(st.integers(0, 20), unique=True), max_size=3),
        n=st.integers(1, 25),
    )
    def test_never_an_excluded_item_never_one_twice_and_as_many_as_there_are(
        self, own: list[int], excluded: list[int], fallbacks: list[list[int]], n: int
    ) -> None:
        chain = [(f"f{number}", Fallback(*items)) for number, items in enumerate(fallbacks)]

        chosen = select(ranked(*own), "local", item_numbers(excluded), n, chain)

        servable = list(dict.fromkeys(i for items in [own, *fallbacks] for i in items if i not in excluded))
        assert chosen.items.tolist() == servable[:n]  # first come, first served is also the order of the sources
        assert len(chosen.sources) == len(chosen.scores) == len(chosen.items)
