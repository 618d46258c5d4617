import pytest

from models.contract.errors import DataError
from models.data.report import ReadReport

REPORT = ReadReport("r.csv", 100, {"rating is empty": 2}, ("r.csv:7: rating is empty: 1,2,,3",))


def test_a_share_at_the_limit_is_accepted():
    REPORT.refuse_above(0.02)


def test_a_share_above_the_limit_is_refused_with_reason_line_and_content():
    with pytest.raises(DataError) as error:
        REPORT.refuse_above(0.019)
    message = str(error.value)
    head, *rest = message.splitlines()
    assert head == "r.csv: 100 rows, 2 malformed (2.00%); allowed is a share of 0.019"
    assert rest == ["  2 × rating is empty", "  for example r.csv:7: rating is empty: 1,2,,3"]


def test_no_rows_and_no_good_rows_are_refused_whatever_the_limit():
    with pytest.raises(DataError, match="no rows"):
        ReadReport("r.csv").refuse_above(1.0)
    with pytest.raises(DataError, match="3 malformed"):
        ReadReport("r.csv", 3, {"x": 3}).refuse_above(1.0)


def test_merge_adds_counts_and_keeps_few_samples():
    merged = ReadReport.merge("r.csv", [REPORT, ReadReport("r.csv", 5, {"rating is empty": 1, "y": 1}, ("s",) * 9, 4)])
    assert (merged.n_rows, merged.malformed, merged.n_repeated) == (105, {"rating is empty": 3, "y": 1}, 4)
    assert len(merged.samples) == 5


def test_summary_of_a_clean_file_is_one_line():
    assert ReadReport("r.csv", 1234, n_repeated=2).summary() == "r.csv: 1,234 rows, 2 repeated"
