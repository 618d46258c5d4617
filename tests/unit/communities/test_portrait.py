"""What a bundle shows of its communities: counted as the page counts, on one plane, and no more than eyes can take."""

from dataclasses import replace

import numpy as np
import pytest
from support.portraits import portrait

from models.communities.plane import main_plane
from models.communities.portrait import Portrait, portrait_file
from models.communities.statistics import characteristic_items, describe
from models.contract.portrait import MAPPED_USERS, NEAREST_MEMBERS, PortraitFile
from models.types import Sequences


@pytest.fixture(scope="module")
def shown() -> Portrait:
    return portrait(q=3, n=200)


def test_says_what_the_page_says(shown: Portrait) -> None:
    file, statistics = portrait_file(shown), describe(shown.weights)
    assert [community.n_users for community in file.communities] == list(statistics.sizes)
    assert file.coverage == pytest.approx(statistics.coverage, abs=1e-4)
    assert file.mean_memberships == pytest.approx(statistics.mean_memberships, abs=1e-4)
    np.testing.assert_allclose(file.overlap, statistics.overlap, atol=1e-4)
    for community, items in zip(
        file.communities, characteristic_items(shown.weights, shown.histories, 4, 10), strict=True
    ):
        assert [item.item_id for item in community.items] == [shown.catalogue.ids[each.item] for each in items]


def test_members_are_the_nearest_users_and_the_anchor_is_the_first(shown: Portrait) -> None:
    for number, community in enumerate(portrait_file(shown).communities):
        weights = shown.weights[:, number]
        rows = [shown.user_ids.index(user_id) for user_id in community.members]
        assert rows[0] == number
        assert len(rows) == min(NEAREST_MEMBERS, np.count_nonzero(weights))
        assert (np.diff(weights[rows]) <= 0).all()
        assert weights[rows[-1]] >= np.delete(weights, rows).max(initial=0)


def test_map_colours_users_by_their_nearest_community(shown: Portrait) -> None:
    lonely = shown.weights.copy()
    lonely[:50] = 0
    file = portrait_file(replace(shown, weights=lonely))
    drawn = main_plane(shown.embeddings, shown.anchors, MAPPED_USERS).drawn
    nearest = [community for _, _, community in file.users]
    assert [at == -1 for at in nearest] == [not lonely[row].any() for row in drawn]
    assert all(at in (-1, lonely[row].argmax()) for at, row in zip(nearest, drawn, strict=True))


def test_anchors_lie_where_their_users_do(shown: Portrait) -> None:
    file, drawn = portrait_file(shown), main_plane(shown.embeddings, shown.anchors, MAPPED_USERS).drawn.tolist()
    for number, place in enumerate(file.anchors):  # the first users are the anchors
        assert file.users[drawn.index(number)][:2] == place


def test_map_of_many_users_is_a_sample_and_always_the_same() -> None:
    many = portrait(n=MAPPED_USERS + 50)
    file = portrait_file(many)
    assert len(file.users) == MAPPED_USERS
    assert portrait_file(many) == file
    assert portrait_file(many, seed=1).users != file.users
    assert file.n_users == MAPPED_USERS + 50


def test_plane_does_not_turn_with_the_sign_of_its_directions(shown: Portrait) -> None:
    turned = main_plane(-shown.embeddings, -shown.anchors, 10)
    straight = main_plane(shown.embeddings, shown.anchors, 10)
    np.testing.assert_allclose(turned.users, -straight.users, atol=1e-5)


def test_users_without_history_belong_nowhere() -> None:
    shown = portrait(n=20)
    empty = Sequences.of([np.empty(0, np.int32)] * 20)
    file = portrait_file(replace(shown, histories=empty, weights=np.zeros_like(shown.weights)))
    assert (file.coverage, file.mean_memberships) == (0.0, 0.0)
    assert all(not community.members and not community.items for community in file.communities)
    assert {community for _, _, community in file.users} == {-1}


def test_reads_what_it_wrote(shown: Portrait, tmp_path) -> None:
    file = portrait_file(shown)
    file.save(tmp_path)
    assert PortraitFile.load(tmp_path, 3) == file
