"""Ratings of a data set's train part, which a prepared data set does not keep; for the rating task (section 4.2.5)."""

from typing import Literal

import numpy as np
import polars as pl

from models.contract.types import Floats
from models.data import prepare
from models.data.columns import ITEM, RATING, USER
from models.data.dataset import Dataset
from models.data.filters import chronological
from models.data.prepare import DataConfig


def ratings_of(config: DataConfig, dataset: Dataset) -> Floats | None:
    """(n_train,) float32 aligned with ``dataset.train.items``, NaN where unknown; None where the data have none.

    Of several ratings that a user gave an item, the one that ``config.duplicates`` keeps; of ``all``, the first.

    Raises:
        DataError: the data set's source cannot be read.
    """
    interactions = prepare.read(config).interactions
    if interactions[RATING].null_count() == interactions.height:
        return None
    keep: Literal["first", "last"] = "last" if config.duplicates == "last" else "first"
    rated = chronological(interactions).unique([USER, ITEM], keep=keep).select(USER, ITEM, RATING)
    found = _train_pairs(dataset).join(rated, on=(USER, ITEM), how="left", maintain_order="left")
    return found[RATING].cast(pl.Float32).fill_null(np.nan).to_numpy()


def _train_pairs(dataset: Dataset) -> pl.DataFrame:
    train, ids = dataset.train, np.asarray(dataset.catalogue.ids, dtype=object)
    users = np.repeat(np.asarray(dataset.user_ids, dtype=object), np.diff(train.offsets))
    return pl.DataFrame(
        {USER: users.tolist(), ITEM: ids[train.items].tolist()}, schema={USER: pl.String, ITEM: pl.String}
    )
