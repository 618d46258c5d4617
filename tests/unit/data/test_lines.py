import gzip

import pytest

from models.contract.errors import DataError
from models.data import lines
from models.data.lines import header, read_bytes_lines, read_delimited


def rows(path, columns, **options):
    settings = {"has_header": False, "quotes": True} | options
    return [row for chunk in read_delimited(path, ",", columns, **settings) for row in chunk.iter_rows(named=True)]


def test_line_numbers_count_blank_lines_headers_and_earlier_chunks(tmp_path, monkeypatch):
    monkeypatch.setattr(lines, "CHUNK_BYTES", 4)
    path = tmp_path / "a.csv"
    path.write_bytes(b"x,y\r\n\r\n1,2\r\n3,4")
    assert [(r["line"], r["x"], r["y"]) for r in rows(path, ["x", "y"], has_header=True)] == [
        (3, "1", "2"),
        (4, "3", "4"),
    ]


def test_lines_with_and_without_quotes_keep_their_order(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text('1,"a, b"\n2,c\n3,"say ""x"""\n')
    assert [r["title"] for r in rows(path, ["id", "title"])] == ["a, b", "c", 'say "x"']


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"1", "1 fields instead of 2"),
        (b"1,2,3", "3 fields instead of 2"),
        (b'1,"2', "unbalanced quotes"),
        (b"1,\xff", "not UTF-8"),
    ],
)
def test_a_line_that_cannot_be_taken_apart_says_why(tmp_path, line, reason):
    path = tmp_path / "a.csv"
    path.write_bytes(b"0,fine\n" + line + b"\n")
    assert [r["reason"] for r in rows(path, ["a", "b"])] == [None, reason]


def test_a_quote_is_a_character_where_the_format_has_no_quotes(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text('1,5" pipe\n')
    assert rows(path, ["id", "title"], quotes=False)[0]["title"] == '5" pipe'


def test_gz_is_opened_and_a_cut_one_is_named(tmp_path):
    path = tmp_path / "a.gz"
    packed = gzip.compress(b"one\ntwo\n" * 1000)
    path.write_bytes(packed)
    assert sum(len(chunk) for chunk in read_bytes_lines(path)) == 2000
    path.write_bytes(packed[:-10])
    with pytest.raises(DataError, match=r"a\.gz: cannot be read"):
        list(read_bytes_lines(path))


def test_header_without_byte_order_mark(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(b"\xef\xbb\xbfuserId,movieId\r\n1,2\r\n")
    assert header(path, ",") == ["userId", "movieId"]


@pytest.mark.parametrize(("text", "reason"), [("a,b,a\n", "column 'a' occurs twice"), ("", "the header is empty")])
def test_a_header_that_cannot_name_columns_is_refused(tmp_path, text, reason):
    path = tmp_path / "a.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=reason):
        header(path, ",")


def test_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match="nowhere"):
        header(tmp_path / "nowhere.csv", ",")
