"""The retriever of a study of ULMRec, and the lists that are re-ranked.

The paper's is LRURec, which is not built here: SASRec takes its place, with or without the items' texts, trained on the
train part and chosen on validation. As LlamaRec does it, items of the history are never retrieved, so a user whose
target is one of them counts as a miss.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal, Self, get_args

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from models.cf.sasrec import SASRecConfig, train_sasrec
from models.config import option
from models.contract.types import Floats, Ints
from models.data import prepare
from models.data.dataset import Dataset
from models.data.prepare import DataConfig
from models.evaluation.metrics import Ranks, evaluate_scorer, ranks_in_lists
from models.llm.items import fit_whitening, item_text, sentence_states
from models.stage import run_stage
from models.types import Report, by_history

RetrieverName = Literal["SASRec", "SASRec + text"]
RETRIEVERS: tuple[RetrieverName, ...] = get_args(RetrieverName)
READS_TEXT: RetrieverName = "SASRec + text"
VERSION = 1  # raise when a stage here computes something else from the same inputs
LISTED = 100  # items of a list that is kept, of which the first are re-ranked
VALID_EXAMPLES = 5000  # that training looks at after every epoch, at most
SAMPLE_SEED = 0  # of these
_LISTS, _TEXT = "lists.safetensors", "text.safetensors"


@dataclass(frozen=True)
class RetrieverConfig:
    """Whose lists are re-ranked, and what "SASRec + text" reads of the items."""

    model: RetrieverName = option("SASRec + text", "Model whose lists are re-ranked.")
    text_encoder: str = option(
        "sentence-transformers/all-MiniLM-L6-v2", "Hub id or directory of the sentence encoder of the items' texts."
    )
    text_tokens: int = option(64, "Tokens of an item's text that are read, at most.", low=1)
    text_size: int = option(128, "Directions of the items' texts that are kept, whitened.", low=1)


@dataclass(frozen=True)
class Retrieved:
    """What a retriever lists for all examples.

    Args:
        valid, test: (n, 100) int32 item numbers, best first; -1 where none remain.
    """

    valid: Ints
    test: Ints

    def save(self, directory: Path) -> None:
        """Write ``lists.safetensors``."""
        save_file({"valid": self.valid, "test": self.test}, directory / _LISTS)

    @classmethod
    def load(cls, directory: Path) -> Self:
        """Read what :meth:`save` has written."""
        found = load_file(directory / _LISTS)
        return cls(found["valid"], found["test"])


def embed_texts(config: RetrieverConfig, dataset: Dataset, directory: Path) -> None:
    """Write whitened vectors (n_items, text_size) of the items' texts."""
    texts = [item_text(item) for item in dataset.catalogue.items]
    states = sentence_states(config.text_encoder, texts, config.text_tokens)
    whitened = fit_whitening(states, config.text_size)(states)
    save_file({"text": whitened.contiguous().numpy()}, directory / _TEXT)


def read_texts(directory: Path) -> Floats:
    """What :func:`embed_texts` has written."""
    text: Floats = load_file(directory / _TEXT)["text"]
    return text


def retrieve(dataset: Dataset, config: SASRecConfig, item_text: Floats | None, report: Report) -> Retrieved:
    """Train a retriever, and list its best for all validation and test examples."""

    def told(epoch: int, ndcg: float) -> None:
        report(f"epoch {epoch}  validation NDCG@10 {ndcg:.4f}")

    valid, test = dataset.examples("valid"), dataset.examples("test")
    sampled = valid.sample(VALID_EXAMPLES, SAMPLE_SEED)
    scorer = train_sasrec(dataset.train, sampled, len(dataset.catalogue), config, told, item_text=item_text)
    lists = [evaluate_scorer(by_history(scorer), examples, LISTED) for examples in (valid, test)]
    return Retrieved(lists[0], lists[1])


def places(lists: Ints, targets: Ints) -> Ranks:
    """(n,) place of each target in its list, infinity where it was not retrieved."""
    return ranks_in_lists(lists, targets)


def found_rows(lists: Ints, targets: Ints) -> NDArray[np.int64]:
    """Rows whose target was retrieved: those that are re-ranked."""
    return np.flatnonzero(np.isfinite(places(lists, targets))).astype(np.int64)


class RetrieverStages:
    """The stages of a study that its language models build on.

    ```
    <directory>/data                 the prepared data set
    <directory>/text                 whitened vectors of the items' texts, of "SASRec + text"
    <directory>/retrievers/<name>    a retriever's lists
    ```

    A retriever has the seed of its own settings, whatever that of the rankers: all re-rank the same lists.

    Args:
        directory: the study's.
        data: where the data are.
        retriever: see :class:`RetrieverConfig`.
        sasrec: of both retrievers.
        report: told one line a step.
    """

    def __init__(
        self,
        directory: Path,
        data: DataConfig,
        retriever: RetrieverConfig,
        sasrec: SASRecConfig,
        report: Report,
    ) -> None:
        self._directory = directory
        self._data_config = data
        self._config = retriever
        self._sasrec = sasrec
        self._report = report

    @cached_property
    def data(self) -> Path:
        """The stage of the prepared data set, which is made where it is not there."""
        directory = self._directory / "data"
        prepare.run(self._data_config, directory)
        return directory

    @cached_property
    def dataset(self) -> Dataset:
        """The prepared data set."""
        return Dataset.load(self.data)

    def directory(self, name: RetrieverName) -> Path:
        """The stage of a retriever, which is trained where it is not there."""
        directory = self._directory / "retrievers" / name.lower().replace(" + ", "-")
        reads_text = name == READS_TEXT

        def work(target: Path) -> None:
            self._report(f"retriever {name}")
            text = read_texts(self._text) if reads_text else None
            retrieve(self.dataset, self._sasrec, text, self._report).save(target)

        inputs = {"data": self.data} | ({"text": self._text} if reads_text else {})
        config = [LISTED, self._sasrec]
        run_stage(directory, name=name, version=VERSION, config=config, inputs=inputs, work=work)
        return directory

    def retrieved(self, name: RetrieverName) -> Retrieved:
        """The lists of a retriever."""
        return Retrieved.load(self.directory(name))

    @cached_property
    def _text(self) -> Path:
        directory = self._directory / "text"

        def work(target: Path) -> None:
            self._report("texts of the items")
            embed_texts(self._config, self.dataset, target)

        settings = [self._config.text_encoder, self._config.text_tokens, self._config.text_size]
        run_stage(directory, name="text", version=VERSION, config=settings, inputs={"data": self.data}, work=work)
        return directory
