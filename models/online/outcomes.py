"""One row a user of an experiment: the variant, what was shown, what was done with it, and what was done before."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import polars as pl

from models.contract.errors import DataError
from models.online import columns as c
from models.online.attribution import Attributed, attribute

# Columns of the users' table.
EXPOSURES = "exposures"
DEGRADED = "degraded"
CLICKS = "clicks"
CLICKED = "clicked"
CONVERTED = "converted"
REVENUE = "revenue"
BEFORE = "before."  # + CLICKS, CONVERTED (purchases), REVENUE

CONTEXT = "context."  # + name: a segment
UNKNOWN = "unknown"  # the segment of users whose first request did not say

_FIRST = "first"
_VARIANTS = "variants"


@dataclass(frozen=True)
class Scope:
    """What of the data is looked at.

    Args:
        experiment: its name.
        since: lists and events from then on count; users belong to the variant of their first list, however old.
        until: lists and events before it count.
        window: how long after a list an event that does not name one may still come from it.
        before: how long before a user's first list the events count that CUPED takes.
        segments: ``context.<name>`` of a user's first request.
    """

    experiment: str
    since: datetime | None = None
    until: datetime | None = None
    window: timedelta = timedelta(hours=24)
    before: timedelta = timedelta(days=14)
    segments: tuple[str, ...] = ()


@dataclass(frozen=True)
class Outcomes:
    """What the users of an experiment did.

    Args:
        users: one row a user, columns as named in this module and one for each segment.
        lists: the lists that count: user, time, variant, latency.
        n_excluded: users who were seen in more than one variant, left out.
        attributed: the clicks and purchases of the period with the lists that they came from, of any experiment.
    """

    users: pl.DataFrame
    lists: pl.DataFrame
    n_excluded: int
    attributed: Attributed


def outcomes(exposures: pl.DataFrame, events: pl.DataFrame, scope: Scope) -> Outcomes:
    """Join what was shown with what was done.

    Raises:
        DataError: the experiment is not in the data, nothing was shown in the period, a number is not finite, or a
            segment is no context.
    """
    _check_numbers(exposures, c.LATENCY)
    _check_numbers(events, c.VALUE)
    lists = _lists(exposures, scope)
    all_users = _assign(lists, scope.segments)
    users = all_users.filter(pl.col(_VARIANTS) == 1).drop(_VARIANTS)
    if users.is_empty():
        raise DataError(f"{scope.experiment}: all {all_users.height:,} users were seen in several variants")
    counted = _within(lists, scope).join(users.select(c.USER), c.USER, "semi")
    if counted.is_empty():
        raise DataError(f"{scope.experiment}: none of {lists.height:,} lists counts in the period asked for")
    acts = events.filter(pl.col(c.TYPE).is_in(["click", "purchase"]))
    attributed = attribute(_within(acts, scope), exposures, scope.window)
    table = (
        users.join(_shown(counted), c.USER)
        .join(_done(_from(counted, attributed.events), ""), c.USER, "left")
        .join(_done(_earlier(acts, users, scope.before), BEFORE), c.USER, "left")
        .with_columns(pl.selectors.numeric().fill_null(0))
        .with_columns((pl.col(CLICKS) > 0).cast(pl.Float64).alias(CLICKED), pl.col(CONVERTED).clip(0, 1))
        .sort(c.USER)
    )
    return Outcomes(
        table, counted.select(c.USER, c.TIME, c.VARIANT, c.LATENCY), all_users.height - users.height, attributed
    )


def _lists(exposures: pl.DataFrame, scope: Scope) -> pl.DataFrame:
    """Lists that were shown to users who were drawn into the experiment, before the period ends."""
    entries = pl.col(c.EXPERIMENTS).list
    named = exposures.filter(entries.len() > 0).explode(c.EXPERIMENTS).unnest(c.EXPERIMENTS)
    own = named.filter(pl.col(c.EXPERIMENT) == scope.experiment)
    if own.is_empty():
        known = ", ".join(sorted(named[c.EXPERIMENT].unique())) or "none"
        raise DataError(
            f"experiment {scope.experiment!r} is not among the {exposures.height:,} exposures; known: {known}"
        )
    drawn = own.filter(~pl.col(c.FORCED) & (pl.col(c.SHADOW) == ""))
    if drawn.is_empty():
        raise DataError(f"{scope.experiment}: all of its {own.height:,} exposures were forced or not shown")
    return drawn if scope.until is None else drawn.filter(pl.col(c.TIME) < scope.until)


def _assign(lists: pl.DataFrame, segments: Sequence[str]) -> pl.DataFrame:
    """User, variant and time of the first list, segments, and how many variants the user was seen in."""
    first = lists.sort(c.TIME, c.REQUEST).group_by(c.USER, maintain_order=True)
    return first.agg(
        pl.col(c.VARIANT).first(),
        pl.col(c.TIME).first().alias(_FIRST),
        pl.col(c.VARIANT).n_unique().alias(_VARIANTS),
        *(_segment(name).first().alias(name) for name in segments),
    )


def _segment(name: str) -> pl.Expr:
    if not name.startswith(CONTEXT) or name == CONTEXT:
        raise DataError(f"segment {name!r}: expected {CONTEXT}<name>, such as {CONTEXT}device")
    element = pl.element().struct
    wanted = element.field(c.NAME) == name.removeprefix(CONTEXT)
    values = pl.col(c.CONTEXT).list.eval(element.field(c.VALUE).filter(wanted))
    return values.list.first().fill_null(UNKNOWN)


def _within(frame: pl.DataFrame, scope: Scope) -> pl.DataFrame:
    """The rows of the period."""
    late = frame if scope.since is None else frame.filter(pl.col(c.TIME) >= scope.since)
    return late if scope.until is None else late.filter(pl.col(c.TIME) < scope.until)


def _shown(lists: pl.DataFrame) -> pl.DataFrame:
    return lists.group_by(c.USER).agg(
        pl.len().cast(pl.Float64).alias(EXPOSURES), pl.col(c.DEGRADED).sum().cast(pl.Float64).alias(DEGRADED)
    )


def _from(lists: pl.DataFrame, events: pl.DataFrame) -> pl.DataFrame:
    """The events that came from these lists; requests of several users have a list for each."""
    return events.join(lists.select(c.REQUEST, c.USER), (c.REQUEST, c.USER), "semi")


def _done(acts: pl.DataFrame, prefix: str) -> pl.DataFrame:
    """Clicks, purchases and revenue of each user who did something."""
    click, purchase = pl.col(c.TYPE) == "click", pl.col(c.TYPE) == "purchase"
    return acts.group_by(c.USER).agg(
        click.sum().cast(pl.Float64).alias(prefix + CLICKS),
        purchase.sum().cast(pl.Float64).alias(prefix + CONVERTED),
        pl.col(c.VALUE).filter(purchase).sum().alias(prefix + REVENUE),
    )


def _earlier(acts: pl.DataFrame, users: pl.DataFrame, before: timedelta) -> pl.DataFrame:
    """What users did shortly before their first list."""
    joined = acts.join(users.select(c.USER, _FIRST), c.USER)
    return joined.filter((pl.col(c.TIME) < pl.col(_FIRST)) & (pl.col(c.TIME) >= pl.col(_FIRST) - before))


def _check_numbers(frame: pl.DataFrame, column: str) -> None:
    wrong = int((~frame[column].is_finite()).sum())
    if wrong:
        raise DataError(f"{column}: {wrong:,} of {frame.height:,} values are not finite numbers")
