"""The ranked lists of a bundle, on a data set of its catalogue: without the run that made it, perhaps years later.

Users are met as the gateway meets strangers: by their histories. So no model was judged by them, and wRRF(LLM), which
would be RRF, has no row. What was chosen on validation items, such as the k that is served, stays as it is.
"""

from dataclasses import replace

from models.cf.multvae import MultVAEScorer
from models.cf.popularity import PopularityScorer
from models.contract.bundle import CATALOGUE, Bundle
from models.contract.catalogue import Catalogue
from models.contract.errors import DataError
from models.contract.fusion import FusionMethod
from models.contract.selection import GLOBAL_VOTER, FusionSettings
from models.contract.types import Ints
from models.data.dataset import Dataset
from models.evaluation.measure import Protocol
from models.evaluation.metrics import evaluate_scorer
from models.experiments.further_lists import bundle_lists_of, further_rows
from models.experiments.lists import GLOBAL, QUICK, SERVED, fused_name, sampled_items
from models.ranking.ranker import LocalRanker
from models.ranking.recommend import recommend_all
from models.ranking.system import open_system
from models.types import by_history

_METHODS = tuple(method for method in FusionMethod if method is not FusionMethod.WRRF_LLM)


def bundle_rows(bundle: Bundle) -> list[str]:
    """Names of the models that :func:`bundle_lists` measures, in the table's order."""
    return [*QUICK, *further_rows(bundle.manifest.parts), GLOBAL, *map(fused_name, _METHODS), SERVED]


def bundle_lists(bundle: Bundle, dataset: Dataset, n: int, protocol: Protocol = "full") -> dict[str, Ints]:
    """Lists (n_examples, n) by model for the test examples of a data set, in the order of :func:`bundle_rows`.

    Raises:
        DataError: the bundle has another catalogue, or the sampled protocol wants more items than there are.
    """
    _check_catalogue(bundle, dataset)
    system, test = open_system(bundle), dataset.examples("test")
    allowed = sampled_items(dataset) if protocol == "sampled" else None
    classical = (PopularityScorer(system.popularity), MultVAEScorer(system.cf))
    answers = LocalRanker(system, bundle.manifest.serving.candidates).answers(test.histories, allowed)
    lists = (
        *(evaluate_scorer(by_history(scorer), test, n, allowed) for scorer in classical),
        *bundle_lists_of(bundle, dataset, n, allowed).values(),
        answers.lists.best(GLOBAL_VOTER, n),
        *(recommend_all(system, answers, settings, n) for settings in bundle_fusions(bundle).values()),
    )
    return dict(zip(bundle_rows(bundle), lists, strict=True))


def bundle_fusions(bundle: Bundle) -> dict[str, FusionSettings]:
    """The settings of every fused row of :func:`bundle_lists`."""
    served = bundle.manifest.serving.fusion()
    return {fused_name(method): replace(served, method=method, others=()) for method in _METHODS} | {SERVED: served}


def _check_catalogue(bundle: Bundle, dataset: Dataset) -> None:
    known, wanted = Catalogue.load(bundle.path(CATALOGUE)).ids, dataset.catalogue.ids
    if known != wanted:
        raise DataError(
            f"bundle {bundle.id}: a catalogue of {len(known):,} items; the data have {len(wanted):,},"
            f" {len(set(wanted) - set(known)):,} of them unknown to it; expected the same items"
        )
