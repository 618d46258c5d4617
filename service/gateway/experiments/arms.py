"""Layers and experiments as the settings describe them, made ready to draw from."""

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, replace

from service.gateway.experiments.hashing import Buckets
from service.gateway.experiments.settings import ExperimentSettings, LayerSettings, Parameters


@dataclass(frozen=True, slots=True, eq=False)
class Arm:
    """One variant of one experiment. ``forced``: handed out because it was asked for, or by an allowlist."""

    experiment: str
    variant: str
    pipeline: str | None
    bundle: str | None
    parameters: Parameters
    forced: bool = False


class Experiment:
    """One experiment of a layer. Instants are seconds since 1970.

    ``users`` are the buckets of the layer that take part; ``allowed`` the users who are in it by name.
    """

    __slots__ = ("_arms", "_bounds", "_buckets", "_ends", "_starts", "allowed", "forced", "name", "users")

    def __init__(self, settings: ExperimentSettings) -> None:
        never = float("inf")
        self.name = settings.name
        self.users = settings.buckets
        self._buckets = Buckets(settings.salted)
        self._bounds = [span.stop for span in settings.spans]
        self._starts = settings.starts.timestamp() if settings.starts else -never
        self._ends = settings.ends.timestamp() if settings.ends else never
        if not settings.enabled:
            self._starts = never
        self._arms = [Arm(settings.name, v.name, v.pipeline, v.bundle, v.parameters) for v in settings.variants]
        self.forced: Mapping[str, Arm] = {arm.variant: replace(arm, forced=True) for arm in self._arms}
        self.allowed = {user_id: self.forced[variant] for user_id, variant in settings.allowlist.items()}

    def runs(self, now: float) -> bool:
        """Whether it is enabled, has begun, and has not ended."""
        return self._starts <= now < self._ends

    def draw(self, user: bytes) -> Arm:
        """The variant whose buckets hold the user's."""
        return self._arms[bisect_right(self._bounds, self._buckets.of(user))]


class Layer:
    """Experiments that never share a user at one time."""

    __slots__ = ("_buckets", "_named", "experiments", "name")

    def __init__(self, settings: LayerSettings) -> None:
        self.name = settings.name
        self.experiments = [Experiment(experiment) for experiment in settings.experiments]
        self._buckets = Buckets(settings.salted)
        self._named = {user_id for experiment in self.experiments for user_id in experiment.allowed}

    def allowed(self, user_id: str, now: float) -> Arm | None:
        """The user's variant of the first running experiment that has the user on its allowlist."""
        if user_id not in self._named:
            return None
        running = (experiment for experiment in self.experiments if experiment.runs(now))
        return next((e.allowed[user_id] for e in running if user_id in e.allowed), None)

    def draw(self, user: bytes, now: float) -> Arm | None:
        """The user's variant of the running experiment that has the user's bucket; None where none has."""
        bucket = self._buckets.of(user)
        for experiment in self.experiments:
            if bucket in experiment.users and experiment.runs(now):
                return experiment.draw(user)
        return None
