"""What the models are told of a user: the published profile while it is fresh, else one made anew."""

from pathlib import Path

import numpy as np
import pytest
from support.bundles import make_bundle, users_of

from models.contract.redis_schema import item_hash
from models.contract.types import Array, Floats, Ints, Profile, item_numbers
from service.gateway.bundles.snapshot import Snapshot, load_snapshot
from service.gateway.ranking.user import User, understand
from service.gateway.types import NO_HASHES, Query, UserState


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    root: Path = tmp_path_factory.mktemp("bundle")
    return load_snapshot(make_bundle(root).directory)


@pytest.fixture
def published(snapshot: Snapshot) -> Profile:
    """Of a user of several communities, whose models were judged."""
    folded = snapshot.fold_in(users_of(snapshot.bundle).histories[1])
    judged = tuple(m._replace(llm_weight=(1 + m.community) / 16) for m in folded.memberships)
    assert len(judged) > 1
    return Profile(folded.embedding, judged, 7)


def hashes(numbers: Ints) -> Array:
    return np.asarray([item_hash(f"i{number}") for number in numbers.tolist()], np.uint64)


def user_of(snapshot: Snapshot, state: UserState, **query: object) -> User:
    return understand(Query("u", **query), state, snapshot)  # type: ignore[arg-type]


def embedding(user: User) -> Floats:
    assert user.profile is not None
    return user.profile.embedding


def test_a_fresh_profile_is_the_published_one(snapshot: Snapshot, published: Profile):
    assert user_of(snapshot, UserState(published, ("i1",))).profile is published


def test_a_changed_user_is_folded_in_from_all_that_was_seen(snapshot: Snapshot, published: Profile):
    seen = users_of(snapshot.bundle).histories[1]
    state = UserState(published, ("i3", "i4"), hashes(seen), changed=True)
    user = user_of(snapshot, state)

    anew = snapshot.fold_in(np.concatenate([seen, item_numbers([3, 4])]))
    assert embedding(user).tolist() == anew.embedding.tolist()
    weights = {member.community: member.llm_weight for member in published.memberships}
    mean = sum(weights.values()) / len(weights)
    expected = [m._replace(llm_weight=weights.get(m.community, mean)) for m in anew.memberships]
    assert user.profile is not None
    assert list(user.profile.memberships) == expected
    assert user.history.tolist() == [3, 4]  # what the models read is the history alone
    assert user.reasons == ()


def test_the_order_and_repetition_of_events_change_no_embedding(snapshot: Snapshot, published: Profile):
    history = users_of(snapshot.bundle).histories[1]
    ids = tuple(f"i{number}" for number in [*history[::-1].tolist(), *history.tolist()])
    user = user_of(snapshot, UserState(published, ids, hashes(history), changed=True))
    assert embedding(user).tobytes() == published.embedding.tobytes()


@pytest.mark.parametrize("is_new", [True, False])
def test_what_is_done_with_an_item_in_turn_is_read_once(snapshot: Snapshot, published: Profile, is_new: bool):
    """Viewed, clicked and bought: no model was trained on the same item three times."""
    ids = ("i3", "i4", "i4", "i4", "i3", "i5")
    user = user_of(snapshot, UserState(None if is_new else published, ids, changed=not is_new))
    assert user.history.tolist() == [3, 4, 5]


def test_a_fresh_history_is_read_as_it_was_published(snapshot: Snapshot, published: Profile):
    assert user_of(snapshot, UserState(published, ("i3", "i3"))).history.tolist() == [3, 3]


def test_a_new_user_with_a_long_past_is_more_than_the_last_events(snapshot: Snapshot):
    user = user_of(snapshot, UserState(None, ("i3",), hashes(item_numbers([8, 9]))))
    assert embedding(user).tolist() == snapshot.fold_in(item_numbers([3, 8, 9])).embedding.tolist()


def test_where_the_bundle_knows_nothing_of_the_history_the_profile_stays(snapshot: Snapshot, published: Profile):
    assert user_of(snapshot, UserState(published, ("elsewhere",), changed=True)).profile is published


def test_a_history_that_was_sent_stands_alone(snapshot: Snapshot, published: Profile):
    state = UserState(published, ("i3",), hashes(item_numbers([8, 9])), changed=True)
    user = user_of(snapshot, state, history=("i5", "i6"))
    assert embedding(user).tolist() == snapshot.fold_in(item_numbers([5, 6])).embedding.tolist()
    assert set(user.excluded.tolist()) == {5, 6, 8, 9}


def test_models_may_know_who_has_a_profile_and_sends_no_history(snapshot: Snapshot, published: Profile):
    assert user_of(snapshot, UserState(published, ("i3",))).stored_id == "u"
    assert user_of(snapshot, UserState(published, ("i3",), changed=True)).stored_id == "u"
    assert user_of(snapshot, UserState(published, ("i3",)), history=("i5",)).stored_id is None
    assert user_of(snapshot, UserState(None, ("i3",))).stored_id is None  # new, or deleted


def test_who_has_only_seen_things_is_unknown(snapshot: Snapshot):
    user = user_of(snapshot, UserState(None, (), hashes(item_numbers([8]))))
    assert user.profile is None
    assert [str(reason) for reason in user.reasons] == ["unknown_user"]
    assert user.excluded.tolist() == [8]
    assert user_of(snapshot, UserState(None, (), NO_HASHES)).profile is None
