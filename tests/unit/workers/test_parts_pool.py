"""Pools that serve a further model: their adapters are loaded, prove themselves, and are asked."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from support.bundles import make_bundle
from support.parts import (
    collm_prompts,
    collm_ranking,
    hatllm_ranking,
    item_rows,
    l2rec_ranking,
    make_bundle_with,
    title_tokens,
    ulmrec_prompts,
    ulmrec_ranking,
    unit_rows,
)
from support.pools import N_ITEMS, ask, make_ready, metric, pool_of, until, worker

from models.contract.bundle import Bundle
from models.contract.errors import BundleError
from models.contract.hatllm import ITEM_ROWS
from models.contract.index import build_index
from models.contract.specs import Part
from models.contract.types import item_numbers
from service.gateway.telemetry import Telemetry
from service.workers.classification import Classification
from service.workers.embedding import Embedding
from service.workers.letters import Letters
from service.workers.trust import read_exam
from service.workers.types import Inquiry, OutcomeKind

HISTORY, ITEMS, NOTHING = item_numbers([3, 1, 4]), item_numbers([9, 2, 60]), item_numbers([])
TITLES, INDEX = title_tokens(N_ITEMS).prompt(HISTORY).tolist(), build_index(item_rows(N_ITEMS))
ULMREC, USER = ulmrec_prompts(N_ITEMS), np.linspace(-1, 1, 16, dtype=np.float32)
PARTS: tuple[Part, ...] = ("collm", "hatllm", "ulmrec", "l2rec")
INQUIRIES: dict[Part, Inquiry] = {
    "collm": Classification(collm_prompts(N_ITEMS).prompts(HISTORY, ITEMS, 2), ITEMS),
    "hatllm": Embedding(TITLES, 5, HISTORY, INDEX, 16),
    "ulmrec": Letters(ULMREC.prompt(HISTORY, ITEMS, ULMREC.indices[2]), ITEMS, ULMREC.answers[:3]),
    "l2rec": Embedding(TITLES, 5, HISTORY, build_index(unit_rows(N_ITEMS)), 16, user=USER),
}
parts = pytest.mark.parametrize("part", PARTS)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_bundle_with(tmp_path_factory.mktemp("bundles"), *PARTS)


def expected(bundle: Bundle, part: Part) -> list[int]:
    name = bundle.adapter_name(part)
    if part == "collm":
        return collm_ranking(name, collm_prompts(N_ITEMS), HISTORY, ITEMS, 2).items.tolist()
    if part == "ulmrec":
        return ulmrec_ranking(name, ULMREC, HISTORY, ITEMS, ULMREC.indices[2]).items.tolist()
    if part == "l2rec":
        return l2rec_ranking(name, HISTORY, USER, N_ITEMS, 5, HISTORY).items.tolist()
    return hatllm_ranking(name, HISTORY, N_ITEMS, 5, HISTORY).items.tolist()


@parts
@pytest.mark.parametrize("kind", ["vllm", "engine"])
async def test_adapter_is_loaded_proves_itself_and_answers(bundle: Bundle, part: Part, kind: str):
    telemetry = Telemetry()
    model = bundle.served(part)
    async with worker(model.base_id) as stub, pool_of(stub.url, part=part, kind=kind, telemetry=telemetry) as pool:
        await make_ready(pool, bundle)
        [outcome] = await ask(pool, bundle, part, inquiry=INQUIRIES[part])
        assert outcome.ranking.items.tolist() == expected(bundle, part)
        assert (await stub.counts())["adapters"] == [bundle.adapter_name(part)]
    assert metric(telemetry, 'localrec_adapter_probes_total{outcome="passed",pool="p"}') == 1


@parts
async def test_adapter_that_is_not_applied_is_found_out(bundle: Bundle, part: Part):
    async with (
        worker(bundle.served(part).base_id, ignored=[f"-{part}"]) as stub,
        pool_of(stub.url, part=part) as pool,
    ):
        pool.expect([bundle])
        await until(lambda: bool(pool.status()[0].refused))
        [outcome] = await ask(pool, bundle, part, inquiry=INQUIRIES[part])
    assert outcome.kind is OutcomeKind.UNTRUSTED
    assert "it answers like the base model" in outcome.detail


async def test_bundle_without_the_part_is_nothing_to_the_pool(bundle: Bundle, tmp_path: Path):
    plain = make_bundle(tmp_path)
    async with worker(bundle.served("collm").base_id) as stub, pool_of(stub.url, part="collm") as pool:
        pool.expect([plain])
        assert (pool.is_ready(plain.id), pool.is_ready(bundle.id)) == (True, False)
        assert pool.warnings() == [f"{plain.id} has no collm model"]
        [outcome] = await ask(pool, plain, "collm", inquiry=INQUIRIES["collm"])
        assert outcome.kind is OutcomeKind.UNREACHABLE
        await make_ready(pool, plain, bundle)
        pool.expect([bundle])
        assert pool.warnings() == []


async def test_the_only_adapters_calls_are_spread_by_history(bundle: Bundle):
    base = bundle.served("hatllm").base_id
    asked = [dataclasses.replace(INQUIRIES["hatllm"], prompt=[7, 8, 9, 50 + item, 4]) for item in range(20)]
    async with worker(base) as one, worker(base) as other, pool_of(one.url, other.url, part="hatllm") as pool:
        await make_ready(pool, bundle)
        await until(lambda: all(status.bundles for status in pool.status()))
        before = [(await stub.counts())["embeddings"] for stub in (one, other)]
        for inquiry in asked:
            await ask(pool, bundle, "hatllm", inquiry=inquiry)
        once = [(await stub.counts())["embeddings"] for stub in (one, other)]
        for inquiry in asked:
            await ask(pool, bundle, "hatllm", inquiry=inquiry)
        twice = [(await stub.counts())["embeddings"] for stub in (one, other)]
    shares = [after - at for after, at in zip(once, before, strict=True)]
    assert min(shares) > 0
    assert sum(shares) == 20
    assert [after - at for after, at in zip(twice, once, strict=True)] == shares


def test_exam_of_hatllm_keeps_the_rows_of_its_items_alone(bundle: Bundle):
    exam = read_exam(bundle.served("hatllm"))
    assert isinstance(exam.inquiry, Embedding)
    probed = {item for ranking in exam.probe.lists.values() for item in ranking.items.tolist()}
    assert exam.inquiry.candidates == len(exam.inquiry.index.rows) == len(probed) < N_ITEMS


@pytest.mark.parametrize("rows", [np.zeros((3, 16), np.float32), None])
def test_exam_without_the_items_rows(tmp_path: Path, rows: np.ndarray | None):
    model = make_bundle_with(tmp_path, "hatllm").served("hatllm")
    if rows is None:
        (model.directory / ITEM_ROWS).write_bytes(b"nonsense")
    else:
        np.save(model.directory / ITEM_ROWS, rows)
    with pytest.raises(BundleError, match=ITEM_ROWS):
        read_exam(model)


def test_exam_of_ulmrec_asks_for_the_probes_user_and_items(bundle: Bundle):
    asked = read_exam(bundle.served("ulmrec")).inquiry
    assert isinstance(asked, Letters)
    assert asked.candidates.tolist() == list(range(5, 25))
    assert asked.prompt.tolist() == ULMREC.prompt(range(5), range(5, 25), ULMREC.indices[1]).tolist()
    assert asked.answers.tolist() == ULMREC.answers.tolist()


@pytest.mark.parametrize(("n_letters", "n_users"), [(19, 30), (20, 1)])
def test_exam_of_ulmrec_that_its_prompts_cannot_ask(tmp_path: Path, n_letters: int, n_users: int):
    model = make_bundle_with(tmp_path, "ulmrec").served("ulmrec")
    fewer = dataclasses.replace(
        ULMREC,
        letters=ULMREC.letters[:n_letters],
        answers=ULMREC.answers[:n_letters],
        users=ULMREC.users[:n_users],
        indices=ULMREC.indices[:n_users],
    )
    fewer.save(model.directory)
    with pytest.raises(BundleError, match="ulmrec: its probe does not fit its prompts"):
        read_exam(model)


def test_exam_of_l2rec_tells_the_users_embedding(bundle: Bundle):
    exam = read_exam(bundle.served("l2rec"))
    assert isinstance(exam.inquiry, Embedding)
    assert exam.inquiry.user.tolist() == exam.probe.embedding.tolist()
