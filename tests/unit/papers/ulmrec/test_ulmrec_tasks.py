"""The six tasks, word by word."""

from dataclasses import replace

import numpy as np
import pytest
from support.ulmrec import ranking_data

from models.contract.errors import ConfigError
from models.llm.backbone import Backbone
from models.papers.ulmrec.config import Task, ULMRecConfig
from models.papers.ulmrec.data import RankingData
from models.papers.ulmrec.prompts import ulmrec_prompts
from models.papers.ulmrec.tasks import Prompted, TaskPrompts, Texts
from models.papers.ulmrec.texts import Preferences, preferences
from models.papers.ulmrec.tuning import indexed_users

DATA = ranking_data()
TRAIN = DATA.dataset.train
RATED = replace(DATA, ratings=np.tile(np.asarray([5, 4, 3, 2, 1, 2], np.float32), len(TRAIN)))
USER, PLACE = 2, 2 * 6 + 2  # the third item of the third user, who walks through the red ones
HISTORY = "red ring ( 2 ) red leaf ( 3 ) red bell"


def tasks(backbone: Backbone, config: ULMRecConfig, data: RankingData = DATA) -> TaskPrompts:
    prompts = ulmrec_prompts(backbone, data.dataset.catalogue.items, config, indexed_users(config, data))
    return TaskPrompts(backbone, prompts, Texts.of(backbone, prompts, config, data), data, config)


def words(backbone: Backbone, prompted: Prompted) -> tuple[str, str]:
    """What is read and what is predicted."""
    n = len(backbone.tokenizer)
    found = [f"<{t - n}>" if t >= n else backbone.tokenizer.convert_ids_to_tokens(t) for t in prompted.tokens.tolist()]
    return " ".join(found[: -prompted.n_response]), " ".join(found[-prompted.n_response :])


def index_of(user: int) -> str:
    assert DATA.index is not None
    first, second = DATA.index.indices[user].tolist()
    return f"<{first}> <{second + 8}>"


def title(item: int) -> str:
    return str(DATA.dataset.catalogue.items[item].title)


def shown(items: list[int]) -> str:
    return " ".join(f"( {number + 1} ) {title(item)}" for number, item in enumerate(items))


LAST_THREE = shown(TRAIN[USER][-3:].tolist())


@pytest.mark.parametrize(
    ("task", "read", "predicted"),
    [
        (
            "index-preference",
            f"Given user index , predict the user ' s preference . ### Input : User index : {index_of(USER)}",
            "user prefers red <eos>",
        ),
        (
            "preference-index",
            "Given user ' s preference , predict the user index . ### Input : Preference : user prefers red",
            index_of(USER),
        ),
        (
            "history-index",
            "Given user ' s history in chronological order , predict the user index . ### Input :"
            f" User history : {LAST_THREE}",
            index_of(USER),
        ),
        (
            "rating",
            "Given user index and preferences , predict the user ' s rating of the last item of user history out of"
            f" 5 . ### Input : User index : {index_of(USER)} ; Preference : user prefers red ;"
            f" User history : ( 1 ) {title(TRAIN[USER][3])} ( Rating : 2 . 0 )"
            f" ( 2 ) {title(TRAIN[USER][4])} ( Rating : 1 . 0 ) ( 3 ) {title(TRAIN[USER][5])}",
            "2 . 0 <eos>",
        ),
    ],
)
def test_tasks_of_users(ranker: Backbone, tiny: ULMRecConfig, task: Task, read: str, predicted: str) -> None:
    prompted = tasks(ranker, tiny, RATED).prompt(task, USER, 0)
    assert words(ranker, prompted) == (f"### Instruction : {read} ### Response :", predicted)
    assert prompted.n_letters == 0


def test_next_item(ranker: Backbone, tiny: ULMRecConfig) -> None:
    prompted = tasks(ranker, tiny).prompt("next-item", PLACE, 5)
    read, letter = words(ranker, prompted)
    before = shown(TRAIN[USER][:2].tolist())
    assert f"### Input : User index : {index_of(USER)} ; User history : {before} Candidate pool : ( A )" in read
    assert f"( {letter} ) {title(TRAIN[USER][2])} " in read
    assert prompted.n_letters == 6
    met = [title(item) for item in TRAIN[USER] if item != TRAIN[USER][2]]
    assert not [each for each in met if each in read.partition("Candidate pool")[2]]


def test_intent(ranker: Backbone, tiny: ULMRecConfig) -> None:
    prompted = tasks(ranker, tiny).prompt("intent", PLACE, 5)
    read, letter = words(ranker, prompted)
    assert "recommend an item from the candidate pool with its index letter for this user ." in read
    assert "### Input : Preference : user prefers red ; Candidate pool : ( A )" in read
    assert f"( {letter} ) {title(TRAIN[USER][2])} " in read
    assert "history" not in read


def test_preferences_by_template_tell_of_what_came_before_the_target_alone(
    ranker: Backbone, tiny: ULMRecConfig
) -> None:
    made = tasks(ranker, tiny, replace(RATED, preferences=preferences(tiny, DATA.dataset)))
    titles = [title(item) for item in TRAIN[USER]]
    read, letter = words(ranker, made.prompt("intent", PLACE, 5))
    told, _, pool = read.partition("Candidate pool")
    assert f"( {letter} ) {titles[2]} " in pool
    assert [each for each in titles if each in told] == titles[:2]
    told, _, shown = words(ranker, made.prompt("rating", USER, 0))[0].partition("User history")
    assert [each for each in titles if each in told] == titles[3:5]
    assert titles[5] in shown
    assert titles[5] in words(ranker, made.prompt("index-preference", USER, 0))[1]


def test_a_prompt_is_the_same_whenever_it_is_made_and_another_number_draws_others(
    ranker: Backbone, tiny: ULMRecConfig
) -> None:
    made = tasks(ranker, tiny)
    first = made.prompt("next-item", PLACE, 5).tokens.tolist()
    assert made.prompt("next-item", PLACE, 5).tokens.tolist() == first
    assert made.prompt("next-item", PLACE, 6).tokens.tolist() != first


def test_every_prefix_of_two_items_is_a_sample(ranker: Backbone, tiny: ULMRecConfig) -> None:
    samples = tasks(ranker, tiny).samples()
    assert samples["next-item"].tolist() == [place for place in range(len(TRAIN.items)) if place % 6]
    assert samples["intent"].tolist() == [place for place in samples["next-item"] if place // 6 != 3]
    told = [user for user in range(40) if user != 3]
    assert samples["index-preference"].tolist() == samples["preference-index"].tolist() == told
    assert samples["history-index"].tolist() == list(range(40))
    assert not len(samples["rating"])


def test_who_has_no_text_and_who_rated_nothing_last_has_no_rating_prompt(ranker: Backbone, tiny: ULMRecConfig) -> None:
    ratings = np.ones(len(TRAIN.items), np.float32)
    ratings[6 * 7 + 5] = np.nan
    samples = tasks(ranker, tiny, replace(DATA, ratings=ratings)).samples()
    assert samples["rating"].tolist() == [user for user in range(40) if user not in (3, 7)]


def test_without_preferences_and_index_the_next_item_is_left(ranker: Backbone, tiny: ULMRecConfig) -> None:
    made = tasks(ranker, replace(tiny, index="none"), replace(DATA, preferences=Preferences((), "nothing")))
    assert {task for task, samples in made.samples().items() if len(samples)} == {"next-item"}
    assert "### Input : User history :" in words(ranker, made.prompt("next-item", PLACE, 0))[0]


def test_numbers_of_users_as_words(ranker: Backbone, tiny: ULMRecConfig) -> None:
    made = tasks(ranker, replace(tiny, index="numerical"))
    assert "User index : 3 ; User history" in words(ranker, made.prompt("next-item", PLACE, 0))[0]
    assert words(ranker, made.prompt("history-index", 4, 0))[1] == "5"


def test_histories_are_hidden_where_asked(ranker: Backbone, tiny: ULMRecConfig) -> None:
    made = tasks(ranker, replace(tiny, hidden_histories=1.0))
    assert "; User history : none Candidate pool" in words(ranker, made.prompt("next-item", PLACE, 0))[0]


def test_candidates_come_from_what_was_retrieved(ranker: Backbone, tiny: ULMRecConfig) -> None:
    retrieved = np.full((40, 6), -1, np.int32)
    retrieved[USER, :5] = [int(TRAIN[USER][0]), 11, 12, 13, 14]
    made = tasks(ranker, replace(tiny, negatives="retrieved"), replace(DATA, retrieved=retrieved))
    pool = words(ranker, made.prompt("next-item", PLACE, 0))[0].partition("Candidate pool")[2]
    assert all(title(item) in pool for item in (11, 12, 13, 14))
    assert title(int(TRAIN[USER][0])) not in pool
    assert made.prompt("next-item", PLACE, 0).n_letters == 6  # the others are drawn from all


def test_retrieved_ones_that_nobody_gives_are_refused(ranker: Backbone, tiny: ULMRecConfig) -> None:
    with pytest.raises(ConfigError, match=r"ulmrec\.negatives: 'retrieved', but no retriever's lists"):
        tasks(ranker, replace(tiny, negatives="retrieved"))


def test_an_index_that_nobody_gives_is_refused(ranker: Backbone, tiny: ULMRecConfig) -> None:
    with pytest.raises(ConfigError, match=r"ulmrec\.index: 'personal', but no user index is given"):
        tasks(ranker, tiny, replace(DATA, index=None))
