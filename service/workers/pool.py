"""A pool: interchangeable replicas, the bundles' adapters placed on them, and calls sent where the adapters are."""

import asyncio
from collections.abc import Sequence
from functools import partial

import aiohttp

from models.contract.bundle import Bundle, ServedModel
from service.periodic import cancel_all, every
from service.tracing import Tracing
from service.workers.calls import UNREACHABLE, Calls
from service.workers.client import WorkerClient
from service.workers.completion import Completion
from service.workers.demand import Demand
from service.workers.loader import Shared
from service.workers.placement import place, preference
from service.workers.replica import Replica
from service.workers.roster import Roster, names_of
from service.workers.routing import Errand, one_each, together
from service.workers.trust import Examiner
from service.workers.types import (
    Inquiry,
    Outcome,
    OutcomeKind,
    PoolObserver,
    PoolOptions,
    Question,
    ReplicaStatus,
)


class WorkerPool:
    """The replicas of one pool. Create and use it inside a running event loop."""

    def __init__(self, options: PoolOptions, observer: PoolObserver, tracing: Tracing | None = None) -> None:
        self._options = options
        self._observer = observer
        # aiohttp's own default of 100 connections would queue calls out of sight. Servers close what is idle for 5
        # seconds (uvicorn, so vLLM, too): a call must not meet that.
        connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=4)
        timeout = aiohttp.ClientTimeout(total=None)  # every call stands under a deadline of its own
        jar = aiohttp.DummyCookieJar()
        self._session = aiohttp.ClientSession(connector=connector, timeout=timeout, cookie_jar=jar)
        self._clock = asyncio.get_running_loop().time
        self._demand = Demand(self._clock)
        self._roster = Roster(options.drain_seconds, self._clock)
        self._examiner = Examiner()
        shared = Shared(options.name, options.bundle_root, self._roster, self._examiner, observer, self._clock)
        clients = [WorkerClient(self._session, url, tracing) for url in options.urls]
        self._replicas = {client.url: Replica(client, options, self._demand, shared) for client in clients}
        self._orders: dict[str, list[Replica]] = {}
        self._placed_for: list[frozenset[str]] = []  # the base models by replica when adapters were placed
        self._calls = Calls(options, shared, self._order)
        self._tasks: set[asyncio.Task[None]] = set()
        self._lacking: list[str] = []  # ids of expected bundles without the model that the pool serves

    @property
    def name(self) -> str:
        return self._options.name

    def expect(self, bundles: Sequence[Bundle]) -> None:
        """From now on keep the replicas ready for these bundles, the one in service first, and for no other.

        Returns at once: the replicas are looked at in the background, each by itself, first of all now. A bundle that
        is no longer expected is served until it is drained, then its adapters are unloaded. One that lacks the model
        which the pool serves is nothing to it.
        """
        part = self._options.part
        self._lacking = [bundle.id for bundle in bundles if part not in bundle.manifest.parts]
        if not self._roster.expect([bundle.served(part) for bundle in bundles if bundle.id not in self._lacking]):
            return
        self._observer.adapters_known(self.name, self._roster.adapters)
        self._place()
        for task in self._tasks:
            task.cancel()
        for replica in self._replicas.values():
            task = asyncio.create_task(every(self._options.probe_interval_seconds, partial(self._tend, replica)))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def is_ready(self, bundle_id: str) -> bool:
        """Whether an expected bundle can be served whole: a replica that is well holds each of its adapters.

        One that no replica may use counts as being there, unless all do: what failed its probe will do so again. One
        that could not be loaded, or has no place, may come yet: how long to wait for it is the caller's to say.
        For one that lacks the model which the pool serves nobody has to wait.
        """
        if bundle_id in self._lacking:
            return True
        model = self._roster.get(bundle_id)
        if model is None or not self._roster.is_expected(bundle_id):
            return False
        serving = self._serving(model)
        held = {name for name in names_of(model) if any(replica.holds(name) for replica in serving)}
        return bool(held) and all(name in held or _is_untrusted(name, serving) for name in names_of(model))

    async def close(self) -> None:
        """End what runs in the background and close the connections."""
        await cancel_all(list(self._tasks))
        for replica in self._replicas.values():
            await replica.loader.close()
        await self._session.close()

    async def fan_out(
        self, bundle_id: str, adapters: Sequence[str], inquiry: Inquiry, deadline: float
    ) -> list[Outcome]:
        """Ask adapters of a bundle, all at once. Never raises.

        Args:
            bundle_id: the bundle that the request is served from.
            adapters: names inside the bundle.
            inquiry: what is asked.
            deadline: instant on the loop's clock; what has not ended then is ``timeout``.

        Returns:
            An outcome for each adapter, in their order.
        """
        model = self._roster.get(bundle_id)
        if model is None:
            return [self._ended(adapter, UNREACHABLE) for adapter in adapters]
        names = {model.adapter_name(adapter): adapter for adapter in adapters}
        self._demand.note(names)
        question = Question(inquiry, deadline)
        with self._roster.request(bundle_id):
            async with asyncio.TaskGroup() as group:
                errands = self._errands(list(names), inquiry)
                tasks = [group.create_task(self._calls.run(errand, question, model)) for errand in errands]
        outcomes = {name: outcome for task in tasks for name, outcome in task.result().items()}
        return [self._ended(adapter, outcomes[model.adapter_name(adapter)]) for adapter in adapters]

    def status(self) -> list[ReplicaStatus]:
        """The replicas as they stand."""
        return [replica.status() for replica in self._replicas.values()]

    def in_flight(self) -> dict[str, int]:
        """Calls that each replica is answering now, by its URL."""
        return {url: replica.in_flight for url, replica in self._replicas.items()}

    def warnings(self) -> list[str]:
        """What the pool as a whole is short of."""
        found = [f"{bundle_id} has no {self._options.part} model" for bundle_id in self._lacking]
        for model in self._roster.expected:
            serving, names = self._serving(model), names_of(model)
            missing = sum(not any(replica.residency.has_place(name) for replica in serving) for name in names)
            if serving and missing:
                found.append(f"no slot for {missing} of {len(names)} adapters of {model.id}: raise slots")
        return found

    def _errands(self, names: Sequence[str], inquiry: Inquiry) -> list[Errand[Replica]]:
        completes = isinstance(inquiry, Completion)
        if completes and self._options.kind == "vllm":
            return one_each(names, self._order)
        # The same history goes to the same replica, as long as that is as idle as the others.
        replicas = [self._replicas[url] for url in preference(inquiry.affinity, self._replicas)]
        if completes:
            return together(names, replicas)
        return [errand for name in names for errand in together([name], replicas)]

    def _ended(self, adapter: str, outcome: Outcome) -> Outcome:
        self._observer.call_ended(self._options.name, adapter, outcome.kind, outcome.seconds)
        return outcome

    def _serving(self, model: ServedModel) -> list[Replica]:
        return [replica for replica in self._replicas.values() if replica.serves(model)]

    def _order(self, name: str) -> list[Replica]:
        """Replicas in the adapter's own order of preference, so that each keeps few adapters and histories warm."""
        order = self._orders.get(name)
        if order is None:
            order = self._orders[name] = [self._replicas[url] for url in preference(name, self._replicas)]
        return order

    async def _tend(self, replica: Replica) -> None:
        """Look at a replica, and load and unload as long as there is something to do."""
        busy = True
        while busy:
            await replica.look()
            self._end_drained()
            if self._placed_for != self._bases():
                self._place()
            self._report(replica)
            busy = await replica.tidy()

    def _end_drained(self) -> None:
        names = self._roster.end_drained()
        if names:
            self._observer.adapters_known(self.name, self._roster.adapters)
        self._demand.forget(names)
        for name in names:
            self._orders.pop(name, None)

    def _bases(self) -> list[frozenset[str]]:
        return [replica.bases for replica in self._replicas.values()]

    def _place(self) -> None:
        """Tell the replicas which adapters are theirs: those that are well share them out among themselves."""
        expected = self._roster.expected
        self._placed_for = self._bases()
        self._examiner.keep({model.id for model in expected})
        ranks = {name: rank for rank, model in enumerate(expected) for name in names_of(model)}
        targets: dict[str, list[str]] = {url: [] for url in self._replicas}
        for base in dict.fromkeys(model.base_id for model in expected):
            groups = [names_of(model) for model in expected if model.base_id == base]
            serving = [url for url, replica in self._replicas.items() if base in replica.bases]
            for url, names in place(groups, serving, self._options.slots).items():
                targets[url] += names
        for url, replica in self._replicas.items():
            replica.residency.expect(ranks, targets[url])

    def _report(self, replica: Replica) -> None:
        status, breaker = replica.status(), replica.breaker.state
        resident, strangers = len(replica.residency), len(replica.residency.strangers)
        ready = bool(status.bundles)
        self._observer.replica_changed(self._options.name, replica.url, ready, breaker, resident, strangers)


def _is_untrusted(name: str, replicas: Sequence[Replica]) -> bool:
    """Whether an adapter failed its probe on each of the replicas where it should be."""
    homes = [replica for replica in replicas if name in replica.residency.targets]
    refusals = [replica.residency.refusals.get(name) for replica in homes]
    return bool(homes) and all(each is not None and each.kind is OutcomeKind.UNTRUSTED for each in refusals)
