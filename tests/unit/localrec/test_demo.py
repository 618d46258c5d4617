"""What the demo prints, and what it asks."""

from pathlib import Path

import pytest
from support.backbones import walk_dataset

from localrec.demo import Example, _as_text, _choice_of_models, _examples, _stay
from localrec.stack import Stack, worker_kinds
from models.run import FURTHER
from service.gateway.experiments.file import ExperimentsLoader
from service.gateway.settings import Settings


def test_an_item_names_every_voters_rank_communities_by_number_others_by_name() -> None:
    explanation = [
        {"community": 3, "name": "Toy Story · Babe", "rank": 2, "affinity": 0.5, "contribution": 1.0},
        {"community": None, "name": "cf", "rank": 7, "affinity": None, "contribution": 0.5},
    ]
    item = {"item_id": "1", "title": "Aladdin", "rank": 1, "source": "local", "explanation": explanation}
    answer = {"timings_ms": {"total": 12.0}, "pipeline": "local", "reasons": ["late: c01"], "items": [item]}
    text = _as_text(Example("somebody", {}), answer)
    assert "late: c01" in text
    assert "Aladdin" in text
    assert text.rstrip().endswith("c03:2  cf:7")


def test_users_are_split_among_the_models_and_a_header_names_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("localrec.demo.RUN", tmp_path)
    assert _choice_of_models(()) == {}

    file = Path(_choice_of_models(FURTHER)["LOCALREC_EXPERIMENTS_FILE"])

    models = ("local", *FURTHER)
    pools = [{"name": name, "urls": ["http://127.0.0.1:1"], "model": name} for name in models]
    pipelines = {name: {"kind": name, "pool": name} for name in models}
    settings = Settings(pools=pools, pipelines=pipelines, default_pipeline="local")
    experiments = ExperimentsLoader(file, settings.pipelines, settings.default_pipeline).load()
    assert experiments.assign("somebody", 0.0, "model=collm").pipeline == "collm"
    assert {experiments.assign(f"user {n}", 0.0).pipeline for n in range(99)} == set(models)


def test_every_further_model_is_asked_for_the_first_user() -> None:
    first, _, stranger, *others = _examples(walk_dataset(), ("hatllm",))
    assert [example.model for example in (first, stranger, *others)] == ["local", "local", "hatllm"]
    assert others[0].body == first.body
    assert {example.model for example in _examples(walk_dataset(), ())} == {""}


def test_vllm_serves_what_it_can_and_our_engine_the_rest() -> None:
    assert worker_kinds(("collm", "l2rec"), "vllm") == {"collm": "vllm", "l2rec": "engine"}
    assert worker_kinds(("ulmrec", "l2rec"), "engine") == {"ulmrec": "engine", "l2rec": "engine"}


def test_the_demo_that_stays_says_where_the_console_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("signal.signal", lambda *_: None)
    monkeypatch.setattr("signal.pause", interrupt)
    _stay(Stack("redis://127.0.0.1:1", {}, None, gateway_port=8080), admin_port=8081, prometheus_port=None)
    assert "\nconsole  http://127.0.0.1:8081/console\n" in capsys.readouterr().out
