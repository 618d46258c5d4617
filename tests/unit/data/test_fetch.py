import subprocess
import zipfile

import pytest

from models.contract.errors import DataError
from models.data import fetch


@pytest.fixture
def contents(monkeypatch):
    """Small stand-ins for the two files, with their digests as the expected ones."""
    import hashlib

    files = {fetch.INTERACTIONS: b"user_id:token\titem_id:token\n", fetch.ITEMS: b"item_id:token\n"}
    monkeypatch.setattr(fetch, "SHA256", {name: hashlib.sha256(text).hexdigest() for name, text in files.items()})
    return files


def wheel(path, files):
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(f"{fetch.FOLDER}/{name}", content)
    return path


@pytest.fixture
def pip(monkeypatch, contents):
    """Stands in for pip: puts a wheel where it was told to, and counts the calls."""
    calls = []

    def download(command, **_):
        calls.append(command)
        wheel(f"{command[command.index('--dest') + 1]}/recbole.whl", contents)
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(fetch.subprocess, "run", download)
    return calls


def test_fetch_downloads_once_and_shows_the_terms(tmp_path, pip, contents, capsys):
    directory = fetch.fetch_ml_100k(tmp_path / "ml-100k")
    assert {path.name: path.read_bytes() for path in directory.iterdir()} == contents
    assert "Harper" in capsys.readouterr().out
    assert "--no-deps" in pip[0]
    fetch.fetch_ml_100k(directory)
    assert len(pip) == 1


def test_fetch_replaces_a_damaged_file(tmp_path, pip, contents):
    directory = fetch.fetch_ml_100k(tmp_path)
    (directory / fetch.ITEMS).write_bytes(b"cut")
    fetch.fetch_ml_100k(directory)
    assert (directory / fetch.ITEMS).read_bytes() == contents[fetch.ITEMS]


def test_offline_the_error_says_what_to_do(tmp_path, monkeypatch):
    failed = subprocess.CompletedProcess([], 1, "", "WARNING: retrying\nERROR: No matching distribution found\n")
    monkeypatch.setattr(fetch.subprocess, "run", lambda *_, **__: failed)
    with pytest.raises(DataError, match=r"No matching distribution found\. Without a network, put ml-100k\.inter"):
        fetch.fetch_ml_100k(tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_wheel_with_other_contents_is_refused_before_anything_is_written(tmp_path, contents):
    changed = wheel(tmp_path / "changed.whl", {**contents, fetch.ITEMS: b"other"})
    with pytest.raises(DataError, match=r"ml-100k\.item has sha256 .*, expected"):
        fetch.extract(changed, tmp_path / "out")
    lacking = wheel(tmp_path / "lacking.whl", {fetch.ITEMS: contents[fetch.ITEMS]})
    with pytest.raises(DataError, match="does not hold"):
        fetch.extract(lacking, tmp_path / "out")
    (tmp_path / "no.whl").write_bytes(b"no zip")
    with pytest.raises(DataError, match="does not hold"):
        fetch.extract(tmp_path / "no.whl", tmp_path / "out")
    assert not (tmp_path / "out").exists()
