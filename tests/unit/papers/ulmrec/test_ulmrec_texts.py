from pathlib import Path

import numpy as np
import polars as pl
import pytest
from support.backbones import walk_dataset

from models.config import make
from models.contract.catalogue import Item
from models.contract.errors import ConfigError, DataError
from models.data.splits import TRAIN
from models.papers.ulmrec.config import ULMRecConfig
from models.papers.ulmrec.texts import preferences, template, title_of, user_texts
from models.types import Sequences

DATASET = walk_dataset(Sequences.of([np.arange(start, start + 8, dtype=np.int32) for start in (0, 3, 10)]))


def table(path: Path, **columns: list[str | None]) -> ULMRecConfig:
    frame = pl.DataFrame(columns)
    frame.write_parquet(path) if path.suffix == ".parquet" else frame.write_csv(path)
    return ULMRecConfig(user_texts=str(path))


def test_users_are_known_by_the_titles_of_their_train_items_and_of_no_other() -> None:
    texts = user_texts(ULMRecConfig(), DATASET)
    of_users = texts.of_users(DATASET.train)
    assert texts.source == "titles of train items"
    for user in range(3):
        own = DATASET.full[user][DATASET.labels.reshape(3, 8)[user] == TRAIN]
        assert [texts.titles[text] for text in of_users[user]] == [DATASET.catalogue.items[item].title for item in own]


@pytest.mark.parametrize("name", ["users.parquet", "users.csv"])
def test_a_tables_texts_come_after_the_titles(tmp_path: Path, name: str) -> None:
    config = table(
        tmp_path / name,
        user_id=["u02", "nobody", "u00", "u02", "u01", "u01"],
        text=["fine", "unknown", "good\nvery", "bad", " ", None],
    )
    texts = user_texts(config, DATASET)
    of_users = texts.of_users(DATASET.train)
    everything = (*texts.titles, *texts.further)
    assert texts.source == f"text of {name} and titles of train items"
    assert [everything[text] for text in of_users[2]][6:] == ["fine", "bad"]
    assert [everything[text] for text in of_users[0]][6:] == ["good very"]
    assert len(of_users[1]) == 6


def test_a_table_of_summaries_gives_texts_and_preferences(tmp_path: Path) -> None:
    config = table(tmp_path / "users.parquet", user_id=["u01", "u00"], preference=["likes foxes", None])
    assert user_texts(config, DATASET).further == ("likes foxes",)
    found = preferences(config, DATASET)
    assert found.texts == ("", "likes foxes", "")
    assert found.source == "column of users.parquet"


def test_reviews_are_no_preferences(tmp_path: Path) -> None:
    config = table(tmp_path / "users.parquet", user_id=["u01"], text=["a review"])
    assert preferences(config, DATASET).source == "template of titles of train items and their categories"


def test_users_without_any_text_have_the_text_of_nobody_and_no_preference() -> None:
    dataset = walk_dataset(Sequences.of([np.arange(8, dtype=np.int32)]))
    silent = Sequences.of([np.asarray([3], np.int32), np.empty(0, np.int32)])
    of_users = user_texts(ULMRecConfig(), dataset).of_users(silent)
    assert of_users[0].tolist() == [3]
    assert of_users[1].tolist() == [len(dataset.catalogue)]
    assert template([]) == ""


def test_the_template_names_frequent_categories_and_new_titles() -> None:
    items = [
        Item("a", "Lamp", categories=("Home", "Light")),
        Item("b", "Bed", categories=("Home", "Sleep")),
        Item("c", "Bulb", categories=("Home", "Light", "LED")),
        Item("d", "Rug", categories=("Home",)),
    ]
    assert template(items) == "The user prefers Light and Sleep, such as Rug and Bulb."
    assert template([Item("e", "Pen")]) == "The user prefers items such as Pen."


def test_items_without_a_title_have_one_all_the_same() -> None:
    assert title_of(Item("a", "two\nlines")) == "two lines"
    assert title_of(Item("a", brand="Maker")) == "Maker"
    assert title_of(Item("B00")) == "B00"


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"user": ["u01"], "text": ["x"]}, "column 'user_id' not found; the file has user, text"),
        ({"user_id": ["u01"], "words": ["x"]}, "column 'text' or 'preference' not found"),
        ({"user_id": ["x1"], "text": ["x"]}, "none of its users is in the data set; it has 'x1'"),
        ({"user_id": [1.5], "text": ["x"]}, "holds floats"),
    ],
)
def test_tables_that_cannot_be_used_are_refused(tmp_path: Path, columns: dict[str, list[str]], message: str) -> None:
    config = table(tmp_path / "users.parquet", **columns)
    with pytest.raises(DataError, match=f"users.parquet: .*{message}"):
        user_texts(config, DATASET)


def test_files_that_are_no_table_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"user_texts: .*nowhere.csv is not a file"):
        user_texts(ULMRecConfig(user_texts=str(tmp_path / "nowhere.csv")), DATASET)
    (tmp_path / "users.parquet").write_text("no parquet")
    with pytest.raises(DataError, match=r"users.parquet: cannot be read"):
        user_texts(ULMRecConfig(user_texts=str(tmp_path / "users.parquet")), DATASET)


@pytest.mark.parametrize("missing", ["preference_model", "preference_answers"])
def test_an_endpoint_needs_a_model_and_a_file(missing: str) -> None:
    values = {"preference_endpoint": "http://x", "preference_model": "m", "preference_answers": "f"}
    with pytest.raises(ConfigError, match=rf"ulmrec\.{missing}: is empty"):
        make(ULMRecConfig, values | {missing: ""}, "ulmrec")
