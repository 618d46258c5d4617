"""Further models that are trained in no time, for tests of what is around them."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from models import further
from models.contract.specs import CoLLMSpec, FurtherPart, HatLLMSpec, ULMRecSpec
from models.further import FurtherModel
from models.papers.collm.config import CoLLMConfig
from models.papers.hatllm.config import HatLLMConfig
from models.papers.ulmrec.config import ULMRecConfig
from models.results import Results
from models.run import RunConfig
from models.types import Report

Spec = CoLLMSpec | HatLLMSpec | ULMRecSpec

COLLM = CoLLMSpec("tiny", "mf", 4, 60, "ĠYes", 3)
HATLLM = HatLLMSpec("tiny", 5, 4, 40)
ULMREC = ULMRecSpec("tiny", 6, 4, 200)


@dataclass
class Trainer:
    """Writes what it is told to train; ``interrupted`` once."""

    interrupted: bool = False
    found: list[list[str]] = field(default_factory=list)

    def train(
        self, config: CoLLMConfig | HatLLMConfig | ULMRecConfig, results: Results, directory: Path, report: Report
    ) -> None:
        self.found.append([path.name for path in directory.glob("half*")])
        (directory / "half").write_text("half")
        if self.interrupted:
            self.interrupted = False
            raise KeyboardInterrupt
        (directory / "half").unlink()
        (directory / "weights").write_text(f"{config} on {len(results.dataset().user_ids)} users")
        report("trained")

    def models(self) -> dict[FurtherPart, FurtherModel]:
        """What stands in for ``models.further.MODELS``: checks are the real ones."""
        return {
            "collm": replace(further.MODELS["collm"], train=self.train, export=_exporting(COLLM)),
            "hatllm": replace(further.MODELS["hatllm"], train=self.train, export=_exporting(HATLLM)),
            "ulmrec": replace(further.MODELS["ulmrec"], train=self.train, export=_exporting(ULMREC)),
        }


def _exporting(spec: Spec) -> Callable[[Path, Path], Spec]:
    def copy(directory: Path, target: Path) -> Spec:
        target.mkdir()
        shutil.copyfile(directory / "weights", target / "weights")
        return spec

    return copy


def with_both(config: RunConfig, backbone: Path) -> RunConfig:
    """Settings of a run that has both models."""
    hatllm = HatLLMConfig(backbone=str(backbone), intra_layers=1, cross_layers=1)
    return replace(config, collm=CoLLMConfig(backbone=str(backbone)), hatllm=hatllm)


def with_ulmrec(config: RunConfig, backbone: Path) -> RunConfig:
    """Settings of a run that has ULMRec; the backbone stands in for the text encoder, too."""
    return replace(config, ulmrec=ULMRecConfig(backbone=str(backbone), text_encoder=str(backbone)))
