"""What CoLLM and HatLLM are asked, and what is said of it."""

from dataclasses import replace

import numpy as np
import pytest
from support.bundles import users_of
from support.parts import KNOWN_USERS, UNKNOWN_ITEMS, collm_prompts, make_bundle_with

from models.contract.types import item_numbers
from service.gateway.bundles.item_set import ItemSet
from service.gateway.bundles.snapshot import Snapshot, load_snapshot
from service.gateway.ranking.plan import plan
from service.gateway.ranking.settings import CoLLMPipeline, HatLLMPipeline
from service.gateway.ranking.user import User
from service.gateway.types import FULL_EFFORT, Effort
from service.workers.classification import Classification
from service.workers.embedding import Embedding

COLLM, HATLLM = CoLLMPipeline(kind="collm", pool="c"), HatLLMPipeline(kind="hatllm", pool="h")
HISTORY = item_numbers([5, 6])


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    bundle = make_bundle_with(tmp_path_factory.mktemp("bundles"), "collm", "hatllm")
    return load_snapshot(bundle.directory, {"c": "collm", "h": "hatllm"})


@pytest.fixture
def user(snapshot: Snapshot) -> User:
    return User(snapshot.fold_in(HISTORY), HISTORY, HISTORY, (), stored_id="u1")


def said(planned) -> list[str]:
    return [str(reason) for reason in (*planned.reasons, *planned.notes)]


def test_collm_is_asked_about_the_best_candidates_of_cf(snapshot: Snapshot, user: User):
    planned = plan(COLLM, user, snapshot)
    expected = snapshot.cf.recommend(user.profile.embedding, 50, HISTORY).items
    assert isinstance(planned.inquiry, Classification)
    assert planned.inquiry.candidates.tolist() == expected.tolist()
    prompts = collm_prompts(200).prompts(HISTORY, expected, 1)
    assert [each.tolist() for each in planned.inquiry.prompts] == [each.tolist() for each in prompts]
    assert ([call.adapter for call in planned.calls], planned.pool, planned.fusion) == (["collm"], "c", None)
    unknown = int((expected % UNKNOWN_ITEMS == 0).sum())
    assert said(planned) == [f"text_only:items {unknown}/50"]
    assert not any(reason.degrades for reason in planned.notes)


@pytest.mark.parametrize("stored_id", [None, f"u{KNOWN_USERS}", "somebody"])
def test_who_was_not_there_at_training_is_read_as_text(snapshot: Snapshot, user: User, stored_id: str | None):
    planned = plan(COLLM, replace(user, stored_id=stored_id), snapshot)
    tokens = np.concatenate(planned.inquiry.prompts)
    assert said(planned) == ["text_only:user"]
    assert tokens.max() < snapshot.parts.collm.n_words


def test_collm_is_not_asked_of_who_is_unknown_or_about_nothing(snapshot: Snapshot, user: User):
    assert plan(COLLM, replace(user, profile=None), snapshot) is None
    nothing = ItemSet(np.zeros(200, bool))
    assert plan(COLLM, replace(user, allowed=nothing), snapshot) is None
    assert plan(HATLLM, replace(user, allowed=nothing), snapshot) is None


def test_hatllm_reads_the_newest_of_the_history(snapshot: Snapshot, user: User):
    planned = plan(HATLLM, replace(user, history=item_numbers(range(12))), snapshot)
    assert isinstance(planned.inquiry, Embedding)
    assert planned.inquiry.prompt == [7, 8, 9, *(token for item in range(2, 12) for token in (50 + item, 4))]
    assert (planned.inquiry.candidates, planned.inquiry.excluded.tolist()) == (100, [5, 6])
    assert (planned.pool, planned.fusion, said(planned)) == ("h", None, [])


def test_hatllm_is_not_asked_after_an_empty_history(snapshot: Snapshot, user: User):
    assert plan(HATLLM, replace(user, history=item_numbers([])), snapshot) is None


@pytest.mark.parametrize(("pipeline", "n"), [(COLLM, 50), (HATLLM, 100)])
def test_less_effort_asks_for_fewer(snapshot: Snapshot, user: User, pipeline, n: int):
    planned = plan(pipeline, user, snapshot, Effort(width=0.5, candidates=0.5))
    assert f"fewer_candidates:{n // 2}/{n}" in said(planned)
    asked = planned.inquiry.candidates
    assert (len(asked) if pipeline is COLLM else asked) == n // 2
    assert not any("narrowed" in each for each in said(planned))
    assert plan(pipeline, user, snapshot, FULL_EFFORT).inquiry.affinity


def test_users_of_the_bundle_are_known_by_their_row(snapshot: Snapshot):
    users = users_of(snapshot.bundle)
    assert [snapshot.parts.collm.user_row(user_id) for user_id in users.ids[:3]] == [0, 1, 2]
