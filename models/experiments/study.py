"""The same experiment for several seeds, measured together: what a committed table of results is made of.

```
<directory>/seed-0  seed-1 …   one run directory a seed; what does not depend on the seed is made once
```
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from functools import cached_property
from pathlib import Path

from models.contract.bundle import Bundle, community_adapter
from models.contract.types import Ints
from models.evaluation.measure import EvaluateConfig, Evaluation, HeldOut, Protocol, compared, evaluation_of
from models.experiments.lists import baselines_of, fusions_in_words, ranked_lists
from models.llm.training_cost import TrainingReport, training_report
from models.pipeline import Pipeline
from models.run import RunConfig, check_data_set, save_run, with_flags
from models.stage import link_stages
from models.training.jobs import OpenExecutor
from models.types import Report

Lists = Mapping[str, Ints]


def with_seed(config: RunConfig, seed: int) -> RunConfig:
    """The settings with the seed of every section that has one."""
    for field in fields(config):
        if hasattr(getattr(config, field.name), "seed"):
            config = with_flags(config, field.name, {"seed": seed})
    return config


class Study:
    """Runs of one configuration with several seeds.

    Args:
        directory: the seeds' run directories are made in it.
        config: of all runs, but for the seeds.
        seeds: distinct.
        report: told one line a step.
        open_executor: see :class:`models.pipeline.Pipeline`.

    Raises:
        ConfigError: one of the run directories holds prepared data of another data set.
    """

    def __init__(
        self,
        directory: Path,
        config: RunConfig,
        seeds: Sequence[int],
        report: Report,
        open_executor: OpenExecutor | None = None,
    ) -> None:
        self.seeds = tuple(seeds)
        self.config = config
        self._report = report
        self._pipelines = {
            seed: Pipeline(directory / f"seed-{seed}", with_seed(config, seed), report, open_executor=open_executor)
            for seed in seeds
        }
        for pipeline in self._pipelines.values():
            check_data_set(pipeline.directory, pipeline.config)

    def runs(self) -> Iterator[tuple[Pipeline, Bundle]]:
        """Every seed's run, to its bundle; what is unchanged since the last time is reused."""
        first = next(iter(self._pipelines.values())).directory
        for seed, pipeline in self._pipelines.items():
            self._report(f"seed {seed}: {pipeline.directory}")
            if pipeline.directory != first:
                link_stages(first, pipeline.directory)
            save_run(pipeline.directory, pipeline.config)
            yield pipeline, pipeline.run()

    def lists(self, protocols: Sequence[Protocol], n: int) -> dict[Protocol, list[Lists]]:
        """Every model's lists for the test examples, one entry a seed; runs and baselines are made where they lack."""
        made: dict[Protocol, list[Lists]] = {protocol: [] for protocol in protocols}
        baselines = baselines_of(self.config.task)
        for pipeline, bundle in self.runs():
            for protocol in protocols:
                made[protocol].append(ranked_lists(pipeline, bundle, baselines, n, protocol))
        return made

    def evaluations(
        self,
        lists: Sequence[Lists],
        config: EvaluateConfig,
        *,
        protocol: Protocol,
        against: Sequence[str],
        provenance: dict[str, str],
    ) -> list[Evaluation]:
        """What is measured of all seeds' lists together, see :func:`models.evaluation.measure.measure`.

        One for each of the models ``against`` which the others are compared.
        """
        first, *others = against
        measured = evaluation_of(
            lists,
            self._held_out,
            config,
            dataset=self.config.name,
            protocol=protocol,
            against=first,
            provenance=provenance,
            fusions=[fusions_in_words(p.results, baselines_of(self.config.task)) for p in self._pipelines.values()],
            seeds=self.seeds if len(self.seeds) > 1 else (),
        )
        return [measured, *(compared(measured, lists, self._held_out, other) for other in others)]

    @cached_property
    def _held_out(self) -> HeldOut:
        """The test examples, the same for all seeds."""
        return HeldOut.of(next(iter(self._pipelines.values())).results.dataset())

    def costs(self) -> dict[int, TrainingReport]:
        """What training took, by seed."""
        communities = [community_adapter(number) for number in range(self.config.communities.n_communities)]
        return {seed: training_report(p.directory, communities) for seed, p in self._pipelines.items()}
