import json
import shutil
import stat
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import polars as pl
import pytest
from safetensors.numpy import load_file
from support.runs import N_COMMUNITIES, FinishedRun
from support.titles import random_titles

from models import export
from models.communities.portrait import portrait_file, portrait_of
from models.contract.bundle import (
    MANIFEST,
    Bundle,
    CommunitySpec,
    ServingSpec,
    open_bundle,
    verify_bundle,
)
from models.contract.catalogue import Catalogue, Item
from models.contract.cf import CFModel
from models.contract.errors import BundleError
from models.contract.fusion import FusionMethod
from models.contract.portrait import PORTRAIT, PortraitFile
from models.contract.profile import build_profile
from models.contract.prompts import load_prompts
from models.contract.redis_schema import decode_events, decode_profile, decode_seen, history_digest, item_hash
from models.contract.specs import CoLLMSpec, HatLLMSpec, ModelSpec
from models.export import STORED_HISTORY, BundleParts, ExportedModel, adapter_names, build_bundle
from models.pipeline import Pipeline
from models.ranking.probing import make_probe

ADAPTERS = {"global", *(f"c{number:02d}" for number in range(N_COMMUNITIES))}


@pytest.fixture(scope="module")
def parts(finished_run: FinishedRun) -> BundleParts:
    pipeline = Pipeline(finished_run.directory, finished_run.config, lambda line: None)
    system, dataset = pipeline.results.system(), pipeline.results.dataset()
    manifest = finished_run.bundle.manifest
    return BundleParts(
        name="walks",
        dataset=dataset,
        cf=system.cf,
        anchors=system.anchors,
        items=None,
        bandwidth=system.bandwidth,
        kernel=system.kernel,
        popularity=system.popularity,
        communities=manifest.communities,
        checkpoint=system.checkpoint,
        adapters=system.adapters,
        model=manifest.model,
        serving=manifest.serving,
        probe=make_probe(system),
        accuracies=pipeline.results.accuracies("valid"),
        config={"data": {"interactions": "/home/ann/x.csv", "category_separator": "/", "seed": 3}},
        data_statistics={"n_users": 40},
        metrics={"validation": 0.5},
    )


@pytest.fixture(scope="module")
def bundle(parts: BundleParts, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return build_bundle(parts, tmp_path_factory.mktemp("bundles"))


def files_below(directory: Path) -> dict[str, bytes]:
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def test_a_bundle_holds_all_that_the_service_needs_and_passes_its_own_check(bundle: Bundle) -> None:
    assert verify_bundle(bundle.directory).manifest == bundle.manifest
    names = set(bundle.manifest.files)
    assert {name for name in names if "/" not in name} == {
        "items.jsonl",
        "popularity.npy",
        "cf.safetensors",
        "communities.safetensors",
        "portrait.json",
        "probe.safetensors",
    }
    assert {name for name in names if name.startswith("adapters/")} == {
        f"adapters/{adapter}/{file}"
        for adapter in ADAPTERS
        for file in ("adapter_config.json", "adapter_model.safetensors")
    }
    assert {"checkpoint/config.json", "checkpoint/model.safetensors", "checkpoint/tokenizer.json"} <= names
    assert "profiles/users.parquet" in names


def test_what_the_service_reads_is_what_was_trained(bundle: Bundle, parts: BundleParts) -> None:
    assert Catalogue.load(bundle.path("items.jsonl")).items == parts.dataset.catalogue.items
    np.testing.assert_array_equal(np.load(bundle.path("popularity.npy")), parts.popularity)
    np.testing.assert_array_equal(load_file(bundle.path("communities.safetensors"))["anchors"], parts.anchors)
    np.testing.assert_array_equal(CFModel.load(bundle.path("cf.safetensors")).item_factors, parts.cf.item_factors)
    manifest = bundle.manifest
    assert (manifest.embedding_size, manifest.bandwidth) == (parts.cf.embedding_size, parts.bandwidth)
    assert manifest.kernel == parts.kernel
    assert (manifest.model, manifest.serving) == (parts.model, parts.serving)
    for name, source in parts.adapters.items():
        weights = "adapter_model.safetensors"
        assert (bundle.adapter_path(name) / weights).read_bytes() == (source / weights).read_bytes()


def test_profiles_are_the_bytes_that_go_to_redis(bundle: Bundle, parts: BundleParts) -> None:
    dataset = parts.dataset
    table = pl.read_parquet(bundle.path("profiles/users.parquet"))
    assert table.columns == ["user_id", "profile", "history", "seen"]
    assert tuple(table["user_id"]) == dataset.user_ids
    for user, (_, profile, history, seen) in enumerate(table.iter_rows()):
        of_user = (dataset.full[user], parts.accuracies[user])
        expected = build_profile(parts.cf, parts.anchors, parts.bandwidth, parts.kernel, *of_user)
        decoded = decode_profile(profile)
        np.testing.assert_array_equal(decoded.embedding, expected.embedding)
        assert decoded.memberships == expected.memberships
        assert decoded.digest == history_digest(history)
        events = decode_events(history)
        ids = [dataset.catalogue.ids[item] for item in dataset.full[user]]
        assert [event.item_id for event in events] == ids
        assert [event.timestamp for event in events] == [10**9 + day * 86_400 for day in range(len(ids))]
        assert set(decode_seen(seen).tolist()) == {item_hash(item_id) for item_id in ids}


def test_only_the_newest_events_are_stored_but_everything_seen(
    parts: BundleParts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert STORED_HISTORY >= 50
    monkeypatch.setattr(export, "STORED_HISTORY", 3)
    table = pl.read_parquet(build_bundle(parts, tmp_path).path("profiles/users.parquet"))
    ids = [parts.dataset.catalogue.ids[item] for item in parts.dataset.full[0]]
    assert [event.item_id for event in decode_events(table["history"][0])] == ids[-parts.model.history_length :]
    assert len(decode_seen(table["seen"][0])) == len(ids)


def test_the_same_content_has_the_same_id_anywhere_anytime(bundle: Bundle, parts: BundleParts, tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    adapters = {name: moved / name for name in parts.adapters}
    for name, source in parts.adapters.items():
        shutil.copytree(source, adapters[name])
    again = build_bundle(replace(parts, adapters=adapters, config={"data": {}}), tmp_path / "bundles")
    assert again.id == bundle.id
    assert again.manifest.files == bundle.manifest.files


def test_portrait_has_no_part_in_the_id_and_is_replaced(
    bundle: Bundle, parts: BundleParts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(export, "portrait_file", lambda portrait: portrait_file(portrait, seed=1))
        other = build_bundle(parts, tmp_path)
    assert other.path(PORTRAIT).read_bytes() != bundle.path(PORTRAIT).read_bytes()
    again = build_bundle(parts, tmp_path)
    assert again.id == other.id == bundle.id
    assert verify_bundle(again.directory).manifest.files == bundle.manifest.files


def test_portrait_is_of_the_users_of_the_bundle(bundle: Bundle, parts: BundleParts) -> None:
    portrait = PortraitFile.load(bundle.directory, N_COMMUNITIES)
    assert portrait is not None
    assert portrait == portrait_file(portrait_of(bundle))
    assert portrait.n_users == len(parts.dataset.user_ids)
    assert all(set(community.members) <= set(parts.dataset.user_ids) for community in portrait.communities)


def other_popularity(parts: BundleParts) -> dict[str, Any]:
    return {"popularity": parts.popularity + 1.0}


def other_serving(parts: BundleParts) -> dict[str, Any]:
    return {"serving": ServingSpec(FusionMethod.WRRF_CF, 3.0, 10)}


def other_community_name(parts: BundleParts) -> dict[str, Any]:
    first = parts.communities[0]
    return {"communities": [CommunitySpec(first.adapter, first.n_users, "other"), *parts.communities[1:]]}


def other_history_length(parts: BundleParts) -> dict[str, Any]:
    return {"model": msgspec.structs.replace(parts.model, history_length=5)}


def other_kernel(parts: BundleParts) -> dict[str, Any]:
    return {"kernel": "gaussian"}


def other_bandwidth(parts: BundleParts) -> dict[str, Any]:
    return {"bandwidth": parts.bandwidth / 2}


def other_title(parts: BundleParts) -> dict[str, Any]:
    items = parts.dataset.catalogue.items
    renamed = Catalogue([Item(items[0].item_id, "another title"), *items[1:]])
    return {"dataset": replace(parts.dataset, catalogue=renamed)}


@pytest.mark.parametrize(
    "change",
    [
        other_popularity,
        other_serving,
        other_community_name,
        other_history_length,
        other_bandwidth,
        other_kernel,
        other_title,
    ],
)
def test_other_content_has_another_id(
    bundle: Bundle, parts: BundleParts, tmp_path: Path, change: Callable[[BundleParts], dict[str, Any]]
) -> None:
    other = build_bundle(replace(parts, **change(parts)), tmp_path)
    assert other.id != bundle.id
    assert other.id.startswith("walks-")
    assert verify_bundle(other.directory).id == other.directory.name == other.id


def test_a_bundle_that_is_there_is_kept(parts: BundleParts, tmp_path: Path) -> None:
    first = build_bundle(parts, tmp_path)
    written = (first.path(MANIFEST)).stat().st_mtime_ns
    again = build_bundle(replace(parts, metrics={"validation": 0.6}), tmp_path)
    assert again == first
    assert first.path(MANIFEST).stat().st_mtime_ns == written
    assert [path.name for path in tmp_path.iterdir()] == [first.id]


@pytest.mark.parametrize("name", ["popularity.npy", "manifest.json", "adapters/c00/adapter_config.json"])
def test_a_bundle_that_was_damaged_is_built_again(parts: BundleParts, tmp_path: Path, name: str) -> None:
    first = build_bundle(parts, tmp_path)
    if name == MANIFEST:
        first.path(name).unlink()
    else:
        first.path(name).write_bytes(b"damaged")
    assert build_bundle(parts, tmp_path).id == first.id
    verify_bundle(first.directory)


def test_other_accounts_can_read_everything(bundle: Bundle) -> None:
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in [bundle.directory, *bundle.directory.rglob("*")]}
    assert {mode for path, mode in modes.items() if path.is_dir()} == {0o755}
    assert {mode for path, mode in modes.items() if path.is_file()} == {0o644}
    assert len(modes) > 10


def test_adapter_configurations_are_normalised(bundle: Bundle) -> None:
    for adapter in ADAPTERS:
        config = json.loads((bundle.adapter_path(adapter) / "adapter_config.json").read_text())
        assert config["base_model_name_or_path"] is None
        assert config["inference_mode"] is True
        assert config["target_modules"] == sorted(config["target_modules"])
        assert list(config) == sorted(config)


def test_nothing_tells_where_it_was_made(bundle: Bundle, finished_run: FinishedRun) -> None:
    """Neither this bundle, nor the one that the pipeline built from absolute paths."""
    for made in (bundle, finished_run.bundle):
        for name, content in files_below(made.directory).items():
            if name.endswith((".json", ".jsonl", ".txt", ".md", ".jinja")):
                for place in (finished_run.directory.parent.parent, Path.home(), Path.cwd(), "/home/ann"):
                    assert str(place).encode() + b"/" not in content, name
    config = bundle.manifest.config
    assert config == {"data": {"interactions": "x.csv", "category_separator": "/", "seed": 3}}


@pytest.mark.parametrize("when", ["write_manifest", "_profiles", "_make_readable", "write_tokenizer"])
def test_an_interrupted_build_leaves_nothing(
    parts: BundleParts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(export, when, interrupt)
        with pytest.raises(KeyboardInterrupt):
            build_bundle(parts, tmp_path)
    assert list(tmp_path.iterdir()) == []
    verify_bundle(build_bundle(parts, tmp_path).directory)


def test_a_bundle_appears_complete(parts: BundleParts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is visible under the bundle's name has its manifest: a process killed at any time leaves no half one."""
    appeared = []
    replace_path = export.os.replace

    def spy(source: Path, target: Path) -> None:
        replace_path(source, target)
        if Path(target).parent == tmp_path:
            appeared.append(verify_bundle(Path(target)).id)

    monkeypatch.setattr(export.os, "replace", spy)
    assert [build_bundle(parts, tmp_path).id] == appeared


def test_a_missing_adapter_file_is_named(parts: BundleParts, tmp_path: Path) -> None:
    adapters = {**parts.adapters, "c00": tmp_path / "empty"}
    with pytest.raises(BundleError, match=r"empty: adapter_config\.json is missing"):
        build_bundle(replace(parts, adapters=adapters), tmp_path / "bundles")
    assert list((tmp_path / "bundles").iterdir()) == []


def test_progress_wraps_the_loop_over_users(parts: BundleParts, tmp_path: Path) -> None:
    seen: list[int] = []

    def progress(rows: range) -> Any:
        for row in rows:
            seen.append(row)
            yield row

    build_bundle(parts, tmp_path, progress)
    assert seen == list(range(len(parts.dataset.user_ids)))


def test_adapter_names_begin_with_the_global_one() -> None:
    assert adapter_names(3) == ("global", "c00", "c01", "c02")


def test_the_pipelines_bundle_says_what_workers_must_know(finished_run: FinishedRun) -> None:
    bundle = open_bundle(finished_run.bundle.directory)
    model = bundle.manifest.model
    assert model == ModelSpec("item-token", 6, 20, 4, ("global", "c00", "c01"), model.base_model)
    assert [community.adapter for community in bundle.manifest.communities] == ["c00", "c01"]
    assert all(community.n_users > 0 and community.name for community in bundle.manifest.communities)


def test_the_title_form_brings_its_title_tokens_and_keeps_the_checkpoints_tokenizer(
    parts: BundleParts, tmp_path: Path
) -> None:
    checkpoint = tmp_path / "global" / "checkpoint"
    shutil.copytree(parts.checkpoint, checkpoint)
    (checkpoint / "tokenizer.json").write_text("the backbone's own")
    titles = random_titles(parts.model.n_items, n_words=12)
    titles.save(tmp_path / "global")
    model = msgspec.structs.replace(parts.model, form="title", item_tokens=titles.longest)
    bundle = build_bundle(replace(parts, checkpoint=checkpoint, model=model), tmp_path / "bundles")
    assert verify_bundle(bundle.directory).path("checkpoint/tokenizer.json").read_text() == "the backbone's own"
    assert load_prompts(bundle).prompt([3, 1]) == titles.prompt([3, 1]).tolist()


class TestFurtherModels:
    COLLM = CoLLMSpec("tiny", "mf", lora_rank=4, max_tokens=60, answer="ĠYes", answer_token=3)
    HATLLM = HatLLMSpec("tiny", history_length=5, lora_rank=4, max_tokens=40)

    @pytest.fixture
    def further(self, tmp_path: Path) -> list[ExportedModel]:
        """Two models, of a file each."""
        models = [
            ExportedModel("collm", tmp_path / "one", self.COLLM),
            ExportedModel("hatllm", tmp_path / "other", self.HATLLM),
        ]
        for model in models:
            (model.directory / "checkpoint").mkdir(parents=True)
            (model.directory / "checkpoint" / "config.json").write_text(json.dumps({"part": model.part}))
        return models

    def test_are_parts_with_files_and_a_spec(
        self, parts: BundleParts, further: list[ExportedModel], tmp_path: Path
    ) -> None:
        bundle = build_bundle(replace(parts, further=further), tmp_path / "bundles")

        manifest = verify_bundle(bundle.directory).manifest
        assert manifest.parts == ("local", "collm", "hatllm")
        assert (manifest.collm, manifest.hatllm) == (self.COLLM, self.HATLLM)
        assert "collm/checkpoint/config.json" in manifest.files
        assert bundle.served("hatllm").checkpoint.joinpath("config.json").read_text() == '{"part": "hatllm"}'
        assert stat.S_IMODE(bundle.path("collm").stat().st_mode) == 0o755

    def test_a_bundle_without_them_says_so(self, bundle: Bundle) -> None:
        assert bundle.manifest.parts == ("local",)
        assert (bundle.manifest.collm, bundle.manifest.hatllm) == (None, None)
        assert not bundle.path("collm").exists()

    def test_files_and_spec_are_in_the_id(
        self, parts: BundleParts, further: list[ExportedModel], bundle: Bundle, tmp_path: Path
    ) -> None:
        collm = further[0]
        one = build_bundle(replace(parts, further=[collm]), tmp_path / "bundles")
        other_spec = replace(collm, spec=msgspec.structs.replace(self.COLLM, max_tokens=61))
        other = build_bundle(replace(parts, further=[other_spec]), tmp_path / "bundles")
        (collm.directory / "checkpoint" / "config.json").write_text("{}")
        third = build_bundle(replace(parts, further=[collm]), tmp_path / "bundles")
        assert len({bundle.id, one.id, other.id, third.id}) == 4

    def test_an_altered_file_of_a_part_is_found(
        self, parts: BundleParts, further: list[ExportedModel], tmp_path: Path
    ) -> None:
        bundle = build_bundle(replace(parts, further=further), tmp_path / "bundles")
        bundle.path("hatllm/checkpoint/config.json").write_text("{}")
        with pytest.raises(BundleError, match=r"hatllm/checkpoint/config\.json does not match its checksum"):
            verify_bundle(bundle.directory)
