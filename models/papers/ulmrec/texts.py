"""What tells of each user: the texts of which the index is made (w_1 … w_n of section 4.1), and the preference texts.

A user's texts are the titles of the items of the train part, never of what is to be predicted, and the rows of a table
where one is named: reviews, or summaries of them. The titles are always there, because at run time a user who was not
there at training is known by titles alone. Whether the table tells of items that are to be predicted cannot be seen
here: that is for its maker to keep out.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from models.contract.catalogue import Item
from models.contract.errors import DataError
from models.contract.types import Ints
from models.data.columns import USER, USER_NUMBER
from models.data.dataset import Dataset
from models.llm.items import item_text, one_line
from models.papers.ulmrec.config import ULMRecConfig
from models.papers.ulmrec.endpoint import Endpoint, extract
from models.types import Sequences

TEXT, PREFERENCE, USER_INDEX = "text", "preference", "user_index"  # columns of the table of users
TITLES = "titles of train items"
_SHOWN_CATEGORIES, _SHOWN_TITLES = 2, 2  # in a preference text that is made by template


@dataclass(frozen=True)
class UserTexts:
    """The texts of all users.

    Args:
        titles: one a item, by number.
        further: the table's texts.
        owners: (len(further),) int32, the row of the user whom each is of.
        source: where they come from, for people.
    """

    titles: tuple[str, ...]
    further: tuple[str, ...]
    owners: Ints
    source: str

    def of_users(self, train: Sequences) -> Sequences:
        """Each user's texts by number, those of ``further`` after those of ``titles``; nobody is without one.

        Who has none has the text number ``len(titles) + len(further)``, which stands for nobody in particular.
        """
        users = np.concatenate([np.repeat(np.arange(len(train)), np.diff(train.offsets)), self.owners])
        numbers = np.concatenate([train.items, len(self.titles) + np.arange(len(self.further))])
        silent = np.setdiff1d(np.arange(len(train)), users)
        users = np.concatenate([users, silent])
        numbers = np.concatenate([numbers, np.full(len(silent), len(self.titles) + len(self.further))])
        counts = np.bincount(users, minlength=len(train))
        ordered = numbers[np.argsort(users, kind="stable")]
        return Sequences(np.concatenate([[0], np.cumsum(counts)]).astype(np.int64), ordered.astype(np.int32))


@dataclass(frozen=True)
class Preferences:
    """What users prefer, in words.

    Args:
        texts: one a user, by row; empty where nothing is known.
        source: where they come from, for people.
        by_template: whether they are the :func:`template` of the users' train items, so that fewer make one, too.
    """

    texts: tuple[str, ...]
    source: str
    by_template: bool = False


def user_texts(config: ULMRecConfig, dataset: Dataset) -> UserTexts:
    """The texts of a data set's users. Raises DataError where the table cannot be used."""
    titles = tuple(title_of(item) for item in dataset.catalogue.items)
    if not config.user_texts:
        return UserTexts(titles, (), np.empty(0, np.int32), TITLES)
    table = read_users(Path(config.user_texts), dataset.user_ids)
    column = TEXT if TEXT in table.columns else PREFERENCE
    if column not in table.columns:
        raise DataError(f"{config.user_texts}: column {TEXT!r} or {PREFERENCE!r} not found; {_columns(table)}")
    texts = _texts(table, column)
    source = f"{column} of {Path(config.user_texts).name} and {TITLES}"
    return UserTexts(titles, tuple(texts[column]), texts[USER_NUMBER].to_numpy().astype(np.int32), source)


def preferences(config: ULMRecConfig, dataset: Dataset) -> Preferences:
    """What each user prefers: as the table says it, else extracted by an endpoint, else from titles by template.

    Users of whom nothing is known, neither by a text nor by a train item, have an empty one.

    Raises:
        DataError: the table cannot be used.
        EndpointError: the endpoint does not answer.
    """
    if config.user_texts:
        table = read_users(Path(config.user_texts), dataset.user_ids)
        if PREFERENCE in table.columns:
            return Preferences(_joined(table, len(dataset.user_ids)), f"column of {Path(config.user_texts).name}")
    if config.preference_endpoint:
        return _extracted(config, dataset)
    items = dataset.catalogue.items
    texts = (template([items[item] for item in dataset.train[user]]) for user in range(len(dataset.user_ids)))
    return Preferences(tuple(texts), f"template of {TITLES} and their categories", by_template=True)


def title_of(item: Item) -> str:
    """An item's title as one line, or what else is known of it."""
    return one_line(item.title or "") or one_line(item_text(item))


def template(items: Sequence[Item]) -> str:
    """A preference text of a user's items, oldest first: most frequent categories, newest titles. Empty without any."""
    if not items:
        return ""
    named = [item.categories[min(1, len(item.categories) - 1)] for item in items if item.categories]
    frequent = sorted(dict.fromkeys(named), key=lambda category: -named.count(category))  # ties: the oldest first
    titles = " and ".join(title_of(item) for item in reversed(items[-_SHOWN_TITLES:]))
    if not frequent:
        return f"The user prefers items such as {titles}."
    return f"The user prefers {' and '.join(frequent[:_SHOWN_CATEGORIES])}, such as {titles}."


def read_users(path: Path, user_ids: Sequence[str]) -> pl.DataFrame:
    """The rows of a table of users that are of a data set's users, with their USER_NUMBER, in the table's order.

    Raises:
        DataError: it cannot be read, has no column user_id, or none of its users is one of these.
    """
    frame = _read(path)
    if USER not in frame.columns:
        raise DataError(f"{path}: column {USER!r} not found; {_columns(frame)}")
    if frame.schema[USER].is_float():
        raise DataError(f"{path}: column {USER!r} holds floats; ids must be text or integers")
    known = pl.DataFrame({USER: user_ids}, schema={USER: pl.String}).with_row_index(USER_NUMBER)
    joined = frame.with_columns(pl.col(USER).cast(pl.String)).join(known, on=USER, maintain_order="left")
    if not joined.height:
        first = ", ".join(map(repr, frame[USER].cast(pl.String).head(2)))
        raise DataError(f"{path}: column {USER!r}: none of its users is in the data set; it has {first or 'no rows'}")
    return joined


def _read(path: Path) -> pl.DataFrame:
    if not path.is_file():
        raise DataError(f"user_texts: {path} is not a file")
    try:
        if path.suffix == ".parquet":
            return pl.read_parquet(path)
        return pl.read_csv(path, separator="\t" if ".tsv" in path.suffixes else ",", infer_schema=False)
    except (pl.exceptions.PolarsError, OSError) as exc:
        raise DataError(f"{path}: cannot be read: {exc}") from exc


def _columns(frame: pl.DataFrame) -> str:
    return f"the file has {', '.join(frame.columns)}"


def _texts(table: pl.DataFrame, column: str) -> pl.DataFrame:
    """USER_NUMBER and text of the rows that have one, as one line."""
    lines = [one_line(str(text or "")) for text in table[column]]
    return table.select(USER_NUMBER, pl.Series(column, lines, pl.String)).filter(pl.col(column) != "")


def _joined(table: pl.DataFrame, n_users: int) -> tuple[str, ...]:
    """One preference text a user: that of the table, or those, if it has several."""
    texts = _texts(table, PREFERENCE).group_by(USER_NUMBER, maintain_order=True).agg(pl.col(PREFERENCE).str.join(" "))
    found = dict(texts.select(USER_NUMBER, PREFERENCE).iter_rows())
    return tuple(found.get(user, "") for user in range(n_users))


def _extracted(config: ULMRecConfig, dataset: Dataset) -> Preferences:
    texts, endpoint = user_texts(config, dataset), Endpoint.of(config)
    everything = (*texts.titles, *texts.further)
    numbers = texts.of_users(dataset.train)
    known = {
        user: [everything[number] for number in numbers[row] if number < len(everything)]
        for row, user in enumerate(dataset.user_ids)
    }
    asked = {user: lines for user, lines in known.items() if lines}
    answers = extract(endpoint, asked, Path(config.preference_answers))
    source = f"extracted by {endpoint.model} from {texts.source}"
    return Preferences(tuple(answers.get(user, "") for user in dataset.user_ids), source)
