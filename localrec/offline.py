"""Commands of the offline half: data, training, evaluation, bundle."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from localrec.options import config_flags, given
from models.cf.multvae import MultVAEConfig
from models.communities import CommunityConfig
from models.config import make
from models.contract.bundle import verify_bundle
from models.data.prepare import DataConfig
from models.evaluate import EvaluateConfig, as_json, as_text, difference_text, evaluate_lists
from models.lists import ALL, GLOBAL, QUICK, fused_name, ranked_lists
from models.papers.l3rec import L3RecConfig
from models.pipeline import Pipeline
from models.ranking import ServingConfig
from models.run import load_config, load_run, make_run, save_run, with_flags

RUN = click.option(
    "--run",
    "directory",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("runs/default"),
    show_default=True,
    help="Run directory: stages read and write below it, and run.json keeps their settings.",
)
BUNDLES = click.option(
    "--bundles", type=click.Path(path_type=Path, file_okay=False), help="Where bundles go. Default: RUN/bundles."
)
JSON = click.option("--json", "json_file", type=click.Path(path_type=Path), help="Also write the result to this file.")


@click.command()
@click.argument("config", type=click.Path(path_type=Path, dir_okay=False))
@RUN
@BUNDLES
def run(config: Path, directory: Path, bundles: Path | None) -> None:
    """All stages from the data to the bundle, as the TOML file CONFIG says.

    CONFIG has a name and the sections data, cf, communities, local and serving; their keys are the flags of the
    stages' own commands, with underscores. What is unchanged since the last time is reused.
    """
    settings = load_config(config)
    save_run(directory, settings)
    Pipeline(directory, settings, click.echo, bundles=bundles).run()


@click.group()
def data() -> None:
    """Read, filter and split a data set."""


@data.command()
@RUN
@click.option("--name", help="Name of the data set; bundle ids begin with it. Default: the run directory's name.")
@config_flags(DataConfig)
def prepare(directory: Path, name: str | None, **flags: Any) -> None:
    """Tables and split from MovieLens, Amazon, RecBole files, CSV or parquet."""
    pipeline = _pipeline(directory, "data", flags, name)
    pipeline.data()


@click.group()
def train() -> None:
    """Train the global CF model or the local language models."""


@train.command()
@RUN
@config_flags(MultVAEConfig)
def cf(directory: Path, **flags: Any) -> None:
    """MultVAE, the global model: user embeddings, and the fallback."""
    pipeline = _pipeline(directory, "cf", flags)
    pipeline.run_until(pipeline.cf)


@train.command()
@RUN
@config_flags(L3RecConfig)
def local(directory: Path, **flags: Any) -> None:
    """Item vectors, the global adapter, and one adapter per community (L3Rec)."""
    pipeline = _pipeline(directory, "local", flags)
    pipeline.run_until(pipeline.local)


@click.group()
def communities() -> None:
    """Find overlapping communities of users."""


@communities.command("build")
@RUN
@config_flags(CommunityConfig)
def build_communities(directory: Path, **flags: Any) -> None:
    """Anchors by greedy coverage in the CF space, affinities by kernel (L3Rec, equations 1 and 2)."""
    pipeline = _pipeline(directory, "communities", flags)
    pipeline.run_until(pipeline.communities)


@click.group()
def bundle() -> None:
    """Build a bundle from a run, or verify one."""


@bundle.command("build")
@RUN
@BUNDLES
@config_flags(ServingConfig)
def build_bundle(directory: Path, bundles: Path | None, **flags: Any) -> None:
    """Choose fusion settings on validation data, and put the bundle together."""
    _pipeline(directory, "serving", flags, bundles=bundles).run()


@bundle.command()
@click.argument("bundle_directory", type=click.Path(path_type=Path))
def verify(bundle_directory: Path) -> None:
    """Check every file of a bundle against its checksum."""
    checked = verify_bundle(bundle_directory)
    click.echo(f"{checked.id}: {len(checked.manifest.files)} files match their checksums")


@click.command()
@RUN
@click.option("--baselines", "with_baselines", is_flag=True, help="Train and measure EASE and SASRec too.")
@JSON
@config_flags(EvaluateConfig)
def evaluate(directory: Path, with_baselines: bool, json_file: Path | None, **flags: Any) -> None:
    """HR and NDCG on held-out test items, full ranking, with 95 % bootstrap intervals.

    Rows: popularity, MultVAE, with --baselines also EASE and SASRec, the global adapter, and the fused local adapters.
    """
    if json_file is not None:
        json_file.parent.mkdir(parents=True, exist_ok=True)
    config = make(EvaluateConfig, given(flags), "evaluate")
    pipeline = _pipeline(directory, "serving", {})
    bundle = pipeline.run()
    test, n = pipeline.dataset().examples("test"), max(config.cutoffs)
    lists = ranked_lists(pipeline, bundle, ALL if with_baselines else QUICK, n)
    rows = [evaluate_lists(name, items, test.targets, config) for name, items in lists.items()]
    click.echo(f"{len(test):,} test items, full ranking of {bundle.manifest.model.n_items:,}, mean and 95 % interval")
    click.echo(as_text(rows))
    served = fused_name(bundle.manifest.serving.method)
    click.echo(difference_text(served, GLOBAL, lists, test.targets, config))
    if json_file is not None:
        json_file.write_text(json.dumps(as_json(rows), indent=2) + "\n")


def _pipeline(
    directory: Path, section: str, flags: dict[str, Any], name: str | None = None, bundles: Path | None = None
) -> Pipeline:
    """The pipeline of a run directory, after the flags were written into its settings."""
    config = load_run(directory)
    if config is None:
        config = make_run({"name": name or directory.resolve().name}, str(directory))
    elif name is not None:
        config = replace(config, name=name)
    config = with_flags(config, section, given(flags))
    save_run(directory, config)
    return Pipeline(directory, config, click.echo, bundles=bundles)
