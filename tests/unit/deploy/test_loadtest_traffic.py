import json
from collections import Counter

import pytest

from loadtests.profiles import PROFILES
from loadtests.traffic import Bodies, Traffic
from service.gateway.api.event_schemas import EventBody
from service.gateway.api.schemas import BatchRequest, RecommendRequest

USERS = [f"u{row}" for row in range(30)]
ITEMS = [f"i{row}" for row in range(50)]
READERS = {"/recommend": RecommendRequest, "/recommend/batch": BatchRequest, "/events": EventBody}


def traffic(name: str, **bodies) -> Traffic:
    return Traffic(PROFILES[name], Bodies(**bodies), USERS, ITEMS)


@pytest.mark.parametrize("name", PROFILES)
def test_the_service_reads_every_body(name: str):
    made = traffic(name, deadline_ms=150)
    for number in range(100):
        request = made.request(number)
        READERS[request.route].model_validate_json(request.body)


@pytest.mark.parametrize("name", PROFILES)
def test_the_number_and_the_seed_say_everything(name: str):
    first, again, other = traffic(name, seed=1), traffic(name, seed=1), traffic(name, seed=2)
    forward = [first.request(number) for number in range(50)]
    assert [again.request(number) for number in reversed(range(50))] == forward[::-1]
    assert [other.request(number) for number in range(50)] != forward


def test_the_shares_of_a_mix_are_those_of_its_profile():
    made = traffic("events")
    kinds = Counter(made.request(number).kind for number in range(4_000))
    for kind, share in PROFILES["events"].kinds.items():
        assert kinds[kind] / 4_000 == pytest.approx(share, abs=0.02)


def test_everybody_comes_once_before_anybody_comes_again_and_nothing_is_cached():
    made = traffic("cold-cache")
    bodies = [json.loads(made.request(number).body) for number in range(60)]
    assert sorted(body["user_id"] for body in bodies[:30]) == sorted(USERS)
    assert sorted(body["user_id"] for body in bodies[30:]) == sorted(USERS)
    assert not any(body["use_cache"] for body in bodies)


def test_strangers_bring_a_history_of_known_items_and_come_once():
    bodies = [json.loads(traffic("new-users").request(number).body) for number in range(40)]
    assert len({body["user_id"] for body in bodies}) == 40
    assert not {body["user_id"] for body in bodies} & set(USERS)
    assert all(body["history"] and set(body["history"]) <= set(ITEMS) for body in bodies)


def test_events_are_about_users_of_their_own():
    made = traffic("events")
    requests = [made.request(number) for number in range(300)]
    own = [json.loads(request.body)["user_id"] for request in requests if request.kind in {"event", "check"}]
    assert own
    assert all(user.startswith("loadtest-") for user in own)


def test_strangers_without_items_are_refused():
    with pytest.raises(ValueError, match="item_ids"):
        Traffic(PROFILES["new-users"], Bodies(), USERS, []).request(0)
