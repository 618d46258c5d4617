"""What pipelines need of a bundle beside its local models: loaded, checked, or named where it lacks."""

import dataclasses
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from support.bundles import make_bundle
from support.parts import (
    collm_prompts,
    item_rows,
    make_bundle_with,
    title_tokens,
    ulmrec_prompts,
    user_indexer,
)

from models.contract.bundle import Bundle
from models.contract.errors import BundleError
from models.contract.hatllm import ITEM_ROWS
from models.contract.specs import Part
from service.gateway.bundles.parts import NO_PARTS, load_parts
from service.gateway.bundles.snapshot import load_snapshot
from service.gateway.ranking.settings import (
    CoLLMPipeline,
    GlobalPipeline,
    HatLLMPipeline,
    L2RecPipeline,
    LocalPipeline,
    ULMRecPipeline,
    needs,
)

NEEDS: dict[str, Part] = {"re": "collm", "hat": "hatllm", "letters": "ulmrec", "dual": "l2rec"}


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return make_bundle_with(tmp_path, "collm", "hatllm", "ulmrec", "l2rec")


def test_needed_models_are_loaded_and_no_others(bundle: Bundle):
    parts = load_snapshot(bundle.directory, NEEDS).parts
    assert (parts.collm.n_items, parts.hatllm.size, parts.ulmrec.prompts.n_items, parts.l2rec.size) == (
        200,
        16,
        200,
        16,
    )
    assert load_snapshot(bundle.directory, {"re": "collm"}).parts.hatllm is None
    assert load_snapshot(bundle.directory).parts == NO_PARTS


def test_pipelines_need_the_models_of_their_kinds():
    pipelines = {
        "l": LocalPipeline(kind="local", pool="a"),
        "re": CoLLMPipeline(kind="collm", pool="b"),
        "hat": HatLLMPipeline(kind="hatllm", pool="c"),
        "letters": ULMRecPipeline(kind="ulmrec", pool="d"),
        "dual": L2RecPipeline(kind="l2rec", pool="e"),
        "cf": GlobalPipeline(kind="cf"),
    }
    assert needs(pipelines) == {"l": "local", **NEEDS}


@pytest.mark.parametrize("needed", NEEDS.items())
def test_bundle_that_lacks_a_model_is_refused_with_the_pipelines_name(tmp_path: Path, needed: tuple[str, Part]):
    name, part = needed
    why = f"pipeline {name} needs the model {part}, which the bundle does not have; it has local$"
    with pytest.raises(BundleError, match=why):
        load_snapshot(make_bundle(tmp_path).directory, dict([needed]))


def wrong_rows(bundle: Bundle, rows: Any) -> None:
    np.save(bundle.served("hatllm").directory / ITEM_ROWS, rows)


def wrong_prompts(bundle: Bundle, n_items: int = 200, n_letters: int = 20) -> None:
    prompts = ulmrec_prompts(n_items)
    fewer = dataclasses.replace(prompts, letters=prompts.letters[:n_letters], answers=prompts.answers[:n_letters])
    fewer.save(bundle.served("ulmrec").directory)


def wrong_codebooks(bundle: Bundle, levels: int, codes: int) -> None:
    indexer = user_indexer(200)
    codebooks = np.zeros((levels, codes, indexer.codebooks.shape[2]), np.float32)
    wrong = dataclasses.replace(indexer, codebooks=codebooks, taken=indexer.taken[:, :levels])
    wrong.save(bundle.served("ulmrec").directory)


def take_all(bundle: Bundle) -> None:
    indexer = user_indexer(200)
    levels, codes, _ = indexer.codebooks.shape
    every = np.indices((codes,) * levels, dtype=np.int32).reshape(levels, -1).T
    dataclasses.replace(indexer, taken=every).save(bundle.served("ulmrec").directory)


WITH_NAN = item_rows(200)
WITH_NAN[3, 3] = np.nan
CASES: dict[str, tuple[Any, str]] = {
    "prompts of fewer items": (
        lambda bundle: collm_prompts(199).save(bundle.served("collm").directory),
        r"collm/prompts\.safetensors is of 199 items",
    ),
    "no prompts": (lambda bundle: (bundle.directory / "collm" / "prompts.safetensors").unlink(), "prompts.safetensors"),
    "no probe": (lambda bundle: (bundle.directory / "hatllm" / "probe.safetensors").unlink(), "probe.safetensors"),
    "titles of fewer items": (
        lambda bundle: title_tokens(199).save(bundle.served("hatllm").directory),
        "titles are of 199 items",
    ),
    "rows of fewer items": (lambda bundle: wrong_rows(bundle, item_rows(199)), r"shape \(199, 16\)"),
    "rows of one dimension": (lambda bundle: wrong_rows(bundle, np.zeros(200, np.float32)), r"shape \(200,\)"),
    "rows of half precision": (lambda bundle: wrong_rows(bundle, item_rows(200).astype(np.float16)), "float16"),
    "rows that are no numbers": (lambda bundle: wrong_rows(bundle, WITH_NAN), "not all numbers are finite"),
    "rows that are no array": (
        lambda bundle: (bundle.directory / "hatllm" / ITEM_ROWS).write_bytes(b"nonsense"),
        ITEM_ROWS,
    ),
    "ULMRec's prompts of fewer items": (
        lambda bundle: wrong_prompts(bundle, n_items=199),
        "ulmrec's prompts are of 199 items, 20 candidates and up to .* expected 200, 20 and up to 100",
    ),
    "fewer letters": (lambda bundle: wrong_prompts(bundle, n_letters=19), "are of 200 items, 19 candidates"),
    "no indexer": (lambda bundle: (bundle.directory / "ulmrec/indexer.safetensors").unlink(), "indexer.safetensors"),
    "vectors of fewer items": (
        lambda bundle: user_indexer(199).save(bundle.served("ulmrec").directory),
        r"ulmrec/indexer.safetensors is of \(items, levels, codes\) \(199, 4, 8\), expected \(200, 4, 8\)",
    ),
    "fewer levels": (lambda bundle: wrong_codebooks(bundle, 3, 8), r"\(200, 3, 8\)"),
    "more codes": (lambda bundle: wrong_codebooks(bundle, 4, 9), r"\(200, 4, 9\)"),
    "no index that is free": (take_all, "ulmrec/indexer.safetensors: all indices are taken"),
    "no probe of ULMRec": (
        lambda bundle: (bundle.directory / "ulmrec/probe.safetensors").unlink(),
        "probe.safetensors",
    ),
    "L2Rec's titles of fewer items": (
        lambda bundle: title_tokens(199).save(bundle.served("l2rec").directory),
        "l2rec's titles are of 199 items",
    ),
    "L2Rec's rows of fewer items": (
        lambda bundle: np.save(bundle.served("l2rec").directory / ITEM_ROWS, item_rows(199)),
        r"shape \(199, 16\)",
    ),
    "no probe of L2Rec": (lambda bundle: (bundle.directory / "l2rec/probe.safetensors").unlink(), "probe.safetensors"),
}


@pytest.mark.parametrize("case", CASES)
def test_what_does_not_fit_is_named(bundle: Bundle, case: str):
    spoil, named = CASES[case]
    spoil(bundle)
    with pytest.raises(BundleError, match=named):
        load_parts(bundle, NEEDS)


def test_l2rec_that_is_routed_by_another_cf_models_users_is_refused(bundle: Bundle):
    spec = msgspec.structs.replace(bundle.manifest.l2rec, user_size=17)
    manifest = msgspec.structs.replace(bundle.manifest, l2rec=spec)
    with pytest.raises(BundleError, match=r"routed by 17 numbers of a user, user_size; .* have 16, embedding_size"):
        load_parts(Bundle(bundle.directory, manifest), NEEDS)


@pytest.mark.parametrize("part", NEEDS.values())
def test_prompts_longer_than_workers_were_told_are_refused(bundle: Bundle, part: Part):
    short = msgspec.structs.replace(bundle.served(part).spec, max_tokens=9)
    manifest = msgspec.structs.replace(bundle.manifest, **{part: short})
    with pytest.raises(BundleError, match="and up to 9"):
        load_parts(Bundle(bundle.directory, manifest), NEEDS)
