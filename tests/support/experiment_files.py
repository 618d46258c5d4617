"""Files of experiments for tests."""

from typing import Any

from service.gateway.experiments.assignment import Experiments
from service.gateway.experiments.settings import ExperimentFile
from service.gateway.ranking.settings import CoLLMPipeline, GlobalPipeline, LocalPipeline, Pipeline, ULMRecPipeline

PIPELINES: dict[str, Pipeline] = {
    "local": LocalPipeline(kind="local", pool="w", max_communities=9),
    "collm": CoLLMPipeline(kind="collm", pool="c"),
    "ulmrec": ULMRecPipeline(kind="ulmrec", pool="u"),
    "cf": GlobalPipeline(kind="cf"),
    "popular": GlobalPipeline(kind="popular"),
}


def variant(name: str, weight: float = 1, pipeline: str | None = None, **parameters: Any) -> dict[str, Any]:
    """A variant's table."""
    return {"name": name, "weight": weight, "pipeline": pipeline, "parameters": parameters}


def experiment(name: str, *variants: dict[str, Any], **keys: Any) -> dict[str, Any]:
    """An experiment's table; two variants that change nothing by default."""
    return {"name": name, "variants": list(variants) or [variant("a"), variant("b")], **keys}


def layer(name: str, *entries: dict[str, Any]) -> dict[str, Any]:
    """A layer's table."""
    return {"name": name, "experiments": list(entries)}


def file_of(*layers: dict[str, Any], **keys: Any) -> ExperimentFile:
    """A valid file."""
    return ExperimentFile.model_validate({"layers": list(layers), **keys})


def experiments_of(*layers: dict[str, Any], **keys: Any) -> Experiments:
    """The same, ready to assign, over :data:`PIPELINES` with ``local`` by default."""
    return Experiments(file_of(*layers, **keys), PIPELINES, "local")
