"""The ranked lists of a run's or a bundle's further models: of all items, or of the CF model's best, ranked anew."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from safetensors.numpy import load_file, save_file

from models.contract.bundle import Bundle
from models.contract.specs import CoLLMSpec, FurtherPart, HatLLMSpec, L2RecSpec, Part, ULMRecSpec
from models.contract.types import Ints
from models.data.dataset import Dataset
from models.evaluation.metrics import evaluate_scorer
from models.export import ExportedModel, bundled
from models.further import MODELS, exported, part_directory
from models.papers.collm.export import CoLLMScorer
from models.papers.hatllm.scoring import HatScorer
from models.papers.l2rec.scoring import L2RecScorer
from models.papers.ulmrec.export import ULMRecScorer
from models.pipeline import Pipeline
from models.ranking.rerank import RERANKED, Reranker
from models.ranking.system import LocalSystem, open_system
from models.run import FURTHER
from models.types import Examples, by_history

NAMES: Mapping[FurtherPart, str] = MappingProxyType(
    {"collm": "CoLLM", "hatllm": "HatLLM", "ulmrec": "ULMRec", "l2rec": "L2Rec"}
)
RERANKERS: tuple[FurtherPart, ...] = ("collm", "ulmrec")
_LISTS = "lists.safetensors"


def further_rows(parts: Sequence[Part]) -> list[str]:
    """Names of the rows of those models that there are, in the table's order."""
    return [NAMES[part] for part in FURTHER if part in parts]


def run_lists(pipeline: Pipeline, parts: Sequence[FurtherPart], n: int, allowed: Ints | None) -> dict[str, Ints]:
    """Lists (n_examples, n) of a run's models for its test examples; made where the run lacks them.

    Args:
        pipeline: its models are trained and exported.
        parts: those that are ranked.
        n: length of the lists.
        allowed: (n_examples, c) the only items listed; None for the whole catalogue.
    """
    return {NAMES[part]: _run_list(pipeline, part, n, allowed) for part in parts}


def _run_list(pipeline: Pipeline, part: FurtherPart, n: int, allowed: Ints | None) -> Ints:
    def work(directory: Path) -> None:
        model = exported(pipeline.directory, part)
        dataset = pipeline.results.dataset()
        test = dataset.examples("test")
        users = [dataset.user_ids[row] for row in test.users.tolist()]
        lists = _ranked(model, pipeline.results.system(), test, users, n, allowed)
        save_file({"items": lists}, directory / _LISTS)

    stage = f"lists/{part}" if allowed is None else f"lists/{part}-sampled"
    read = {"data": pipeline.directory / "data", "part": part_directory(pipeline.directory, part)}
    settings: dict[str, Any] = {"n": n, "candidates": RERANKED}
    if "cf" in MODELS[part].stages or part in RERANKERS:
        read["cf"] = pipeline.directory / "cf"
    if part in RERANKERS:
        settings["popularity"] = pipeline.config.popularity  # what a list without a history is
    pipeline.stage(stage, 1, settings, read, work)
    lists: Ints = load_file(pipeline.directory / stage / _LISTS)["items"]
    return lists


def bundle_lists_of(bundle: Bundle, dataset: Dataset, n: int, allowed: Ints | None) -> dict[str, Ints]:
    """Lists of a bundle's further models for the test examples of a data set, whose users are strangers to it."""
    test, system = dataset.examples("test"), open_system(bundle)
    return {
        NAMES[part]: _ranked(bundled(bundle, part), system, test, None, n, allowed)
        for part in FURTHER
        if part in bundle.manifest.parts
    }


def _ranked(
    model: ExportedModel,
    system: LocalSystem,
    examples: Examples,
    users: Sequence[str] | None,
    n: int,
    allowed: Ints | None,
) -> Ints:
    """``users`` are ids that the model may have met; None: strangers."""
    if isinstance(model.spec, HatLLMSpec):
        return evaluate_scorer(by_history(HatScorer.load(model.directory)), examples, n, allowed)
    if isinstance(model.spec, L2RecSpec):
        return evaluate_scorer(by_history(L2RecScorer.load(model.directory, system.cf)), examples, n, allowed)
    return _reranker(model.spec, model, system).lists(examples.histories, users or [None] * len(examples), n, allowed)


def _reranker(spec: CoLLMSpec | ULMRecSpec, model: ExportedModel, system: LocalSystem) -> Reranker:
    if isinstance(spec, CoLLMSpec):
        return Reranker(system, CoLLMScorer(model.directory, spec.answer_token).rate)
    return Reranker(system, ULMRecScorer(model.directory).rate, spec.candidates)
