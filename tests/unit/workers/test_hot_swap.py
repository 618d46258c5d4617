"""Adapters come and go while requests run; against stubs in the same loop."""

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.bundles import make_bundle
from support.pools import (
    ask,
    expected_items,
    kinds,
    make_all_ready,
    make_ready,
    make_settled,
    metric,
    pool_of,
    until,
    worker,
)
from support.processes import free_port

from models.contract.bundle import Bundle
from service.gateway.telemetry import Telemetry
from service.workers import loader, residency
from service.workers.placement import preference
from service.workers.pool import WorkerPool
from service.workers.roster import names_of
from service.workers.types import OutcomeKind

ADAPTERS = ["c00", "c01", "c02", "c03"]
DEADLINE_SECONDS = 0.2  # as in service: nothing waits for a load unseen
LAST_LOOK_SECONDS = 0.3  # a pool looks once more after its last load; what is lost then is found by a request


@pytest.fixture
def bundles(tmp_path: Path) -> list[Bundle]:
    """Two bundles with the same base model."""
    made = [make_bundle(tmp_path, seed=seed) for seed in range(2)]
    assert made[0].base_id == made[1].base_id
    return made


CALLS_TO_ADAPTERS = 'localrec_worker_call_seconds_count{adapter="c'


class Traffic:
    """Requests for a bundle's adapters, one after the other, until the end of the context."""

    def __init__(self, pool: WorkerPool, bundle: Bundle, pause_seconds: float = 0.002) -> None:
        self.bundle = bundle
        self.outcomes: list[str] = []
        self.wrong = 0
        self._pool = pool
        self._pause_seconds = pause_seconds

    async def __aenter__(self) -> "Traffic":
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            bundle = self.bundle
            outcomes = await ask(self._pool, bundle, *ADAPTERS, seconds=DEADLINE_SECONDS)
            for adapter, outcome in zip(ADAPTERS, outcomes, strict=True):
                self.outcomes.append(outcome.kind)
                right = expected_items(bundle, adapter)
                self.wrong += outcome.kind is OutcomeKind.OK and outcome.ranking.items.tolist() != right
            await asyncio.sleep(self._pause_seconds)


async def test_bundles_of_one_base_live_side_by_side_and_the_old_goes_when_it_is_drained(bundles: list[Bundle]):
    (old, new), telemetry = bundles, Telemetry()
    async with worker(old.base_id) as stub, pool_of(stub.url, drain_seconds=0.3, telemetry=telemetry) as pool:
        await make_ready(pool, old)
        await kinds(pool, old, ADAPTERS)  # warm
        await stub.order(load_seconds=0.02)
        async with Traffic(pool, old) as traffic:
            await make_ready(pool, old, new)
            assert sorted(names_of(old.local) + names_of(new.local)) == (await stub.counts())["adapters"]
            traffic.bundle = new
            pool.expect([new])
            assert set(await kinds(pool, old, ADAPTERS)) == {"ok"}  # another request, that began before
            await asyncio.sleep(0.1)
            assert set(names_of(old.local)) < set((await stub.counts())["adapters"])
            await _until_loaded(stub, names_of(new.local))
        assert set(await kinds(pool, old, ADAPTERS)) == {"unreachable"}
        assert (await stub.counts())["loads"] == 10
        assert metric(telemetry, CALLS_TO_ADAPTERS) > 0
        pool.expect([])
        await until(lambda: metric(telemetry, CALLS_TO_ADAPTERS) == 0)  # their series go with them
    assert (set(traffic.outcomes), traffic.wrong) == ({"ok"}, 0)
    assert metric(telemetry, "localrec_adapter_misses_total") == 0


async def test_bundle_is_not_ready_before_the_last_of_its_adapters_is_there(bundles: list[Bundle]):
    """Whoever switches as soon as it is ready, asks nobody for what is not there, and waits for no load."""
    (old, new), telemetry = bundles, Telemetry()
    async with worker(old.base_id) as stub, pool_of(stub.url, telemetry=telemetry) as pool:
        await make_ready(pool, old)
        await stub.order(load_seconds=0.05)
        pool.expect([old, new])
        held, names = [], set(names_of(new.local))
        while not pool.is_ready(new.id):
            held.append(len(names & set((await stub.counts())["adapters"])))
        assert set(held) >= {0, 1, 2, 3, 4}
        assert set((await stub.counts())["adapters"]) == names | set(names_of(old.local))
        pool.expect([new, old])
        assert set(await kinds(pool, new, ADAPTERS, seconds=0.1)) == {"ok"}
        assert (await stub.counts())["loads"] == 10
    assert metric(telemetry, "localrec_adapter_misses_total") == 0


async def test_bundle_with_a_load_that_fails_is_ready_when_that_has_come(
    bundles: list[Bundle], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(loader, "FAILED_SECONDS", 0.1)
    async with worker(bundles[0].base_id, slots=4) as stub, pool_of(stub.url) as pool:
        await make_settled(pool, bundles[0])
        assert not pool.is_ready(bundles[0].id)
        await stub.order()
        await until(lambda: pool.is_ready(bundles[0].id))


async def test_request_that_began_on_the_old_bundle_ends_on_it(bundles: list[Bundle]):
    old, new = bundles
    async with worker(old.base_id) as stub, pool_of(stub.url, drain_seconds=0.0) as pool:
        await make_ready(pool, old, new)
        await stub.order(delays={old.adapter_name("c00"): 0.3})
        request = asyncio.create_task(kinds(pool, old, ADAPTERS))
        await asyncio.sleep(0.05)
        pool.expect([new])
        await asyncio.sleep(0.1)
        assert set(names_of(old.local)) < set((await stub.counts())["adapters"])
        assert set(await request) == {"ok"}
        await _until_loaded(stub, names_of(new.local))


async def test_roll_back_within_the_drain_loads_nothing(bundles: list[Bundle]):
    old, new = bundles
    async with worker(old.base_id) as stub, pool_of(stub.url, drain_seconds=5) as pool:
        await make_ready(pool, old, new)
        pool.expect([new])
        loads = (await stub.counts())["loads"]
        await make_ready(pool, new, old)
        pool.expect([old])
        assert set(await kinds(pool, old, ADAPTERS)) == {"ok"}
        assert (await stub.counts())["loads"] == loads


async def test_when_slots_are_short_the_bundle_in_service_keeps_its_own(bundles: list[Bundle]):
    old, new = bundles
    async with worker(old.base_id) as stub, pool_of(stub.url, slots=7, drain_seconds=0.1) as pool:
        await make_ready(pool, old)
        assert pool.warnings() == []
        async with Traffic(pool, old) as traffic:
            await make_settled(pool, old, new)
            loaded = set((await stub.counts())["adapters"])
            assert (set(names_of(old.local)) < loaded, len(loaded)) == (True, 7)
        assert not pool.is_ready(new.id)
        assert pool.warnings() == [f"no slot for 3 of 5 adapters of {new.id}: raise slots"]
        pool.expect([new, old])
        await until(lambda: pool.is_ready(new.id))
        assert set(await kinds(pool, new, ADAPTERS)) == {"ok"}
    assert set(traffic.outcomes) == {"ok"}


async def test_missing_adapter_is_loaded_once_however_many_wait(bundles: list[Bundle]):
    bundle, telemetry = bundles[0], Telemetry()
    async with (
        worker(bundle.base_id) as stub,
        pool_of(stub.url, telemetry=telemetry, probe_interval_seconds=60) as pool,
    ):
        await make_ready(pool, bundle)
        await asyncio.sleep(LAST_LOOK_SECONDS)
        loads = (await stub.counts())["loads"]
        await stub.unload(bundle.adapter_name("c01"))
        await stub.order(load_seconds=0.1)
        asked = await asyncio.gather(*(kinds(pool, bundle, ADAPTERS) for _ in range(8)))
        assert {kind for each in asked for kind in each} == {"ok"}
        assert (await stub.counts())["loads"] == loads + 1
    assert metric(telemetry, "localrec_adapter_misses_total") >= 1


@pytest.mark.parametrize("worker_kind", ["vllm", "engine"])
async def test_request_that_cannot_wait_for_a_load_has_the_other_lists(bundles: list[Bundle], worker_kind: str):
    bundle = bundles[0]
    async with worker(bundle.base_id) as stub, pool_of(stub.url, kind=worker_kind, probe_interval_seconds=60) as pool:
        await make_ready(pool, bundle)
        await asyncio.sleep(LAST_LOOK_SECONDS)
        await stub.unload(bundle.adapter_name("c01"))
        await stub.order(load_seconds=1.0)
        assert await kinds(pool, bundle, ADAPTERS, seconds=0.5) == ["ok", "timeout", "ok", "ok"]
        started = time.perf_counter()
        assert await kinds(pool, bundle, ADAPTERS, seconds=0.1) == ["ok", "not_resident", "ok", "ok"]
        assert time.perf_counter() - started < 0.08  # it runs longer than loads do: nobody else waits for it
        await asyncio.sleep(0.3)
        assert await kinds(pool, bundle, ADAPTERS) == ["ok"] * 4


async def test_adapter_that_one_replica_lost_is_asked_where_it_still_is(bundles: list[Bundle]):
    bundle, telemetry = bundles[0], Telemetry()
    async with (
        worker(bundle.base_id) as one,
        worker(bundle.base_id) as two,
        pool_of(one.url, two.url, telemetry=telemetry, probe_interval_seconds=60) as pool,
    ):
        await make_all_ready(pool, bundle)
        await asyncio.sleep(LAST_LOOK_SECONDS)
        for stub in (one, two):
            await stub.order(load_seconds=1.0)
        name = bundle.adapter_name("c01")
        await {stub.url: stub for stub in (one, two)}[preference(name, [one.url, two.url])[0]].unload(name)
        assert await kinds(pool, bundle, ADAPTERS, seconds=0.2) == ["ok"] * 4
        assert [(await stub.counts())["loads"] for stub in (one, two)] == [5, 5]
    assert metric(telemetry, "localrec_adapter_misses_total") == 1


async def test_load_that_would_come_too_late_is_not_waited_for_after_a_404_either(bundles: list[Bundle]):
    bundle = bundles[0]
    async with worker(bundle.base_id, load_seconds=0.3) as stub, pool_of(stub.url, probe_interval_seconds=60) as pool:
        await make_ready(pool, bundle)
        await asyncio.sleep(LAST_LOOK_SECONDS)
        await stub.unload(bundle.adapter_name("c01"))
        started = time.perf_counter()
        assert await kinds(pool, bundle, ADAPTERS, seconds=0.2) == ["ok", "not_resident", "ok", "ok"]
        assert time.perf_counter() - started < 0.15


async def test_more_adapters_than_slots_are_loaded_on_demand_in_the_place_of_the_coldest(bundles: list[Bundle]):
    bundle, telemetry = bundles[0], Telemetry()
    async with worker(bundle.base_id, slots=3) as stub, pool_of(stub.url, slots=3, telemetry=telemetry) as pool:
        await make_settled(pool, bundle)
        assert not pool.is_ready(bundle.id)
        assert len((await stub.counts())["adapters"]) == 3
        for adapter in ADAPTERS[:3]:
            [outcome] = await ask(pool, bundle, adapter)
            assert outcome.ranking.items.tolist() == expected_items(bundle, adapter)
        for _ in range(3):
            await kinds(pool, bundle, ["c01", "c02", "c03"])
        assert await kinds(pool, bundle, ["c00"]) == ["not_resident"]
        assert len((await stub.counts())["adapters"]) == 3
        await until(lambda: metric(telemetry, "localrec_adapters_resident") == 3)
    assert metric(telemetry, "localrec_adapter_evictions_total") >= 1
    assert metric(telemetry, "localrec_adapter_unloads_total") >= 1


async def test_adapters_that_no_replica_can_hold_alone_are_shared_out(bundles: list[Bundle]):
    bundle = bundles[0]
    async with (
        worker(bundle.base_id) as one,
        worker(bundle.base_id) as two,
        pool_of(one.url, two.url, slots=3, kind="engine") as pool,
    ):
        await make_settled(pool, bundle)
        assert pool.is_ready(bundle.id)
        held = [set((await stub.counts())["adapters"]) for stub in (one, two)]
        assert [len(each) for each in held] == [3, 3]
        assert held[0] | held[1] == set(names_of(bundle.local))
        assert set(await kinds(pool, bundle, ADAPTERS)) == {"ok"}
        assert [(await stub.counts())["fanouts"] for stub in (one, two)] == [1, 1]


async def test_orphans_leave_as_many_slots_as_are_needed_when_they_are_old(
    bundles: list[Bundle], monkeypatch: pytest.MonkeyPatch
):
    """Ten adapters of a gateway that died; five must come, and the worker refuses a thirteenth."""
    monkeypatch.setattr(residency, "STRANGER_SECONDS", 0.5)
    bundle, telemetry, orphans = bundles[0], Telemetry(), [f"orphan-{number}" for number in range(10)]
    async with worker(bundle.base_id, slots=12) as stub, pool_of(stub.url, slots=12, telemetry=telemetry) as pool:
        await stub.load(*orphans)
        await make_settled(pool, bundle)
        assert set(orphans) < set((await stub.counts())["adapters"])
        assert metric(telemetry, "localrec_adapters_strange") == 10
        assert pool.warnings() == [f"no slot for 3 of 5 adapters of {bundle.id}: raise slots"]
        await until(lambda: pool.is_ready(bundle.id))
        assert len(set(orphans) & set((await stub.counts())["adapters"])) == 7
        assert set(await kinds(pool, bundle, ADAPTERS)) == {"ok"}
        assert not pool.status()[0].refused
        assert pool.warnings() == []


async def test_unload_that_fails_is_tried_again(bundles: list[Bundle]):
    old, new = bundles
    async with worker(old.base_id) as stub, pool_of(stub.url, drain_seconds=0.0) as pool:
        await make_ready(pool, old, new)
        await stub.order(keeps=True)
        pool.expect([new])
        async with asyncio.timeout(5):
            while (await stub.counts())["unloads"] < 12:
                pass
        assert len((await stub.counts())["adapters"]) == 10
        await stub.order()
        await _until_loaded(stub, names_of(new.local))
        assert pool.is_ready(new.id)


async def test_load_that_hangs_keeps_neither_other_adapters_nor_looks_waiting(bundles: list[Bundle]):
    bundle = bundles[0]
    async with worker(bundle.base_id, load_seconds=2.0, slow_loads=["-c00"]) as stub, pool_of(stub.url) as pool:
        pool.expect([bundle])
        await until(lambda: pool.status()[0].reason == "adapters are being loaded")
        async with asyncio.timeout(1.0):
            while set(await kinds(pool, bundle, ADAPTERS[1:], seconds=0.2)) != {"ok"}:
                pass
            looks = (await stub.counts())["looks"]
            while (await stub.counts())["looks"] < looks + 3:
                pass
        assert not pool.is_ready(bundle.id)
        await until(lambda: pool.is_ready(bundle.id))
        assert (await stub.counts())["loads"] == 5


async def test_closing_while_requests_wait_for_a_load_is_an_outcome(bundles: list[Bundle]):
    bundle = bundles[0]
    async with worker(bundle.base_id, load_seconds=0.5) as stub, pool_of(stub.url, probe_interval_seconds=60) as pool:
        pool.expect([bundle])
        await until(lambda: pool.status()[0].reason == "adapters are being loaded")
        asked = [asyncio.create_task(kinds(pool, bundle, [adapter])) for adapter in ADAPTERS]
        await asyncio.sleep(0.1)
        await pool.close()
        assert await asyncio.gather(*asked) == [["not_found"]] * 4


async def test_bug_in_a_load_is_a_refusal_with_a_trace(
    bundles: list[Bundle], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    bundle = bundles[0]
    monkeypatch.setattr(loader.Examiner, "exam", lambda *_: {}["surprise"])
    async with worker(bundle.base_id) as stub, pool_of(stub.url) as pool:
        await make_settled(pool, bundle)
        assert await kinds(pool, bundle, ADAPTERS) == ["not_found"] * 4
        assert "KeyError: 'surprise'" in pool.status()[0].refused[0]
    assert "Traceback" in caplog.text


async def test_refusal_goes_with_its_bundle(bundles: list[Bundle]):
    old, new = bundles
    lies = [old.adapter_name("c01"), new.adapter_name("c02")]
    async with worker(old.base_id, ignored=lies) as stub, pool_of(stub.url, drain_seconds=0.1) as pool:
        await make_ready(pool, old)
        assert old.adapter_name("c01") in pool.status()[0].refused[0]
        pool.expect([new])
        await until(lambda: [lies[1] in line for line in pool.status()[0].refused] == [True])


async def test_what_a_dead_replica_held_moves_to_those_that_are_left(bundles: list[Bundle]):
    bundle = bundles[0]
    async with worker(bundle.base_id) as one:
        async with worker(bundle.base_id) as two:
            pool_context = pool_of(one.url, two.url, slots=5)
            pool = await pool_context.__aenter__()
            await make_ready(pool, bundle)
        await until(lambda: [bool(status.reason) for status in pool.status()] == [False, True])
        await until(lambda: pool.is_ready(bundle.id))
        assert set(await kinds(pool, bundle, ADAPTERS)) == {"ok"}
        await pool_context.__aexit__(None, None, None)


async def test_replica_that_starts_again_gets_its_adapters_without_a_word(bundles: list[Bundle]):
    bundle, port = bundles[0], free_port()
    async with pool_of(f"http://127.0.0.1:{port}") as pool:
        async with worker(bundle.base_id, port=port):
            await make_ready(pool, bundle)
        await until(lambda: not pool.is_ready(bundle.id))
        assert set(await kinds(pool, bundle, ADAPTERS)) == {"unreachable"}
        async with worker(bundle.base_id, port=port) as stub:
            await until(lambda: pool.is_ready(bundle.id))
            assert set(await kinds(pool, bundle, ADAPTERS)) == {"ok"}
            assert (await stub.counts())["adapters"] == sorted(names_of(bundle.local))


async def test_restart_in_the_middle_of_a_switch_ends_right(bundles: list[Bundle]):
    old, new = bundles
    port = free_port()
    async with pool_of(f"http://127.0.0.1:{port}", drain_seconds=0.1) as pool:
        async with worker(old.base_id, port=port) as stub:
            await make_ready(pool, old)
            await stub.order(load_seconds=0.2)
            pool.expect([old, new])
            await asyncio.sleep(0.3)  # one of the new adapters is there, another on its way
        async with worker(old.base_id, port=port) as stub:
            await until(lambda: pool.is_ready(old.id) and pool.is_ready(new.id), 10)
            pool.expect([new])
            await _until_loaded(stub, names_of(new.local))
            assert set(await kinds(pool, new, ADAPTERS)) == {"ok"}


async def _until_loaded(stub: Any, names: Sequence[str]) -> None:
    async with asyncio.timeout(5):
        while (await stub.counts())["adapters"] != sorted(names):
            pass


async def _lists(pool: WorkerPool, bundle: Bundle, seconds: float) -> int:
    """Lists that 4 callers get, who want 4 adapters each by Zipf's law."""
    adapters = list(bundle.manifest.model.adapters)
    rng, weights = np.random.default_rng(), 1 / np.arange(1, len(adapters) + 1)
    loop = asyncio.get_running_loop()
    ends, seen = loop.time() + seconds, []

    async def caller() -> None:
        while loop.time() < ends:
            chosen = rng.choice(adapters, 4, replace=False, p=weights / weights.sum())
            seen.extend(await kinds(pool, bundle, chosen.tolist(), seconds=0.2))

    await asyncio.gather(*(caller() for _ in range(4)))
    return seen.count("ok")


async def test_twice_as_many_adapters_as_slots_do_not_thrash(tmp_path: Path):
    """Loads take 50 ms in which the worker answers nothing, as in vLLM. In turns, as the machine is not ours alone."""
    bundle = make_bundle(tmp_path, communities=31)
    async with (
        worker(bundle.base_id) as one,
        worker(bundle.base_id) as other,
        pool_of(one.url, slots=32, probe_interval_seconds=0.2) as roomy,
        pool_of(other.url, slots=16, probe_interval_seconds=0.2) as tight,
    ):
        await make_ready(roomy, bundle)
        await make_settled(tight, bundle)
        for stub in (one, other):
            await stub.order(delay_seconds=0.02, load_seconds=0.05, stalls=True)
        await _lists(tight, bundle, 2.5)
        turns = [(await _lists(roomy, bundle, 0.5), await _lists(tight, bundle, 0.5)) for _ in range(4)]
    all_resident, half_resident = np.sum(turns, axis=0)
    print(f"lists in 2 s: {all_resident} with slots for all, {half_resident} with half of them")
    assert half_resident > 0.7 * all_resident
