import math

from localrec.bench.faults.tally import HEAD, Phase, Seen, failures, row, table

PHASE = Phase("Redis killed", 10.0, 12.0, 14.0, 0.5)
SEEN = [
    Seen(9.9, 11.0, "right"),  # before it
    Seen(10.0, 10.1, "degraded", ("redis_unavailable", "unknown_user")),
    Seen(11.0, 11.3, "right"),
    Seen(11.5, 11.6, "mistake"),
    Seen(12.0, 12.1, "shed"),
    Seen(14.0, 14.1, "failed"),  # after it
]


def test_a_request_counts_in_the_phase_in_which_it_was_sent():
    metrics = row(PHASE, SEEN).metrics()
    counts = {name: metrics[name] for name in ("sent", "answered", "degraded", "shed", "mistakes", "failed", "wrong")}
    assert counts == {"sent": 4, "answered": 2, "degraded": 1, "shed": 1, "mistakes": 1, "failed": 0, "wrong": 0}
    assert math.isclose(metrics["p50_ms"], 200.0)
    assert metrics["recovered_seconds"] == 0.5


def test_reasons_are_those_of_degraded_answers():
    seen = [*SEEN, Seen(11.0, 11.1, "right", ("unknown_user",))]
    assert row(PHASE, seen).reasons == {"redis_unavailable": 1, "unknown_user": 1}


def test_all_is_well_where_nothing_was_lost_or_wrong():
    assert failures([row(PHASE, SEEN)]) == []


def test_what_must_not_happen_is_said():
    lost, wrong = Seen(11.0, 16.0, "failed"), Seen(11.0, 11.1, "wrong")
    assert failures([row(PHASE, [*SEEN, lost, wrong])]) == ["Redis killed: 1 failed", "Redis killed: 1 wrong"]
    assert failures([row(Phase("x", 10.0, 12.0, 14.0, math.nan), SEEN)]) == ["x: not recovered"]
    assert failures([row(PHASE, [])]) == ["Redis killed: nothing was answered"]


def test_the_table_has_a_column_a_figure_and_a_line_a_phase():
    head, line = table([row(PHASE, SEEN)]).splitlines()
    assert all(name.replace("_", " ") in head for name in HEAD[:-1])
    assert line.startswith("Redis killed")
    assert line.endswith("redis_unavailable 1, unknown_user 1")
    assert "nan" in table([row(PHASE, [])])
