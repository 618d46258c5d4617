"""``localrec tune``: good settings for a baseline, found on validation data."""

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import click

from localrec.run_directory import RUN, run_of
from models.cf.baselines import BASELINES, Baseline
from models.cf.training import Progress, epoch_bar
from models.experiments.tuning import Trial, best_trial, configurations, run_trials, search_space
from models.pipeline import Pipeline
from models.run import save_run, with_flags
from models.stage import digest


@click.command()
@click.argument("baseline", type=click.Choice(list(BASELINES), case_sensitive=False))
@RUN
@click.option("--trials", type=click.IntRange(min=1), default=20, show_default=True, help="Settings tried, at most.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of the settings' choice.")
def tune(baseline: str, directory: Path, trials: int, seed: int) -> None:
    """Search for BASELINE's settings, and keep the best in the run's settings.

    Tried are the run's own settings and random points of the search space (all of it where it is small), each trained
    on the train part and measured by NDCG@10 of validation examples. Every trial is kept in RUN/tuning, so an
    interrupted search goes on. MultVAE is also the CF model: new settings of it make all later stages run again.
    """
    chosen = BASELINES[baseline]
    pipeline = Pipeline(directory, run_of(directory), click.echo)
    pipeline.run_until(pipeline.items if chosen.reads_text else pipeline.data)
    _announce(chosen, pipeline)
    best = best_trial(_report(chosen, pipeline, trials, seed))
    kept = run_of(directory)  # as it is now: a search takes long, and others write there too
    save_run(directory, with_flags(kept, chosen.section, best.config))
    found = _text(chosen, pipeline, best)
    click.echo(f"{chosen.name}: validation NDCG@10 {best.ndcg:.4f}, kept in section {chosen.section}: {found}")


def _announce(baseline: Baseline, pipeline: Pipeline) -> None:
    for name, values in search_space(type(_config(baseline, pipeline))).items():
        click.echo(f"  {name}: {', '.join(_value(value) for value in values)}")


def _report(baseline: Baseline, pipeline: Pipeline, n: int, seed: int) -> list[Trial]:
    configs = configurations(_config(baseline, pipeline), baseline.section, n, seed)
    file = pipeline.directory / "tuning" / f"{baseline.section}.jsonl"
    data = digest(pipeline.directory / ("items" if baseline.reads_text else "data"))  # items are made from data
    done: list[Trial] = []

    def open_progress(config: Any) -> AbstractContextManager[Progress]:
        return epoch_bar(f"{baseline.name} {len(done) + 1}/{len(configs)}", getattr(config, "epochs", 0))

    for trial in run_trials(baseline, pipeline.results.training_data(baseline), data, configs, file, open_progress):
        done.append(trial)
        click.echo(
            f"{len(done)}/{len(configs)}: validation NDCG@10 {trial.ndcg:.4f}"
            f" (best {best_trial(done).ndcg:.4f}), {trial.seconds:.0f} s: {_text(baseline, pipeline, trial)}"
        )
    return done


def _config(baseline: Baseline, pipeline: Pipeline) -> Any:
    return getattr(pipeline.config, baseline.section)


def _text(baseline: Baseline, pipeline: Pipeline, trial: Trial) -> str:
    searched = search_space(type(_config(baseline, pipeline)))
    return ", ".join(f"{name} {_value(trial.config[name])}" for name in searched)


def _value(value: Any) -> str:
    if isinstance(value, list | tuple):
        return "/".join(_value(v) for v in value)
    return f"{value:g}" if isinstance(value, float) else str(value)
