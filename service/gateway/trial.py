"""A query that somebody tries, to see what would come of it: on any pipeline, from any loaded bundle, tuned otherwise.

It takes the course of a request, and leaves no trace of one: no experiment, no cache, no exposure, no request metrics.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from service.gateway.bundles.snapshot import Snapshot
from service.gateway.errors import ApiError, no_bundle
from service.gateway.experiments.assignment import tune
from service.gateway.experiments.settings import Parameters
from service.gateway.ranking.recommend import Recommender
from service.gateway.ranking.settings import Pipeline
from service.gateway.respond import Served, read_known
from service.gateway.settings import Settings
from service.gateway.store.decoding import decode_user
from service.gateway.types import Assignment, Query, StateStore, Trace, UserState


@dataclass(frozen=True, slots=True)
class Trial:
    """What is tried.

    Args:
        query: what is asked.
        pipeline: name of the one that answers; None: the default.
        bundle: id of the one that the answer comes from; None: the one in service.
        parameters: what the pipeline should do otherwise.
    """

    query: Query
    pipeline: str | None = None
    bundle: str | None = None
    parameters: Parameters = field(default_factory=Parameters)


@dataclass(frozen=True, slots=True)
class Tried:
    """What came of it: the answer, explained, and what is stored of the user."""

    served: Served
    state: UserState


class Trials:
    """Tries queries.

    Args:
        settings: pipelines, and the default deadline.
        loaded: gives a bundle by its id where it is loaded, without an id the one in service; None where there is none.
        hidden: gives the ids of items that must not be shown to anybody.
        store: users' state.
        recommender: answers.
    """

    def __init__(
        self,
        settings: Settings,
        loaded: Callable[[str | None], Snapshot | None],
        hidden: Callable[[], frozenset[str]],
        store: StateStore,
        recommender: Recommender,
    ) -> None:
        self._settings = settings
        self._loaded = loaded
        self._hidden = hidden
        self._store = store
        self._recommender = recommender

    async def run(self, trial: Trial, trace: Trace) -> Tried:
        """Answer a query by its deadline, or the service's default; ``trace`` notes what each stage took.

        Raises:
            ApiError: no such pipeline, no such bundle here, a parameter that the pipeline does not have, no bundle at
                all, or something in the query that the bundle does not have.
        """
        query = replace(trial.query, explain=True)
        name = trial.pipeline or self._settings.default_pipeline
        assignment = Assignment(pipeline=name, settings=self._pipeline(name, trial.parameters), experiments={})
        snapshot = self._snapshot(trial.bundle)
        seconds = (query.deadline_ms or self._settings.default_deadline_ms) / 1e3
        deadline = asyncio.get_running_loop().time() + seconds
        with trace.stage("state"):
            known = await read_known(self._store, query.user_id, snapshot.id, deadline, assignment, self._hidden())
        answer = await self._recommender.recommend(query, known, assignment.settings, snapshot, deadline, trace)
        return Tried(Served(query, answer, assignment, snapshot), decode_user(known.stored))

    def _pipeline(self, name: str, parameters: Parameters) -> Pipeline:
        pipelines = self._settings.pipelines
        if name not in pipelines:
            raise ApiError(404, "not_found", f"No such pipeline; expected one of {', '.join(pipelines)}", "pipeline")
        pipeline = pipelines[name]
        for key in sorted(parameters.named() - type(pipeline).model_fields.keys()):
            message = f"Pipelines of kind {pipeline.kind}, such as {name}, have no such setting"
            raise ApiError(422, "invalid_request", message, f"overrides.{key}")
        return tune(pipeline, parameters)

    def _snapshot(self, bundle_id: str | None) -> Snapshot:
        snapshot = self._loaded(bundle_id)
        if snapshot is not None:
            return snapshot
        if bundle_id is None:
            raise no_bundle()
        raise ApiError(404, "not_found", "This bundle is not loaded here", "bundle")
