"""What a user's variants change of a request, and what they do not."""

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from support.experiment_files import PIPELINES, experiment, experiments_of, layer, variant

from models.contract.records import Exposure
from models.contract.selection import Selection
from models.contract.types import item_numbers
from service.gateway.errors import ApiError
from service.gateway.respond import Ready, Responder, keeps
from service.gateway.settings import Settings
from service.gateway.telemetry import Telemetry
from service.gateway.traffic.control import control_traffic
from service.gateway.traffic.settings import CacheSettings, LimitSettings, QualitySettings
from service.gateway.types import Answer, Caller, Query, StoredUser, Trace

SNAPSHOT = SimpleNamespace(id="bundle", catalogue=SimpleNamespace(ids=[]))
NOTHING = Selection(item_numbers([]), np.empty(0, np.float32), ())
QUERY, ANYBODY = Query("u"), Caller()
SETTINGS = Settings(default_deadline_ms=1_000)


class Asked:
    """All that a responder speaks with; keeps what it was told."""

    def __init__(self, **parameters: Any) -> None:
        split = layer("l", experiment("e", variant("only", pipeline="local", **parameters)))
        self.experiments = experiments_of(split, header_override=True)
        self.records: list[Callable[[], Exposure]] = []
        self.shadowed: list[str] = []
        self.seconds = 0.0
        self.pipeline: Any = None
        telemetry = Telemetry()
        unlimited = control_traffic(LimitSettings(), QualitySettings(), CacheSettings(ttl_ms=0), 1.0, keeps, telemetry)
        others: list[Any] = [self, self, self, self, telemetry, unlimited, lambda _: b""]
        self.responder = Responder(SETTINGS, lambda _: SNAPSHOT, lambda: self.experiments, frozenset, *others)  # type: ignore[arg-type]

    async def read(self, user_id: str, bundle_id: str, deadline: float, with_shown: bool) -> StoredUser:
        """As the store does."""
        return StoredUser()

    async def recommend(self, query, known, pipeline, snapshot, deadline, trace, effort) -> Answer:
        """As the recommender does."""
        self.seconds = deadline - asyncio.get_running_loop().time()
        self.pipeline = pipeline
        return Answer(NOTHING, {}, known.reasons, 0, 0)

    def put(self, record: Callable[[], Exposure]) -> None:
        """As the exposure log does."""
        self.records.append(record)

    def offer(self, shadows, query, known, snapshot, request_id: str) -> None:
        """As the shadows do."""
        self.shadowed.append(request_id)

    async def respond(self, query: Query = QUERY, caller: Caller = ANYBODY) -> Ready:
        """As the endpoint asks."""
        return await self.responder.respond(query, caller, "r1", Trace())


@pytest.mark.parametrize(
    ("request_ms", "variant_ms", "key_ms", "expected"),
    [(100, 300, 500, 0.1), (None, 300, 500, 0.3), (None, None, 500, 0.5), (None, None, None, 1.0)],
)
async def test_deadline_is_the_requests_the_variants_the_keys_or_the_default(
    request_ms: int | None, variant_ms: int | None, key_ms: int | None, expected: float
):
    asked = Asked(deadline_ms=variant_ms)
    await asked.respond(Query("u", deadline_ms=request_ms), Caller(deadline_ms=key_ms))
    assert asked.seconds == pytest.approx(expected, abs=0.05)


async def test_the_pipeline_is_the_variants_with_its_parameters():
    asked = Asked(max_communities=2)
    ready = await asked.respond()
    assert asked.pipeline.max_communities == 2 != PIPELINES["local"].max_communities
    assert ready.served.assignment.experiments == {"e": "only"}


async def test_the_record_says_the_variants():
    asked = Asked()
    await asked.respond(Query("u", context={"page": "home"}), Caller(variants="e=only"))
    (record,) = asked.records
    exposure = record()
    assert (exposure.request_id, exposure.user_id, exposure.experiments) == ("r1", "u", {"e": "only"})
    assert (exposure.forced, exposure.context, exposure.bundle_id) == (True, {"page": "home"}, "bundle")
    assert exposure.latency_ms > 0


async def test_batches_are_recorded_and_have_no_shadows():
    asked = Asked()
    await asked.respond(caller=Caller(batch=True))
    assert (len(asked.records), asked.shadowed) == (1, [])
    await asked.respond()
    assert (len(asked.records), asked.shadowed) == (2, ["r1"])


async def test_a_wrong_header_is_the_callers_error():
    asked = Asked()
    with pytest.raises(ApiError) as caught:
        await asked.respond(caller=Caller(variants="e=gone"))
    assert (caught.value.status, caught.value.field) == (422, "X-LocalRec-Variants")
    assert asked.records == []


async def test_an_ignored_header_is_said():
    asked = Asked()
    asked.experiments = experiments_of()
    served = (await asked.respond(caller=Caller(variants="e=only"))).served
    assert [str(reason) for reason in served.answer.reasons] == ["override_ignored"]
    assert not served.answer.degraded
