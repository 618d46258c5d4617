import pytest
from data_support import write

from models.contract.errors import DataError
from models.data import movielens


def test_dat_ratings_and_their_malformed_rows(tmp_path):
    path = write(tmp_path / "ratings.dat", "1::10::5::978300760\n1::11::x::978300761\n2::10::3\n2::11::4::978300763\n")
    table = movielens.read_dat_interactions(path)
    assert table.frame.select("user_id", "item_id", "timestamp", "rating").rows() == [
        ("1", "10", 978300760, 5.0),
        ("2", "11", 978300763, 4.0),
    ]
    assert table.report.malformed == {"rating is not a number": 1, "3 fields instead of 4": 1}
    assert f"{path}:3: 3 fields instead of 4: 2::10::3" in table.report.samples


def test_dat_movies_are_latin_1_with_year_and_genres(tmp_path):
    text = "10::City, The (Cité, La) (1995)::Adventure|Sci-Fi\n11::M*A*S*H::Comedy\n"
    table = movielens.read_dat_items(write(tmp_path / "movies.dat", text, "latin-1"))
    assert table.frame.rows() == [
        ("10", "City, The (Cité, La)", None, ["Adventure", "Sci-Fi"], "1995"),
        ("11", "M*A*S*H", None, ["Comedy"], None),
    ]


def test_csv_ratings(tmp_path):
    path = write(tmp_path / "ratings.csv", "userId,movieId,rating,timestamp\n1,31,2.5,1260759144\n1,32,,1260759145\n")
    table = movielens.read_csv_interactions(path)
    assert table.frame["rating"].to_list() == [2.5]
    assert table.report.malformed == {"rating is empty": 1}


def test_csv_movies_with_quotes_a_range_of_years_and_no_genres(tmp_path):
    text = 'movieId,title,genres\n11,"President, The (1995)",Comedy|Drama\n12,Series (2006–2009),(no genres listed)\n'
    table = movielens.read_csv_items(write(tmp_path / "movies.csv", text))
    assert table.frame.rows() == [
        ("11", "President, The", None, ["Comedy", "Drama"], "1995"),
        ("12", "Series", None, [], "2006"),
    ]


def test_another_header_is_refused_with_what_is_expected(tmp_path):
    path = write(tmp_path / "ratings.csv", "user,item,rating,timestamp\n")
    with pytest.raises(DataError, match=r"ratings\.csv.*expected.*userId"):
        movielens.read_csv_interactions(path)
