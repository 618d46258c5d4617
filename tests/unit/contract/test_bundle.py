"""A bundle is complete and unaltered, or it is refused with the file named."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from models.contract.bundle import (
    GLOBAL_ADAPTER,
    MANIFEST,
    SCHEMA_VERSION,
    Bundle,
    CommunitySpec,
    FileEntry,
    Manifest,
    ServingSpec,
    community_adapter,
    hash_file,
    hash_files,
    open_bundle,
    verify_bundle,
    write_manifest,
)
from models.contract.errors import BundleError
from models.contract.fusion import FusionMethod
from models.contract.selection import FusionSettings
from models.contract.specs import ModelSpec


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    """A finished bundle of three small files."""
    directory = tmp_path / "demo-1"
    (directory / "adapters" / "c00").mkdir(parents=True)
    (directory / "items.jsonl").write_text('{"item_id": "a"}\n')
    (directory / "cf.safetensors").write_bytes(bytes(range(256)))
    (directory / "adapters" / "c00" / "adapter_config.json").write_text("{}")
    return write_manifest(directory, manifest_of(directory))


def manifest_of(directory: Path) -> Manifest:
    return Manifest(
        schema_version=SCHEMA_VERSION,
        bundle_id=directory.name,
        created_at="2026-01-01T00:00:00+00:00",
        embedding_size=8,
        bandwidth=0.75,
        kernel="gaussian",
        model=ModelSpec("item-token", 50, 1, 16, (GLOBAL_ADAPTER, "c00"), "tiny"),
        serving=ServingSpec(FusionMethod.WRRF_CF, 10.0, 100, {"cf": 0.5}),
        communities=(CommunitySpec("c00", 12, "cats · dogs"),),
        files=hash_files(directory),
        config={"cf": {"epochs": 3}},
        data_statistics={"n_users": 12},
        metrics={"validation": {"rrf": 0.1}},
    )


def rewrite(bundle: Bundle, change: Callable[[dict[str, Any]], Any]) -> None:
    """Alter the manifest as a person with an editor would."""
    path = bundle.path(MANIFEST)
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))


def with_files(bundle: Bundle, files: dict[str, FileEntry]) -> None:
    """Write a manifest that is whole, but names other files."""
    write_manifest(bundle.directory, msgspec.structs.replace(bundle.manifest, files=files))


def test_what_was_written_is_what_is_read(bundle: Bundle) -> None:
    assert open_bundle(bundle.directory) == bundle
    assert verify_bundle(bundle.directory) == bundle


def test_names_and_paths(bundle: Bundle) -> None:
    assert bundle.id == "demo-1"
    assert bundle.adapter_name("c00") == "demo-1-c00"
    assert bundle.adapter_path("c00") == bundle.path("adapters/c00")
    assert [community_adapter(number) for number in (0, 9, 123)] == ["c00", "c09", "c123"]


def test_every_file_but_the_manifest_is_hashed(bundle: Bundle) -> None:
    assert list(hash_files(bundle.directory)) == ["adapters/c00/adapter_config.json", "cf.safetensors", "items.jsonl"]
    entry = hash_file(bundle.path("adapters/c00/adapter_config.json"))
    assert entry.bytes == 2
    assert entry.sha256 == "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"  # of "{}", by sha256sum


@pytest.mark.parametrize("name", ["items.jsonl", "cf.safetensors", "adapters/c00/adapter_config.json"])
class TestVerify:
    def test_one_changed_byte(self, bundle: Bundle, name: str) -> None:
        content = bytearray(bundle.path(name).read_bytes())
        content[len(content) // 2] ^= 1
        bundle.path(name).write_bytes(content)

        with pytest.raises(BundleError, match=f"demo-1: {name} does not match its checksum"):
            verify_bundle(bundle.directory)

    def test_one_byte_more(self, bundle: Bundle, name: str) -> None:
        with bundle.path(name).open("ab") as file:
            file.write(b"\0")

        with pytest.raises(BundleError, match=f"demo-1: {name} does not match"):
            verify_bundle(bundle.directory)

    def test_a_missing_file(self, bundle: Bundle, name: str) -> None:
        bundle.path(name).unlink()

        with pytest.raises(BundleError, match=f"demo-1: {name} is missing"):
            verify_bundle(bundle.directory)

    def test_a_file_that_the_manifest_lacks(self, bundle: Bundle, name: str) -> None:
        with_files(bundle, {other: entry for other, entry in bundle.manifest.files.items() if other != name})

        with pytest.raises(BundleError, match=f"demo-1: {name} is not listed"):
            verify_bundle(bundle.directory)


def test_a_path_out_of_the_bundle_is_no_file_of_it(bundle: Bundle) -> None:
    (bundle.directory.parent / "secret").write_text("")
    with_files(bundle, bundle.manifest.files | {"../secret": FileEntry("", 0)})

    with pytest.raises(BundleError, match=r"\.\./secret is missing"):
        verify_bundle(bundle.directory)


@pytest.mark.parametrize(
    "change",
    [
        lambda document: document.update(bandwidth=0.2),
        lambda document: document["serving"].update(k=41.0),
        lambda document: document.update(created_at="2000-01-01T00:00:00+00:00"),
        lambda document: document.update(checksum="0" * 64),
        lambda document: document.pop("checksum"),
    ],
)
def test_a_manifest_that_somebody_edited(bundle: Bundle, change: Callable[[dict[str, Any]], Any]) -> None:
    rewrite(bundle, change)

    with pytest.raises(BundleError, match=r"manifest\.json: does not match its own checksum"):
        open_bundle(bundle.directory)


class TestOpen:
    def test_an_unfinished_bundle(self, bundle: Bundle) -> None:
        bundle.path(MANIFEST).unlink()

        with pytest.raises(BundleError, match=r"demo-1: no manifest\.json: .* not finished"):
            open_bundle(bundle.directory)

    def test_neither_nothing_nor_a_file_is_a_bundle(self, bundle: Bundle) -> None:
        for path in (bundle.directory / "nowhere", bundle.path("items.jsonl")):
            with pytest.raises(BundleError, match=rf"{path.name}: no manifest\.json"):
                open_bundle(path)

    def test_a_manifest_that_cannot_be_read(self, bundle: Bundle) -> None:
        bundle.path(MANIFEST).unlink()
        bundle.path(MANIFEST).mkdir()

        with pytest.raises(BundleError, match=r"manifest\.json: cannot be read: Is a directory"):
            open_bundle(bundle.directory)

    @pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b'{"schema_version": 1'])
    def test_what_is_no_json(self, bundle: Bundle, content: bytes) -> None:
        bundle.path(MANIFEST).write_bytes(content)

        with pytest.raises(BundleError, match=r"manifest\.json: not JSON"):
            open_bundle(bundle.directory)

    @pytest.mark.parametrize("content", ["[]", "null", "{}", '{"schema_version": 1}', '{"schema_version": "1"}'])
    def test_another_schema(self, bundle: Bundle, content: str) -> None:
        bundle.path(MANIFEST).write_text(content)

        with pytest.raises(BundleError, match=r"manifest\.json: schema_version is .*, this version reads 3"):
            open_bundle(bundle.directory)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda d: d.update(extra=1), "unknown field `extra`"),
            (lambda d: d["model"].update(temperature=1), r"unknown field `temperature` - at `\$.model`"),
            (lambda d: d["serving"].update(depth=10), r"unknown field `depth` - at `\$.serving`"),
            (lambda d: d["communities"][0].update(q=1), "unknown field `q`"),
            (lambda d: d["files"]["items.jsonl"].update(mode="r"), "unknown field `mode`"),
            (lambda d: d.pop("model"), "missing required field `model`"),
            (lambda d: d.update(embedding_size="8"), "Expected `int`, got `str` - at `\\$.embedding_size`"),
            (lambda d: d["serving"].update(method="borda"), "Invalid enum value 'borda'"),
            (lambda d: d.update(kernel="triangular"), r"Invalid enum value 'triangular' - at `\$.kernel`"),
            (lambda d: d["serving"].update(voters={"SASRec": 1.0}), "Invalid enum value 'SASRec'"),
            (lambda d: d["serving"].update(voters={"cf": -1.0}), "Expected `float` >= 0.0"),
        ],
    )
    def test_fields_that_this_version_does_not_know_or_needs(
        self, bundle: Bundle, change: Callable[[dict[str, Any]], Any], message: str
    ) -> None:
        rewrite(bundle, change)

        with pytest.raises(BundleError, match=rf"manifest\.json: .*{message}"):
            open_bundle(bundle.directory)


def test_the_manifest_appears_whole_or_not_at_all(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    before = bundle.path(MANIFEST).read_bytes()

    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("models.contract.bundle.os.replace", fail)
    with pytest.raises(OSError, match="disk full"):
        write_manifest(bundle.directory, msgspec.structs.replace(bundle.manifest, embedding_size=16))

    assert bundle.path(MANIFEST).read_bytes() == before


def test_a_directory_moved_is_the_same_bundle(bundle: Bundle, tmp_path: Path) -> None:
    moved = bundle.directory.rename(tmp_path / "elsewhere")

    assert verify_bundle(moved) == replace(bundle, directory=moved)


def test_what_is_served_goes_to_the_manifest_and_back() -> None:
    settings = FusionSettings(FusionMethod.SCORES, 0.0, 50, (("cf", 0.5), ("global", 2.0)))

    assert ServingSpec.of(settings).voters == {"cf": 0.5, "global": 2.0}
    assert ServingSpec.of(settings).fusion() == settings
    with pytest.raises(msgspec.ValidationError, match="SASRec"):
        ServingSpec.of(FusionSettings(others=(("SASRec", 1.0),)))


def test_a_bundle_knows_when_it_was_made(bundle: Bundle) -> None:
    assert bundle.created_seconds == 1_767_225_600
    nameless = Bundle(bundle.directory, msgspec.structs.replace(bundle.manifest, created_at="yesterday"))
    with pytest.raises(BundleError, match="demo-1: created_at: "):
        _ = nameless.created_seconds
