"""The same run with other settings: what each changes on validation (or test) examples.

Every point is a run directory of its own, begun from hard links of the base run's stages; what a setting does not touch
is reused.

```
<run>/sweeps/local.top_layers=2  local.top_layers=4 …
```
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from models.contract.errors import ConfigError
from models.contract.selection import GLOBAL_VOTER
from models.contract.types import Ints
from models.experiments.lists import GLOBAL, fusions
from models.experiments.sweep import Measured, Point, load_points, measured, save_points
from models.papers.l3rec.config import check_backbone
from models.pipeline import Pipeline
from models.ranking.recommend import recommend_all
from models.run import RunConfig, save_run, with_flags
from models.stage import DERIVED, link_stages
from models.training.jobs import OpenExecutor
from models.types import Report

VERSION = 2
LIST_LENGTH = 10
SECTIONS = ("cf", "communities", "local", "serving")  # those that the fused local models are made from


@dataclass(frozen=True)
class Varied:
    """A key of the run's settings, and the values that it gets."""

    section: str
    key: str
    values: tuple[str, ...]

    @property
    def name(self) -> str:
        """``local.top_layers``."""
        return f"{self.section}.{self.key}"


@dataclass(frozen=True)
class Trial:
    """One point of a sweep.

    Args:
        axis: names of the keys that differ from the base run.
        value: their values, in the same order.
        config: of the whole run.
    """

    axis: str
    value: str
    config: RunConfig

    @property
    def name(self) -> str:
        """Name of its directory."""
        pairs = zip(self.axis.split(", "), self.value.split(", "), strict=True)
        return ",".join(f"{axis}={value}" for axis, value in pairs).replace("/", "_")


def parse(text: str) -> Varied:
    """``SECTION.KEY=v1,v2,…``; where a value is a list itself, semicolons stand between the values: ``…=a,b;a,b,c``.

    Raises:
        ConfigError: it is not of this form, or there is no such key.
    """
    name, equals, values = text.partition("=")
    section, dot, key = name.partition(".")
    listed = [value.strip() for value in values.split(";" if ";" in values else ",")]
    if not (equals and dot and all(listed)):
        raise ConfigError(f"vary: {text!r}; expected SECTION.KEY=v1,v2,…")
    if section not in SECTIONS:
        raise ConfigError(f"vary: {name}: unknown section; expected one of {', '.join(SECTIONS)}")
    return Varied(section, key, tuple(listed))


def trials(base: RunConfig, varied: Sequence[Varied], *, grid: bool) -> list[Trial]:
    """Every value of every key with all else as in the base run, or with ``grid`` every combination of values.

    Raises:
        ConfigError: a key or a value cannot be used, or the backbone does not go with it.
    """
    groups = [tuple(varied)] if grid else [(one,) for one in varied]
    made = [
        _trial(base, group, values) for group in groups for values in product(*(varying.values for varying in group))
    ]
    for trial in made:
        check_backbone(trial.config.local)
    return made


def sweep_training(
    base: Pipeline,
    points: Sequence[Trial],
    examples: Measured,
    report: Report,
    open_executor: OpenExecutor | None = None,
) -> Iterator[list[Point]]:
    """Run every trial and measure it; what was done before is reused.

    Args:
        base: the run that the trials begin from; it is finished first, where it is not.
        points: see :func:`trials`.
        examples: what is measured on. Fusion settings are each trial's best on validation, either way.
        report: told one line a step.
        open_executor: see :class:`models.pipeline.Pipeline`.
    """
    base.run_until(base.serving)
    for number, trial in enumerate(points, 1):
        directory = base.directory / DERIVED / trial.name
        report(f"{number}/{len(points)} {trial.name}")
        link_stages(base.directory, directory)
        save_run(directory, trial.config)
        pipeline = Pipeline(directory, trial.config, report, open_executor=open_executor)
        pipeline.run_until(pipeline.serving)
        yield _points(pipeline, trial, examples)


def _trial(base: RunConfig, varied: Sequence[Varied], values: Sequence[str]) -> Trial:
    flags: dict[str, dict[str, str]] = {}  # a section's values together: alone, one may not go with the base run's
    for one, value in zip(varied, values, strict=True):
        flags.setdefault(one.section, {})[one.key] = value
    config = base
    for section, of_section in flags.items():
        config = with_flags(config, section, of_section)
    return Trial(", ".join(one.name for one in varied), ", ".join(values), config)


def _points(pipeline: Pipeline, trial: Trial, examples: Measured) -> list[Point]:
    """The points of one finished run: the global adapter, and every fusion."""
    settings = fusions(pipeline.results)

    def work(directory: Path) -> None:
        system, answers = pipeline.results.system(), pipeline.results.answers(examples)
        lists: dict[str, Ints] = {GLOBAL: answers.lists.best(GLOBAL_VOTER, LIST_LENGTH)}
        prepared = list(answers)
        lists |= {name: recommend_all(system, prepared, fusion, LIST_LENGTH) for name, fusion in settings.items()}
        save_points(measured(trial.axis, trial.value, lists, pipeline.results.examples(examples).targets), directory)

    rankings = {"rankings/before" if examples == "valid" else "rankings/valid", f"rankings/{examples}"}
    pipeline.rank(examples)
    inputs = {name: pipeline.directory / name for name in ("data", "cf", "communities", "serving", *sorted(rankings))}
    stage = f"measured/{examples}"
    pipeline.stage(stage, VERSION, {"axis": trial.axis, "value": trial.value, "fusions": settings}, inputs, work)
    return load_points(pipeline.directory / stage)
