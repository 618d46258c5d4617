"""Which variants a user gets, and what follows from them: a pure function of file, user id, time, and what is asked."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

from service.gateway.experiments.arms import Arm, Layer
from service.gateway.experiments.hashing import Buckets
from service.gateway.experiments.override import asked_arms
from service.gateway.experiments.settings import (
    ExperimentFile,
    Parameters,
    ShadowSettings,
    buckets_of,
)
from service.gateway.ranking.settings import LocalPipeline, Pipeline
from service.gateway.types import Assignment, Reason

ASSIGNMENTS_KEPT = 4_096  # combinations of variants; more are made anew
HELD_OUT = "holdout"
_NOTHING = ExperimentFile()
_IGNORED = Reason("override_ignored")


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """A share of users or requests."""

    buckets: Buckets
    size: int

    def holds(self, key: bytes) -> bool:
        """Whether a user id or request id is in it."""
        return self.buckets.of(key) < self.size


@dataclass(frozen=True, slots=True, eq=False)
class Shadow:
    """A pipeline that is tried on a sample of requests."""

    name: str
    sample: Sample
    assignment: Assignment


class Experiments:
    """One valid file of experiments, ready to assign users.

    Args:
        file: checked against ``pipelines``.
        pipelines: the gateway's, by name.
        default_pipeline: of users whose variants name none.
        version: digest of the file; empty where there is none.

    ``bundles`` are the ids of those that its variants name.
    """

    def __init__(
        self, file: ExperimentFile, pipelines: Mapping[str, Pipeline], default_pipeline: str, version: str = ""
    ) -> None:
        self.file = file
        self.version = version
        self._pipelines = pipelines
        self._default_pipeline = default_pipeline
        acting = _NOTHING if file.kill_switch else file
        self._honours_override = acting.header_override
        self._layers = [Layer(layer) for layer in acting.layers]
        self._holdout = acting.holdout
        self._held_out = None if acting.holdout is None else _sample(acting.holdout.salt, acting.holdout.share)
        self.shadows = tuple(map(self._shadow, acting.shadows))
        enabled = [experiment for experiment in acting.experiments() if experiment.enabled]
        self.bundles = frozenset(v.bundle for experiment in enabled for v in experiment.variants if v.bundle)
        self._resolve = lru_cache(ASSIGNMENTS_KEPT)(self._combine)

    def assign(self, user_id: str, now: float, asked: str = "") -> Assignment:
        """A user's variants.

        Args:
            user_id: the same one gets the same variants for as long as the file gives them.
            now: seconds since 1970.
            asked: the override of :mod:`service.gateway.experiments.override`; empty: none.

        Raises:
            OverrideError: ``asked`` counts, and is malformed or names what is not there.
        """
        user = user_id.encode()
        wanted = asked_arms(asked, self._layers) if asked and self._honours_override else {}
        held_out = self._held_out is not None and self._held_out.holds(user)
        arms = []
        for layer in self._layers:
            arm = wanted.get(layer.name) or layer.allowed(user_id, now)
            if arm is None and not held_out:
                arm = layer.draw(user, now)
            if arm is not None:
                arms.append(arm)
        return self._resolve(tuple(arms), held_out, bool(asked) and not self._honours_override)

    def _combine(self, arms: tuple[Arm, ...], held_out: bool, ignored: bool) -> Assignment:
        """What variants come to. Where two decide the same, which only forced ones can, the first one counts."""
        changes: dict[str, object] = {}
        for arm in arms:
            named = arm.parameters.named() - changes.keys()
            changes |= {key: getattr(arm.parameters, key) for key in named}
        outside = self._holdout.pipeline if held_out and self._holdout else None
        pipeline = next((arm.pipeline for arm in arms if arm.pipeline), outside or self._default_pipeline)
        return replace(
            self._tuned(pipeline, Parameters().model_copy(update=changes)),
            experiments={arm.experiment: arm.variant for arm in arms},
            bundle=next((arm.bundle for arm in arms if arm.bundle), None),
            variant=_label(arms, held_out),
            forced=any(arm.forced for arm in arms),
            reasons=(_IGNORED,) if ignored else (),
        )

    def _shadow(self, shadow: ShadowSettings) -> Shadow:
        return Shadow(
            shadow.name, _sample(shadow.salted, shadow.share), self._tuned(shadow.pipeline, shadow.parameters)
        )

    def _tuned(self, pipeline: str, parameters: Parameters) -> Assignment:
        return Assignment(
            pipeline=pipeline,
            settings=tune(self._pipelines[pipeline], parameters),
            experiments={},
            deadline_ms=parameters.deadline_ms,
        )


def tune(pipeline: Pipeline, parameters: Parameters) -> Pipeline:
    """The pipeline with those parameters that it has; fusion key by key."""
    wanted = {key: getattr(parameters, key) for key in parameters.named() & type(pipeline).model_fields.keys()}
    if isinstance(pipeline, LocalPipeline) and parameters.fusion is not None:
        overrides = {key: getattr(parameters.fusion, key) for key in parameters.fusion.model_fields_set}
        wanted["fusion"] = pipeline.fusion.model_copy(update=overrides)
    return pipeline.model_copy(update=wanted) if wanted else pipeline


def _label(arms: tuple[Arm, ...], held_out: bool) -> str:
    """Of the variant that names the pipeline, else of the first that changes anything: bounded by the file."""
    changing = [arm for arm in arms if arm.bundle or arm.parameters.named()]
    deciding = [arm for arm in arms if arm.pipeline] or changing
    if deciding:
        return f"{deciding[0].experiment}:{deciding[0].variant}"
    return HELD_OUT if held_out else ""


def _sample(salt: str, share: float) -> Sample:
    return Sample(Buckets(salt), buckets_of(share))
