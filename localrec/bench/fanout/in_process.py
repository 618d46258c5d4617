"""The engine's model by itself: nine adapters for a history against one, alone and in batches, in both forms.

Calls that are compared take turns within a round, so that a ratio does not hang on the machine's mood.
"""

import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import cycle
from pathlib import Path
from statistics import median

import numpy as np
import torch

from localrec.bench.random_model import Shape, write_item_token_model, write_title_model
from models.contract.bundle import CHECKPOINT
from models.contract.prompts import ItemPrompts
from models.contract.types import Ints, item_numbers
from service.engine.adapter_files import read_adapter
from service.engine.device import DType
from service.engine.model import LanguageModel, ModelSettings, Query

ADAPTERS = tuple(f"c{number:02d}" for number in range(9))
SLOTS = range(1, 10)
N_BEST = 100
HISTORY = 20  # items
USERS = 32  # of the larger batch
TITLE_LAYERS = 10  # nine below the adapters, as when they were cut from the backbone
TITLE_ROUNDS = 6
INDEXED_ITEMS = 200_000
INDEX_ROUNDS = 8

Work = Callable[[], object]


def shapes(n_items: int) -> dict[str, Shape]:
    """What is measured: the default, and three layers with adapters in the last of them, the last two, and all."""
    three = {f"3_layers_last_{n}": Shape(n_items, layers=3, adapted_layers=n) for n in (1, 2, 3)}
    return {"default": Shape(n_items)} | three


def measure(n_items: int, rounds: int, threads: int, seed: int) -> dict[str, float]:
    """Milliseconds and ratios, in both number formats."""
    torch.set_num_threads(threads)
    metrics: dict[str, float] = {}
    for name, shape in shapes(n_items).items():
        for dtype, suffix in (("float32", ""), ("bfloat16", "_bfloat16")):
            with _item_token_model(shape, dtype, seed) as model:  # type: ignore[arg-type] # a literal
                measured = _item_token(model, shape, rounds, seed)
            metrics |= {f"{key}_{name}{suffix}": value for key, value in measured.items()}
    return metrics | _title(n_items, seed)


def index(threads: int, seed: int) -> dict[str, float]:
    """A very large catalogue by index and by the exact product, and how much of the exact lists the index finds.

    The item vectors are random: for an index that is the worst case, as they have no clusters.
    """
    torch.set_num_threads(threads)
    with tempfile.TemporaryDirectory(prefix="lr-") as temporary:
        directory, shape = Path(temporary), Shape(INDEXED_ITEMS)
        spec = write_item_token_model(directory, shape, ADAPTERS, seed=seed)
        exact, indexed = (
            load_model(
                directory / CHECKPOINT, _adapters(directory), ModelSettings(spec.lora_rank, head_index_items=items)
            )
            for items in (INDEXED_ITEMS * 2, INDEXED_ITEMS)
        )
    asked = queries(item_prompts(INDEXED_ITEMS, 1, seed), SLOTS)
    taken = in_turn({"exact": lambda: exact.answer(asked), "index": lambda: indexed.answer(asked)}, INDEX_ROUNDS)
    return {
        "large_catalogue_exact_ms": median(taken["exact"]),
        "large_catalogue_index_ms": median(taken["index"]),
        "large_catalogue_index_over_exact": _ratio(taken["index"], taken["exact"]),
        "large_catalogue_recall_at_100": indexed.index_recall(queries(item_prompts(INDEXED_ITEMS, 8, seed), SLOTS)),
    }


def _item_token(model: LanguageModel, shape: Shape, rounds: int, seed: int) -> dict[str, float]:
    prompts = item_prompts(shape.n_items, USERS, seed)
    one, nine, batch = queries(prompts[:1], (1,)), queries(prompts[:1], SLOTS), queries(prompts, SLOTS)
    taken = in_turn(
        {
            "one": lambda: model.answer(one),
            "nine": lambda: model.answer(nine),
            "batch": lambda: model.answer(batch),
        },
        rounds,
    )
    return {
        "one_adapter_ms": median(taken["one"]),
        "nine_adapters_ms": median(taken["nine"]),
        "nine_over_one": _ratio(taken["nine"], taken["one"]),
        f"nine_adapters_{USERS}_users_ms": median(taken["batch"]),
        "nine_adapters_in_batch_ms_a_user": median(taken["batch"]) / USERS,
    }


def _title(n_items: int, seed: int) -> dict[str, float]:
    shape = Shape(n_items, layers=TITLE_LAYERS)
    with tempfile.TemporaryDirectory(prefix="lr-") as temporary:
        directory = Path(temporary)
        titles = write_title_model(directory, shape, ADAPTERS, seed=seed)
        model = load_model(directory / CHECKPOINT, _adapters(directory), ModelSettings(shape.lora_rank))
    history = item_numbers(np.random.default_rng(seed).choice(n_items, HISTORY, replace=False))
    prompt = item_numbers(titles.prompt(history))
    nine = queries([prompt], SLOTS)
    taken = in_turn(
        {"nine": lambda: model.answer(nine), "single": lambda: [model.answer([query]) for query in nine]}, TITLE_ROUNDS
    )
    return {
        "title_nine_adapters_ms": median(taken["nine"]),
        "title_nine_single_ms": median(taken["single"]),
        "title_nine_over_nine_single": _ratio(taken["nine"], taken["single"]),
    }


@contextmanager
def _item_token_model(shape: Shape, dtype: DType, seed: int) -> Iterator[LanguageModel]:
    with tempfile.TemporaryDirectory(prefix="lr-") as temporary:
        spec = write_item_token_model(Path(temporary), shape, ADAPTERS, seed=seed)
        settings = ModelSettings(spec.lora_rank, spec.table_rank, dtype=dtype)
        yield load_model(Path(temporary) / CHECKPOINT, _adapters(Path(temporary)), settings)


def _adapters(directory: Path) -> list[Path]:
    return [directory / "adapters" / name for name in ADAPTERS]


def load_model(checkpoint: Path, adapters: Sequence[Path], settings: ModelSettings) -> LanguageModel:
    """The engine's model with nine adapters in ``SLOTS``: those given, in turn."""
    model = LanguageModel.load(checkpoint, settings)
    for slot, adapter in zip(SLOTS, cycle(adapters), strict=False):
        model.adapters.write(slot, read_adapter(adapter, model.adapters.targets()))
    return model


def item_prompts(n_items: int, n: int, seed: int) -> list[Ints]:
    """Random histories as prompts of the item-token form."""
    rng, prompts = np.random.default_rng(seed), ItemPrompts(n_items, HISTORY)
    histories = [item_numbers(rng.choice(n_items, HISTORY, replace=False)) for _ in range(n)]
    return [item_numbers(prompts.prompt(history)) for history in histories]


def queries(prompts: Sequence[Ints], slots: Sequence[int]) -> list[Query]:
    """Every prompt under every slot's adapter."""
    return [Query(prompt, slot, N_BEST) for prompt in prompts for slot in slots]


def in_turn(works: Mapping[str, Work], rounds: int) -> dict[str, list[float]]:
    """Milliseconds of each work in each round; two rounds more warm up."""
    taken: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(rounds + 2):
        for name, work in works.items():
            started = time.perf_counter()
            work()
            taken[name].append((time.perf_counter() - started) * 1e3)
    return {name: values[2:] for name, values in taken.items()}


def _ratio(above: Sequence[float], below: Sequence[float]) -> float:
    return median(a / b for a, b in zip(above, below, strict=True))
