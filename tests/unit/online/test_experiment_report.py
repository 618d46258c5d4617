"""From exposures and events to an experiment's result."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from models.contract.errors import ConfigError, DataError
from models.contract.records import Event, EventType, Exposure
from models.online import tables
from models.online.attribution import attribute
from models.online.outcomes import Outcomes, Scope, outcomes
from models.online.page import as_markdown, as_text
from models.online.picture import draw
from models.online.report import ExperimentReport, experiment_report
from models.online.rows import ReportOptions, Row
from models.online.simulate import EXPERIMENT, SimulationOptions, simulate

START = datetime(2025, 6, 1, tzinfo=UTC)
HOUR = 3_600_000
SCOPE = Scope("fusion")


def shown(request: str, user: str, variant: str, hours: float = 0, **fields: Any) -> Exposure:
    return Exposure(
        request_id=request,
        user_id=user,
        timestamp_ms=int(START.timestamp() * 1_000 + hours * HOUR),
        bundle_id="demo-1",
        pipeline="local",
        experiments=fields.pop("experiments", {"fusion": variant}),
        items=fields.pop("items", ("a", "b")),
        sources=("local", "local"),
        **fields,
    )


def did(kind: EventType, user: str, hours: float, item: str = "a", **fields: Any) -> Event:
    at = int(START.timestamp() * 1_000 + hours * HOUR)
    return Event(f"{user}-{kind}-{hours}-{item}", kind, user, item, at, **fields)


def frames(exposures: Sequence[Exposure], events: Sequence[Event]) -> tuple[pl.DataFrame, pl.DataFrame]:
    return tables.exposures_frame(exposures), tables.events_frame(events)


def found(exposures: Sequence[Exposure], events: Sequence[Event] = (), scope: Scope = SCOPE) -> Outcomes:
    return outcomes(*frames(exposures, events), scope)


def user(result: Outcomes, name: str) -> Mapping[str, Any]:
    return result.users.row(by_predicate=pl.col("user_id") == name, named=True)


class TestAttribution:
    LISTS = (shown("r1", "ann", "x"), shown("r2", "ann", "x", 2), shown("r3", "bob", "x"))

    @pytest.mark.parametrize(
        ("event", "request_id"),
        [
            (did("click", "ann", 3, request_id="r1"), "r1"),
            (did("click", "ann", 1), "r1"),
            (did("click", "ann", 3), "r2"),
            (did("click", "ann", 3, request_id="r3"), "r2"),
            (did("click", "ann", 3, request_id="nowhere"), "r2"),
            (did("click", "ann", 30), None),
            (did("click", "ann", -1), None),
            (did("click", "ann", 1, item="z"), None),
            (did("click", "eve", 1), None),
        ],
        ids=["named", "shown before", "last one", "another's list", "unknown list", "late", "early", "item", "user"],
    )
    def test_an_event_comes_from(self, event: Event, request_id: str | None) -> None:
        result = attribute(*reversed(frames(self.LISTS, [event])), timedelta(hours=24))

        assert result.events["request_id"].to_list() == ([request_id] if request_id else [])
        assert result.n_named + result.n_within + result.n_unknown == 1

    def test_a_list_that_was_not_shown_brings_nothing(self) -> None:
        lists = [shown("r1", "ann", "x", shadow="y")]

        result = attribute(*reversed(frames(lists, [did("click", "ann", 1, request_id="r1")])), timedelta(hours=24))

        assert result.n_unknown == 1


class TestOutcomes:
    def test_what_a_user_saw_and_did_is_counted(self) -> None:
        lists = [shown("r1", "ann", "x"), shown("r2", "ann", "x", 1, degraded=True), shown("r3", "bob", "y")]
        acts = [
            did("click", "ann", 0.5),
            did("click", "ann", 1.5, item="b"),
            did("view", "ann", 1.6),
            did("purchase", "ann", 2, value=20.0),
            did("purchase", "ann", 3, item="b", value=5.0),
        ]

        ann, bob = (user(found(lists, acts), name) for name in ("ann", "bob"))

        counted = ("variant", "exposures", "degraded", "clicks", "clicked", "converted", "revenue")
        assert [ann[name] for name in counted] == ["x", 2, 1, 2, 1, 1, 25]
        assert [bob[name] for name in counted] == ["y", 1, 0, 0, 0, 0, 0]

    def test_forced_lists_and_shadows_do_not_count(self) -> None:
        lists = [
            shown("r1", "ann", "x", forced=True),
            shown("r2", "ann", "y", 1),
            shown("r3", "ann", "x", 2, shadow="x"),
            shown("r4", "bob", "x"),
        ]
        acts = [did("click", "ann", 0.5), did("click", "ann", 1.5, request_id="r2")]

        result = found(lists, acts)

        assert result.n_excluded == 0
        assert (user(result, "ann")["variant"], user(result, "ann")["clicks"]) == ("y", 1)

    def test_a_request_may_be_of_several_users(self) -> None:
        lists = [shown("r1", "ann", "x"), shown("r1", "bob", "y")]

        result = found(lists, [did("click", "bob", 1, request_id="r1")])

        assert (user(result, "ann")["clicks"], user(result, "bob")["clicks"]) == (0, 1)

    def test_users_of_several_variants_are_left_out(self) -> None:
        result = found([shown("r1", "ann", "x"), shown("r2", "ann", "y", 1), shown("r3", "bob", "y")])

        assert result.n_excluded == 1
        assert result.users["user_id"].to_list() == ["bob"]

    def test_what_was_done_before_the_first_list_is_the_covariate(self) -> None:
        acts = [
            did("click", "ann", -1),
            did("purchase", "ann", -2, value=7.0),
            did("click", "ann", -24 * 15),
            did("click", "ann", 1),
        ]

        ann = user(found([shown("r1", "ann", "x"), shown("r2", "bob", "y")], acts), "ann")

        assert (ann["before.clicks"], ann["before.converted"], ann["before.revenue"]) == (1, 1, 7)
        assert (ann["clicks"], ann["revenue"]) == (1, 0)

    def test_the_period_bounds_lists_and_events_but_not_the_first_list(self) -> None:
        lists = [shown("r1", "ann", "x"), shown("r2", "ann", "x", 48), shown("r3", "ann", "y", 96)]
        acts = [did("click", "ann", 1), did("click", "ann", 49), did("click", "ann", 80)]
        scope = Scope("fusion", START + timedelta(hours=24), START + timedelta(hours=72))

        ann = user(found(lists, acts, scope), "ann")

        assert (ann["exposures"], ann["clicks"], ann["before.clicks"]) == (1, 1, 0)

    def test_a_segment_is_what_the_first_request_said(self) -> None:
        lists = [
            shown("r1", "ann", "x", context={"device": "phone"}),
            shown("r2", "ann", "x", 1, context={"device": "tv"}),
            shown("r3", "bob", "y", context={"other": "tv"}),
        ]

        result = found(lists, scope=Scope("fusion", segments=("context.device",)))

        assert result.users["context.device"].to_list() == ["phone", "unknown"]


class TestBadInput:
    BOTH = (shown("r1", "ann", "x"), shown("r2", "bob", "y"))

    def report(self, exposures: Sequence[Exposure], options: ReportOptions | None = None) -> ExperimentReport:
        return experiment_report(*frames(exposures, []), SCOPE, options or ReportOptions(), {"command": "test"})

    def test_an_unknown_experiment_names_the_known(self) -> None:
        with pytest.raises(DataError, match=r"'fusion' is not among the 1 exposures; known: other"):
            self.report([shown("r1", "ann", "", experiments={"other": "x"})])

    def test_no_exposures(self) -> None:
        with pytest.raises(DataError, match=r"not among the 0 exposures; known: none"):
            self.report([])

    def test_all_forced(self) -> None:
        with pytest.raises(DataError, match="all of its 1 exposures were forced or not shown"):
            self.report([shown("r1", "ann", "x", forced=True)])

    def test_an_empty_period(self) -> None:
        with pytest.raises(DataError, match="none of 2 lists counts"):
            found(self.BOTH, scope=Scope("fusion", since=START + timedelta(days=1)))

    def test_users_who_saw_everything(self) -> None:
        with pytest.raises(DataError, match="all 1 users were seen in several variants"):
            self.report([shown("r1", "ann", "x"), shown("r2", "ann", "y")])

    def test_one_variant_only(self) -> None:
        with pytest.raises(DataError, match="seen in x only; expected two or more"):
            self.report([shown("r1", "ann", "x")])

    def test_a_control_that_was_not_seen(self) -> None:
        with pytest.raises(DataError, match="control 'z' was not seen; seen: x, y"):
            self.report(self.BOTH, ReportOptions(control="z"))

    def test_a_variant_without_a_weight(self) -> None:
        with pytest.raises(ConfigError, match="seen in y; weights are of x, z"):
            self.report(self.BOTH, ReportOptions(weights={"x": 1, "z": 1}))

    def test_numbers_that_are_none(self) -> None:
        exposures, events = frames(self.BOTH, [did("purchase", "ann", 1), did("click", "ann", 2)])
        wrong = events.with_columns(pl.Series("value", [float("nan"), None], dtype=pl.Float64))
        with pytest.raises(DataError, match="value: 1 of 2 values are not finite"):
            outcomes(exposures, wrong, SCOPE)

    @pytest.mark.parametrize("segment", ["device", "context."])
    def test_a_segment_that_is_no_context(self, segment: str) -> None:
        with pytest.raises(DataError, match=r"expected context\.<name>"):
            found(self.BOTH, scope=Scope("fusion", segments=(segment,)))

    def test_two_users_give_a_report_that_says_nothing(self) -> None:
        report = self.report(self.BOTH)

        assert all(row.comparison is None or row.comparison.lift is None for row in report.rows)
        assert "–" in as_text(report)


def of(report: ExperimentReport, metric: str, variant: str = "treatment") -> Row:
    return next(row for row in report.rows if (row.metric, row.variant) == (metric, variant))


def simulated(directory: Path, options: SimulationOptions, scope: Scope, **choices: Any) -> ExperimentReport:
    simulate(options, directory)
    exposures, events = (tables.read(directory, kind) for kind in (tables.EXPOSURES, tables.EVENTS))
    return experiment_report(exposures, events, scope, ReportOptions(**choices), {"command": "test"})


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> ExperimentReport:
    """Of a treatment that is better, and slower."""
    options = SimulationOptions(4_000, effect=0.3, latency_effect=0.2, seed=3)
    scope = Scope(EXPERIMENT, segments=("context.device",))
    return simulated(tmp_path_factory.mktemp("simulated"), options, scope, alpha=0.001)


class TestReport:
    def test_intervals_hold_the_true_effect(self, report: ExperimentReport) -> None:
        for metric in ("click-through", "conversion", "revenue"):
            comparison = of(report, metric).comparison
            assert comparison is not None
            assert comparison.lift is not None
            assert comparison.sequential_lift is not None
            assert comparison.lift.low < 0.3 < comparison.lift.high
            assert comparison.sequential_lift.low < comparison.lift.low

    def test_what_is_sure_is_starred(self, report: ExperimentReport) -> None:
        clicks = of(report, "click-through").comparison
        assert clicks is not None
        assert clicks.lift is not None
        assert clicks.lift.low > 0
        assert f"{clicks.lift.high:+.1%}] *" in as_text(report)

    def test_guards_see_what_became_slower(self, report: ExperimentReport) -> None:
        for metric in ("latency-p50", "latency-p95", "latency-p99"):
            comparison = of(report, metric).comparison
            assert comparison is not None
            assert comparison.lift is not None
            assert 0 < comparison.lift.low < 0.2 < comparison.lift.high
        degraded = of(report, "degraded")
        assert degraded.value == pytest.approx(0.01, abs=0.003)
        assert degraded.p_holm is not None
        assert degraded.p_holm > 0.01

    def test_cuped_takes_variance_of_clicks(self, report: ExperimentReport) -> None:
        row = of(report, "click-through")
        assert row.variance_reduction > 0.1
        assert row.comparison != row.unadjusted

    def test_segments_are_corrected_for_their_number(self, report: ExperimentReport) -> None:
        rows = [row for row in report.segments if row.metric == "revenue" and row.comparison]
        assert [row.segment for row in rows] == [f"context.device={name}" for name in ("desktop", "phone", "tablet")]
        smallest = min(rows, key=lambda row: row.p_holm or 1)
        assert smallest.comparison is not None
        assert smallest.comparison.p_value is not None
        assert smallest.p_holm == pytest.approx(3 * smallest.comparison.p_value)
        assert sum(row.n_users for row in report.segments if row.metric == "revenue") == 4_000

    def test_the_split_is_right(self, report: ExperimentReport) -> None:
        assert report.mismatch_p_value > 0.001
        assert report.warnings == ()
        assert [arm.variant for arm in report.arms] == ["control", "treatment"]
        assert sum(arm.n_users for arm in report.arms) == 4_000

    def test_it_is_written_for_people(self, report: ExperimentReport, tmp_path: Path) -> None:
        text, markdown = as_text(report), as_markdown(report)
        assert "Lift over control with CUPED, 99.9% intervals" in text
        assert "context.device=phone" in text
        assert "## CUPED: lifts with and without the 14 days" in markdown
        png, svg = draw(report, tmp_path / "lift")
        assert png.read_bytes().startswith(b"\x89PNG")
        assert "click-through" in svg.read_text()
        assert "any number of looks" in svg.read_text()


def test_without_covariate_days_there_is_no_cuped(tmp_path: Path) -> None:
    report = simulated(tmp_path, SimulationOptions(400, 0.1), Scope(EXPERIMENT, before=timedelta()))

    assert of(report, "click-through").variance_reduction == 0
    assert of(report, "click-through").comparison == of(report, "click-through").unadjusted
    assert report.warnings == ()
    assert "CUPED" not in as_markdown(report)


def test_a_wrong_split_is_said_first(tmp_path: Path) -> None:
    report = simulated(tmp_path, SimulationOptions(2_000, 0.1, mismatch=0.1), Scope(EXPERIMENT))

    assert as_text(report).startswith("!! SAMPLE RATIO MISMATCH (p = ")
    assert "SAMPLE RATIO MISMATCH" in as_markdown(report)


def test_a_split_is_held_against_its_weights(tmp_path: Path) -> None:
    weights = {"treatment": 60.0, "control": 40.0}
    options = SimulationOptions(2_000, 0.1, mismatch=0.1)

    assert simulated(tmp_path, options, Scope(EXPERIMENT), weights=weights).mismatch_p_value > 0.001


def test_several_variants_are_corrected_together() -> None:
    lists, acts = [], []
    for number in range(240):
        name, variant = f"u{number}", "abc"[number % 3]
        lists.append(shown(f"r{number}", name, variant))
        if number % (5 if variant == "a" else 4) == 0:
            acts.append(did("click", name, 1))

    report = experiment_report(*frames(lists, acts), SCOPE, ReportOptions(), {"command": "test"})

    rows = [row for row in report.rows if row.metric == "click-share"]
    assert [row.variant for row in rows] == ["a", "b", "c"]
    assert rows[0].comparison is None
    p_values = [row.comparison.p_value for row in rows[1:] if row.comparison]
    smallest = min(value for value in p_values if value is not None)
    assert min(row.p_holm or 1 for row in rows[1:]) == pytest.approx(min(1, 2 * smallest))
    assert report.warnings == ("No click or purchase from before the experiment: CUPED has nothing to go by.",)


def test_what_is_simulated_is_what_is_found(tmp_path: Path) -> None:
    """Every click and purchase of the experiment is attributed, named or not."""
    simulate(SimulationOptions(300, 0.0, seed=1), tmp_path)
    exposures, events = (tables.read(tmp_path, kind) for kind in (tables.EXPOSURES, tables.EVENTS))

    result = outcomes(exposures, events, Scope(EXPERIMENT))

    during = events.filter(pl.col("value").is_null() & (pl.col("request_id").is_not_null())).height
    assert result.attributed.n_named >= during > 0
    assert result.attributed.n_within > 0
    assert result.users["clicks"].sum() + result.users["converted"].sum() == pytest.approx(
        result.attributed.n_named + result.attributed.n_within
    )
    assert result.users["exposures"].sum() == exposures.height
    assert exposures["items"].list.n_unique().to_list() == [10] * exposures.height


def test_a_seed_gives_the_same_files(tmp_path: Path) -> None:
    for name in ("one", "two"):
        simulate(SimulationOptions(50, 0.1, seed=4), tmp_path / name)

    for kind in (tables.EXPOSURES, tables.EVENTS):
        assert tables.read(tmp_path / "one", kind).equals(tables.read(tmp_path / "two", kind))
