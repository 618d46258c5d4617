"""Item ids, item numbers, and the file between them."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.contract.catalogue import Catalogue, Item
from models.contract.errors import BundleError
from models.contract.redis_schema import decode_seen, encode_seen

ITEMS = (
    Item("b", "Blue – Käse", "ACME", ("x", "y > z"), {"colour": "blue"}),
    Item("a"),
    Item("10", title='quote " and\nnewline'),
)

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
items = st.builds(
    Item,
    item_id=texts,
    title=st.none() | texts,
    brand=st.none() | texts,
    categories=st.lists(texts, max_size=3).map(tuple),
    attributes=st.dictionaries(texts, texts, max_size=2),
)


def test_an_item_is_its_row() -> None:
    catalogue = Catalogue(ITEMS)

    assert len(catalogue) == 3
    assert catalogue.ids == ("b", "a", "10")
    assert [catalogue.number(item_id) for item_id in ("10", "b", "unknown")] == [2, 0, None]


def test_unknown_ids_are_left_out_and_the_order_stays() -> None:
    numbers = Catalogue(ITEMS).numbers(["10", "?", "b", "10"])

    assert numbers.tolist() == [2, 0, 2]
    assert numbers.dtype == np.int32
    assert Catalogue(ITEMS).numbers([]).dtype == np.int32


def test_hashes_are_those_of_the_seen_set() -> None:
    catalogue = Catalogue(ITEMS)

    np.testing.assert_array_equal(catalogue.hashes(), decode_seen(encode_seen(catalogue.ids)))


def test_an_id_must_not_occur_twice() -> None:
    with pytest.raises(BundleError, match="an item id occurs twice"):
        Catalogue([*ITEMS, Item("a", "another")])


@given(written=st.lists(items, unique_by=lambda item: item.item_id, max_size=5))
def test_round_trip(tmp_path_factory: pytest.TempPathFactory, written: list[Item]) -> None:
    path = tmp_path_factory.mktemp("catalogue") / "items.jsonl"
    Catalogue(written).save(path)

    assert Catalogue.load(path).items == tuple(written)


def test_a_line_an_item(tmp_path: Path) -> None:
    Catalogue(ITEMS).save(tmp_path / "items.jsonl")

    lines = (tmp_path / "items.jsonl").read_text().splitlines()
    assert len(lines) == 3
    assert lines[1] == '{"item_id":"a"}'


@pytest.mark.parametrize(
    "content", [b"{", b"[]\n", b'{"title":"no id"}\n', b'{"item_id":1}\n', b'{"item_id":"\xff"}\n', b'{"item_id":null}']
)
def test_a_malformed_line_is_refused_with_the_file_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "items.jsonl"
    path.write_bytes(b'{"item_id":"a"}\n' + content)

    with pytest.raises(BundleError, match=r"items\.jsonl: "):
        Catalogue.load(path)
