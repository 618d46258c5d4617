"""Search for a baseline's settings: the space is the ``search`` values of its configuration's fields.

Validation data alone decide, test data are never read. Each trial is one line of a JSON-lines file, written when it is
over, so that a search that was interrupted goes on where it stopped, and a longer one starts from a shorter one.
"""

import dataclasses
import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import numpy as np

from models.cf.baselines import Baseline, TrainingData
from models.cf.training import Progress
from models.config import make
from models.contract.errors import ConfigError
from models.evaluation.metrics import mean_ndcg
from models.training.divergence import TrainingError

C = TypeVar("C")


class Trial(msgspec.Struct, frozen=True):
    """What one configuration gave. ``version`` and ``data`` (a digest) say what it was measured with."""

    version: int
    data: str
    config: dict[str, Any]
    ndcg: float
    seconds: float


def search_space(config: type) -> dict[str, tuple[Any, ...]]:
    """The values tried for each field that is searched."""
    spaces = {f.name: f.metadata["search"] for f in dataclasses.fields(config)}
    return {name: values for name, values in spaces.items() if values}


def configurations(current: C, section: str, n: int, seed: int) -> list[C]:
    """The ``n`` configurations to try: the current one, then points of the space, none twice.

    The whole space where it has fewer points, in its order; otherwise points drawn at random. A larger ``n`` of the
    same seed continues a smaller one.

    Raises:
        ConfigError: there is nothing to try.
    """
    if n < 1:
        raise ConfigError(f"trials: {n} is out of range; expected at least 1")
    space = search_space(type(current))
    sizes = [len(values) for values in space.values()]
    n_points = math.prod(sizes)
    order = np.arange(n_points) if n_points <= n else np.random.default_rng(seed).permutation(n_points)
    tried = [current]
    for point in order:
        if len(tried) == n:
            break
        places = np.unravel_index(point, sizes)
        values = {name: space[name][place] for name, place in zip(space, places, strict=True)}
        candidate = make(type(current), msgspec.to_builtins(current) | values, section)
        if candidate != current:
            tried.append(candidate)
    return tried


def run_trials(
    baseline: Baseline,
    data: TrainingData,
    data_digest: str,
    configs: list[Any],
    file: Path,
    open_progress: Callable[[Any], Any],
) -> Iterator[Trial]:
    """Train each configuration and measure it on validation examples; those that the file knows are not run again.

    Args:
        baseline: what is trained.
        data: trained on its train part, measured by NDCG@10 of its validation examples.
        data_digest: of the data set, so that trials on another one do not count.
        configs: see :func:`configurations`.
        file: the trials' lines; grows.
        open_progress: gives a context manager of the :data:`models.cf.training.Progress` for one configuration.
    """
    known = {_key(trial): trial for trial in _read(file)}
    for config in configs:
        wanted = Trial(baseline.version, data_digest, _as_read(config), 0.0, 0.0)
        if _key(wanted) in known:
            yield known[_key(wanted)]
            continue
        with open_progress(config) as progress:
            trial = _run(baseline, data, config, wanted, progress)
        _append(file, trial)
        yield trial


def best_trial(trials: list[Trial]) -> Trial:
    """The trial with the best validation NDCG@10; of equals the first."""
    return max(trials, key=lambda trial: trial.ndcg)


def _run(baseline: Baseline, data: TrainingData, config: Any, wanted: Trial, progress: Progress) -> Trial:
    started = time.monotonic()
    try:
        score = baseline.train(data, config, progress)
    except TrainingError:  # settings that diverge are worth nothing, and the search goes on
        score = None
    seconds = time.monotonic() - started
    ndcg = mean_ndcg(score, data.valid) if score else 0.0
    return msgspec.structs.replace(wanted, ndcg=ndcg, seconds=round(seconds, 1))


def _as_read(config: Any) -> dict[str, Any]:
    """The configuration as it comes back from its line: tuples are lists there."""
    fields: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(config))
    return fields


def _key(trial: Trial) -> bytes:
    """What has to be equal for a trial's result to hold."""
    return msgspec.json.encode((trial.version, trial.data, trial.config), order="sorted")


def _read(file: Path) -> list[Trial]:
    """The file's trials; a line that was cut off by an interruption, or is of another schema, is none."""
    trials = []
    for line in file.read_bytes().splitlines() if file.exists() else ():
        try:
            trials.append(msgspec.json.decode(line, type=Trial))
        except (msgspec.MsgspecError, UnicodeDecodeError):
            continue
    return trials


def _append(file: Path, trial: Trial) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    cut_off = file.exists() and not file.read_bytes().endswith(b"\n")
    with file.open("ab") as stream:
        stream.write((b"\n" if cut_off else b"") + msgspec.json.encode(trial) + b"\n")
