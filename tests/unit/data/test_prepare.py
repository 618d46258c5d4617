import pytest
from data_support import SHARED, write

from models.config import make
from models.contract.errors import ConfigError, DataError
from models.data.dataset import Dataset
from models.data.prepare import DataConfig, prepare, run
from models.data.statistics import Statistics

HEADER = "userId,movieId,rating,timestamp\n"


@pytest.fixture
def ratings(tmp_path):
    rows = [f"{user},{item},{item % 5 + 1},{1_000_000 + 10 * item + user}" for user in range(4) for item in range(5)]
    return write(tmp_path / "ratings.csv", HEADER + "\n".join(rows) + "\n")


def config(ratings, **values):
    return make(DataConfig, {"source": "movielens-csv", "interactions": str(ratings), **values}, "data")


def test_prepare_saves_a_data_set_and_its_statistics(ratings, tmp_path):
    movies = write(tmp_path / "movies.csv", "movieId,title,genres\n0,A (1990),Drama\n1,B (1991),Drama\n")
    out = tmp_path / "out"
    out.mkdir()
    prepare(config(ratings, items=str(movies), min_rating=2), out)
    assert len(Dataset.load(out).examples("test")) == 4
    statistics = Statistics.load(out)
    assert (statistics.n_users, statistics.n_items, statistics.n_interactions) == (4, 4, 16)
    assert statistics.filters.below_min_rating == 4
    assert statistics.share_with_title == 0.25
    assert [file.n_rows for file in statistics.files] == [20, 2]
    assert (statistics.n_train, statistics.n_valid_examples, statistics.n_test_examples) == (8, 4, 4)
    assert (statistics.first_timestamp, statistics.last_timestamp) == (1_000_010, 1_000_043)
    for fact in ("users                4", "density 100.0000%", "mean 4.0, median 4", "1970-01-12", str(ratings)):
        assert fact in statistics.as_text()


def test_statistics_that_are_missing_are_named(tmp_path):
    with pytest.raises(DataError, match=r"statistics\.json"):
        Statistics.load(tmp_path)


def test_the_stage_is_reused_until_an_input_changes(ratings, tmp_path):
    out = tmp_path / "out"
    assert run(config(ratings), out)
    assert not run(config(ratings), out)
    assert run(config(ratings, duplicates="all"), out)
    ratings.write_text(ratings.read_text() + "9,1,5,2000000\n")
    assert run(config(ratings, duplicates="all"), out)


def test_malformed_rows_below_the_share_are_reported_and_above_it_refused(ratings, tmp_path):
    ratings.write_text(ratings.read_text() + "9,1,five,2000000\n")
    dataset = prepare(config(ratings, max_malformed_share=0.05), tmp_path)
    assert "9" not in dataset.user_ids
    assert "1 × rating is not a number" in Statistics.load(tmp_path).as_text()
    with pytest.raises(DataError, match=r"ratings\.csv:22: rating is not a number: 9,1,five,2000000"):
        prepare(config(ratings, max_malformed_share=0.04), tmp_path)


@pytest.mark.parametrize(
    ("values", "error", "reason"),
    [
        ({"interactions": ""}, ConfigError, r"data\.interactions: is empty"),
        ({"interactions": "nowhere.csv"}, DataError, r"data\.interactions: nowhere\.csv is not a file"),
        ({"items": "nowhere.csv"}, DataError, r"data\.items"),
        ({"interaction_columns": "user_id"}, ConfigError, r"data\.interaction_columns: 'user_id': expected canonical="),
        ({"item_columns": "title=name"}, ConfigError, r"data\.item_columns: 'title=name' without an items file"),
        ({"encoding": "utf-16"}, ConfigError, r"data\.encoding: 'utf-16'; expected one of Python's that extend ASCII"),
        ({"time_zone": "Mars"}, ConfigError, r"data\.time_zone: 'Mars'; expected an IANA name"),
        ({"split": "time", "valid_from": 0.9, "test_from": 0.8}, ConfigError, r"valid_from: 0\.9; expected less than"),
        ({"split": "time", "valid_from": 5e9, "test_from": 6e9}, DataError, "time leaves no valid examples"),
        ({"split": "given"}, DataError, "split: the split is to be taken from the data"),
    ],
)
def test_a_setting_that_cannot_be_used_is_named(ratings, tmp_path, values, error, reason):
    with pytest.raises(error, match=reason):
        prepare(config(ratings, **values), tmp_path)


@pytest.mark.parametrize(("split", "n_test", "longest"), [("windows", 2, 2), ("time", 2, 4)])
def test_splits_by_time(ratings, tmp_path, split, n_test, longest):
    test = prepare(config(ratings, split=split, window=3), tmp_path).examples("test")
    assert (len(test), max(len(test.histories[row]) for row in range(len(test)))) == (n_test, longest)


def shared(folder, **values):
    directory = SHARED / folder
    if not directory.is_dir():
        pytest.skip(f"{folder} is not in ../shared/data")
    paths = {"interactions": str(directory / "interactions.parquet"), "items": str(directory / "items.parquet")}
    return make(DataConfig, {"source": "table", **paths, **values}, "data")


@pytest.mark.parametrize(
    ("folder", "values", "counts"),
    [
        ("ml-100k", {"item_attributes": "year", "category_separator": " "}, (943, 1_682, 100_000)),
        ("beauty", {"core_users": 5, "core_items": 5}, (22_363, 12_101, 198_502)),
        ("beauty_ulmrec", {"split": "given"}, (22_332, 12_086, 198_215)),
    ],
)
def test_real_data_have_the_published_counts(tmp_path, folder, values, counts):
    dataset = prepare(shared(folder, **values), tmp_path)
    assert (len(dataset.user_ids), len(dataset.catalogue), len(dataset.full.items)) == counts
    assert len(dataset.examples("valid")) == len(dataset.examples("test")) == counts[0]


def test_beauty_is_in_the_order_of_its_positions(tmp_path):
    import polars as pl

    settings = shared("beauty")
    dataset = prepare(settings, tmp_path)
    expected = pl.read_parquet(settings.interactions).sort("user_id", "position")["item_id"].to_list()
    assert [dataset.catalogue.ids[number] for number in dataset.full.items] == expected


def test_ulmrecs_own_split_is_leave_one_out(tmp_path):
    given = prepare(shared("beauty_ulmrec", split="given"), tmp_path)
    computed = prepare(shared("beauty_ulmrec"), tmp_path)
    assert (given.labels == computed.labels).all()
