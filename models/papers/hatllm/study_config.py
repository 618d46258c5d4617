"""What a study of HatLLM on one data set consists of: its configuration, and the rows of the paper's tables."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, get_args

from models.cf.multvae import MultVAEConfig
from models.cf.popularity import PopularityConfig
from models.cf.sasrec import SASRecConfig
from models.config import load, option
from models.contract.fusion import FusionMethod
from models.contract.selection import FusionSettings
from models.data.prepare import DataConfig
from models.papers.hatllm.config import ORDER, HatLLMConfig, Kind, LocalConfig

UNMASKED, HATLLM, LLARA = "no masks (BIGRec)", "HatLLM", "LLaRA"
SASREC, SASREC_TEXT, STACKED = "SASRec", "SASRec + text", "CR -> SASRec"
POPULARITY = "popularity"
FURTHER = "HatLLM trained further"  # on everyone's windows, as long as a local model: what updates alone bring
LOCAL_ROWS: Mapping[str, Callable[[FusionSettings], bool]] = {
    "HatLLM + L3Rec: RRF": lambda s: s.method is FusionMethod.RRF and not s.others,
    "HatLLM + L3Rec: wRRF(CF)": lambda s: s.method is FusionMethod.WRRF_CF and not s.others,
    "HatLLM + L3Rec: RRF with HatLLM": lambda s: s.method is FusionMethod.RRF and bool(s.others),
    "HatLLM + L3Rec: wRRF(CF) with HatLLM": lambda s: s.method is FusionMethod.WRRF_CF and bool(s.others),
    "HatLLM + L3Rec: chosen": lambda s: True,
}
"""HatLLM's local models by the fusions of which each row takes the one that is best on validation examples."""

Group = Literal["main", "ablation", "sweep", "local"]
GROUPS: tuple[Group, ...] = get_args(Group)


@dataclass(frozen=True)
class WindowsConfig:
    """Data that come as windows, see :func:`models.papers.hatllm.data.read_windows`."""

    windows: str = option("", "Path of the windows, parquet; empty: the data are those of section data.")
    items: str = option("", "Path of the items' titles, parquet.")
    valid_share: float = option(
        1 / 9, "Share of the train windows, the latest, that are validation.", low=0.001, high=0.9
    )
    train_windows: int | None = option(
        None, "Windows that all models of the study are trained on, drawn once for all seeds; unset: all.", low=1
    )
    test_examples: int | None = option(None, "Test examples, drawn once; unset: all.", low=1)
    sweep_intra: tuple[int, ...] = option((0, 1, 4, 8, 12, 16), "Numbers of intra-item layers of Figure 5.", low=0)
    sweep_cross: tuple[int, ...] = option((0, 1, 2, 3, 4, 5), "Numbers of cross-item layers of Figure 5.", low=0)


@dataclass(frozen=True)
class HatStudyConfig:
    """A study: one TOML section each, and the data set's ``name``."""

    name: str
    data: DataConfig = field(default_factory=DataConfig)
    study: WindowsConfig = field(default_factory=WindowsConfig)
    hatllm: HatLLMConfig = field(default_factory=HatLLMConfig)
    sasrec: SASRecConfig = field(default_factory=SASRecConfig)
    popularity: PopularityConfig = field(default_factory=PopularityConfig)
    multvae: MultVAEConfig = field(default_factory=MultVAEConfig)
    local: LocalConfig = field(default_factory=LocalConfig)


@dataclass(frozen=True)
class RowSpec:
    """A row of a table, or a point of a figure.

    Args:
        name: as it is shown.
        group: of rows that are shown together.
        model: of a language model that is trained for everyone its configuration, None for the other rows.
    """

    name: str
    group: Group
    model: HatLLMConfig | None = None

    @property
    def masked_layers(self) -> tuple[int, int]:
        """How many layers are intra-item, and cross-item; none where there is no model."""
        return (0, 0) if self.model is None else (self.model.intra_layers, self.model.cross_layers)


def load_study(path: Path) -> HatStudyConfig:
    """Read a TOML file. Raises ConfigError where it cannot be read or used."""
    return load(HatStudyConfig, path)


def sampling_of(config: HatStudyConfig) -> list[Any]:
    """What decides on the train windows and test examples that all rows share."""
    study = config.study
    return [study.train_windows, study.test_examples, study.valid_share if study.windows else None]


def rows_of(config: HatStudyConfig, depth: int) -> list[RowSpec]:
    """All rows, in the order of the tables.

    Args:
        config: of the study.
        depth: layers of the language model.
    """
    hat = config.hatllm
    return [*_main(hat), *_ablations(hat, depth), *_sweep(config, depth), *_local()]


def slug(config: HatLLMConfig) -> str:
    """A directory's name for what the masks are: configurations of the same masks have the same."""
    pre = "-pre" if config.cross_layers and config.cross_mask == "cross-pre" else ""
    order = "" if config.order == ORDER else f"-{'-'.join(config.order).lower()}"
    return f"intra{config.intra_layers}-cross{config.cross_layers}{pre}{order}"


def unmasked(config: HatLLMConfig) -> HatLLMConfig:
    """The same model without masks."""
    return replace(config, intra_layers=0, cross_layers=0, cross_mask="cross", order=ORDER)


def _main(hat: HatLLMConfig) -> Iterator[RowSpec]:
    yield RowSpec(POPULARITY, "main")
    yield RowSpec(SASREC, "main")
    yield RowSpec(SASREC_TEXT, "main")
    yield RowSpec(LLARA, "main", unmasked(hat))
    yield RowSpec(UNMASKED, "main", unmasked(hat))
    yield RowSpec(HATLLM, "main", hat)


def _ablations(hat: HatLLMConfig, depth: int) -> Iterator[RowSpec]:
    """Table 5. Layers that lose their mask are causal; without OR, the IN layers go up to the CR layers."""
    yield RowSpec("w/o IN", "ablation", replace(hat, intra_layers=0))
    yield RowSpec("w/o OR", "ablation", replace(hat, intra_layers=depth - hat.cross_layers))
    yield RowSpec("w/o CR", "ablation", replace(hat, cross_layers=0))
    yield RowSpec(STACKED, "ablation")
    yield RowSpec("CR -> CR-pre", "ablation", replace(hat, cross_mask="cross-pre"))
    orders: tuple[tuple[Kind, Kind, Kind], ...] = (
        ("IN", "CR", "OR"),
        ("OR", "IN", "CR"),
        ("OR", "CR", "IN"),
        ("CR", "IN", "OR"),
        ("CR", "OR", "IN"),
    )
    for order in orders:
        yield RowSpec("-".join(order), "ablation", replace(hat, order=order))


def _sweep(config: HatStudyConfig, depth: int) -> Iterator[RowSpec]:
    """Figure 5: one number of layers at a time, as many as there is room for."""
    hat, study = config.hatllm, config.study
    for intra in study.sweep_intra:
        if intra + hat.cross_layers <= depth:
            yield RowSpec(f"intra {intra}", "sweep", replace(hat, intra_layers=intra))
    for cross in study.sweep_cross:
        if cross + hat.intra_layers <= depth:
            yield RowSpec(f"cross {cross}", "sweep", replace(hat, cross_layers=cross))


def _local() -> Iterator[RowSpec]:
    return (RowSpec(name, "local") for name in (FURTHER, *LOCAL_ROWS))
