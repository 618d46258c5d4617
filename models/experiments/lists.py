"""The ranked lists that the evaluation table measures: baselines, the global adapter, the fused local adapters.

What these stages leave in a run is lists for the test examples, not weights: nobody serves a baseline. Baselines are
trained on the train part and stopped on validation.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import msgspec
from safetensors.numpy import load_file, save_file

from models.cf.baselines import BASELINES
from models.cf.multvae import MultVAEScorer
from models.cf.training import epoch_bar
from models.contract.bundle import MANIFEST, Bundle
from models.contract.errors import DataError
from models.contract.fusion import FusionMethod
from models.contract.selection import GLOBAL_VOTER, FusionSettings
from models.contract.specs import FurtherPart, Part
from models.contract.types import Ints
from models.data.dataset import Dataset
from models.evaluation.measure import Protocol
from models.evaluation.metrics import evaluate_scorer
from models.evaluation.negatives import candidates
from models.experiments.further_lists import further_rows, run_lists
from models.further import wanted
from models.pipeline import LISTED_ITEMS, Pipeline
from models.ranking.answers import Answers, VoterLists
from models.ranking.fusion_search import Tried, best_fusion, in_words, try_fusions
from models.ranking.ranker import LocalRanker, voter_lists
from models.ranking.recommend import recommend_all
from models.ranking.system import open_system
from models.results import Results
from models.run import Task
from models.types import Score, by_history

QUICK = ("popularity", "MultVAE")  # baselines that need no training of their own
GLOBAL = "global adapter"
SERVED = "served fusion"  # with whatever voters validation chose
VOTING = ("item-kNN", "EASE", "SASRec", "SASRec + text")  # baselines that vote in one more row: sets, and sequences
ENSEMBLE = "fusion with baselines"  # the voters that can be served and VOTING, weights chosen on validation

N_NEGATIVES = 99  # of the sampled protocol, as in L3Rec's Table 4
NEGATIVES_SEED = 0  # the same for every run, so that runs can be compared

_LISTS, _TRIED = "lists.safetensors", "tried.json"
_VOTES = {"full": "test", "sampled": "sampled", "valid": "valid"}  # directories of a baseline's votes
_SAMPLED = "rankings/sampled"
_ENSEMBLE_FUSION = "lists/ensemble-fusion"
_FUSION_NAMES = {
    FusionMethod.COUNT: "Count",
    FusionMethod.RRF: "RRF",
    FusionMethod.WRRF_CF: "wRRF(CF)",
    FusionMethod.WRRF_LLM: "wRRF(LLM)",
    FusionMethod.SCORES: "scores",
}


def baselines_of(task: Task) -> tuple[str, ...]:
    """Names of all baselines that have a place in a task, in the table's order."""
    return tuple(name for name, baseline in BASELINES.items() if task == "sequential" or not baseline.sequential)


def row_names(baselines: Sequence[str], parts: Sequence[Part] = ()) -> list[str]:
    """Names of the models that :func:`ranked_lists` measures, in the table's order."""
    ensemble = [ENSEMBLE] if _voting(baselines) else []
    fused = (fused_name(method) for method in FusionMethod)
    return [*baselines, *further_rows(parts), GLOBAL, *fused, SERVED, *ensemble]


def ranked_lists(
    pipeline: Pipeline,
    bundle: Bundle,
    baselines: Sequence[str],
    n: int,
    protocol: Protocol = "full",
    further: Sequence[FurtherPart] | None = None,
) -> dict[str, Ints]:
    """Lists (n_examples, n) for the test examples by model, in the table's order; made where the run lacks them.

    The local models' lists are those that the run has ranked with the very files of the bundle, and fused as the bundle
    says; under the sampled protocol the bundle's models rank the samples. What is measured is what is served.
    ``further`` are those of the run's further models that are ranked; default: all.

    Raises:
        DataError: the catalogue is too small for the sampled protocol.
    """
    allowed = sampled_items(pipeline.results.dataset()) if protocol == "sampled" else None
    lists = {name: _baseline_lists(pipeline, name, n)[protocol] for name in baselines}
    parts = wanted(pipeline.config) if further is None else further
    lists |= run_lists(pipeline, parts, n, allowed)
    lists |= _local_lists(pipeline, bundle, n, allowed)
    if voting := _voting(baselines):
        lists[ENSEMBLE] = _ensemble_lists(pipeline, bundle, voting, n, allowed)
    return {name: lists[name] for name in row_names(baselines, parts)}


def sampled_items(dataset: Dataset) -> Ints:
    """(n_examples, 1 + 99) what may be listed for each test example under the sampled protocol.

    Raises:
        DataError: the catalogue is too small for it.
    """
    return candidates(dataset.examples("test"), len(dataset.catalogue), N_NEGATIVES, NEGATIVES_SEED)


def _baseline_lists(pipeline: Pipeline, name: str, n: int) -> dict[str, Ints]:
    """A baseline's lists by protocol. Both at once: what takes long is the training."""
    baseline = BASELINES[name]
    config = getattr(pipeline.config, baseline.section)
    settings = {"n": n, "config": config, "version": baseline.version, "negatives": [N_NEGATIVES, NEGATIVES_SEED]}

    def work(directory: Path) -> None:
        dataset = pipeline.results.dataset()
        score, test = _train(pipeline, name), dataset.examples("test")
        allowed: dict[str, Ints | None] = {"full": None}
        with suppress(DataError):  # no lists where there are too few items to sample from
            allowed["sampled"] = sampled_items(dataset)
        if name in VOTING:
            kept = max(n, LISTED_ITEMS)
            votes = {kind: voter_lists(name, score, test, kept, only) for kind, only in allowed.items()}
            lists = {kind: made.best(name, n) for kind, made in votes.items()}
            votes["valid"] = voter_lists(name, score, dataset.examples("valid"), kept)
            _save_votes(votes, directory)
        else:
            lists = {kind: evaluate_scorer(score, test, n, only) for kind, only in allowed.items()}
        save_file(lists, directory / _LISTS)

    stage = _baseline_stage(name)
    read = ("data", *(("cf",) if name == "MultVAE" else ()), *(("items",) if baseline.reads_text else ()))
    inputs = {part: pipeline.directory / part for part in read}
    pipeline.stage(stage, 3, settings, inputs, work)
    lists: dict[str, Ints] = load_file(pipeline.directory / stage / _LISTS)
    return lists


def _baseline_stage(name: str) -> str:
    return f"lists/{name.lower().replace(' + ', '-')}"


def _save_votes(votes: Mapping[str, VoterLists], directory: Path) -> None:
    """What a baseline answers to test and validation examples, for :func:`_ensemble_lists`."""
    for kind, lists in votes.items():
        (directory / _VOTES[kind]).mkdir()
        lists.save(directory / _VOTES[kind])


def _voting(baselines: Sequence[str]) -> tuple[str, ...]:
    return tuple(name for name in VOTING if name in baselines)


def _ensemble_lists(pipeline: Pipeline, bundle: Bundle, voting: Sequence[str], n: int, allowed: Ints | None) -> Ints:
    """Lists of the communities, the voters that can be served and the ``voting`` baselines, fused."""
    settings = _ensemble_settings(pipeline, bundle, voting)

    def work(directory: Path) -> None:
        votes = _VOTES["full" if allowed is None else "sampled"]
        answers = _with_baselines(pipeline, _local_answers(pipeline, bundle, allowed), voting, votes)
        lists = recommend_all(open_system(bundle), answers, settings, n)
        save_file({ENSEMBLE: lists}, directory / _LISTS)

    stage = "lists/ensemble" if allowed is None else "lists/ensemble-sampled"
    read = ("data", _ENSEMBLE_FUSION, *(_baseline_stage(name) for name in voting))
    inputs = {part: pipeline.directory / part for part in read}
    pipeline.stage(stage, 2, {"n": n}, inputs | {"bundle": bundle.path(MANIFEST)}, work)
    lists: Ints = load_file(pipeline.directory / stage / _LISTS)[ENSEMBLE]
    return lists


def _ensemble_settings(pipeline: Pipeline, bundle: Bundle, voting: Sequence[str]) -> FusionSettings:
    """The best fusion on validation examples when the ``voting`` baselines vote, too."""
    serving = pipeline.config.serving

    def work(directory: Path) -> None:
        answers = _with_baselines(pipeline, pipeline.results.answers("valid"), voting, "valid")
        targets = pipeline.results.examples("valid").targets
        tried = try_fusions(open_system(bundle), answers, targets, serving, (*serving.voters, *voting))
        (directory / _TRIED).write_bytes(msgspec.json.format(msgspec.json.encode(tried)))

    read = ("data", "serving", "rankings/valid", *(_baseline_stage(name) for name in voting))
    inputs = {part: pipeline.directory / part for part in read} | {"bundle": bundle.path(MANIFEST)}
    pipeline.stage(_ENSEMBLE_FUSION, 2, serving, inputs, work)
    return _chosen_ensemble(pipeline.results)


def _chosen_ensemble(results: Results) -> FusionSettings:
    tried = (results.directory / _ENSEMBLE_FUSION / _TRIED).read_bytes()
    return best_fusion(msgspec.json.decode(tried, type=list[Tried]))


def _with_baselines(pipeline: Pipeline, answers: Answers, voting: Sequence[str], votes: str) -> Answers:
    for name in voting:
        answers = answers.with_voters(VoterLists.load(pipeline.directory / _baseline_stage(name) / votes))
    return answers


def _local_lists(pipeline: Pipeline, bundle: Bundle, n: int, allowed: Ints | None) -> dict[str, Ints]:
    def work(directory: Path) -> None:
        save_file(_rank_local(pipeline, bundle, n, allowed), directory / _LISTS)

    stage = "lists/local" if allowed is None else "lists/local-sampled"
    inputs = {"data": pipeline.directory / "data", "serving": pipeline.directory / "serving"}
    pipeline.stage(stage, 5, {"n": n}, inputs | {"bundle": bundle.path(MANIFEST)}, work)
    lists: dict[str, Ints] = load_file(pipeline.directory / stage / _LISTS)
    return lists


def _rank_local(pipeline: Pipeline, bundle: Bundle, n: int, allowed: Ints | None) -> dict[str, Ints]:
    """Lists of the global adapter, of the communities by every method with its own best k, and what is served."""
    system, answers = open_system(bundle), _local_answers(pipeline, bundle, allowed)
    settings = fusions(pipeline.results)
    lists = {name: recommend_all(system, answers, fusion, n) for name, fusion in settings.items()}
    return {GLOBAL: answers.lists.best(GLOBAL_VOTER, n)} | lists


def _local_answers(pipeline: Pipeline, bundle: Bundle, allowed: Ints | None) -> Answers:
    """Every voter's answers for the test examples: one scoring pass, which the run keeps."""
    if allowed is None:
        pipeline.rank("test")
        return pipeline.results.answers("test")
    system, test = open_system(bundle), pipeline.results.examples("test")
    profiles = system.profiles(test.histories, pipeline.results.accuracies("valid")[test.users])

    def work(directory: Path) -> None:
        ranker = LocalRanker(system, bundle.manifest.serving.candidates)
        ranker.lists(test.histories, profiles, allowed).save(directory)

    inputs = {"data": pipeline.directory / "data", "bundle": bundle.path(MANIFEST)}
    pipeline.stage(_SAMPLED, 1, {"negatives": [N_NEGATIVES, NEGATIVES_SEED]}, inputs, work)
    lists = VoterLists.load(pipeline.directory / _SAMPLED)
    return Answers(test.histories, system.communities, profiles, lists, allowed)


def fusions(results: Results) -> dict[str, FusionSettings]:
    """Every fusion of a run by the name of its row: each method with its own best settings, and what is served."""
    return {fused_name(method): results.fusion_settings(method) for method in FusionMethod} | {
        SERVED: results.fusion_settings()
    }


def fusions_in_words(results: Results, baselines: Sequence[str]) -> dict[str, str]:
    """The settings of every fused row of :func:`ranked_lists`, which has made the rows before."""
    settings = fusions(results) | ({ENSEMBLE: _chosen_ensemble(results)} if _voting(baselines) else {})
    return {name: in_words(chosen) for name, chosen in settings.items()}


def fused_name(method: FusionMethod) -> str:
    """Name of a row of the table."""
    return f"local adapters, {_FUSION_NAMES[method]}"


def _train(pipeline: Pipeline, name: str) -> Score:
    """A trained baseline. MultVAE is the run's CF model, which is there already."""
    if name == "MultVAE":
        return by_history(MultVAEScorer(pipeline.results.cf_model()))
    baseline = BASELINES[name]
    config = getattr(pipeline.config, baseline.section)
    with epoch_bar(name, getattr(config, "epochs", 0)) as progress:
        return baseline.train(pipeline.results.training_data(baseline), config, progress)
