"""Who gets what: shares, independence, stability, time, allowlists, holdout, and what the variants come to."""

from collections import Counter
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from scipy.stats import chi2_contingency, chisquare
from support.experiment_files import PIPELINES, experiment, experiments_of, layer, variant

from models.contract.fusion import FusionMethod
from service.gateway.experiments.assignment import Experiments
from service.gateway.experiments.override import OverrideError
from service.gateway.ranking.settings import LocalPipeline

USERS = [f"u{number}" for number in range(20_000)]
MANY = [f"user-{number}" for number in range(200_000)]


def drawn(experiments: Experiments, name: str, users: list[str] = USERS, now: float = 0.0) -> dict[str, str]:
    """The variants of those who are in an experiment."""
    found = {user: experiments.assign(user, now).experiments.get(name) for user in users}
    return {user: variant for user, variant in found.items() if variant is not None}


def test_shares_follow_coverage_and_weights():
    split = experiment("e", variant("a", 1), variant("b", 3), variant("c", 6), coverage=0.5)
    counts = Counter(drawn(experiments_of(layer("l", split)), "e", MANY).values())
    outside = len(MANY) - counts.total()
    expected = np.array([0.05, 0.15, 0.3, 0.5]) * len(MANY)
    assert chisquare([counts["a"], counts["b"], counts["c"], outside], expected).pvalue > 0.001


def test_layers_are_independent_of_each_other():
    one, two = experiment("e1", variant("a", 1), variant("b", 2), coverage=0.7), experiment("e2", coverage=0.6)
    experiments = experiments_of(layer("l1", one), layer("l2", two))
    found = [experiments.assign(user, 0.0).experiments for user in MANY]
    joint = Counter((of.get("e1"), of.get("e2")) for of in found)
    table = [[joint[one, two] for two in ("a", "b", None)] for one in ("a", "b", None)]
    assert chi2_contingency(table).pvalue > 0.001


def test_experiments_of_a_layer_share_nobody_and_everybody_is_in_one():
    entries = [experiment("e1", coverage=0.3), experiment("e2", coverage=0.7, offset=0.3)]
    experiments = experiments_of(layer("l", *entries))
    assert all(len(experiments.assign(user, 0.0).experiments) == 1 for user in USERS)


AFTER, BEFORE = experiment("f", coverage=0.4, offset=0.3), experiment("f", coverage=0.4, offset=0.5)
CHANGES = {
    "an experiment after others": layer("l", experiment("e", coverage=0.3), AFTER),
    "an experiment before it in the file": layer("l", BEFORE, experiment("e", coverage=0.3)),
    "more coverage": layer("l", experiment("e", coverage=0.8)),
}


@pytest.mark.parametrize("change", CHANGES)
def test_nobody_who_was_in_moves(change: str):
    before = drawn(experiments_of(layer("l", experiment("e", coverage=0.3))), "e")
    after = drawn(experiments_of(CHANGES[change]), "e")
    assert before.items() <= after.items()
    assert len(before) > 5_000


def test_another_layer_moves_nobody():
    one = layer("l", experiment("e", coverage=0.3))
    other = layer("m", experiment("f", variant("a"), variant("b", pipeline="cf")))
    assert drawn(experiments_of(one), "e") == drawn(experiments_of(other, one), "e")


def test_it_runs_from_its_start_to_before_its_end():
    starts, ends = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC)
    experiments = experiments_of(layer("l", experiment("e", starts=starts, ends=ends)))
    instants = [starts.timestamp() - 1, starts.timestamp(), ends.timestamp() - 1, ends.timestamp()]
    assert [bool(experiments.assign("u", now).experiments) for now in instants] == [False, True, True, False]


def test_experiments_one_after_the_other_have_the_same_users():
    turn = datetime(2026, 1, 1, tzinfo=UTC)
    experiments = experiments_of(layer("l", experiment("old", ends=turn), experiment("new", starts=turn)))
    assert set(experiments.assign("u", turn.timestamp() - 1).experiments) == {"old"}
    assert set(experiments.assign("u", turn.timestamp()).experiments) == {"new"}


def test_disabled_experiments_have_nobody():
    assert drawn(experiments_of(layer("l", experiment("e", enabled=False))), "e") == {}


def test_allowlist_goes_before_hash_coverage_and_holdout():
    split = experiment("e", coverage=0.0001, allowlist={"alice": "b"})
    other = experiment("f", coverage=0.9, offset=0.1)
    experiments = experiments_of(layer("l", other, split), holdout={"share": 1.0})
    assignment = experiments.assign("alice", 0.0)
    assert assignment.experiments == {"e": "b"}
    assert assignment.forced
    assert experiments.assign("bob", 0.0).experiments == {}


def test_allowlist_of_what_does_not_run_is_asleep():
    split = experiment("e", enabled=False, allowlist={"alice": "b"})
    assert experiments_of(layer("l", split)).assign("alice", 0.0).experiments == {}


def test_holdout_is_its_share_and_gets_its_pipeline():
    split = layer("l", experiment("e", variant("a", pipeline="local")))
    experiments = experiments_of(split, holdout={"share": 0.1, "pipeline": "popular"})
    assignments = [experiments.assign(user, 0.0) for user in USERS]
    held = [assignment for assignment in assignments if not assignment.experiments]
    assert len(held) / len(USERS) == pytest.approx(0.1, abs=0.01)
    assert {(a.pipeline, a.variant, a.forced) for a in held} == {("popular", "holdout", False)}
    assert experiments_of(split, holdout={"share": 1.0}).assign("u", 0.0).pipeline == "local"


def test_kill_switch_stops_everything():
    shadow = {"name": "s", "share": 1.0, "pipeline": "cf"}
    split = layer("l", experiment("e", variant("a", pipeline="cf"), allowlist={"u": "a"}))
    holdout = {"share": 1.0, "pipeline": "cf"}
    keys: dict[str, Any] = {"holdout": holdout, "shadows": [shadow], "header_override": True}
    experiments = experiments_of(split, kill_switch=True, **keys)
    assignment = experiments.assign("u", 0.0, "e=a")
    assert (assignment.pipeline, assignment.experiments, assignment.forced) == ("local", {}, False)
    assert [str(reason) for reason in assignment.reasons] == ["override_ignored"]
    assert experiments.shadows == ()
    assert experiments_of(split, **keys).shadows != ()


def test_override_counts_where_it_is_honoured_only():
    split = layer("l", experiment("e", variant("a"), variant("b", pipeline="cf"), enabled=False))
    asked = experiments_of(split, header_override=True).assign("u", 0.0, "e=b")
    assert (asked.experiments, asked.pipeline, asked.forced, asked.reasons) == ({"e": "b"}, "cf", True, ())
    ignored = experiments_of(split).assign("u", 0.0, "nonsense")
    assert (ignored.experiments, ignored.forced) == ({}, False)
    assert [str(reason) for reason in ignored.reasons] == ["override_ignored"]
    with pytest.raises(OverrideError, match="unknown experiment 'f'"):
        experiments_of(split, header_override=True).assign("u", 0.0, "f=b")


def test_what_was_not_forced_is_not_said_to_be():
    experiments = experiments_of(layer("l", experiment("e", allowlist={"alice": "a"})), header_override=True)
    forced = {user: experiments.assign(user, 0.0).forced for user in ("alice", *USERS[:20])}
    assert [user for user, is_forced in forced.items() if is_forced] == ["alice"]


def test_variants_of_all_layers_come_together():
    model = experiment("model", variant("x", pipeline="local", max_communities=3))
    speed = experiment("speed", variant("y", deadline_ms=80))
    look = experiment("look", variant("z", fusion={"k": 7.0}))
    assignment = experiments_of(layer("l1", speed), layer("l2", model), layer("l3", look)).assign("u", 0.0)
    assert assignment.experiments == {"speed": "y", "model": "x", "look": "z"}
    assert assignment.variant == "model:x"  # it named the pipeline
    assert assignment.deadline_ms == 80
    assert isinstance(assignment.settings, LocalPipeline)
    assert (assignment.settings.max_communities, assignment.settings.fusion.k) == (3, 7.0)
    assert PIPELINES["local"].max_communities == 9  # the pipeline itself stays as it is


def test_fusion_is_changed_key_by_key():
    pipelines = {"local": LocalPipeline(kind="local", pool="w", fusion={"method": "count", "k": 5})}
    file = experiments_of(layer("l", experiment("e", variant("a", fusion={"k": 7})))).file
    settings = Experiments(file, pipelines, "local").assign("u", 0.0).settings
    assert (settings.fusion.method, settings.fusion.k) == (FusionMethod.COUNT, 7)


def test_pipelines_without_a_parameter_are_left_alone():
    experiments = experiments_of(
        layer("l1", experiment("e", variant("a", pipeline="cf"))),
        layer("l2", experiment("f", variant("b", max_communities=3))),
    )
    assert experiments.assign("u", 0.0).settings is PIPELINES["cf"]


def test_label_is_of_the_first_that_changes_anything_where_none_names_a_pipeline():
    silent = layer("l1", experiment("silent", variant("only")))
    speed = layer("l2", experiment("speed", variant("y", deadline_ms=80)))
    assert experiments_of(silent, speed).assign("u", 0.0).variant == "speed:y"
    assert experiments_of(silent).assign("u", 0.0).variant == ""
    assert experiments_of(silent).assign("u", 0.0).pipeline == "local"


def test_assignments_are_made_once_a_combination():
    experiments, others = (experiments_of(layer("l", experiment("e"))) for _ in range(2))
    found = {experiments.assign(user, 0.0) for user in USERS[:100]}
    assert len(found) == 2
    assert not found & {others.assign(user, 0.0) for user in USERS[:100]}  # another file's may mean something else


def test_a_variant_decides_whatever_its_pipeline_has():
    wishes = variant("a", diversity=0.4, max_per={"brand": 2}, deadline_ms=80)
    file = experiments_of(layer("l", experiment("e", wishes))).file
    plain = LocalPipeline(kind="local", pool="w", max_communities=9)
    settings = Experiments(file, {"local": plain}, "local").assign("u", 0.0).settings
    assert settings == LocalPipeline(kind="local", pool="w", max_communities=9, diversity=0.4, max_per={"brand": 2})
    speed = experiments_of(layer("l", experiment("e", variant("a", deadline_ms=80)))).file
    assert Experiments(speed, PIPELINES, "local").assign("u", 0.0).settings is PIPELINES["local"]
