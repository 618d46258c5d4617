"""``portrait.json``: optional, and refused by name where it is not what it should be."""

from pathlib import Path

import msgspec
import pytest

from models.contract.errors import BundleError
from models.contract.portrait import PORTRAIT, CommunityPortrait, PortraitFile, TypicalItem

FILE = PortraitFile(
    n_users=2,
    coverage=0.5,
    mean_memberships=0.5,
    communities=(CommunityPortrait(1, 0.5, (TypicalItem("a", 2.0),), ("ann",)),),
    overlap=((1.0,),),
    users=((0.0, 0.5, 0), (1.0, 0.0, -1)),
    anchors=((0.0, 0.5),),
)


def test_is_written_and_read(tmp_path: Path) -> None:
    FILE.save(tmp_path)
    assert PortraitFile.load(tmp_path, 1) == FILE


def test_older_bundles_have_none(tmp_path: Path) -> None:
    assert PortraitFile.load(tmp_path, 1) is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"coverage": 1.5}, "coverage"),
        ({"n_users": -1}, "n_users"),
        ({"overlap": [[1.0, 0.0]]}, "of \\[1, 2\\] communities, expected 1"),
        ({"anchors": []}, "of \\[0, 1\\] communities, expected 1"),
        ({"users": [[0, 1]]}, "users"),
        ({"more": 1}, "more"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, changes: dict[str, object], message: str) -> None:
    (tmp_path / PORTRAIT).write_bytes(msgspec.json.encode(msgspec.to_builtins(FILE) | changes))
    with pytest.raises(BundleError, match=message):
        PortraitFile.load(tmp_path, 1)


def test_no_json_is_named(tmp_path: Path) -> None:
    (tmp_path / PORTRAIT).write_bytes(b"\xff")
    with pytest.raises(BundleError, match=PORTRAIT):
        PortraitFile.load(tmp_path, 1)
