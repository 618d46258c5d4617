"""Everything that a bundle is made of, out of what a run's stages have left."""

import json
from collections.abc import Sequence
from pathlib import Path

import msgspec

from models.contract.bundle import CommunitySpec, ServingSpec
from models.contract.probe import load_probe
from models.contract.specs import ModelSpec
from models.data.statistics import Statistics
from models.export import BundleParts, ExportedModel, adapter_names
from models.papers.l3rec import forms
from models.ranking.system import LocalSystem
from models.results import Results


def bundle_parts(results: Results, system: LocalSystem, further: Sequence[ExportedModel]) -> BundleParts:
    """The parts of a run's bundle.

    Args:
        results: of its stages, to the last one.
        system: their system.
        further: models beside the local ones.
    """
    directory, dataset = results.directory, results.dataset()
    document = json.loads((directory / "communities" / "communities.json").read_text())
    statistics = Statistics.load(directory / "data").as_dict()  # its samples of the files' rows stay here
    return BundleParts(
        name=results.config.name,
        dataset=dataset,
        cf=system.cf,
        anchors=system.anchors,
        items=system.items,
        bandwidth=system.bandwidth,
        kernel=system.kernel,
        popularity=system.popularity,
        communities=msgspec.convert(document["communities"], list[CommunitySpec]),
        checkpoint=system.checkpoint,
        adapters=system.adapters,
        model=_model_spec(results, len(dataset.catalogue)),
        serving=ServingSpec.of(results.fusion_settings()),
        probe=load_probe(directory / "probe", system.adapters),
        accuracies=results.accuracies("valid"),
        config=msgspec.to_builtins(results.config),
        data_statistics={key: value for key, value in statistics.items() if key != "files"},
        metrics={"fusion on validation, NDCG@10": msgspec.to_builtins(results.tried_fusions())},
        further=further,
    )


def _model_spec(results: Results, n_items: int) -> ModelSpec:
    config = results.config.local
    return ModelSpec(
        form=config.form,
        history_length=config.history_length,
        n_items=n_items,
        lora_rank=config.lora_rank,
        table_rank=config.table_rank,
        item_tokens=forms.tokens_per_item(config, results.directory / "global"),
        adapters=adapter_names(results.config.communities.n_communities),
        base_model=Path(config.backbone).name,
    )
