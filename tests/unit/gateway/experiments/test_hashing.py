"""Assignment v1 is what it says it is, for ever: uniform, and independent between salts."""

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import chi2_contingency, chisquare

from service.gateway.experiments.assignment import Experiments
from service.gateway.experiments.hashing import Buckets
from service.gateway.experiments.settings import ExperimentFile
from service.gateway.ranking.settings import GlobalPipeline

VECTORS: dict[str, Any] = json.loads((Path(__file__).parent / "assignment_v1.json").read_text())
DOCUMENT = Path(__file__).parents[4] / "docs" / "experiments.md"
USERS = [f"user-{number}".encode() for number in range(200_000)]


def recomputed(salt: str, user_id: str) -> int:
    """The definition, written anew."""
    digest = hashlib.blake2b(f"{salt}:{user_id}".encode(), digest_size=8).digest()
    return sum(byte << 8 * place for place, byte in enumerate(digest)) % 10_000


@pytest.fixture(scope="module")
def buckets() -> dict[str, Any]:
    """(200,000,) buckets of all users by salt."""
    return {salt: np.array([Buckets(salt).of(user) for user in USERS]) for salt in ("ranking", "arrangement")}


@pytest.mark.parametrize("vector", VECTORS["buckets"], ids=str)
def test_bucket_vectors(vector: dict[str, Any]):
    salt, user_id = vector["salt"], vector["user_id"]
    assert Buckets(salt).of(user_id.encode()) == recomputed(salt, user_id) == vector["bucket"]


def test_variant_vectors():
    given = VECTORS["experiment"]
    variants = [{"name": name, "weight": weight} for name, weight in given["variants"]]
    experiment = {"name": "e", "salt": given["experiment_salt"], "variants": variants}
    experiment |= {"coverage": given["coverage"], "offset": given["offset"]}
    layer = {"name": "layer", "salt": given["layer_salt"], "experiments": [experiment]}
    file = ExperimentFile.model_validate({"layers": [layer]})
    experiments = Experiments(file, {"cf": GlobalPipeline(kind="cf")}, "cf")
    for vector in VECTORS["assignments"]:
        user_id = vector["user_id"]
        assert recomputed("ranking", user_id) == vector["layer_bucket"]
        assert experiments.assign(user_id, 0.0).experiments.get("e") == vector["variant"] == _variant(user_id), user_id
    assert {vector["variant"] for vector in VECTORS["assignments"]} == {"a", "b", "c", None}


def _variant(user_id: str) -> str | None:
    """The three steps of the document, in integers: weights 1, 3 and 0.5 are 10, 40 and 45 of 45, added up."""
    if not 2_000 <= recomputed("ranking", user_id) < 8_000:
        return None
    bucket = recomputed("model-2026", user_id)
    return next(name for name, weight in (("a", 10), ("b", 40), ("c", 45)) if bucket * 45 < 10_000 * weight)


def test_the_document_prints_the_vectors():
    rows = re.findall(r"^\| (.+) \| (.+) \| (.+) \|$", DOCUMENT.read_text(), re.M)
    printed = {tuple(cell.strip("`") for cell in row) for row in rows}
    for vector in VECTORS["buckets"]:
        assert (vector["salt"], vector["user_id"], str(vector["bucket"])) in printed
    for vector in VECTORS["assignments"]:
        assert (vector["user_id"], str(vector["layer_bucket"]), vector["variant"] or "none") in printed


def test_buckets_are_uniform(buckets: dict[str, Any]):
    for salt, drawn in buckets.items():
        counts = np.bincount(drawn, minlength=10_000)
        assert len(counts) == 10_000
        assert chisquare(counts).pvalue > 0.001, salt


def test_salts_are_independent(buckets: dict[str, Any]):
    joint, _, _ = np.histogram2d(buckets["ranking"], buckets["arrangement"], bins=20, range=[[0, 10_000]] * 2)
    assert joint.sum() == len(USERS)
    assert chi2_contingency(joint).pvalue > 0.001
