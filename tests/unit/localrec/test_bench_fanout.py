from pathlib import Path

import numpy as np
import pytest
from support.runs import FinishedRun

from localrec.bench.fanout import tradeoff
from localrec.bench.random_model import Shape, random_bundle
from models.contract.bundle import verify_bundle
from models.contract.probe import load_probe
from models.experiments.training_sweep import parse, sweep_training, trials
from models.pipeline import Pipeline
from models.stage import link_stages

SMALL = {"hidden_size": 128, "heads": 2, "key_value_heads": 1, "inner_size": 96, "embedding_size": 16}


@pytest.mark.parametrize("own_tables", [False, True])
def test_versions_of_a_random_bundle_share_the_base_model_and_nothing_else(tmp_path: Path, own_tables: bool):
    shape = Shape(n_items=60, layers=1, own_tables=own_tables, **SMALL)
    first, second = (random_bundle(tmp_path, shape, communities=2, n_users=5, version=version) for version in (0, 1))
    assert first.base_id == second.base_id
    assert first.id != second.id
    for bundle in (first, second):
        verify_bundle(bundle.directory)
    probes = [load_probe(bundle.directory, bundle.manifest.model.adapters) for bundle in (first, second)]
    np.testing.assert_array_equal(probes[0].prompt, probes[1].prompt)
    for name in first.manifest.model.adapters:
        assert probes[0].complaint(name, probes[0].lists[name]) == ""
        assert probes[0].complaint(name, probes[1].lists[name])


def test_a_trials_quality_is_set_against_its_cost(finished_run: FinishedRun, tmp_path: Path):
    link_stages(finished_run.directory, tmp_path / "run")
    pipeline = Pipeline(tmp_path / "run", finished_run.config, lambda line: None)
    planned = trials(finished_run.config, [parse("serving.candidates=10")], grid=False)
    list(sweep_training(pipeline, planned, "valid", lambda line: None))
    trial = tmp_path / "run" / "sweeps" / "serving.candidates=10"
    metrics = tradeoff.run([trial], 2, tmp_path / "out")["metrics"]
    assert 0 < metrics["serving.candidates=10: batch_ms_a_user"] < metrics["serving.candidates=10: alone_ms"]
    assert metrics["serving.candidates=10: global adapter, NDCG@10"] > 0
    assert "| serving.candidates=10 |" in (tmp_path / "out.md").read_text()
    assert (tmp_path / "out.png").stat().st_size > 10_000
