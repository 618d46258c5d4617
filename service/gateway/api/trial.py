"""``POST /admin/try``: what a pipeline would answer, and the list of each of its voters."""

import time
from collections.abc import Iterable
from typing import Any

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import Request
from starlette.responses import Response

from models.contract.selection import Ballot
from models.contract.types import Ints
from service.gateway.api.body import read_body
from service.gateway.api.disconnect import ClientWatch
from service.gateway.api.recommend import timings_ms
from service.gateway.api.render import complete, render_shared
from service.gateway.api.reply import JsonReply
from service.gateway.api.route import CLIENT_GONE_STATUS
from service.gateway.api.schemas import RecommendRequest
from service.gateway.api.scope import gateway_of
from service.gateway.api.service_facts import fusion_of
from service.gateway.bundles.snapshot import Snapshot
from service.gateway.errors import ClientGoneError, invalid_request, request_id_of
from service.gateway.experiments.settings import Parameters
from service.gateway.ranking.settings import FusionOverrides
from service.gateway.respond import Served
from service.gateway.tables import BundleId, Name
from service.gateway.trial import Trial, Tried
from service.gateway.types import Trace

TRY_PATH = "/admin/try"
SHOWN_OF_A_LIST = 50
SHOWN_OF_SEEN = 1_000  # the newest


class Overrides(BaseModel):
    """What the pipeline should do otherwise than it is configured."""

    model_config = ConfigDict(extra="forbid")

    max_communities: int | None = Field(default=None, ge=1, le=100, description="communities asked at most")
    fusion: FusionOverrides | None = Field(default=None, description="how the lists are fused, key by key")


class TryRequest(BaseModel):
    """Body of ``POST /admin/try``."""

    model_config = ConfigDict(extra="forbid")

    request: RecommendRequest
    pipeline: Name | None = Field(default=None, description="default: the service's")
    bundle: BundleId | None = Field(default=None, description="one that is loaded; default: the one in service")
    overrides: Overrides = Field(default_factory=Overrides)

    def trial(self) -> Trial:
        """The same without its transport."""
        changes = {key: getattr(self.overrides, key) for key in self.overrides.model_fields_set}
        return Trial(self.request.query(), self.pipeline, self.bundle, Parameters(**changes))


async def attempt(request: Request) -> Response:
    """``POST /admin/try``: a request's answer, explained, with the lists that it is made of."""
    gateway, trace, request_id, started = gateway_of(request), Trace(), request_id_of(request), time.perf_counter()
    try:
        trial = _parse(await read_body(request.receive))
        with ClientWatch(request.receive):
            tried = await gateway.trials.run(trial, trace)
    except ClientGoneError:
        return Response(status_code=CLIENT_GONE_STATUS)
    answer = complete(render_shared(tried.served), request_id, timings_ms(trace, started))
    return JsonReply(orjson.dumps({"answer": orjson.Fragment(answer)} | _described(tried)))


def _parse(body: bytes) -> Trial:
    try:
        return TryRequest.model_validate_json(body).trial()
    except ValidationError as exc:
        raise invalid_request(exc) from exc


def _described(tried: Tried) -> dict[str, Any]:
    """All but the answer."""
    served, state = tried.served, tried.state
    query, snapshot = served.query, served.snapshot
    history = state.history if query.history is None else query.history
    seen = snapshot.items_of(state.seen[-SHOWN_OF_SEEN:])
    return {
        "lists": _lists(served),
        "history": [_named(item_id, snapshot) for item_id in history],
        "seen": [_item(number, snapshot) for number in seen.tolist()],
        "settings": _settings(served),
    }


def _settings(served: Served) -> dict[str, Any]:
    pipeline = served.assignment.settings
    return {
        "pipeline": served.assignment.pipeline,
        "kind": pipeline.kind,
        "max_communities": getattr(pipeline, "max_communities", None),
        "fusion": fusion_of(pipeline, served.snapshot),
    }


def _lists(served: Served) -> list[dict[str, Any]]:
    """What was counted of each voter; where nobody voted, what each source of the list brought."""
    if served.answer.ballots:
        return [_ballot(ballot, served.snapshot) for ballot in served.answer.ballots]
    return [_brought(source, served) for source in dict.fromkeys(served.answer.selection.sources)]


def _ballot(ballot: Ballot, snapshot: Snapshot) -> dict[str, Any]:
    voter, member = ballot.voter, ballot.voter.membership
    return {
        "voter": voter.name,
        "name": snapshot.bundle.manifest.communities[member.community].name if member else voter.name,
        "community": member.community if member else None,
        "affinity": round(member.cf_weight, 4) if member else None,
        "weight": ballot.weight,
        "items": _ranked(ballot.ranking.items, range(1, SHOWN_OF_A_LIST + 1), snapshot),
    }


def _brought(source: str, served: Served) -> dict[str, Any]:
    """A list that is no voter's, in the order in which its source ranked what is served of it."""
    selection = served.answer.selection
    at = [place for place, name in enumerate(selection.sources) if name == source]
    at.sort(key=lambda place: served.answer.placements[place].source_rank)
    at = at[:SHOWN_OF_A_LIST]
    ranks = [served.answer.placements[place].source_rank for place in at]
    items = _ranked(selection.items[at], ranks, served.snapshot)
    return {"voter": source, "name": source, "community": None, "affinity": None, "weight": 1.0, "items": items}


def _ranked(numbers: Ints, ranks: Iterable[int], snapshot: Snapshot) -> list[dict[str, Any]]:
    pairs = zip(numbers.tolist(), ranks, strict=False)  # of a long list, the first
    return [_item(number, snapshot) | {"rank": rank} for number, rank in pairs]


def _item(number: int, snapshot: Snapshot) -> dict[str, Any]:
    item = snapshot.catalogue.items[number]
    return {"item_id": item.item_id, "title": item.title}


def _named(item_id: str, snapshot: Snapshot) -> dict[str, Any]:
    number = snapshot.catalogue.number(item_id)
    return {"item_id": item_id, "title": None} if number is None else _item(number, snapshot)
