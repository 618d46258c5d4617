from pathlib import Path

import pytest

from localrec.bench.users import read_user_ids


def test_users_file_keeps_order_and_skips_empty_lines(tmp_path: Path) -> None:
    path = tmp_path / "users.txt"
    path.write_text("9\n\n  zoë \n1\n", encoding="utf-8")
    assert read_user_ids(path) == ["9", "zoë", "1"]


@pytest.mark.parametrize("content", [None, b"", b"\n \n", b"\xff\xfe"])
def test_unusable_users_file_is_named(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "users.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ValueError, match=r"users\.txt: .*expected .*one user id a line"):
        read_user_ids(path)
