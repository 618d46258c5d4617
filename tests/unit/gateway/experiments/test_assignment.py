"""Assignment is pure, uniform, and the same for ever."""

from collections import Counter

import pytest

from service.gateway.experiments.assignment import BUCKETS, assign, bucket, choose
from service.gateway.experiments.settings import ExperimentSettings


def experiment(name: str, salt: str, **variants: tuple[float, str | None]) -> ExperimentSettings:
    rows = [{"name": key, "weight": weight, "pipeline": pipeline} for key, (weight, pipeline) in variants.items()]
    return ExperimentSettings.model_validate({"name": name, "salt": salt, "variants": rows})


@pytest.mark.parametrize(
    ("salt", "user_id", "expected"), [("s", "u1", 29), ("s", "u2", 846), ("t", "u1", 4245), ("", "", 8927)]
)
def test_vectors(salt: str, user_id: str, expected: int):
    assert bucket(salt, user_id) == expected


def test_buckets_are_uniform():
    counts = Counter(bucket("salt", f"user-{number}") * 100 // BUCKETS for number in range(50_000))
    chi_squared = sum((counts[at] - 500) ** 2 / 500 for at in range(100))
    assert chi_squared < 150  # 99 degrees of freedom: p < 0.001


def test_shares_follow_the_weights():
    split = experiment("e", "s", a=(1, None), b=(3, None), c=(6, None))
    counts = Counter(choose(split, f"u{number}").name for number in range(20_000))
    assert counts["a"] / 20_000 == pytest.approx(0.1, abs=0.01)
    assert counts["b"] / 20_000 == pytest.approx(0.3, abs=0.01)


def test_experiments_with_other_salts_are_independent():
    first, second = (experiment("e", salt, a=(1, None), b=(1, None)) for salt in ("s", "t"))
    both = Counter((choose(first, f"u{n}").name, choose(second, f"u{n}").name) for n in range(20_000))
    assert all(count / 20_000 == pytest.approx(0.25, abs=0.015) for count in both.values())


def test_first_experiment_that_names_a_pipeline_decides():
    silent = experiment("silent", "s", only=(1, None))
    first, second = experiment("first", "s", x=(1, "cf")), experiment("second", "s", y=(1, "local"))
    assignment = assign([silent, first, second], "u", "popular")
    assert (assignment.pipeline, assignment.variant) == ("cf", "first:x")
    assert assignment.experiments == {"silent": "only", "first": "x", "second": "y"}
    assert assign([silent], "u", "popular").pipeline == "popular"
