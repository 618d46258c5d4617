"""Commands of the offline half: data, training, bundle."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import click

from localrec.options import JSON, config_flags, given
from localrec.run_directory import BUNDLES, RUN, pipeline_of, run_of
from models.cf.multvae import MultVAEConfig
from models.communities import CommunityConfig
from models.communities.page import render
from models.communities.portrait import portrait_of
from models.contract.bundle import community_adapter, open_bundle
from models.data.prepare import DataConfig
from models.evaluation.tables import section
from models.llm.training_cost import costs_table, devices, training_report
from models.papers.collm.config import CoLLMConfig
from models.papers.hatllm.config import HatLLMConfig
from models.papers.l2rec.config import L2RecConfig
from models.papers.l3rec.config import L3RecConfig
from models.papers.ulmrec.config import ULMRecConfig
from models.pipeline import Pipeline
from models.ranking.fusion_search import ServingConfig
from models.run import Task, check_data_set, load_config, load_run, make_run, save_run, with_flags
from models.training.jobs import OpenExecutor
from models.training.on_ray import on_ray

RAY = click.option(
    "--ray",
    metavar="ADDRESS",
    help="Train the communities' adapters side by side on Ray (extra: ray): 'local' starts one on this machine, 'auto'"
    " finds one that runs here, host:port is a cluster's. Unset: in this process, one after the other.",
)
GPU_SHARE = click.option(
    "--gpu-share",
    type=click.FloatRange(0.01, 1.0),
    default=1.0,
    show_default=True,
    help="With --ray, the part of a GPU that an adapter takes: 0.5 trains two at a time on each.",
)


@click.command()
@click.argument("config", required=False, type=click.Path(path_type=Path, dir_okay=False))
@RUN
@BUNDLES
@RAY
@GPU_SHARE
def run(config: Path | None, directory: Path, bundles: Path | None, ray: str | None, gpu_share: float) -> None:
    """All stages from the data to the bundle, as the TOML file CONFIG says; without one, as the run was begun.

    CONFIG has a name, a task and the sections data, cf, communities, local and serving, whose keys are the flags of the
    stages' own commands, with underscores; a section collm, hatllm or ulmrec where the run has that model, too; and a
    section for each baseline, such as item_knn or sasrec_text, with the settings that localrec tune finds. What is
    unchanged since the last time is reused.
    """
    settings = run_of(directory) if config is None else load_config(config)
    check_data_set(directory, settings)
    open_executor = executor(ray, gpu_share)
    save_run(directory, settings)
    Pipeline(directory, settings, click.echo, bundles=bundles, open_executor=open_executor).run()


@click.group()
def data() -> None:
    """Read, filter and split a data set."""


@data.command()
@RUN
@click.option("--name", help="Name of the data set; bundle ids begin with it. Default: the run directory's name.")
@click.option(
    "--task",
    type=click.Choice(get_args(Task)),
    help="What a history stands for: a sequence, or a set of items (top-n). Default: sequential.",
)
@config_flags(DataConfig)
def prepare(directory: Path, name: str | None, task: Task | None, **flags: Any) -> None:
    """Tables and split from MovieLens, Amazon, RecBole files, CSV or parquet."""
    named = given({"name": name, "task": task})
    config = load_run(directory) or make_run({"name": directory.resolve().name, **named}, str(directory))
    config = with_flags(replace(config, **named), "data", given(flags))
    check_data_set(directory, config)
    save_run(directory, config)
    Pipeline(directory, config, click.echo).data()


@click.group()
def train() -> None:
    """Train the global CF model or the language models."""


@train.command()
@RUN
@config_flags(MultVAEConfig)
def cf(directory: Path, **flags: Any) -> None:
    """MultVAE, the global model: user embeddings, and the fallback."""
    pipeline = pipeline_of(directory, "cf", flags)
    pipeline.run_until(pipeline.cf)


@train.command()
@RUN
@RAY
@GPU_SHARE
@config_flags(L3RecConfig)
def local(directory: Path, ray: str | None, gpu_share: float, **flags: Any) -> None:
    """Item vectors, the global adapter, and one adapter per community (L3Rec)."""
    pipeline = pipeline_of(directory, "local", flags, open_executor=executor(ray, gpu_share))
    pipeline.run_until(pipeline.local)


@train.command()
@RUN
@config_flags(CoLLMConfig)
def collm(directory: Path, **flags: Any) -> None:
    """CoLLM: a language model that judges an item by its title and by mapped collaborative vectors.

    The first time adds the section to the run's settings; from then on the run has the model, and so have its bundles.
    """
    pipeline_of(directory, "collm", flags).further("collm")


@train.command()
@RUN
@config_flags(HatLLMConfig)
def hatllm(directory: Path, **flags: Any) -> None:
    """HatLLM: a language model whose layers attend within items first, and between items last.

    The first time adds the section to the run's settings; from then on the run has the model, and so have its bundles.
    """
    pipeline_of(directory, "hatllm", flags).further("hatllm")


@train.command()
@RUN
@config_flags(ULMRecConfig)
def ulmrec(directory: Path, **flags: Any) -> None:
    """ULMRec: a language model that ranks the CF model's best by their titles, and knows users by a semantic index.

    The first time adds the section to the run's settings; from then on the run has the model, and so have its bundles.
    """
    pipeline_of(directory, "ulmrec", flags).further("ulmrec")


@train.command()
@RUN
@config_flags(L2RecConfig)
def l2rec(directory: Path, **flags: Any) -> None:
    """L2Rec: a language model that reads items' texts and what was bought after what, with experts for each user.

    The first time adds the section to the run's settings; from then on the run has the model, and so have its bundles.
    A second phase begins with an earlier training: --initial RUN/l2rec.
    """
    pipeline_of(directory, "l2rec", flags).further("l2rec")


@train.command("report")
@RUN
@JSON
def report_training(directory: Path, json_file: Path | None) -> None:
    """What training took: the local adapters, in parallel and summed, against the global one (L3Rec, Table 5)."""
    config = run_of(directory)
    costs = training_report(directory, [community_adapter(n) for n in range(config.communities.n_communities)])
    click.echo(f"{section(costs_table({config.local.seed: costs}))}\n\nOn {devices([costs])}.")
    if json_file is not None:
        json_file.write_text(json.dumps(costs.as_dict(), indent=2) + "\n")


@click.group()
def communities() -> None:
    """Find overlapping communities of users."""


@communities.command("build")
@RUN
@config_flags(CommunityConfig)
def build_communities(directory: Path, **flags: Any) -> None:
    """Anchors by greedy coverage in the CF space, affinities by kernel (L3Rec, equations 1 and 2)."""
    pipeline = pipeline_of(directory, "communities", flags)
    pipeline.run_until(pipeline.communities)


@communities.command()
@RUN
@click.option("--bundle", "bundle_directory", type=click.Path(path_type=Path), help="Show a bundle, instead of a run.")
@click.option(
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("communities.html"),
    show_default=True,
    help="The page.",
)
def report(directory: Path, bundle_directory: Path | None, output: Path) -> None:
    """A page for a person: map of users and anchors, sizes, overlap, and each community's characteristic items."""
    if bundle_directory is not None:
        portrait = portrait_of(open_bundle(bundle_directory))
    else:
        pipeline = Pipeline(directory, run_of(directory), click.echo)
        pipeline.run_until(pipeline.communities)
        portrait = pipeline.results.portrait()
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(render(portrait), encoding="utf-8")
    click.echo(f"page {output}")


@click.command("build")
@RUN
@BUNDLES
@config_flags(ServingConfig)
def build_bundle(directory: Path, bundles: Path | None, **flags: Any) -> None:
    """Choose fusion settings on validation data, and put the bundle together."""
    pipeline_of(directory, "serving", flags, bundles=bundles).run()


def executor(address: str | None, gpu_share: float) -> OpenExecutor | None:
    """What ``--ray`` and ``--gpu-share`` ask for; None: this process."""
    return None if address is None else on_ray(address, gpu_share)
