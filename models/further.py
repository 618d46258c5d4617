"""The stages of a run's further models, such as CoLLM: trained where the run has their section, then exported.

```
<run>/collm …          what training left
<run>/parts/collm …    files/: the bundle's part; spec.json: what its manifest says
```
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol

import msgspec

from models.contract.specs import CoLLMSpec, FurtherPart, FurtherSpec, HatLLMSpec, L2RecSpec, ULMRecSpec
from models.data.labelled import labelled_of
from models.export import ExportedModel
from models.llm.items import check_encoder
from models.llm.source import local_files
from models.papers.collm.config import CoLLMConfig, check_backbone
from models.papers.collm.export import check_served, train_collm
from models.papers.collm.export import export_part as export_collm
from models.papers.hatllm.config import HatLLMConfig, check_layers
from models.papers.hatllm.data import WindowedData
from models.papers.hatllm.export import export_part as export_hatllm
from models.papers.hatllm.training import train_hatllm
from models.papers.l2rec.config import L2RecConfig
from models.papers.l2rec.config import check_layers as check_l2rec_layers
from models.papers.l2rec.data import L2RecData
from models.papers.l2rec.export import export_part as export_l2rec
from models.papers.l2rec.training import check_initial, train_l2rec
from models.papers.ulmrec.config import ULMRecConfig
from models.papers.ulmrec.config import check_models as check_ulmrec_models
from models.papers.ulmrec.export import check_served as check_ulmrec_served
from models.papers.ulmrec.export import export_part as export_ulmrec
from models.papers.ulmrec.export import train_ulmrec
from models.results import Results
from models.run import FURTHER, RunConfig
from models.types import Report

FILES, SPEC = "files", "spec.json"


class Stages(Protocol):
    """What stages of a run need of it: :class:`models.pipeline.Pipeline`."""

    directory: Path
    config: RunConfig
    results: Results

    def stage(
        self,
        name: str,
        version: int,
        config: Any,
        inputs: dict[str, Path],
        work: Callable[[Path], None],
        *,
        resumable: bool = False,
    ) -> bool:
        """Run a stage where needed. False where it was done before."""
        ...


@dataclass(frozen=True)
class FurtherModel:
    """How a further model is made.

    Args:
        version: raised by whoever changes what training computes.
        check: raises ConfigError where a configuration asks for what its backbone does not have.
        train: trains with a configuration on a run's results, resumably, into a directory.
        export: writes a bundle's part, from that directory into one that is not there yet.
        spec: class of what export says of it.
        reads: fields of a configuration that name a model, a path or a hub's id, or another file.
        stages: whose results training reads.
    """

    version: int
    check: Callable[[Any], None]
    train: Callable[[Any, Results, Path, Report], object]
    export: Callable[[Path, Path], FurtherSpec]
    spec: type[FurtherSpec]
    reads: tuple[str, ...]
    stages: tuple[str, ...] = ("data",)


def _check_collm(config: CoLLMConfig) -> None:
    check_served(config)
    check_backbone(config)


def _train_collm(config: CoLLMConfig, results: Results, directory: Path, report: Report) -> None:
    train_collm(config, labelled_of(results.dataset(), config.negatives, config.seed), directory, report)


def _check_hatllm(config: HatLLMConfig) -> None:
    check_layers(config)
    if config.text_encoder:
        check_encoder(config.text_encoder)


def _train_hatllm(config: HatLLMConfig, results: Results, directory: Path, report: Report) -> None:
    train_hatllm(config, WindowedData.of(results.dataset()), directory, report)


def _check_ulmrec(config: ULMRecConfig) -> None:
    check_ulmrec_served(config)
    check_ulmrec_models(config)


def _train_ulmrec(config: ULMRecConfig, results: Results, directory: Path, report: Report) -> None:
    train_ulmrec(config, results.dataset(), results.cf_model(), directory, report)


def _check_l2rec(config: L2RecConfig) -> None:
    check_l2rec_layers(config)
    check_initial(config)


def _train_l2rec(config: L2RecConfig, results: Results, directory: Path, report: Report) -> None:
    train_l2rec(config, L2RecData(results.dataset(), results.cf_model()), directory, report)


MODELS: Mapping[FurtherPart, FurtherModel] = MappingProxyType(
    {
        "collm": FurtherModel(2, _check_collm, _train_collm, export_collm, CoLLMSpec, ("backbone",)),
        "hatllm": FurtherModel(
            1, _check_hatllm, _train_hatllm, export_hatllm, HatLLMSpec, ("backbone", "text_encoder")
        ),
        "ulmrec": FurtherModel(
            2,
            _check_ulmrec,
            _train_ulmrec,
            export_ulmrec,
            ULMRecSpec,
            ("backbone", "text_encoder", "user_texts"),
            ("data", "cf"),
        ),
        "l2rec": FurtherModel(
            1, _check_l2rec, _train_l2rec, export_l2rec, L2RecSpec, ("backbone", "initial"), ("data", "cf")
        ),
    }
)


def wanted(config: RunConfig) -> tuple[FurtherPart, ...]:
    """The further models that a run has."""
    return tuple(part for part in FURTHER if getattr(config, part) is not None)


def check(config: RunConfig) -> None:
    """Check that the backbones of a run's further models are there and have the layers that are asked for.

    Raises:
        ConfigError: they are not, or have fewer.
    """
    for part in wanted(config):
        MODELS[part].check(getattr(config, part))


def train(stages: Stages, parts: Sequence[FurtherPart], report: Report) -> None:
    """Train further models and export them; the data are prepared.

    Args:
        stages: of the run.
        parts: which ones; the run has their sections.
        report: told one line a step.
    """
    for part in parts:
        _train(stages, part, report)
        _export(stages, part)


def exported(run: Path, part: FurtherPart) -> ExportedModel:
    """One of a run's further models, which is trained and exported."""
    directory = part_directory(run, part)
    spec = msgspec.json.decode((directory / SPEC).read_bytes(), type=MODELS[part].spec)
    return ExportedModel(part, directory / FILES, spec)


def part_directory(run: Path, part: FurtherPart) -> Path:
    """The stage that exports one of a run's further models."""
    return run / "parts" / part


def _train(stages: Stages, part: FurtherPart, report: Report) -> None:
    config = getattr(stages.config, part)

    def work(directory: Path) -> None:
        MODELS[part].train(config, stages.results, directory, lambda line: report(f"  {part}: {line}"))

    inputs = {name: stages.directory / name for name in MODELS[part].stages} | _files(part, config)
    stages.stage(part, MODELS[part].version, config, inputs, work, resumable=True)


def _export(stages: Stages, part: FurtherPart) -> None:
    config = getattr(stages.config, part)

    def work(directory: Path) -> None:
        spec = MODELS[part].export(stages.directory / part, directory / FILES)
        (directory / SPEC).write_bytes(msgspec.json.format(msgspec.json.encode(spec)))

    inputs = {part: stages.directory / part} | _files(part, config)
    stages.stage(f"parts/{part}", 1, {}, inputs, work)


def _files(part: FurtherPart, config: Any) -> dict[str, Path]:
    """Every file of the models that a configuration names on this machine; a hub's is known by its id."""
    files: dict[str, Path] = {}
    for key in MODELS[part].reads:
        files |= local_files(key, getattr(config, key))
    return files
