"""Which bundles are served, and until when."""

from pathlib import Path

import pytest
from support.bundles import make_bundle
from support.pools import Clock

from models.contract.bundle import ServedModel
from service.workers.roster import Roster, names_of


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> list[ServedModel]:
    root: Path = tmp_path_factory.mktemp("bundles")
    return [make_bundle(root, seed=seed).local for seed in range(3)]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def roster(clock: Clock) -> Roster:
    return Roster(10, clock)


def test_same_bundles_are_no_news_another_order_is(roster: Roster, bundles: list[ServedModel]) -> None:
    a, b, _ = bundles
    assert roster.expect([a])
    assert not roster.expect([a])
    assert roster.expect([a, b])
    assert roster.expect([b, a])
    assert [bundle.id for bundle in roster.expected] == [b.id, a.id]


def test_retired_bundle_is_served_until_it_is_drained(roster: Roster, bundles: list[ServedModel], clock: Clock) -> None:
    a, b, _ = bundles
    roster.expect([a, b])
    roster.expect([b])
    assert (roster.is_expected(a.id), roster.get(a.id)) == (False, a)
    clock.now += 9.9
    assert roster.end_drained() == []
    clock.now += 0.1
    assert roster.end_drained() == names_of(a)
    assert roster.get(a.id) is None
    assert roster.owner(a.adapter_name("c00")) is None
    assert roster.end_drained() == []


def test_request_that_runs_keeps_its_bundle(roster: Roster, bundles: list[ServedModel], clock: Clock) -> None:
    a, b, _ = bundles
    roster.expect([a])
    with roster.request(a.id):
        roster.expect([b])
        clock.now += 60
        assert roster.end_drained() == []
    assert roster.end_drained() == names_of(a)


def test_roll_back_within_the_drain_loses_nothing(roster: Roster, bundles: list[ServedModel], clock: Clock) -> None:
    a, b, _ = bundles
    roster.expect([a])
    roster.expect([b])
    clock.now += 5
    roster.expect([a])
    clock.now += 7
    assert roster.end_drained() == []  # b went 7 s ago
    assert roster.is_expected(a.id)
    clock.now += 3
    assert roster.end_drained() == names_of(b)


def test_owner_of_a_name(roster: Roster, bundles: list[ServedModel]) -> None:
    a, b, c = bundles
    roster.expect([a, b])
    owner = roster.owner(b.adapter_name("c01"))
    assert owner is not None
    assert (owner.model, owner.adapter) == (b, "c01")
    assert roster.owner(c.adapter_name("c01")) is None
