"""A worker's word is not taken for it: adapters prove themselves before they are used."""

import asyncio
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from support.bundles import make_bundle
from support.pools import kinds, make_ready, make_settled, metric, pool_of, until, worker

from models.contract.bundle import Bundle
from models.contract.errors import BundleError
from service.gateway.telemetry import Telemetry
from service.workers import loader
from service.workers.completion import Completion
from service.workers.roster import names_of
from service.workers.trust import Examiner, read_exam

ADAPTERS = ["c00", "c01", "c02", "c03"]


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return make_bundle(tmp_path)


@pytest.mark.parametrize(
    ("lie", "complaint"), [({"ignored": ["-c01"]}, "base model"), ({"impostors": {"-c01": "-c02"}}, "c02")]
)
async def test_adapter_that_is_not_what_it_says_is_not_used_and_the_others_are(
    bundle: Bundle, lie: dict[str, object], complaint: str
):
    telemetry, name = Telemetry(), bundle.adapter_name("c01")
    async with worker(bundle.base_id, **lie) as stub, pool_of(stub.url, telemetry=telemetry) as pool:
        await make_ready(pool, bundle)
        assert await kinds(pool, bundle, ADAPTERS) == ["ok", "untrusted", "ok", "ok"]
        [status] = pool.status()
        assert (status.bundles, status.reason) == ((bundle.id,), "")
        assert len(status.refused) == 1
        assert name in status.refused[0]
        counts = await stub.counts()
        assert (name in counts["adapters"], counts["loads"]) == (False, 5)
    assert metric(telemetry, 'localrec_adapter_probes_total{outcome="failed"') == 1
    assert metric(telemetry, 'localrec_adapter_probes_total{outcome="passed"') == 4
    assert metric(telemetry, 'localrec_adapter_load_seconds_count{outcome="failed"') == 1


async def test_what_is_loaded_already_must_prove_itself_too(bundle: Bundle):
    async with (
        worker(bundle.base_id) as stub,
        pool_of(stub.url) as pool,
    ):
        await make_ready(pool, bundle)
        await stub.order(ignored=["-c01"])
        async with pool_of(stub.url) as another:
            await make_ready(another, bundle)
            assert await kinds(another, bundle, ADAPTERS) == ["ok", "untrusted", "ok", "ok"]


async def test_refused_adapter_is_tried_again_after_a_while(bundle: Bundle, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(loader, "UNTRUSTED_SECONDS", 0.3)
    async with worker(bundle.base_id, ignored=["-c01"]) as stub, pool_of(stub.url) as pool:
        await make_ready(pool, bundle)
        assert await kinds(pool, bundle, ["c01"]) == ["untrusted"]
        await stub.order()
        await until(lambda: not pool.status()[0].refused)
        assert await kinds(pool, bundle, ["c01"]) == ["ok"]


async def test_bundle_of_which_no_adapter_can_be_used_is_not_ready(bundle: Bundle):
    async with (
        worker(bundle.base_id, ignored=["-c00", "-c01", "-c02", "-c03", "-global"]) as stub,
        pool_of(stub.url) as pool,
    ):
        pool.expect([bundle])
        await until(lambda: len(pool.status()[0].refused) == 5)
        assert not pool.is_ready(bundle.id)


async def test_adapter_that_cannot_be_loaded_costs_its_own_list_only(bundle: Bundle):
    async with worker(bundle.base_id, slots=4) as stub, pool_of(stub.url) as pool:
        await make_settled(pool, bundle)
        assert not pool.is_ready(bundle.id)
        outcomes = await kinds(pool, bundle, [*ADAPTERS, "global"])
        assert sorted(outcomes) == ["not_found", "ok", "ok", "ok", "ok"]
        assert "no slot is free" in pool.status()[0].refused[0]


async def test_worker_that_does_not_answer_the_probe_is_asked_again(bundle: Bundle, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(loader, "FAILED_SECONDS", 0.2)
    telemetry = Telemetry()
    async with worker(bundle.base_id, mode="busy") as stub, pool_of(stub.url, telemetry=telemetry) as pool:
        pool.expect([bundle])
        await until(lambda: len(pool.status()[0].refused) == 5)
        await stub.order()
        await until(lambda: pool.is_ready(bundle.id) and not pool.status()[0].refused)
    assert metric(telemetry, 'localrec_adapter_probes_total{outcome="unanswered"') >= 5


async def test_worker_that_forgets_what_it_has_just_loaded_is_not_asked_for_it_each_time(bundle: Bundle):
    """Where its list of models and its completions disagree, say."""
    async with worker(bundle.base_id) as stub, pool_of(stub.url, kind="engine", probe_interval_seconds=60) as pool:
        await make_ready(pool, bundle)
        await stub.order(forgetful=True)
        loads = (await stub.counts())["loads"]
        for _ in range(5):
            assert await kinds(pool, bundle, ["c01"]) == ["not_found"]
        assert (await stub.counts())["loads"] == loads + 1


async def test_bundle_without_a_probe_is_not_trusted_at_all(bundle: Bundle):
    bundle.path("probe.safetensors").unlink()
    async with worker(bundle.base_id) as stub, pool_of(stub.url) as pool:
        pool.expect([bundle])
        await until(lambda: len(pool.status()[0].refused) == len(names_of(bundle.local)))
        assert "probe.safetensors" in pool.status()[0].refused[0]
        assert not pool.is_ready(bundle.id)


async def test_exam_is_read_once_and_forgotten_with_its_bundle(bundle: Bundle, tmp_path: Path):
    copied = replace(bundle, directory=Path(shutil.copytree(bundle.directory, tmp_path / "copy")))
    examiner = Examiner()
    first, second = await asyncio.gather(examiner.exam(copied.local), examiner.exam(copied.local))
    assert first.probe.prompt.tolist() == second.probe.prompt.tolist()
    shutil.rmtree(copied.directory)
    assert (await examiner.exam(copied.local)).probe.n == first.probe.n
    examiner.keep(set())
    with pytest.raises(BundleError):
        await examiner.exam(copied.local)


def test_exam_asks_for_the_probes_history_without_itself(bundle: Bundle):
    exam = read_exam(bundle.local)
    assert isinstance(exam.inquiry, Completion)
    assert exam.inquiry.prompt == exam.probe.prompt.tolist()
    assert exam.inquiry.excluded.tolist() == exam.probe.history.tolist()
    assert exam.inquiry.candidates == 100
