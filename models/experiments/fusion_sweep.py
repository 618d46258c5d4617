"""L3Rec's Figures 4 and 5 and Table 6 for a run: fusion over q, k, method and inference bandwidth.

One setting is varied at a time, the others are what validation chose. The voters' lists are those that the run has
kept, so no model is asked again: a smaller q is a prefix of the anchors, which greedy coverage finds in the same order,
and a smaller inference bandwidth leaves voters out.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from models.contract.errors import ConfigError
from models.contract.fusion import FusionMethod
from models.contract.selection import FusionSettings
from models.contract.types import Ints
from models.experiments.lists import fused_name
from models.experiments.sweep import Measured, Point, load_points, measured, save_points
from models.pipeline import Pipeline
from models.ranking.answers import Answers, VoterLists
from models.ranking.fusion_search import DAMPED
from models.ranking.recommend import recommend_all
from models.ranking.system import LocalSystem
from models.results import Ranked

VERSION = 1
LIST_LENGTH = 10
DAMPINGS = (0.0, 1.0, 2.0, 5.0, 10.0, 20.0, 40.0, 60.0, 100.0)  # Figure 5 ends at 40
BANDWIDTHS = (0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)


@dataclass(frozen=True)
class Setting:
    """One value of what is varied.

    Args:
        axis: ``fusion`` (nothing is varied), ``q``, ``k`` or ``inference bandwidth``.
        value: as text.
        methods: that are measured.
        n_communities: q, how many of the communities vote.
        bandwidth: of inference.
        k: for every method; None: each method's own best on validation.
    """

    axis: str
    value: str
    methods: tuple[FusionMethod, ...]
    n_communities: int
    bandwidth: float
    k: float | None = None


def settings_of(n_communities: int, bandwidth: float, bandwidths: Sequence[float] = ()) -> list[Setting]:
    """All that is measured of a run with q communities and an inference bandwidth.

    Raises:
        ConfigError: of the ``bandwidths`` (none: some that are usual) one is larger than the run's own.
    """
    for wanted in bandwidths:
        if not 0 < wanted <= bandwidth:
            raise ConfigError(
                f"bandwidths: {wanted:g} is out of range; expected above 0 and at most {bandwidth:g}, the run's own:"
                " of communities further away no lists are kept"
            )
    base = Setting("fusion", "as chosen on validation", tuple(FusionMethod), n_communities, bandwidth)
    narrower = sorted(bandwidths) or [*(h for h in BANDWIDTHS if h < bandwidth), bandwidth]
    return [
        base,
        *(replace(base, axis="q", value=f"{q}", n_communities=q) for q in range(1, n_communities + 1)),
        *(replace(base, axis="k", value=f"{k:g}", methods=DAMPED, k=k) for k in DAMPINGS),
        *(replace(base, axis="inference bandwidth", value=f"{h:g}", bandwidth=h) for h in narrower),
    ]


def sweep_fusion(pipeline: Pipeline, settings: Sequence[Setting], examples: Measured) -> Iterator[list[Point]]:
    """The points of every setting, one stage each; rankings are made where the run lacks them.

    Args:
        pipeline: of a run that is done up to its ``serving`` stage.
        settings: see :func:`settings_of`.
        examples: what is measured on.
    """
    judged: Ranked = "before" if examples == "valid" else "valid"
    inputs = {f"rankings/{ranked}": pipeline.rank(ranked) for ranked in (judged, examples)}
    inputs |= {name: pipeline.directory / name for name in ("data", "cf", "communities", "serving")}
    for setting in settings:
        name = f"sweeps/fusion-{examples}/{setting.axis}={setting.value}".replace(" ", "-")
        fusions = {fused_name(method): _fusion(pipeline, setting, method) for method in setting.methods}

        def work(directory: Path, setting: Setting = setting, fusions: dict[str, FusionSettings] = fusions) -> None:
            save_points(_points(pipeline, setting, fusions, examples, judged), directory)

        config = {"setting": setting, "fusions": fusions}
        pipeline.stage(name, VERSION, config, inputs, work)
        yield load_points(pipeline.directory / name)


def _fusion(pipeline: Pipeline, setting: Setting, method: FusionMethod) -> FusionSettings:
    chosen = pipeline.results.fusion_settings(method)
    return chosen if setting.k is None else replace(chosen, k=setting.k)


def _points(
    pipeline: Pipeline, setting: Setting, fusions: dict[str, FusionSettings], examples: Measured, judged: Ranked
) -> list[Point]:
    whole, held_out = pipeline.results.system(), pipeline.results.examples(examples)
    system = replace(whole, anchors=whole.anchors[: setting.n_communities], bandwidth=setting.bandwidth)
    accuracies = pipeline.results.accuracies(judged)[held_out.users, : setting.n_communities]
    profiles = system.profiles(held_out.histories, accuracies)
    voters = _first(VoterLists.load(pipeline.directory / "rankings" / examples), system)
    answers = list(Answers(held_out.histories, system.communities, profiles, voters))
    lists: dict[str, Ints] = {
        name: recommend_all(system, answers, fusion, LIST_LENGTH) for name, fusion in fusions.items()
    }
    return measured(setting.axis, setting.value, lists, held_out.targets)


def _first(lists: VoterLists, system: LocalSystem) -> VoterLists:
    """The lists of the system's communities alone."""
    columns = [lists.names.index(name) for name in system.communities]
    return VoterLists(system.communities, lists.items[:, columns], lists.scores[:, columns])
