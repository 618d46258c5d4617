"""What operators read of files."""

from pathlib import Path

import pytest

from service.gateway.api import files
from service.gateway.api.files import experiment_report
from service.gateway.errors import ApiError


def test_report_is_read_within_a_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "MAX_REPORT_BYTES", 10)
    path = tmp_path / "report.json"
    path.write_text("[1,2,3,45]")
    assert experiment_report(path) == b"[1,2,3,45]"
    path.write_text("[1,2,3,456]")
    with pytest.raises(ApiError, match="must not exceed 10 bytes") as caught:
        experiment_report(path)
    assert (caught.value.status, caught.value.code) == (409, "bad_report")


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"NaN"])
def test_report_that_is_no_json_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "report.json"
    path.write_bytes(content)
    with pytest.raises(ApiError, match="no JSON"):
        experiment_report(path)
