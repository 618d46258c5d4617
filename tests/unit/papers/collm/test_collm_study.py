"""The paper's tables from tiny models: every row is there, and nothing is done twice."""

import json
import math
import shutil
from dataclasses import asdict
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner
from support.collm import colour_data, tiny_collm, write_reader

from localrec.reproducing.collm import collm
from models.contract.errors import ConfigError
from models.data.labelled import LabelledPairs
from models.evaluation.metrics import Interval
from models.evaluation.pointwise import METRICS
from models.papers.collm.study import SUBSETS, Measured, load_settings
from models.papers.collm.tables import write

ROWS = ("MF", "TALLRec", "CoLLM-MF", "CoLLM-MF T2", "CoLLM-DIN", "ICL")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("files")
    data = colour_data()
    parts = {"train": data.train, "valid": data.valid, "test": data.test}
    rows = pl.concat([_table(name, pairs) for name, pairs in parts.items()]).with_row_index("order")
    (directory / "data").mkdir()
    rows.write_parquet(directory / "data" / "interactions.parquet")
    items = {"item_id": data.catalogue.ids, "title": [item.title for item in data.catalogue.items]}
    pl.DataFrame(items).with_columns(categories=pl.lit("")).write_parquet(directory / "data" / "items.parquet")
    settings = asdict(tiny_collm(write_reader(directory / "reader")))
    (directory / "collm.toml").write_text(
        "[collm]\n" + "".join(f"{k} = {json.dumps(v)}\n" for k, v in settings.items())
    )
    return directory


@pytest.fixture(scope="module")
def said(files: Path) -> str:
    return _reproduce(files, "--only", ",".join(ROWS), "--timed", "8")


def test_every_row_is_measured(files: Path, said: str) -> None:
    document = json.loads((files / "out.json").read_text())
    rows = {row["name"]: row for row in document["rows"]}
    assert set(ROWS) | {"MF + TALLRec", "MF + CoLLM-MF"} <= set(rows)
    for row in rows.values():
        interval = row["metrics"]["all"]["AUC"]
        assert 0 <= interval["low"] <= interval["mean"] <= interval["high"] <= 1
    assert set(rows["CoLLM-MF"]["differences"]) == {"TALLRec", "MF"}
    assert document["costs"]["CoLLM-MF"]["tokens"] > document["costs"]["TALLRec"]["tokens"]


def test_tables_and_pictures_are_written(files: Path, said: str) -> None:
    text = (files / "out.md").read_text()
    assert "| CoLLM-MF T2 | 1 |" in text
    pictures = {path.name for path in (files / "out").iterdir()}
    assert pictures == {f"{name}{suffix}" for name in ("scenarios", "tuning") for suffix in (".png", ".svg")}


def test_the_same_command_again_only_measures(files: Path, said: str) -> None:
    assert "seed 0: CoLLM-MF" in said
    again = _reproduce(files, "--only", ",".join(ROWS))
    assert "seed 0" not in again


def test_rows_of_other_settings_or_data_are_left_out(files: Path, said: str, tmp_path: Path) -> None:
    for name in ("collm.toml", "data", "run"):
        (shutil.copytree if (files / name).is_dir() else shutil.copy)(files / name, tmp_path / name)
    settings = tmp_path / "collm.toml"
    settings.write_text(settings.read_text().replace("mapping_factor = 2", "mapping_factor = 3"))
    output = _reproduce(tmp_path, "--no-train")
    assert "seed 0: CoLLM-MF was made with other settings or data; left out" in output
    assert _names(tmp_path) == {"MF", "DIN", "TALLRec", "ICL", "MF + TALLRec"}
    interactions = tmp_path / "data" / "interactions.parquet"
    pl.read_parquet(interactions).with_columns(timestamp=0).write_parquet(interactions)
    assert "0 rows" in _reproduce(tmp_path, "--no-train")


def test_a_metric_without_a_value_is_null_in_the_document(tmp_path: Path) -> None:
    none = dict.fromkeys(METRICS, Interval(math.nan, math.nan, math.nan))
    row = Measured("TALLRec", 1, dict.fromkeys(SUBSETS, none), 0.0, {}, 1.0, 1.0)
    write([row], {}, {"command": "localrec"}, tmp_path / "out")
    metrics = json.loads((tmp_path / "out.json").read_text())["rows"][0]["metrics"]
    assert metrics["cold"]["AUC"] == {"mean": None, "low": None, "high": None}


def test_an_unknown_row_is_refused(files: Path) -> None:
    result = CliRunner().invoke(collm, _arguments(files, "--only", "CoLLM-XY"))
    assert result.exit_code == 2
    assert "'CoLLM-XY'; expected of MF" in result.output


def test_a_file_of_other_sections_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text("[local]\n")
    with pytest.raises(ConfigError, match="local: unknown section; expected collm"):
        load_settings(tmp_path / "a.toml")


def _reproduce(files: Path, *further: str) -> str:
    result = CliRunner().invoke(collm, _arguments(files, *further), catch_exceptions=False)
    assert result.exit_code == 0
    return result.output


def _names(files: Path) -> set[str]:
    return {row["name"] for row in json.loads((files / "out.json").read_text())["rows"]}


def _arguments(files: Path, *further: str) -> list[str]:
    places = ("--data", str(files / "data"), "--run", str(files / "run"), "--out", str(files / "out"))
    return [str(files / "collm.toml"), *places, "--seeds", "0", *further]


def _table(split: str, pairs: LabelledPairs) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "user_id": [f"u{user}" for user in pairs.users],
            "item_id": [f"item {item}" for item in pairs.items],
            "timestamp": range(len(pairs)),
            "label": pairs.labels,
            "split": [split] * len(pairs),
        }
    )
