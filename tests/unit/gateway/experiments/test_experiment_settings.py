"""The file of experiments: its manual is true, and what is wrong is refused with its name."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from support.experiment_files import PIPELINES, experiment, file_of, layer, variant

from service.gateway.experiments.settings import (
    ExperimentFile,
    ExperimentSettings,
    HoldoutSettings,
    LayerSettings,
    Parameters,
    ShadowSettings,
    VariantSettings,
    check_pipelines,
)
from service.gateway.settings import load_settings
from service.gateway.tables import problems_of

DEPLOY = Path(__file__).parents[4] / "deploy"
MANUAL = (DEPLOY / "experiments.toml").read_text()
COMMENTED = re.compile(r"^# (?=\[\[?[a-z.]+\]|[a-z_]+ = |# )", re.M)


def test_manual_is_valid_as_it_is_and_uncommented():
    settings = load_settings(DEPLOY / "gateway.toml")
    assert ExperimentFile.model_validate(tomllib.loads(MANUAL)) == ExperimentFile()
    example = ExperimentFile.model_validate(tomllib.loads(COMMENTED.sub("", MANUAL)))
    check_pipelines(example, settings.pipelines)
    assert [entry.name for entry in example.experiments()] == ["local-against-cf", "cf-for-a-few", "variety"]
    assert example.holdout
    assert example.shadows


def test_manual_names_every_key():
    tables = (ExperimentFile, LayerSettings, ExperimentSettings, VariantSettings, HoldoutSettings, ShadowSettings)
    for table in tables:
        keys = table.model_fields
        assert [key for key in keys if not re.search(rf"^(# )*\[*(.*\.)?{key}\b", MANUAL, re.M)] == []
    assert [key for key in Parameters.model_fields if f"{key}:" not in MANUAL and f"and {key}:" not in MANUAL] == []


def test_manual_states_the_defaults():
    for key, value in tomllib.loads(MANUAL).items():
        assert ExperimentFile.model_fields[key].default == value, key


def starts_and_ends(starts: str, ends: str) -> dict[str, Any]:
    return tomllib.loads(f"starts = {starts}\nends = {ends}")


ONE, TWO = experiment("one"), experiment("two")
X = {"share": 0.1, "pipeline": "cf"}
WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "unknown key": ({"surprise": 1}, "surprise"),
    "weight of nothing": (layer("l", experiment("e", variant("a", 0))), "weight"),
    "weight below a bucket": (
        layer("l", experiment("e", variant("a", 1e6), variant("b", 1))),
        "variants.b: its weight",
    ),
    "coverage of nobody": (layer("l", experiment("e", coverage=0)), "coverage"),
    "coverage of more than all": (layer("l", experiment("e", coverage=1.1)), "coverage"),
    "coverage between buckets": (layer("l", experiment("e", coverage=0.12345)), "multiple of 0.0001"),
    "beyond the layer": (layer("l", experiment("e", coverage=0.6, offset=0.5)), "exceed the layer"),
    "overlap": (layer("l", ONE, TWO), "two shares users with one: buckets 0 to 9999"),
    "half an overlap": (
        layer("l", experiment("one", coverage=0.5), experiment("two", coverage=0.2, offset=0.4)),
        "buckets 4000 to 4999; give it an offset, the last experiment ends at 0.6",
    ),
    "a name twice": ({"layers": [layer("l", ONE), layer("m", ONE)]}, "experiments: a name occurs twice"),
    "a layer twice": ({"layers": [layer("l", ONE), layer("l", TWO)]}, "layers: a name occurs twice"),
    "a variant twice": (layer("l", experiment("e", variant("a"), variant("a"))), "variants: a name occurs twice"),
    "a salt that is a name": (layer("l", experiment("l")), "salts"),
    "a salt twice": (layer("l", experiment("e", salt="l")), "salts"),
    "a salt with a colon": (layer("l", experiment("e", salt="a:b")), "salt"),
    "a shadow's salt": ({"shadows": [{"name": "holdout"} | X], "holdout": {"share": 0.1}}, "salts"),
    "allowlist without a variant": (layer("l", experiment("e", allowlist={"u": "c"})), "allowlist.u: 'c'"),
    "no zone": (
        layer("l", experiment("e", **starts_and_ends("2026-01-01T00:00:00", "2026-02-01T00:00:00Z"))),
        "starts: Value error, expected an instant in UTC",
    ),
    "another zone": (
        layer("l", experiment("e", **starts_and_ends("2026-01-01T00:00:00+02:00", "2026-02-01T00:00:00Z"))),
        "starts: Value error, expected an instant in UTC",
    ),
    "a date": (layer("l", experiment("e", **starts_and_ends("2026-01-01", "2026-02-01T00:00:00Z"))), "starts"),
    "text for an instant": (layer("l", experiment("e", starts="2026-01-01T00:00:00Z")), "starts"),
    "an end before its start": (
        layer("l", experiment("e", **starts_and_ends("2026-02-01T00:00:00Z", "2026-01-01T00:00:00Z"))),
        "expected ends after starts",
    ),
    "two layers that decide one thing": (
        {
            "layers": [
                layer("l", experiment("one", variant("a", pipeline="cf"), variant("b", deadline_ms=9))),
                layer("m", experiment("two", variant("a", deadline_ms=8))),
            ]
        },
        "one and two both decide deadline_ms",
    ),
    "a parameter that is none": (layer("l", experiment("e", variant("a", speed=3))), "parameters.speed"),
    "a deadline of for ever": (layer("l", experiment("e", variant("a", deadline_ms=10**6))), "deadline_ms"),
    "diversity that is no number": (layer("l", experiment("e", variant("a", diversity=float("nan")))), "diversity"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_named(case: str):
    tables, named = WRONG[case]
    whole = {"layers": [tables]} if "experiments" in tables else tables
    with pytest.raises(ValidationError) as caught:
        ExperimentFile.model_validate(whole)
    assert named in problems_of(caught.value)


def test_experiments_that_never_meet_may_share_users_and_settings():
    first = starts_and_ends("2026-01-01T00:00:00Z", "2026-02-01T00:00:00Z")
    then = starts_and_ends("2026-02-01T00:00:00Z", "2026-03-01T00:00:00Z")
    one, two = (experiment(name, variant("a", pipeline="cf"), **when) for name, when in (("one", first), ("two", then)))
    assert len(list(file_of(layer("l", one, two)).experiments())) == 2
    assert len(file_of(layer("l", one), layer("m", two)).layers) == 2


@pytest.mark.parametrize(
    ("file", "named"),
    [
        (file_of(layer("l", experiment("e", variant("a", pipeline="gone")))), "e.a.pipeline: 'gone'"),
        (file_of(holdout={"share": 0.1, "pipeline": "gone"}), "holdout.pipeline: 'gone'"),
        (file_of(shadows=[{"name": "s", "share": 0.1, "pipeline": "gone"}]), "shadows.s.pipeline: 'gone'"),
        (
            file_of(layer("l", experiment("e", variant("a", pipeline="cf", max_communities=2, fusion={"k": 1})))),
            "e.a.parameters: pipeline 'cf' has no fusion, max_communities",
        ),
        (
            file_of(layer("l", experiment("e", variant("a", pipeline="collm", candidates=20, fusion={"k": 1})))),
            "e.a.parameters: pipeline 'collm' has no fusion",
        ),
        (
            file_of(layer("l", experiment("e", variant("a", pipeline="local", candidates=20)))),
            "e.a.parameters: pipeline 'local' has no candidates",
        ),
        (
            file_of(layer("l", experiment("e", variant("a", pipeline="collm", candidates=19)))),
            "e.a.parameters.candidates: Input should be greater than or equal to 20",
        ),
        (
            file_of(shadows=[{"name": "s", "share": 0.1, "pipeline": "ulmrec", "parameters": {"candidates": 27}}]),
            "shadows.s.parameters.candidates: Input should be less than or equal to 26",
        ),
    ],
    ids=[
        "variant",
        "holdout",
        "shadow",
        "parameter",
        "fusion of one",
        "candidates of many",
        "too few candidates",
        "too many candidates",
    ],
)
def test_pipelines_are_those_of_the_gateway(file: ExperimentFile, named: str):
    with pytest.raises(ValueError, match=re.escape(named)):
        check_pipelines(file, PIPELINES)


def test_weights_are_split_exactly():
    (split,) = file_of(
        layer("l", experiment("e", variant("a", 0.1), variant("b", 0.2), variant("c", 0.7)))
    ).experiments()
    assert [(span.start, span.stop) for span in split.spans] == [(0, 1_000), (1_000, 3_000), (3_000, 10_000)]
