"""What pipelines of one model ask it, and what is said of it."""

from dataclasses import replace

import numpy as np
import pytest
from support.bundles import users_of
from support.parts import (
    KNOWN_USERS,
    LETTERS,
    UNKNOWN_ITEMS,
    collm_prompts,
    make_bundle_with,
    ulmrec_prompts,
    user_indexer,
)

from models.contract.types import item_numbers
from service.gateway.bundles.item_set import ItemSet
from service.gateway.bundles.parts import NO_PARTS
from service.gateway.bundles.snapshot import Snapshot, load_snapshot
from service.gateway.ranking.plan import plan
from service.gateway.ranking.settings import CoLLMPipeline, HatLLMPipeline, L2RecPipeline, ULMRecPipeline
from service.gateway.ranking.user import User
from service.gateway.types import FULL_EFFORT, Effort
from service.workers.classification import Classification
from service.workers.embedding import Embedding
from service.workers.letters import Letters

COLLM, HATLLM = CoLLMPipeline(kind="collm", pool="c"), HatLLMPipeline(kind="hatllm", pool="h")
ULMREC, L2REC = ULMRecPipeline(kind="ulmrec", pool="u"), L2RecPipeline(kind="l2rec", pool="l")
HISTORY = item_numbers([5, 6])


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    bundle = make_bundle_with(tmp_path_factory.mktemp("bundles"), "collm", "hatllm", "ulmrec", "l2rec")
    return load_snapshot(bundle.directory, {"c": "collm", "h": "hatllm", "u": "ulmrec", "l": "l2rec"})


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


@pytest.mark.parametrize("pipeline", [COLLM, ULMREC, L2REC])
def test_who_is_unknown_is_asked_about_nowhere(snapshot: Snapshot, user: User, pipeline):
    assert plan(pipeline, replace(user, profile=None), snapshot) is None


@pytest.mark.parametrize("pipeline", [COLLM, HATLLM, ULMREC, L2REC])
def test_nobody_is_asked_about_nothing(snapshot: Snapshot, user: User, pipeline):
    nothing = ItemSet(np.zeros(200, bool))
    assert plan(pipeline, replace(user, allowed=nothing), snapshot) is None
    seen_alone = ItemSet(np.isin(np.arange(200), HISTORY))
    assert plan(pipeline, replace(user, allowed=seen_alone), snapshot) is None


@pytest.mark.parametrize("pipeline", [COLLM, HATLLM, ULMREC, L2REC])
def test_bundle_without_the_model_is_asked_nothing(snapshot: Snapshot, user: User, pipeline):
    assert plan(pipeline, user, replace(snapshot, parts=NO_PARTS)) is None


@pytest.mark.parametrize("pipeline", [HATLLM, L2REC])
def test_newest_of_the_history_is_read(snapshot: Snapshot, user: User, pipeline):
    planned = plan(pipeline, replace(user, history=item_numbers(range(12))), snapshot)
    assert isinstance(planned.inquiry, Embedding)
    assert planned.inquiry.prompt == [7, 8, 9, *(token for item in range(2, 12) for token in (50 + item, 4))]
    assert (planned.inquiry.candidates, planned.inquiry.excluded.tolist()) == (100, [5, 6])
    assert (planned.pool, planned.fusion, said(planned)) == (pipeline.pool, None, [])
    assert (planned.inquiry.user is None) == (pipeline is HATLLM)


def test_l2rec_is_told_the_embedding_of_the_profile(snapshot: Snapshot, user: User):
    planned = plan(L2REC, user, snapshot)
    assert planned.inquiry.user.tolist() == user.profile.embedding.tolist()
    assert ([call.adapter for call in planned.calls], planned.inquiry.size) == (["l2rec"], 16)


@pytest.mark.parametrize("pipeline", [HATLLM, ULMREC, L2REC])
def test_nobody_is_asked_after_an_empty_history(snapshot: Snapshot, user: User, pipeline):
    assert plan(pipeline, replace(user, history=item_numbers([])), snapshot) is None


@pytest.mark.parametrize("history", [HISTORY, item_numbers([5]), item_numbers(range(30))])
def test_ulmrec_is_asked_about_the_best_of_cf_in_its_order(snapshot: Snapshot, user: User, history):
    planned = plan(ULMREC, replace(user, history=history), snapshot)
    expected = snapshot.cf.recommend(user.profile.embedding, LETTERS, HISTORY).items
    assert isinstance(planned.inquiry, Letters)
    assert planned.inquiry.candidates.tolist() == expected.tolist()
    prompts = ulmrec_prompts(200)
    assert planned.inquiry.prompt.tolist() == prompts.prompt(history, expected, prompts.indices[1]).tolist()
    assert planned.inquiry.answers.tolist() == prompts.answers.tolist()
    assert ([call.adapter for call in planned.calls], planned.pool, planned.fusion) == (["ulmrec"], "u", None)
    assert said(planned) == []


@pytest.mark.parametrize("stored_id", [None, f"u{KNOWN_USERS}"])
def test_who_was_not_there_at_training_gets_an_index(snapshot: Snapshot, user: User, stored_id: str | None):
    planned = plan(ULMREC, replace(user, stored_id=stored_id), snapshot)
    prompts, index = ulmrec_prompts(200), user_indexer(200).index(stored_id, HISTORY)
    assert planned.inquiry.prompt.tolist() == prompts.prompt(HISTORY, planned.inquiry.candidates, index).tolist()
    assert index.tolist() not in prompts.indices.tolist()
    assert ([str(note) for note in planned.notes], planned.reasons) == (["new_index:user"], ())
    assert not planned.notes[0].degrades


def test_ulmrec_is_asked_about_as_many_as_it_has_letters_for(snapshot: Snapshot, user: User):
    prompts = ulmrec_prompts(200)
    few = replace(prompts, letters=prompts.letters[:6], answers=prompts.answers[:6])
    small = replace(snapshot, parts=replace(snapshot.parts, ulmrec=replace(snapshot.parts.ulmrec, prompts=few)))
    for candidates, expected in ((26, 6), (4, 4)):
        pipeline = ULMREC.model_copy(update={"candidates": candidates})
        planned = plan(pipeline, user, small)
        assert (len(planned.inquiry.candidates), len(planned.inquiry.answers), said(planned)) == (
            expected,
            expected,
            [],
        )
    halved = plan(ULMREC, user, small, Effort(width=1.0, candidates=0.5))
    assert (len(halved.inquiry.candidates), said(halved)) == (3, ["fewer_candidates:3/6"])


@pytest.mark.parametrize("n", [1, 5])
def test_ulmrec_ranks_fewer_where_fewer_are_allowed(snapshot: Snapshot, user: User, n: int):
    allowed = ItemSet(np.isin(np.arange(200), np.arange(50, 50 + n)))
    planned = plan(ULMREC, replace(user, allowed=allowed), snapshot)
    assert sorted(planned.inquiry.candidates.tolist()) == list(range(50, 50 + n))
    assert len(planned.inquiry.answers) == n


@pytest.mark.parametrize(("pipeline", "n"), [(COLLM, 50), (HATLLM, 100), (ULMREC, 20), (L2REC, 100)])
def test_less_effort_asks_for_fewer(snapshot: Snapshot, user: User, pipeline, n: int):
    planned = plan(pipeline, user, snapshot, Effort(width=0.5, candidates=0.5))
    assert f"fewer_candidates:{n // 2}/{n}" in said(planned)
    asked = planned.inquiry.candidates
    assert (asked if isinstance(asked, int) else len(asked)) == n // 2
    assert not any("narrowed" in each for each in said(planned))
    assert plan(pipeline, user, snapshot, FULL_EFFORT).inquiry.affinity


def test_users_of_the_bundle_are_known_by_their_row(snapshot: Snapshot):
    users = users_of(snapshot.bundle)
    assert [snapshot.parts.collm.user_row(user_id) for user_id in users.ids[:3]] == [0, 1, 2]
