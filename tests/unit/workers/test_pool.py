"""A pool's calls: to whom they go, how they end, what they cost; against stubs in the same loop."""

import asyncio
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

import pytest
from support.bundles import make_bundle
from support.pools import (
    ASKED,
    Stub,
    ask,
    expected_items,
    kinds,
    make_all_ready,
    make_ready,
    metric,
    pool_of,
    until,
    worker,
)
from support.processes import free_port

from models.contract.bundle import Bundle
from service.gateway.telemetry import Telemetry
from service.workers.placement import preference
from service.workers.pool import WorkerPool
from service.workers.types import OutcomeKind

ADAPTERS = ["c00", "c01", "c02", "c03", "global"]


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return make_bundle(tmp_path)


async def kind(pool: WorkerPool, bundle: Bundle, adapter: str = "c00", seconds: float = 5.0) -> str:
    return (await kinds(pool, bundle, [adapter], seconds))[0]


async def test_prepares_and_answers(bundle: Bundle):
    async with worker(bundle.base_id) as stub, pool_of(stub.url) as pool:
        assert await kind(pool, bundle) == "unreachable"
        await make_ready(pool, bundle)
        [outcome] = await ask(pool, bundle, "c00")
        assert (outcome.kind, len(outcome.ranking)) == (OutcomeKind.OK, 10)
        assert [(status.reason, status.refused) for status in pool.status()] == [("", ())]


@pytest.mark.parametrize("worker_kind", ["vllm", "engine"])
async def test_every_adapter_gives_its_own_list_in_the_order_asked(bundle: Bundle, worker_kind: str):
    async with (
        worker(bundle.base_id) as one,
        worker(bundle.base_id) as two,
        pool_of(one.url, two.url, kind=worker_kind) as pool,
    ):
        await make_all_ready(pool, bundle)
        outcomes = await ask(pool, bundle, *ADAPTERS)
    assert [o.ranking.items.tolist() for o in outcomes] == [expected_items(bundle, name) for name in ADAPTERS]


async def test_engine_gets_one_call_for_all_adapters(bundle: Bundle):
    async with worker(bundle.base_id) as stub, pool_of(stub.url, kind="engine") as pool:
        await make_ready(pool, bundle)
        probes = (await stub.counts())["completions"]
        assert set(await kinds(pool, bundle, ADAPTERS)) == {"ok"}
        counts = await stub.counts()
        assert (counts["fanouts"], counts["completions"]) == (1, probes)


async def test_one_dead_replica_does_not_take_the_pool_down(bundle: Bundle):
    async with worker(bundle.base_id) as stub, pool_of(f"http://127.0.0.1:{free_port()}", stub.url) as pool:
        await make_ready(pool, bundle)
        assert set(await kinds(pool, bundle, ADAPTERS)) == {"ok"}
        assert sorted(bool(status.reason) for status in pool.status()) == [False, True]


async def test_bundle_that_was_never_prepared_is_not_asked_for(bundle: Bundle):
    async with worker(bundle.base_id) as stub, pool_of(stub.url) as pool:
        await make_ready(pool, bundle)
        deadline = asyncio.get_running_loop().time() + 1
        [outcome] = await pool.fan_out("other", ["c00"], ASKED, deadline)
        assert outcome.kind is OutcomeKind.UNREACHABLE


async def test_deadline_in_the_past_is_a_timeout_at_once(bundle: Bundle):
    async with worker(bundle.base_id) as stub, pool_of(stub.url, failures_to_open=1) as pool:
        await make_ready(pool, bundle)
        assert await kind(pool, bundle, seconds=-1) == "timeout"
        assert await kind(pool, bundle) == "ok"


async def test_breaker_opens_and_lets_one_try_after_the_cooldown(bundle: Bundle):
    options = {"failures_to_open": 2, "cooldown_seconds": 60, "probe_interval_seconds": 60}
    async with AsyncExitStack() as parts:
        async with worker(bundle.base_id) as stub:
            pool = await parts.enter_async_context(pool_of(stub.url, **options))
            await make_ready(pool, bundle)
        outcomes = [(await ask(pool, bundle, "c00"))[0] for _ in range(3)]  # it has just died, and no probe has noticed
        assert outcomes[2].detail == "breaker is open"
        assert "breaker is open" not in [outcome.detail for outcome in outcomes[:2]]


async def test_slow_replica_keeps_no_one_waiting(bundle: Bundle):
    async with (
        worker(bundle.base_id, load_seconds=1.5) as slow,
        worker(bundle.base_id) as quick,
        pool_of(slow.url, quick.url) as pool,
    ):
        await make_ready(pool, bundle)
        assert await kind(pool, bundle) == "ok"
        assert {status.url: status.bundles for status in pool.status()} == {slow.url: (), quick.url: (bundle.id,)}


async def test_one_look_that_fails_is_no_outage_two_in_a_row_are(bundle: Bundle):
    telemetry = Telemetry()
    async with worker(bundle.base_id) as stub, pool_of(stub.url, telemetry=telemetry) as pool:
        await make_ready(pool, bundle)
        for unwell in (1, 2):
            was_ready, looks = set(), (await stub.counts())["looks"]
            await stub.order(unwell=unwell)
            while (await stub.counts())["looks"] < looks + 5:
                was_ready.add(pool.is_ready(bundle.id))
            assert was_ready == ({True} if unwell == 1 else {True, False})
            await until(lambda: pool.is_ready(bundle.id))
        assert (await stub.counts())["loads"] == 5  # the process was never gone, nor what it had


async def test_bundle_in_service_stays_while_another_is_prepared_and_goes_when_no_longer_expected(
    bundle: Bundle, tmp_path: Path
):
    other = make_bundle(tmp_path, n_items=150)
    async with (
        worker(bundle.base_id) as first,
        worker(other.base_id, 150) as second,
        pool_of(first.url, second.url) as pool,
    ):
        await make_ready(pool, bundle)
        pool.expect([bundle, other])
        await until(lambda: pool.is_ready(other.id))
        await asyncio.sleep(0.1)  # some probes
        assert pool.is_ready(bundle.id)
        assert await kind(pool, bundle) == "ok"
        pool.expect([other])
        await until(lambda: not pool.is_ready(bundle.id))
        mismatch = f"serves {bundle.base_id}, expected {other.base_id} (of {other.id})"
        assert mismatch in [status.reason for status in pool.status()]


async def test_new_expectation_is_probed_at_once(bundle: Bundle, tmp_path: Path):
    other = make_bundle(tmp_path, n_items=150)
    async with worker(bundle.base_id) as stub, pool_of(stub.url, probe_interval_seconds=60) as pool:
        pool.expect([other])
        await until(lambda: "expected" in pool.status()[0].reason)
        await make_ready(pool, bundle)


@pytest.mark.parametrize("worker_kind", ["vllm", "engine"])
async def test_503_is_taken_at_its_word_and_the_replica_left_alone_as_long_as_it_asks(bundle: Bundle, worker_kind: str):
    async with (
        worker(bundle.base_id) as one,
        worker(bundle.base_id) as two,
        pool_of(one.url, two.url, kind=worker_kind) as pool,
    ):
        await make_all_ready(pool, bundle)
        first = preference(bundle.adapter_name("c00"), [one.url, two.url])[0]
        busy = one if first == one.url else two  # which has something to refuse, whatever the ports
        probed = await _asked(busy)
        await busy.order(mode="busy", retry_after=3)
        for item in range(20):  # of many users, who would be spread over both
            await ask(pool, bundle, *ADAPTERS, inquiry=replace(ASKED, prompt=[200, item]))
        refused = await _asked(busy) - probed
        assert 1 <= refused <= len(ADAPTERS)  # one request's calls, and none again
        assert set(await kinds(pool, bundle, ADAPTERS)) == {"ok"}


@pytest.mark.parametrize("worker_kind", ["vllm", "engine"])
async def test_replica_that_says_it_would_be_late_is_no_replica_that_fails(bundle: Bundle, worker_kind: str):
    async with worker(bundle.base_id) as stub, pool_of(stub.url, kind=worker_kind, failures_to_open=2) as pool:
        await make_ready(pool, bundle)
        await stub.order(mode="too_late")
        for _ in range(5):
            assert await kind(pool, bundle) == "timeout"
        await stub.order()
        assert await kind(pool, bundle) == "ok"


async def test_replica_that_rests_is_asked_where_nobody_else_can_be(bundle: Bundle):
    async with worker(bundle.base_id) as stub, pool_of(stub.url) as pool:
        await make_ready(pool, bundle)
        await stub.order(mode="busy", retry_after=60)
        assert await kind(pool, bundle) == "refused"
        await stub.order()
        assert await kind(pool, bundle) == "ok"


async def test_second_replica_takes_what_exceeds_the_limit_of_the_first(bundle: Bundle):
    async with (
        worker(bundle.base_id) as one,
        worker(bundle.base_id) as two,
        pool_of(one.url, two.url, in_flight_limit=1) as pool,
    ):
        await make_all_ready(pool, bundle)
        for stub in (one, two):
            await stub.order(delay_seconds=0.2)
        outcomes = await asyncio.gather(*(kind(pool, bundle) for _ in range(3)))
    assert sorted(outcomes) == ["ok", "ok", "refused"]


@pytest.mark.parametrize("worker_kind", ["vllm", "engine"])
async def test_worker_stops_when_the_deadline_comes_or_the_caller_leaves(bundle: Bundle, worker_kind: str):
    async with worker(bundle.base_id) as stub, pool_of(stub.url, kind=worker_kind) as pool:
        await make_ready(pool, bundle)
        finished = (await stub.counts())["finished"]
        await stub.order(delay_seconds=30)
        assert await kind(pool, bundle, seconds=0.1) == "timeout"
        caller = asyncio.create_task(ask(pool, bundle, "c01"))
        await asyncio.sleep(0.1)
        caller.cancel()
        async with asyncio.timeout(2):
            while (await stub.counts())["cancelled"] < 2:
                pass
        assert (await stub.counts())["finished"] == finished


async def test_late_call_is_made_again_elsewhere_and_the_loser_is_cancelled(bundle: Bundle):
    telemetry = Telemetry()
    async with (
        worker(bundle.base_id) as one,
        worker(bundle.base_id) as two,
        pool_of(one.url, two.url, hedge=True, telemetry=telemetry) as pool,
    ):
        await make_all_ready(pool, bundle)
        for _ in range(40):
            await kinds(pool, bundle, ADAPTERS)  # of which a share may be made again
        slow = one if preference(bundle.adapter_name("c00"), [one.url, two.url])[0] == one.url else two
        await slow.order(delay_seconds=30)
        assert set(await kinds(pool, bundle, ADAPTERS)) == {"ok"}
        won = metric(telemetry, 'localrec_hedges_total{outcome="won"')
        assert won >= 1
        async with asyncio.timeout(2):
            while (await slow.counts())["cancelled"] < won:
                pass
    assert metric(telemetry, 'localrec_hedges_total{outcome="sent"') >= won


async def test_nothing_is_hedged_by_default(bundle: Bundle):
    async with worker(bundle.base_id) as one, worker(bundle.base_id) as two, pool_of(one.url, two.url) as pool:
        await make_all_ready(pool, bundle)
        await one.order(delay_seconds=30)
        await two.order(delay_seconds=30)
        probes = (await one.counts())["completions"] + (await two.counts())["completions"]
        assert set(await kinds(pool, bundle, ADAPTERS, seconds=0.5)) == {"timeout"}
        assert (await one.counts())["completions"] + (await two.counts())["completions"] == probes + len(ADAPTERS)


async def _asked(stub: Stub) -> int:
    counts = await stub.counts()
    return int(counts["completions"] + counts["fanouts"])
